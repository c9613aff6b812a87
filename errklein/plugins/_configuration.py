"""Has plugins check and take their configurations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.commands import CommandDeclaration
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.configuration_check import ValidationException
from errklein.plugins.execution import RAISED, PluginExecution
from errklein.plugins.load_errors import located_error
from errklein.plugins.plugin import Plugin, PluginConfigurationException, PluginTimeout
from errklein.text.errors import one_line
from errklein.text.masking import masker, secrets_in
from errklein.webhooks import HookDeclaration


@dataclass(eq=False)
class Configurator:
    """Calls the methods by which plugins are configured; only `check`, `template` and `reconfigured` have a timeout.

    `stored` returns the configuration that is stored for a plugin's name; None if there is none.
    """

    execution: PluginExecution
    stored: Callable[[str], Any]

    log: ClassVar = Logger()

    async def configure(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance check and take the configuration; raises PluginConfigurationException."""
        masker.learn(self, f"{plugin.name}: in use", secrets_in(configuration))
        try:
            call = partial(self.execution.call, instance)
            if configuration is not None and await call("get_configuration_template") is not None:
                await call("check_configuration", configuration)
            await call("configure", configuration)
            # The plugin may have added secrets, such as defaults or values of environment variables.
            masker.learn(self, f"{plugin.name}: in use", secrets_in([configuration, vars(instance).get("config")]))
        except RAISED as error:
            problem = f"{plugin.name} can't use its configuration: {self._refusal(plugin, error)}"
            if plugin.instance is instance:
                plugin.problem = problem
            # Plugins may have a property of that name.
            with suppress(AttributeError):
                instance.config = None
            raise PluginConfigurationException(problem) from error

    async def template(self, plugin: Plugin, instance: BotPlugin) -> Any:
        """The example of a configuration that the plugin gives; raises PluginConfigurationException."""
        return await self._ask(plugin, instance, "get_configuration_template")

    async def check(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance say whether it could take the configuration; raises PluginConfigurationException."""
        if configuration is None or await self.template(plugin, instance) is None:
            return
        masker.learn(self, f"{plugin.name}: given", secrets_in(configuration))
        await self._ask(plugin, instance, "check_configuration", configuration)

    async def reconfigured(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> bool:
        """Whether the active plugin has taken the configuration as it goes."""
        # errbot has no such method, so a plugin written for it may have a command of that name.
        if CommandDeclaration.of(instance.reconfigure) or HookDeclaration.of(instance.reconfigure):
            return False
        return await self._ask(plugin, instance, "reconfigure", configuration) is not NotImplemented

    async def _ask(self, plugin: Plugin, instance: BotPlugin, method: str, *args: Any) -> Any:
        """What the method returns; raises PluginConfigurationException, and PluginTimeout."""
        called = Deferred.fromCoroutine(self.execution.call(instance, method, *args))
        try:
            return await self.execution.in_time(called, f"{plugin.name}.{method}")
        except PluginTimeout:
            raise
        except RAISED as error:
            failed = f"{plugin.name}.{method} failed: {located_error(plugin.plug, error)}"
            raise PluginConfigurationException(self._refusal(plugin, error) if args else failed) from error

    def _refusal(self, plugin: Plugin, error: BaseException) -> str:
        """Why the plugin doesn't take a configuration: its own words, or what went wrong in it, and where."""
        if isinstance(error, ValidationException):
            return masker(one_line(error))
        self.log.failure("{plugin}: configuring it failed", plugin=plugin.name)
        return located_error(plugin.plug, error)
