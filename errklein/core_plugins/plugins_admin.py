"""The commands `!plugin …`, which configure, activate, reload and inspect plugins."""

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
from errklein.plugins.changed_files import FileChanges
from errklein.plugins.plugin import Plugin, PluginConfigurationException, PluginError
from errklein.text import code, fenced, plain, plain_lines, truncated
from errklein.text.masking import mask_values, masker

_SHOWN = 500
_LONGEST = 100_000
"""Maximum number of characters of a configuration. Parsing a longer one would block the reactor."""
_MOST_STORED = 50


class Plugins(ReposCommands):
    """Configure, activate and reload plugins, and install repositories of plugins."""

    @botcmd(admin_only=True, historize=False)
    async def plugin_config(self, msg: Message, args: str) -> str:
        """Show or set the configuration of a plugin.

        Usage: !plugin config PLUGIN [CONFIGURATION]

        CONFIGURATION is a Python literal, as in !plugin config Example {'TOKEN': 'abc'}
        """
        name, literal = [*args.split(maxsplit=1), "", ""][:2]
        plugin = self._existing(self._named(name, "configure"))
        if self._bot.plugin_manager.is_blacklisted(name):
            unblacklist = code(f"{self._bot.prefix}plugin unblacklist {name}")
            return f"{name} is blacklisted; use {unblacklist} first."
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
                f"The given configuration looks fishy: it must be a {type(template).__name__} such as "
                f"{code(repr(template))}, not a {type(configuration).__name__}."
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
        """Activate a plugin.

        Usage: !plugin activate PLUGIN
        """
        name = self._named(args, "activate")
        await self._do(self._bot.plugin_manager.activate, name, "activated")
        return f"Plugin {name} activated."

    @botcmd(admin_only=True)
    async def plugin_deactivate(self, msg: Message, args: str) -> str:
        """Deactivate a plugin, its commands and its webhooks.

        Usage: !plugin deactivate PLUGIN

        The bot activates it again at its next start. To prevent that, use !plugin blacklist.
        """
        name = self._named(args, "deactivate")
        await self._do(self._bot.plugin_manager.deactivate, name, "deactivated")
        return f"Plugin {name} deactivated."

    @botcmd(admin_only=True)
    async def plugin_reload(self, msg: Message, args: str) -> str:
        """Reload the code of a plugin.

        Usage: !plugin reload PLUGIN

        An inactive plugin stays inactive.
        """
        name = self._named(args, "reload")
        await self._do(self._bot.plugin_manager.reload, name, "reloaded")
        reply = f"Plugin {name} reloaded."
        if not self._existing(name).active:
            reply += f" It is inactive; use {code(f'{self._bot.prefix}plugin activate {name}')} to activate it."
        return reply

    @botcmd(admin_only=True)
    async def plugin_blacklist(self, msg: Message, args: str) -> str:
        """Deactivate a plugin now and at every start.

        Usage: !plugin blacklist PLUGIN
        """
        plugin = self._existing(self._named(args, "blacklist"))
        if plugin.instance is self:
            raise CommandError(f"The plugin {plugin.name} can't be blacklisted: it provides the command to undo that.")
        reply = self._bot.plugin_manager.blacklist(plugin.name)
        if self._bot.plugin_manager.is_active_or_late(plugin):
            await self._do(self._bot.plugin_manager.deactivate, plugin.name, "deactivated")
        return reply

    @botcmd(admin_only=True)
    async def plugin_unblacklist(self, msg: Message, args: str) -> str:
        """Activate a blacklisted plugin now and at every start.

        Usage: !plugin unblacklist PLUGIN
        """
        manager = self._bot.plugin_manager
        name = self._named(args, "unblacklist")
        if not manager.is_blacklisted(name):
            # The blacklist may contain a plugin that was removed.
            return manager.unblacklist(self._existing(name).name)
        reply = manager.unblacklist(name)
        plugin = next((plugin for plugin in manager.found if plugin.name == name), None)
        try:
            if plugin is not None and not plugin.active:
                await manager.activate(name)
        except PluginError as error:
            refused = _refused(error, f"{name} could not be activated")
            if isinstance(refused, DetailedError):
                return f"{reply}\n\n{self._disclosed(msg, str(refused), refused.summary)}"
            return f"{reply}\n\n{refused}"
        return reply

    @botcmd(admin_only=True)
    async def plugin_info(self, msg: Message, args: str) -> str:
        """Show a plugin's files, state, configuration and stored data.

        Usage: !plugin info PLUGIN

        Secrets and stored values are masked except in private.
        """
        plugin = self._existing(self._named(args, "show"))
        manager = self._bot.plugin_manager
        configuration = manager.configuration(plugin.name)
        found = await manager.changed_files.find([plugin.plug])
        changes = FileChanges(["unknown, since the disk doesn't respond"]) if found is None else found.get(plugin.name)
        rows = {
            "name": plugin.name,
            "description": plugin.plug.description,
            "module": plugin.plug.module,
            "file": str(plugin.plug.module_path),
            "class": "" if plugin.instance is None else type(plugin.instance).__qualname__,
            "log": f"errbot.plugins.{plugin.name}",
            "depends on": ", ".join(plugin.plug.depends_on) or "nothing",
            "state": manager.status.state(plugin).name.lower(),
            "problems": manager.status.remark(plugin, details=self._sees_details(msg)),
            "changed after loading": ", ".join(changes.changed) if changes else "",
            "removed after loading": ", ".join(changes.removed) if changes else "",
            "configuration": "" if configuration is None else self._represented(configuration, msg),
        }
        for key, value in self._stored(plugin, msg):
            rows[f"stored {key}"] = value
        lines = [f"- {code(name)}: {code(truncated(str(value), _SHOWN))}" for name, value in rows.items() if value]
        return self._bot.process_template("plugin_info", {"path": code(str(plugin.plug.path)), "lines": lines})

    def _named(self, args: str, verb: str) -> str:
        """Return the name of a plugin in the arguments. Raises CommandError with all names if it is missing."""
        name = args.strip()
        if not name:
            names = "\n".join(f"- {plugin.name}" for plugin in self._bot.plugin_manager.found)
            raise CommandError(f"Please name the plugin to {verb}:\n\n{names}")
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
        reply = "Default configuration (paste and adapt this command):\n\n" + fenced(f"{command} {pformat(template)}")
        configuration = self._bot.plugin_manager.configuration(name)
        if configuration is not None:
            shown = f"{command} {self._represented(configuration, msg, pformat)}"
            reply += f"\n\nCurrent configuration:\n\n{fenced(shown)}"
        return reply

    def _stored(self, plugin: Plugin, msg: Message) -> Iterator[tuple[str, str]]:
        """Yield at most _MOST_STORED keys and values, masked for the sender; a last pair counts the others."""
        instance = plugin.instance
        if instance is None or not BotPlugin.is_open_storage(instance):
            return
        keys = list(instance)
        for key in keys[:_MOST_STORED]:
            try:
                yield repr(key), repr(_visible(instance[key], msg, secret=True))
            except Exception as error:
                # The key may have been removed meanwhile, the value may be unreadable, or its repr may raise.
                yield repr(key), self._not_shown(error, msg)
        if len(keys) > _MOST_STORED:
            yield "under other keys", f"{len(keys) - _MOST_STORED} more values"

    def _represented(self, value: Any, msg: Message, represent: Callable[[Any], str] = repr) -> str:
        try:
            return represent(_visible(value, msg))
        except Exception as error:
            return f"({self._not_shown(error, msg)})"

    def _not_shown(self, error: Exception, msg: Message) -> str:
        """Return why a value can't be shown: the exception's type and, if the sender may read it, its text."""
        kind = f"can't be shown: {type(error).__name__}"
        return f"{kind}: {masker(str(error))}" if self._sees_details(msg) else kind


def _refused(error: PluginError, summary: str, text: str = "") -> CommandError:
    """Return a CommandError with the error's text, or with the summary and `text` if that is given.

    It is a DetailedError if the text contains that of a plugin's exception.
    """
    text = f"{summary}{text}" if text else plain_lines(str(error))
    return DetailedError(text, summary) if error.repeats_exception else CommandError(text)


def _literal(text: str) -> Any:
    """Return the value of a Python literal. Raises ValueError with a reason."""
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST} characters")
    try:
        value = ast.literal_eval(text)
        # Python refuses to show numbers with too many digits.
        repr(value)
    except (SyntaxError, TypeError) as error:
        raise ValueError(str(error)) from error
    except (MemoryError, RecursionError) as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        # Python's message describes its syntax tree.
        if "digits" in str(error):
            raise
        raise ValueError("expected a Python literal such as {'TOKEN': 'abc', 'ROOMS': ['#a']}") from error
    return value


def _visible(value: Any, msg: Message, secret: bool = False) -> Any:
    """Return the value unchanged for a direct message, else with its secrets masked."""
    return value if msg.is_direct else mask_values(value, secret)
