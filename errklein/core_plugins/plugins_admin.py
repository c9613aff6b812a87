"""`!plugin …`: configure, activate, deactivate, reload, blacklist and inspect plugins."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pprint import pformat
from typing import Any

from errklein import BotPlugin, CommandError, botcmd
from errklein.chat import Message
from errklein.plugins.manager import Plugin, PluginError

_SECRET_WORDS = ("password", "passwd", "secret", "token", "api_key", "apikey", "credential", "private")


class Plugins(BotPlugin):
    """Configures, activates, deactivates and reloads plugins."""

    @botcmd(admin_only=True, split_args_with=" ")
    async def plugin_config(self, msg: Message, args: list[str]) -> str:
        """Show or set the configuration of a plugin: its name, then a Python literal to set it."""
        name, literal = args[0], " ".join(args[1:]).strip()
        plugin = self._existing(name)
        if self._bot.plugin_manager.is_blacklisted(name):
            return f"{name} is blacklisted; unblacklist it first."
        instance = plugin.instance
        template = instance.get_configuration_template() if instance is not None else None
        if template is None:
            return f"{name} is not configurable."
        if not literal:
            return self._shown_configuration(name, template, msg)
        try:
            configuration = ast.literal_eval(literal)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise CommandError(f"Syntax error in the given configuration: {error}") from error
        if type(configuration) is not type(template):
            raise CommandError(
                f"The given configuration looks fishy: it should be a {type(template).__name__}, "
                f"as in {template!r}, but is a {type(configuration).__name__}"
            )
        try:
            await self._bot.plugin_manager.configure(name, configuration)
        except PluginError as error:
            raise CommandError(str(error)) from error
        return "Plugin configuration done."

    @botcmd(admin_only=True)
    async def plugin_activate(self, msg: Message, args: str) -> str:
        """Activate a plugin."""
        await self._do(self._bot.plugin_manager.activate, args)
        return f"Plugin {args.strip()} activated."

    @botcmd(admin_only=True)
    async def plugin_deactivate(self, msg: Message, args: str) -> str:
        """Deactivate a plugin: its commands and webhooks are gone."""
        await self._do(self._bot.plugin_manager.deactivate, args)
        return f"Plugin {args.strip()} deactivated."

    @botcmd(admin_only=True)
    async def plugin_reload(self, msg: Message, args: str) -> str:
        """Read the code of a plugin again."""
        await self._do(self._bot.plugin_manager.reload, args)
        return f"Plugin {args.strip()} reloaded."

    @botcmd(admin_only=True)
    async def plugin_blacklist(self, msg: Message, args: str) -> str:
        """Keep a plugin from being activated when the bot starts."""
        name = self._existing(args.strip()).name
        self._bot.plugin_manager.blacklist(name)
        return f"Plugin {name} is now blacklisted."

    @botcmd(admin_only=True)
    async def plugin_unblacklist(self, msg: Message, args: str) -> str:
        """Let a plugin be activated when the bot starts again."""
        name = self._existing(args.strip()).name
        self._bot.plugin_manager.unblacklist(name)
        return f"Plugin {name} removed from blacklist."

    @botcmd(admin_only=True)
    async def plugin_info(self, msg: Message, args: str) -> str:
        """Tell where a plugin comes from, how it is, and its configuration."""
        plugin = self._existing(args.strip())
        manager = self._bot.plugin_manager
        configuration = (
            _masked(manager.configuration(plugin.name)) if msg.is_group else (manager.configuration(plugin.name))
        )
        lines = [
            f"**{plugin.name}**: {plugin.plug.description}",
            f"- state: {manager.state(plugin).name.lower()}",
            f"- file: {plugin.plug.path}",
            f"- depends on: {', '.join(plugin.plug.depends_on) or 'nothing'}",
            f"- configuration: {configuration!r}",
        ]
        if plugin.problem:
            lines.insert(2, f"- problem: {plugin.problem}")
        return "\n".join(lines)

    def _existing(self, name: str) -> Plugin:
        try:
            return self._bot.plugin_manager.plugin(name)
        except PluginError as error:
            raise CommandError(str(error)) from error

    async def _do(self, change: Any, name: str) -> None:
        try:
            await change(name.strip())
        except PluginError as error:
            raise CommandError(str(error)) from error

    def _shown_configuration(self, name: str, template: Any, msg: Message) -> str:
        command = f"{self._bot.prefix}plugin config {name}"
        answer = (
            "Default configuration for this plugin (you can copy and paste this directly as a single line command):\n\n"
            f"```\n{command} {pformat(template)}\n```"
        )
        configuration = self._bot.plugin_manager.configuration(name)
        if configuration is not None:
            shown = _masked(configuration) if msg.is_group else configuration
            answer += f"\n\nCurrent configuration:\n\n```\n{command} {pformat(shown)}\n```"
        return answer


def _masked(value: Any, name: str = "") -> Any:
    """The value with each secret replaced, as its name tells; for rooms, where others read along."""
    if isinstance(value, Mapping):
        return {key: _masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_masked(item, name) for item in value)
    if value and any(word in name.lower() for word in _SECRET_WORDS):
        return "•••"
    return value
