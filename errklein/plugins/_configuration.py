"""Calls of the methods with which plugins check and apply their configurations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.commands import CommandDeclaration
from errklein.plugins.botplugin import BotPlugin, ValidationException
from errklein.plugins.execution import RAISED, PluginExecution
from errklein.plugins.imports import located_error
from errklein.plugins.plugin import Plugin, PluginConfigurationException, PluginTimeout
from errklein.text.errors import one_line
from errklein.text.masking import masker, secrets_in
from errklein.webhooks import HookDeclaration


@dataclass(eq=False)
class Configurator:
    """Calls the methods that configure plugins. Only `check`, `template` and `reconfigured` have a timeout. `stored`
    returns the configuration that is stored under a plugin's name; None if there is none."""

    execution: PluginExecution
    stored: Callable[[str], Any]

    log: ClassVar = Logger()

    async def configure(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        masker.learn(self, f"{plugin.name}: in use", secrets_in(configuration))
        try:
            call = partial(self.execution.call, instance)
            if configuration is not None and await call("get_configuration_template") is not None:
                await call("check_configuration", configuration)
            await call("configure", configuration)
            # The plugin may have added secrets, such as default values or environment variables.
            masker.learn(self, f"{plugin.name}: in use", secrets_in([configuration, vars(instance).get("config")]))
        except RAISED as error:
            problem = f"{plugin.name} can't use its configuration: {self._refusal(plugin, error)}"
            if plugin.instance is instance:
                plugin.problem = problem
            # The plugin may have a property of that name.
            with suppress(AttributeError):
                instance.config = None
            raise PluginConfigurationException(problem) from error

    async def template(self, plugin: Plugin, instance: BotPlugin) -> Any:
        return await self._ask(plugin, instance, "get_configuration_template")

    async def check(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Check a configuration without applying it. Raises PluginConfigurationException if it is invalid."""
        if configuration is None or await self.template(plugin, instance) is None:
            return
        masker.learn(self, f"{plugin.name}: given", secrets_in(configuration))
        await self._ask(plugin, instance, "check_configuration", configuration)

    async def reconfigured(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> bool:
        """Pass the configuration to the active plugin's `reconfigure`, and return whether it was applied."""
        # errbot has no such method, so a plugin written for errbot may have a command of that name.
        if CommandDeclaration.of(instance.reconfigure) or HookDeclaration.of(instance.reconfigure):
            return False
        return await self._ask(plugin, instance, "reconfigure", configuration) is not NotImplemented

    async def _ask(self, plugin: Plugin, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Return the result of a method. Raises PluginConfigurationException or PluginTimeout."""
        called = Deferred.fromCoroutine(self.execution.call(instance, method, *args))
        try:
            return await self.execution.in_time(called, f"{plugin.name}.{method}")
        except PluginTimeout:
            raise
        except RAISED as error:
            failed = f"{plugin.name}.{method} failed at {located_error(plugin.plug, error)}"
            raise PluginConfigurationException(self._refusal(plugin, error) if args else failed) from error

    def _refusal(self, plugin: Plugin, error: BaseException) -> str:
        """Return the text of a ValidationException; for another exception, its line and text."""
        if isinstance(error, ValidationException):
            return masker(one_line(error))
        self.log.failure("The configuration of {plugin} failed", plugin=plugin.name)
        return located_error(plugin.plug, error)
