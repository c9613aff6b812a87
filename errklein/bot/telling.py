"""How plugins are told what happens."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.answering.dispatcher import handling
from errklein.chat import Message
from errklein.plugins.errbot_manager import BotPluginManager
from errklein.ports import Backend
from errklein.running import Runner, WorkerPool
from errklein.running.threads import on_reactor_soon


class Telling:
    """Calls plugins' callbacks, each where it may run."""

    log = Logger()
    reactor: Any
    bot_config: Any
    backends: dict[str, Backend]
    runner: Runner
    plugin_pool: WorkerPool
    plugin_manager: BotPluginManager

    def _tell_plugins(self, backend: Backend, callback: str, *args: Any) -> None:
        told = self.plugin_manager.callbacks(callback)
        if not told:
            return
        with handling(backend):
            for plugin, method in told:
                running = self.runner.run(method, *args, pool=self.plugin_pool)
                running.addErrback(self._callback_failed, plugin, callback)

    def _show_plugins(self, backend: Backend, message: Message) -> None:
        if self.plugin_manager.callbacks("callback_botmessage"):
            tell = copy_context().run
            on_reactor_soon(self.reactor, tell, self._tell_plugins, backend, "callback_botmessage", message)

    def _callback_failed(self, failure: Failure, plugin: str, callback: str) -> None:
        self.log.failure("{plugin}: {callback} failed", failure, plugin=plugin, callback=callback)
