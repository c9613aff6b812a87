"""`!plugin …` and `!repos …`: configure, activate, deactivate, reload, blacklist and inspect plugins; install repositories of them."""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable, Iterator
from pprint import pformat
from typing import Any

from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.core_plugins.repos_commands import ReposCommands
from errklein.dispatch import DetailedError
from errklein.plugins import BotPlugin
from errklein.plugins.imports import changed_files
from errklein.plugins.plugin import Plugin, PluginConfigurationException, PluginError
from errklein.text import code, fenced, plain, plain_lines, truncated
from errklein.text.masking import mask_values, masker

_SHOWN = 500
_LONGEST = 100_000
"""Characters of a configuration: reading more would hold the bot."""
_MOST_STORED = 50


class Plugins(ReposCommands):
    """Configures, activates, deactivates and reloads plugins, and installs repositories of them."""

    @botcmd(admin_only=True, historize=False)
    async def plugin_config(self, msg: Message, args: str) -> str:
        """Show or set the configuration of a plugin: its name, then a Python literal to set it."""
        name, literal = [*args.split(maxsplit=1), "", ""][:2]
        plugin = self._existing(self._named(name, "configure"))
        if self._bot.plugin_manager.is_blacklisted(name):
            return f"{name} is blacklisted; unblacklist it first."
        try:
            template = await self._bot.plugin_manager.configuration_template(plugin.name)
        except PluginError as error:
            raise _refused(error, f"{name}.get_configuration_template failed") from error
        if plugin.instance is None:
            summary = f"{name} could not be loaded"
            raise DetailedError(f"{summary}: {plain(plugin.problem)}", summary)
        if template is None:
            return f"{name} is not configurable."
        if not literal:
            return self._shown_configuration(name, template, msg)
        try:
            configuration = _literal(literal.strip())
        except ValueError as error:
            raise CommandError(f"Syntax error in the given configuration: {plain(str(error))}") from error
        if type(configuration) is not type(template):
            raise CommandError(
                f"The given configuration looks fishy: it should be a {type(template).__name__}, "
                f"as in {code(repr(template))}, but is a {type(configuration).__name__}"
            )
        try:
            await self._bot.plugin_manager.configure(name, configuration)
        except PluginConfigurationException as error:
            raise _refused(error, "Incorrect plugin configuration", f": {plain(str(error))}") from error
        except PluginError as error:
            raise _refused(error, f"{name} could not be configured") from error
        return "Plugin configuration done."

    @botcmd(admin_only=True)
    async def plugin_activate(self, msg: Message, args: str) -> str:
        """Activate a plugin."""
        name = self._named(args, "activate")
        await self._do(self._bot.plugin_manager.activate, name, "activated")
        return f"Plugin {name} activated."

    @botcmd(admin_only=True)
    async def plugin_deactivate(self, msg: Message, args: str) -> str:
        """Deactivate a plugin: its commands and webhooks are gone."""
        name = self._named(args, "deactivate")
        await self._do(self._bot.plugin_manager.deactivate, name, "deactivated")
        return f"Plugin {name} deactivated."

    @botcmd(admin_only=True)
    async def plugin_reload(self, msg: Message, args: str) -> str:
        """Read the code of a plugin again; an inactive plugin stays inactive."""
        name = self._named(args, "reload")
        await self._do(self._bot.plugin_manager.reload, name, "reloaded")
        reply = f"Plugin {name} reloaded."
        if not self._existing(name).active:
            reply += f" It is not activated; use {code(f'{self._bot.prefix}plugin activate {name}')} to activate it."
        return reply

    @botcmd(admin_only=True)
    async def plugin_blacklist(self, msg: Message, args: str) -> str:
        """Deactivate a plugin, and keep it from being activated when the bot starts."""
        plugin = self._existing(self._named(args, "blacklist"))
        if plugin.instance is self:
            raise CommandError(f"{plugin.name} is what could undo that; nothing is done.")
        answer = self._bot.plugin_manager.blacklist(plugin.name)
        if self._bot.plugin_manager.is_active_or_late(plugin):
            await self._do(self._bot.plugin_manager.deactivate, plugin.name, "deactivated")
        return answer

    @botcmd(admin_only=True)
    async def plugin_unblacklist(self, msg: Message, args: str) -> str:
        """Let a plugin be activated when the bot starts again, and activate it now."""
        manager = self._bot.plugin_manager
        name = self._named(args, "unblacklist")
        if not manager.is_blacklisted(name):
            # A plugin that was removed may still be on the list.
            return manager.unblacklist(self._existing(name).name)
        answer = manager.unblacklist(name)
        plugin = next((plugin for plugin in manager.found if plugin.name == name), None)
        try:
            if plugin is not None and not plugin.active:
                await manager.activate(name)
        except PluginError as error:
            refused = _refused(error, f"{name} could not be activated")
            if isinstance(refused, DetailedError):
                return f"{answer}\n\n{self._disclosed(msg, str(refused), refused.summary)}"
            return f"{answer}\n\n{refused}"
        return answer

    @botcmd(admin_only=True)
    def plugin_info(self, msg: Message, args: str) -> str:
        """Tell where a plugin comes from, how it is, its configuration and what it has stored."""
        plugin = self._existing(self._named(args, "look at"))
        manager = self._bot.plugin_manager
        configuration = manager.configuration(plugin.name)
        rows = {
            "name": plugin.name,
            "description": plugin.plug.description,
            "module": plugin.plug.module,
            "file": str(plugin.plug.module_path),
            "class": "" if plugin.instance is None else type(plugin.instance).__qualname__,
            "log": f"errbot.plugins.{plugin.name}",
            "depends on": ", ".join(plugin.plug.depends_on) or "nothing",
            "state": manager.status.state(plugin).name.lower(),
            "wrong": manager.status.remark(plugin, details=self._sees_details(msg)),
            "changed after loading": ", ".join(path.name for path in changed_files(plugin.plug)),
            "configuration": "" if configuration is None else self._represented(configuration, msg),
        }
        for key, value in self._stored(plugin, msg):
            rows[f"stored {key}"] = value
        lines = [f"- {code(name)}: {code(truncated(str(value), _SHOWN))}" for name, value in rows.items() if value]
        return self._bot.process_template("plugin_info", {"path": code(str(plugin.plug.path)), "lines": lines})

    def _named(self, args: str, what: str) -> str:
        """The plugin's name that was given; whoever gave none is told which there are."""
        name = args.strip()
        if not name:
            names = "\n".join(f"- {plugin.name}" for plugin in self._bot.plugin_manager.found)
            raise CommandError(f"Please tell me which of the following plugins to {what}:\n{names}")
        return name

    def _existing(self, name: str) -> Plugin:
        try:
            return self._bot.plugin_manager.plugin(name)
        except PluginError as error:
            raise CommandError(plain_lines(str(error))) from error

    async def _do(self, change: Callable[[str], Awaitable[None]], name: str, done: str) -> None:
        try:
            await change(name)
        except PluginError as error:
            raise _refused(error, f"{name} could not be {done}") from error

    def _shown_configuration(self, name: str, template: Any, msg: Message) -> str:
        command = f"{self._bot.prefix}plugin config {name}"
        answer = (
            "Default configuration for this plugin (you can copy and paste this directly as a single line command):\n\n"
            + fenced(f"{command} {pformat(template)}")
        )
        configuration = self._bot.plugin_manager.configuration(name)
        if configuration is not None:
            shown = f"{command} {self._represented(configuration, msg, pformat)}"
            answer += f"\n\nCurrent configuration:\n\n{fenced(shown)}"
        return answer

    def _stored(self, plugin: Plugin, msg: Message) -> Iterator[tuple[str, str]]:
        """At most _MOST_STORED keys and values, as far as the sender may see them; a last pair counts the others."""
        instance = plugin.instance
        if instance is None or not BotPlugin.is_open_storage(instance):
            return
        keys = list(instance)
        for key in keys[:_MOST_STORED]:
            try:
                yield repr(key), repr(_visible(instance[key], msg, secret=True))
            except Exception as error:
                # The key may have been removed, the value may be unreadable, or its repr may raise.
                yield repr(key), self._not_shown(error, msg)
        if len(keys) > _MOST_STORED:
            yield "under other keys", f"{len(keys) - _MOST_STORED} more values"

    def _represented(self, value: Any, msg: Message, represent: Callable[[Any], str] = repr) -> str:
        try:
            return represent(_visible(value, msg))
        except Exception as error:
            return f"({self._not_shown(error, msg)})"

    def _not_shown(self, error: Exception, msg: Message) -> str:
        """The reason why a value can't be shown: the exception's type and, if the sender may read it, its text."""
        kind = f"can't be shown: {type(error).__name__}"
        return f"{kind}: {masker(str(error))}" if self._sees_details(msg) else kind


def _refused(error: PluginError, summary: str, text: str = "") -> CommandError:
    """A CommandError with the error's text, or the summary and `text`; a DetailedError if that repeats an exception."""
    text = f"{summary}{text}" if text else plain_lines(str(error))
    return DetailedError(text, summary) if error.repeats_exception else CommandError(text)


def _literal(text: str) -> Any:
    """The value that a Python literal means; raises ValueError with a reason."""
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST} characters")
    try:
        value = ast.literal_eval(text)
        # A number may be too long to be shown ever after.
        repr(value)
    except (SyntaxError, TypeError) as error:
        raise ValueError(str(error)) from error
    except (MemoryError, RecursionError) as error:
        raise ValueError("it is nested too deep") from error
    except ValueError as error:
        # Python's own words are about its syntax tree.
        if "digits" in str(error):
            raise
        raise ValueError("expected a Python literal such as {'TOKEN': 'abc', 'ROOMS': ['#a']}") from error
    return value


def _visible(value: Any, msg: Message, secret: bool = False) -> Any:
    """The value as the asker may see it: whole in a private chat, without its secrets where others read along."""
    return value if msg.is_direct else mask_values(value, secret)
