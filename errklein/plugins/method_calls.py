"""Calls the methods by which a plugin is activated, configured and deactivated."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.plugins.activation import current
from errklein.plugins.botplugin import BotPlugin, overrides
from errklein.plugins.plugin import TIMEOUT, Plugin, PluginTimeout, as_raised
from errklein.running.timeouts import TimedOut, result_within

if TYPE_CHECKING:
    from errklein.bot import Bot

T = TypeVar("T")


class MethodCalls:
    """Calls methods of plugins where it is safe, with a deadline of TIMEOUT seconds or without one."""

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def call_in_time(self, plugin: Plugin, instance: BotPlugin, method: str, *args: Any) -> Any:
        """As `call`; raises PluginTimeout if the method doesn't return within TIMEOUT seconds."""
        return await self.in_time(plugin, method, self.call(instance, method, *args))

    async def in_time(self, plugin: Plugin, method: str, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which calls the method; raises PluginTimeout after TIMEOUT seconds."""
        worked = Deferred.fromCoroutine(work)
        try:
            return await result_within(self._bot.reactor, TIMEOUT, worked)
        except TimedOut:
            worked.addErrback(partial(self.log.failure, "{plugin}.{method} failed", plugin=plugin.name, method=method))
            raise PluginTimeout(f"{plugin.name}.{method} has not returned after {TIMEOUT:g} s.") from None

    async def call(self, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Call a method of the plugin where it is safe; what BotPlugin itself has is quick and stays here."""
        activation = current.get()
        if activation is not None and activation.instance is instance:
            activation.step = method
        if not overrides(instance, method):
            return getattr(instance, method)(*args)
        running = self._bot.runner.run(getattr(instance, method), *args, pool=self._bot.plugin_pool)
        return await running.addErrback(as_raised)
