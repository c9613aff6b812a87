"""`!help`, `!apropos` and `!about`."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Sequence

from errklein._version import __version__
from errklein.chat import Message
from errklein.commands import RegisteredCommand, botcmd, documentation, with_prefix
from errklein.core_plugins import CorePlugin
from errklein.plugins.names import plugin_name
from errklein.text import code, plain, plain_lines

_LONGEST = 80
"""Characters of a description in a list."""
_UNDOCUMENTED = "(undocumented)"


class Help(CorePlugin):
    """Tells what the bot can do."""

    @botcmd
    async def about(self, msg: Message, args: str) -> str:
        """Say which version of errklein this is."""
        values = {"version": __version__, "python_version": platform.python_version(), "prefix": self._bot.prefix}
        return self._bot.process_template("about", values, self.name)

    @botcmd
    async def apropos(self, msg: Message, args: str) -> str:
        """List the commands whose name or description contains a word."""
        term = args.strip().lower()
        if not term:
            return f"Usage: {self._bot.prefix}apropos search_term"
        found = [
            command
            for command in await self._permitted(msg)
            if not command.declaration.hidden
            and term in f"{self._written(command)} {command.name} {self._documented(command)}".lower()
        ]
        if not found:
            return f"Nothing is known about {code(term)}."
        return "Available commands:\n\n" + "\n".join(self._line(command, ": ") for command in found)

    @botcmd
    async def help(self, msg: Message, args: str) -> str:
        """List all commands, those of one plugin, or describe one command."""
        wanted = args.strip()
        if not wanted:
            shown = [command for command in await self._permitted(msg) if not command.declaration.hidden]
            owners = sorted({command.owner for command in shown}, key=str.lower)
            return "\n\n".join(["## All commands", *(self._of_plugin(owner, shown) for owner in owners)])
        owners = sorted({command.owner for command in self._bot.registry if command.owner.lower() == wanted.lower()})
        permitted = await self._permitted(msg)
        # A command of that name is described if it is asked for with the prefix.
        if owners:
            return "\n\n".join(self._of_plugin(owner, permitted) for owner in owners)
        named = [self._described(command) for command in self._named(wanted, permitted)]
        # Two lists in a row would be one.
        return f"- {named[0]}" if len(named) == 1 else "\n\n".join(named) or "That command is not defined."

    async def _permitted(self, msg: Message) -> Sequence[RegisteredCommand]:
        """The commands that whoever asks may be shown, by name."""
        commands = list(self._bot.registry)
        if self._bot.bot_config.networks[self._bot.backend.network].HIDE_RESTRICTED_COMMANDS:
            return [command for command in commands if await self._bot.dispatcher.permissions.permits(msg, command)]
        return commands

    def _named(self, wanted: str, commands: Sequence[RegisteredCommand]) -> list[RegisteredCommand]:
        """Those of the commands that have that name, which may be written with a prefix, spaces and in another case."""
        wanted = wanted.removeprefix(self._bot.prefix).strip()
        name = "_".join(wanted.split())
        exact = [command for command in commands if name == command.name]
        return exact or [
            command
            for command in commands
            if name.lower() in (command.name.lower(), *(alias.lower() for alias in command.declaration.aliases))
            or wanted.lower() in self._as_pattern(command)
        ]

    def _as_pattern(self, command: RegisteredCommand) -> tuple[str, ...]:
        """How a command is written in help that is given by a pattern, in small letters."""
        declared = command.declaration
        if declared.pattern is None:
            return ()
        return tuple(text.lower() for text in (declared.pattern.pattern, declared.shown) if text)

    def _of_plugin(self, name: str, commands: Sequence[RegisteredCommand]) -> str:
        its = [command for command in commands if command.owner == name]
        # Plugins that others have made at run time are known by their commands only.
        instances: list[object] = [one for one in self._bot.plugin_manager.active() if plugin_name(one) == name]
        instances += [command.handler.__self__ for command in its if inspect.ismethod(command.handler)]
        described = ""
        if instances:
            cls = type(instances[0])
            described = getattr(cls, "__errdoc__", None) or inspect.cleandoc(cls.__doc__ or "")
        lines = [self._line(command) for command in its]
        return "\n\n".join(part for part in (f"**{plain(name)}**", described.strip(), "\n".join(lines)) if part)

    def _described(self, command: RegisteredCommand) -> str:
        documented = self._documented(command) or _UNDOCUMENTED
        if getattr(command.handler, "_err_arg_command", False):
            # Written by argparse, which knows no Markdown.
            documented = plain_lines(documented)
        parts = [f"**{plain(self._written(command))}** - {documented}"]
        if command.declaration.aliases:
            names = ", ".join(code(self._bot.prefix + alias.replace("_", " ")) for alias in command.declaration.aliases)
            parts.append(f"Other names: {names}")
        return "\n\n".join(parts)

    def _documented(self, command: RegisteredCommand) -> str:
        return with_prefix(documentation(command.handler), self._bot.prefix)

    def _written(self, command: RegisteredCommand) -> str:
        """The command as it is given in a chat, or what stands for its pattern."""
        declared = command.declaration
        if declared.pattern is None:
            return f"{self._bot.prefix}{command.name.replace('_', ' ')}"
        prefix = self._bot.prefix if declared.prefixed else ""
        return prefix + (declared.shown or declared.pattern.pattern)

    def _line(self, command: RegisteredCommand, between: str = " - ") -> str:
        described = self._documented(command).partition("\n")[0] or _UNDOCUMENTED
        if len(described) > _LONGEST:
            described = described[: _LONGEST - 3] + "..."
        return "- " + plain(f"{self._written(command)}{between}{described}")
