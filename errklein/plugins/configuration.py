"""Has plugins check and take their configurations."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from errklein.commands import CommandDeclaration
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.configuration_check import ValidationException
from errklein.plugins.load_errors import told_of
from errklein.plugins.method_calls import MethodCalls
from errklein.plugins.plugin import RAISED, Plugin, PluginConfigurationException, PluginTimeout
from errklein.text.masking import masker, secrets_in
from errklein.webhooks import HookDeclaration

if TYPE_CHECKING:
    from errklein.bot import Bot


class Configuring:
    """Calls the methods by which plugins are configured; only `check`, `template` and `reconfigured` have a deadline."""

    log = Logger()

    def __init__(self, bot: Bot, calls: MethodCalls) -> None:
        self._bot = bot
        self._calls = calls

    async def configure(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance check and take the configuration; raises PluginConfigurationException."""
        masker.learn(self._bot, f"{plugin.name}: in use", secrets_in(configuration))
        try:
            if configuration is not None and await self._calls.call(instance, "get_configuration_template") is not None:
                await self._calls.call(instance, "check_configuration", configuration)
            await self._calls.call(instance, "configure", configuration)
            # The plugin may have added secrets, such as defaults or values of environment variables.
            masker.learn(self._bot, f"{plugin.name}: in use", secrets_in([configuration, vars(instance).get("config")]))
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
        try:
            return await self._calls.call_in_time(plugin, instance, "get_configuration_template")
        except PluginTimeout:
            raise
        except RAISED as error:
            raise PluginConfigurationException(
                f"{plugin.name}.get_configuration_template failed: {told_of(plugin.plug, error)}"
            ) from error

    async def check(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance say whether it could take the configuration; raises PluginConfigurationException."""
        if configuration is None or await self.template(plugin, instance) is None:
            return
        masker.learn(self._bot, f"{plugin.name}: given", secrets_in(configuration))
        try:
            await self._calls.call_in_time(plugin, instance, "check_configuration", configuration)
        except PluginTimeout:
            raise
        except RAISED as error:
            raise PluginConfigurationException(self._refusal(plugin, error)) from error

    async def reconfigured(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> bool:
        """Whether the active plugin has taken the configuration as it goes."""
        # errbot has no such method, so a plugin written for it may have a command of that name.
        if CommandDeclaration.of(instance.reconfigure) or HookDeclaration.of(instance.reconfigure):
            return False
        try:
            return await self._calls.call_in_time(plugin, instance, "reconfigure", configuration) is not NotImplemented
        except PluginTimeout:
            raise
        except RAISED as error:
            raise PluginConfigurationException(self._refusal(plugin, error)) from error

    def _refusal(self, plugin: Plugin, error: BaseException) -> str:
        """Why the plugin doesn't take a configuration: its own words, or what went wrong in it, and where."""
        if isinstance(error, ValidationException):
            return " ".join(masker(str(error)).split())
        self.log.failure("{plugin}: configuring it failed", plugin=plugin.name)
        return told_of(plugin.plug, error)
