"""How plugins are told what happens."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.compat.plugin_manager import BotPluginManager
from errklein.ports import Backend
from errklein.running import Placement, Runner, WorkerPool, place
from errklein.running.context import assigned, handled_network
from errklein.running.keyed_queues import KeyedQueueFull, KeyedQueues, QueuedWork
from errklein.running.rate_limit import RateLimit
from errklein.running.threads import on_reactor_soon


class Telling:
    """Calls plugins' callbacks, each where it may run.

    Plain ones run one at a time, as plugins of errbot expect: each plugin is told in the order in which things happen, and
    of each thing after the plugins before it. What the bot itself says is told besides, since it may do so meanwhile.
    """

    log = Logger()
    reactor: Any
    bot_config: Any
    backends: dict[str, Backend]
    runner: Runner
    plugin_pool: WorkerPool
    lines: KeyedQueues
    plugin_manager: BotPluginManager

    def __init__(self) -> None:
        self._queue_full_limit = RateLimit(self.reactor.seconds)

    def _tell_plugins(self, backend: Backend, callback: str, *args: Any) -> None:
        told = self.plugin_manager.callbacks(callback)
        if not told:
            return
        before: QueuedWork | None = None
        with assigned(handled_network, backend.network):
            for plugin, method in told:
                if place(method) is Placement.REACTOR:
                    running = self.runner.call(method, *args)
                else:
                    line = (id(getattr(method, "__self__", method)), callback == "callback_botmessage")
                    work = partial(self._tell_plugin, callback, plugin, method, args)
                    before = self.lines.run(line, work, before)
                    running = before.result
                running.addErrback(self._callback_failed, plugin, callback)

    def _tell_plugin(self, callback: str, plugin: str, method: Callable[..., Any], args: Any) -> Deferred[Any]:
        # It may have been deactivated while it stood in line.
        if (plugin, method) not in self.plugin_manager.callbacks(callback):
            return succeed(None)
        return self.runner.call_in(self.plugin_pool, lambda: partial(method, *args))

    def _show_plugins(self, backend: Backend, message: Message) -> None:
        if self.plugin_manager.callbacks("callback_botmessage"):
            tell = copy_context().run
            on_reactor_soon(self.reactor, tell, self._tell_plugins, backend, "callback_botmessage", message)

    def _callback_failed(self, failure: Failure, plugin: str, callback: str) -> None:
        if failure.check(KeyedQueueFull):
            if self._queue_full_limit.allows(plugin):
                self.log.error(
                    "{plugin} is too slow: {callback} isn't called for what happens now ({reason}); "
                    "one of its callbacks may never return",
                    plugin=plugin,
                    callback=callback,
                    reason=failure.getErrorMessage(),
                )
            return
        self.log.failure("{plugin}: {callback} failed", failure, plugin=plugin, callback=callback)
