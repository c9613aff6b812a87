"""Dispatch of events to plugins' callbacks, such as `callback_message`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.ports.chat import Backend
from errklein.running import KeyedQueueFull, KeyedQueues, Placement, PooledRunner, QueuedWork, on_reactor_soon, place
from errklein.running.context import assigned, handled_network, origin
from errklein.running.rate_limit import RateLimit

FindCallbacks = Callable[[str], list[tuple[str, Callable[..., Any]]]]
"""Returns the name and the bound method of each active plugin that overrides the given callback."""


class Callbacks:
    """Calls plugins' callbacks on the reactor or in a thread.

    Blocking callbacks run one at a time, as errbot's plugins expect. Each plugin gets events in the order in which they
    happen, and the plugins get one event in the order of PLUGINS_CALLBACK_ORDER. `callback_botmessage` has a queue of its
    own, since the bot may send messages while another callback runs.
    """

    log = Logger()

    def __init__(self, reactor: Any, runner: PooledRunner, queues: KeyedQueues, find: FindCallbacks) -> None:
        self.find = find
        self._reactor = reactor
        self._runner = runner
        self._queues = queues
        self._warnings = RateLimit(reactor.seconds)

    def call(self, backend: Backend, callback: str, *args: Any) -> None:
        """Call a callback of all plugins that override it, for an event on the backend's network."""
        found = self.find(callback)
        if not found:
            return
        before: QueuedWork | None = None
        with assigned(handled_network, backend.network):
            for plugin, method in found:
                with assigned(origin, f"plugin:{plugin}"):
                    if place(method) is Placement.REACTOR:
                        running = self._runner.runner.call(method, *args)
                    else:
                        queue = (id(getattr(method, "__self__", method)), callback == "callback_botmessage")
                        work = partial(self._call_queued, callback, plugin, method, args)
                        before = self._queues.run(queue, work, before)
                        running = before.result
                running.addErrback(self._failed, plugin, callback)

    def show_sent(self, backend: Backend, message: Message) -> None:
        """Call `callback_botmessage` for a message that the bot has sent. May be called from any thread."""
        if self.find("callback_botmessage"):
            call = copy_context().run
            on_reactor_soon(self._reactor, call, self.call, backend, "callback_botmessage", message)

    def _call_queued(self, callback: str, plugin: str, method: Callable[..., Any], args: Any) -> Deferred[Any]:
        # The plugin may have been deactivated meanwhile.
        if (plugin, method) not in self.find(callback):
            return succeed(None)
        return self._runner.runner.call_in(self._runner.pool, lambda: partial(method, *args))

    def _failed(self, failure: Failure, plugin: str, callback: str) -> None:
        if not failure.check(KeyedQueueFull):
            self.log.failure("{plugin}: {callback} failed", failure, plugin=plugin, callback=callback)
            return
        if self._warnings.allows(plugin):
            self.log.error(
                "{plugin} is too slow: {callback} is skipped for new events ({reason}). "
                "One of the plugin's callbacks may never return",
                plugin=plugin,
                callback=callback,
                reason=failure.getErrorMessage(),
            )
