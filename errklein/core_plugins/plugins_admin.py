"""The commands `!plugin …`, which configure, activate, reload and inspect plugins."""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable
from pprint import pformat
from typing import Any, TypeVar

from errklein.chat import Message
from errklein.commands import CommandError, botcmd
from errklein.commands.operations import Actor
from errklein.core_plugins.repos_commands import ReposCommands
from errklein.dispatch import DetailedError
from errklein.plugins.operations import not_shown
from errklein.plugins.plugin import Plugin, PluginConfigurationException, PluginError
from errklein.text import code, fenced, plain, plain_lines, truncated

T = TypeVar("T")

_SHOWN = 500
_LONGEST = 100_000
"""Maximum number of characters of a configuration. Parsing a longer one would block the reactor."""
_UNKNOWN = "unknown, since the disk doesn't respond"


class Plugins(ReposCommands):
    """Configure, activate and reload plugins, and install repositories of plugins."""

    @botcmd(admin_only=True, historize=False)
    async def plugin_config(self, msg: Message, args: str) -> str:
        """Show or set the configuration of a plugin.

        Usage: !plugin config PLUGIN [CONFIGURATION]

        CONFIGURATION is a Python literal, as in !plugin config Example {'TOKEN': 'abc'}
        """
        name, literal = [*args.split(maxsplit=1), "", ""][:2]
        by, plugin = self.actor(msg), self._existing(self._named(name, "configure"))
        if self.host.plugin_manager.is_blacklisted(name):
            unblacklist = code(f"{self.host.prefix}plugin unblacklist {name}")
            return f"{name} is blacklisted; use {unblacklist} first."
        try:
            template, stored = await self.host.plugins.configuration(by, name)
        except PluginError as error:
            raise _refused(error, f"{name}.get_configuration_template failed") from error
        if plugin.instance is None:
            summary = f"{name} could not be loaded"
            raise DetailedError(f"{summary}: {plain(plugin.problem)}", summary)
        if template is None:
            return f"{name} is not configurable."
        if not literal:
            command = f"{self.host.prefix}plugin config {name}"
            reply = "Default configuration (paste and adapt this command):\n\n" + fenced(
                f"{command} {pformat(template)}"
            )
            if stored is not None:
                reply += f"\n\nCurrent configuration:\n\n{fenced(f'{command} {_represented(stored, by, pformat)}')}"
            return reply
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
            await self.host.plugins.configure(by, name, configuration)
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
        await _done(self.host.plugins.activate(self.actor(msg), name), f"{name} could not be activated")
        return f"Plugin {name} activated."

    @botcmd(admin_only=True)
    async def plugin_deactivate(self, msg: Message, args: str) -> str:
        """Deactivate a plugin, its commands and its webhooks.

        Usage: !plugin deactivate PLUGIN

        The bot activates it again at its next start. To prevent that, use !plugin blacklist.
        """
        name = self._named(args, "deactivate")
        await _done(self.host.plugins.deactivate(self.actor(msg), name), f"{name} could not be deactivated")
        return f"Plugin {name} deactivated."

    @botcmd(admin_only=True)
    async def plugin_reload(self, msg: Message, args: str) -> str:
        """Reload the code of a plugin.

        Usage: !plugin reload PLUGIN

        An inactive plugin stays inactive.
        """
        name = self._named(args, "reload")
        is_active = await _done(self.host.plugins.reload(self.actor(msg), name), f"{name} could not be reloaded")
        activate = code(f"{self.host.prefix}plugin activate {name}")
        return f"Plugin {name} reloaded." + ("" if is_active else f" It is inactive; use {activate} to activate it.")

    @botcmd(admin_only=True)
    async def plugin_blacklist(self, msg: Message, args: str) -> str:
        """Deactivate a plugin now and at every start.

        Usage: !plugin blacklist PLUGIN
        """
        name = self._named(args, "blacklist")
        is_new = await _done(self.host.plugins.blacklist(self.actor(msg), name), f"{name} could not be deactivated")
        return f"Plugin {name} is {'now' if is_new else 'already'} blacklisted."

    @botcmd(admin_only=True)
    async def plugin_unblacklist(self, msg: Message, args: str) -> str:
        """Activate a blacklisted plugin now and at every start.

        Usage: !plugin unblacklist PLUGIN
        """
        by, name = self.actor(msg), self._named(args, "unblacklist")
        if not await _done(self.host.plugins.unblacklist(by, name), ""):
            return f"Plugin {name} is not blacklisted."
        reply = f"Plugin {name} removed from blacklist."
        try:
            if any(plugin.name == name and not plugin.active for plugin in self.host.plugin_manager.found):
                await self.host.plugins.activate(by, name)
        except PluginError as error:
            refused = _refused(error, f"{name} could not be activated")
            text = (
                self._disclosed(msg, str(refused), refused.summary) if isinstance(refused, DetailedError) else refused
            )
            return f"{reply}\n\n{text}"
        return reply

    @botcmd(admin_only=True)
    async def plugin_info(self, msg: Message, args: str) -> str:
        """Show a plugin's files, state, configuration and stored data.

        Usage: !plugin info PLUGIN

        Secrets and stored values are masked except in private.
        """
        by = self.actor(msg)
        found = await _done(self.host.plugins.plugin(by, self._named(args, "show")), "")
        plugin, changes = found.plugin, found.changes
        rows = {
            "name": plugin.name,
            "description": plugin.plug.description,
            "module": plugin.plug.module,
            "file": str(plugin.plug.module_path),
            "class": "" if plugin.instance is None else type(plugin.instance).__qualname__,
            "log": f"errbot.plugins.{plugin.name}",
            "depends on": ", ".join(plugin.plug.depends_on) or "nothing",
            "state": found.state.name.lower(),
            "problems": found.remark,
            "changed after loading": ", ".join(changes.changed) if changes else _UNKNOWN,
            "removed after loading": ", ".join(changes.removed) if changes else "",
            "configuration": "" if found.configuration is None else _represented(found.configuration, by),
            **{f"stored {key}": value for key, value in found.stored},
            "stored under other keys": f"{found.more} more values" if found.more else "",
        }
        lines = [f"- {code(name)}: {code(truncated(str(value), _SHOWN))}" for name, value in rows.items() if value]
        return self.render("plugin_info", {"path": code(str(plugin.plug.path)), "lines": lines})

    def _named(self, args: str, verb: str) -> str:
        """Return the name of a plugin in the arguments. Raises CommandError with all names if it is missing."""
        name = args.strip()
        if not name:
            names = "\n".join(f"- {plugin.name}" for plugin in self.host.plugin_manager.found)
            raise CommandError(f"Please name the plugin to {verb}:\n\n{names}")
        return name

    def _existing(self, name: str) -> Plugin:
        try:
            return self.host.plugin_manager.plugin(name)
        except PluginError as error:
            raise CommandError(plain_lines(str(error))) from error


async def _done(operation: Awaitable[T], summary: str) -> T:
    """Return the result of the operation. A PluginError becomes a CommandError; see `_refused`."""
    try:
        return await operation
    except PluginError as error:
        raise _refused(error, summary) from error


def _represented(value: Any, by: Actor, represent: Callable[[Any], str] = repr) -> str:
    try:
        return represent(value)
    except Exception as error:
        return f"({not_shown(error, by)})"


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
