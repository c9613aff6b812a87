"""The `!help`, `!apropos` and `!about` commands, and replies to unknown commands."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import groupby
from math import inf
from typing import Any

from errklein._version import __version__
from errklein.chat import Message
from errklein.commands import RegisteredCommand, botcmd, command_hint
from errklein.core_plugins import CorePlugin
from errklein.dispatch.replies import HasOwnReplies
from errklein.plugins.plug_file import plugin_name
from errklein.ports.chat import Backend
from errklein.running import RateLimit
from errklein.running.context import person_origin
from errklein.text import code, plain, plain_lines

_LONGEST = 80  # characters of a description in a list
_UNDOCUMENTED = "(undocumented)"
_GREETINGS = frozenset(("hello", "help"))


class Help(CorePlugin):
    """Describe plugins and their commands.

    With HIDE_RESTRICTED_COMMANDS, replies contain only commands that the sender may use."""

    @botcmd
    async def about(self, msg: Message, args: str) -> str:
        """Show the versions of errklein and Python."""
        values = {"version": __version__, "python_version": platform.python_version(), "prefix": self.host.prefix}
        return self.render("about", values)

    @botcmd(syntax="TEXT")
    async def apropos(self, msg: Message, args: str) -> str:
        """Search the names and descriptions of commands."""
        term = args.strip().lower()
        if not term:
            return f"Usage: {self.host.prefix}apropos TEXT"
        found = [
            command
            for command in _listed(await self._permitted(msg))
            if term in f"{self._written(command)} {command.name} {self._documented(command)}".lower()
        ]
        if not found:
            return f"No command matches {code(term)}."
        return "Available commands:\n\n" + "\n".join(self._line(command, ": ") for command in found)

    @botcmd(syntax="[PLUGIN | COMMAND]")
    async def help(self, msg: Message, args: str) -> str:
        """List all commands, or describe a plugin or command.

        The first words of several commands list those commands. If a plugin and a command have the same name, write the
        command with its prefix."""
        topic = args.strip()
        permitted = await self._permitted(msg)
        listed = _listed(permitted)
        if not topic:
            return self._overview(listed)
        active = map(plugin_name, self.host.plugin_manager.active())
        names = {command.owner for command in self.host.dispatcher.registry}.union(active)
        owners = sorted(name for name in names if name.lower() == topic.lower())
        if owners:
            # As on errbot, it lists commands that are declared as hidden unless restricted ones are left out.
            shown = listed if self.host.config.HIDE_RESTRICTED_COMMANDS else permitted
            return "\n\n".join(self._of_plugin(owner, shown) for owner in owners)
        if named := [self._described(command) for command in self._named(topic, permitted)]:
            # Two lists in a row would be one.
            return f"- {named[0]}" if len(named) == 1 else "\n\n".join(named)
        if group := self._beginning_with(topic, listed):
            return "\n".join(self._line(command) for command in group)
        return self._not_defined(topic, listed)

    async def _permitted(self, msg: Message) -> Sequence[RegisteredCommand]:
        commands = list(self.host.dispatcher.registry)
        if self.host.config.HIDE_RESTRICTED_COMMANDS:
            return [command for command in commands if await self.host.dispatcher.permissions.permits(msg, command)]
        return commands

    def _overview(self, commands: Sequence[RegisteredCommand]) -> str:
        """Return the operator's plugins with a line for each command, then a line for each core plugin."""
        core_plugins = {plugin.name for plugin in self.host.plugin_manager.found if plugin.plug.core}
        own, core = [], []
        for owner in sorted({command.owner for command in commands}, key=str.lower):
            if owner in core_plugins:
                core.append(f"- {plain(owner)}: {plain(', '.join(self._compact(_of(owner, commands))))}")
            else:
                own.append(self._of_plugin(owner, commands, short=True))
        parts = ["## All commands", *own, *(["**Core plugins**", "\n".join(core)] if core else [])]
        topics = " or ".join(code(f"{self.host.prefix}help {topic}") for topic in ("PLUGIN", "COMMAND"))
        return "\n\n".join([*parts, f"For details, use {topics}."])

    def _compact(self, commands: Sequence[RegisteredCommand]) -> Iterator[str]:
        """Yield the commands as written in a chat, those with the same first word as one: "!log on|off"."""
        prefix = self.host.prefix
        written = [self._written(command).removeprefix(prefix) for command in commands]
        for first, group in groupby(written, lambda words: words.partition(" ")[0]):
            rest = [words.partition(" ")[2] for words in group]
            others = "|".join(filter(None, rest))
            optional = len(rest) > 1 and "" in rest
            yield f"{prefix}{first} {f'[{others}]' if optional else others}".rstrip()

    def _of_plugin(self, name: str, commands: Sequence[RegisteredCommand], *, short: bool = False) -> str:
        """Return the plugin's name, its description and a line for each command; `short` cuts the description."""
        its = _of(name, commands)
        # Plugins that others create at run time are known by their commands only.
        instances: list[object] = [one for one in self.host.plugin_manager.active() if plugin_name(one) == name]
        instances += [command.handler.__self__ for command in its if inspect.ismethod(command.handler)]
        described = ""
        if instances:
            cls = type(instances[0])
            described = (getattr(cls, "__errdoc__", None) or inspect.cleandoc(cls.__doc__ or "")).strip()
        lines = "\n".join(map(self._line, its))
        if short:
            head = f"**{plain(name)}**" + (f": {plain(_summary(described))}" if described else "")
            return f"{head}\n\n{lines}"
        return "\n\n".join(part for part in (f"**{plain(name)}**", described, lines) if part)

    def _named(self, topic: str, commands: Sequence[RegisteredCommand]) -> list[RegisteredCommand]:
        """Return the commands with that name, alias or pattern; the case matters only if several names differ in it."""
        topic = topic.removeprefix(self.host.prefix).strip()
        name = "_".join(topic.split())
        exact = [command for command in commands if name == command.name]
        return exact or [
            command
            for command in commands
            if name.lower() in (command.name.lower(), *(alias.lower() for alias in command.declaration.aliases))
            or topic.lower() in (text.lower() for text in self._patterns(command) if text)
        ]

    def _patterns(self, command: RegisteredCommand) -> tuple[str | None, ...]:
        declared = command.declaration
        return () if declared.pattern is None else (declared.pattern.pattern, declared.re_cmd_name_help)

    def _beginning_with(self, topic: str, commands: Sequence[RegisteredCommand]) -> list[RegisteredCommand]:
        start = " ".join(topic.removeprefix(self.host.prefix).lower().split()) + " "
        return [command for command in commands if command.name.replace("_", " ").lower().startswith(start)]

    def _not_defined(self, topic: str, commands: Sequence[RegisteredCommand]) -> str:
        reply = "That command is not defined."
        found = [one for one in self.host.plugin_manager.found if one.name.lower() == topic.lower()]
        if inactive := [one.name for one in found if not one.active]:
            return f"{reply} The plugin {inactive[0]} is inactive; see {code(f'{self.host.prefix}status plugins')}."
        topics = [command.name.replace("_", " ") for command in commands if command.declaration.pattern is None]
        topics += sorted({command.owner for command in commands})
        known = {name.lower(): name for name in reversed(topics)}
        if near := get_close_matches(topic.removeprefix(self.host.prefix).lower(), known):
            reply += f" Did you mean {' or '.join(code(f'{self.host.prefix}help {known[name]}') for name in near)}?"
        return reply

    def _described(self, command: RegisteredCommand) -> str:
        documented = self._documented(command) or _UNDOCUMENTED
        if getattr(command.handler, "_err_arg_command", False):
            # argparse writes plain text, not Markdown.
            documented = plain_lines(documented)
        parts = [f"**{plain(self._written(command))}** - {documented}"]
        if command.declaration.aliases:
            names = ", ".join(code(self.host.prefix + alias.replace("_", " ")) for alias in command.declaration.aliases)
            parts.append(f"Other names: {names}")
        return "\n\n".join(parts)

    def _documented(self, command: RegisteredCommand) -> str:
        # Plugins may replace it.
        documented = str(self._bot.get_doc(command.handler))
        return "" if documented == _UNDOCUMENTED else documented

    def _written(self, command: RegisteredCommand) -> str:
        """Return the command as written in a chat, or the text that stands for its pattern."""
        declared = command.declaration
        if declared.pattern is None:
            return f"{self.host.prefix}{command.name.replace('_', ' ')}"
        prefix = self.host.prefix if declared.prefixed else ""
        return prefix + (declared.re_cmd_name_help or declared.pattern.pattern)

    def _line(self, command: RegisteredCommand, between: str = " - ") -> str:
        # The docstring of a command with declared arguments begins with its usage.
        parser = getattr(command.handler, "_err_command_parser", None)
        documented = self._documented(command) if parser is None else inspect.cleandoc(parser.description or "")
        return "- " + plain(f"{self._written(command)}{between}{_summary(documented) or _UNDOCUMENTED}")


def _listed(commands: Sequence[RegisteredCommand]) -> list[RegisteredCommand]:
    return [command for command in commands if not command.declaration.hidden]


def _of(owner: str, commands: Sequence[RegisteredCommand]) -> list[RegisteredCommand]:
    return [command for command in commands if command.owner == owner]


def _summary(text: str) -> str:
    """Return the first paragraph in one line, cut after a word if it is longer than _LONGEST characters."""
    line = " ".join(text.strip().partition("\n\n")[0].split())
    if len(line) <= _LONGEST:
        return line
    head = line[:_LONGEST]
    words = head.rpartition(" ")[0]
    # Some languages have no spaces between words.
    return (words if len(words) > _LONGEST // 2 else head[:-1]).rstrip(" ,;:") + "…"


class CommandNotFoundFilter(CorePlugin):
    """Reply to unknown commands with suggestions, unless SUPPRESS_CMD_NOT_FOUND is True.

    Punctuation such as `!!!` or `!?` isn't a command, and gets no reply."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self._hints = RateLimit(bot.reactor.seconds, inf, 10_000)

    def activate(self) -> None:
        super().activate()
        self.host.dispatcher.hint = self.hint

    def deactivate(self) -> None:
        vars(self.host.dispatcher).pop("hint", None)
        super().deactivate()

    def hint(self, backend: Backend, message: Message) -> str | None:
        """Explain commands once to each person who sends "hello" or "help" in private, unless others read such messages."""
        if message.body.strip(" !.?").lower() not in _GREETINGS or not message.is_direct:
            return None
        settings = self.host.config
        if (
            settings.BOT_PREFIX_OPTIONAL_ON_CHAT
            or settings.SUPPRESS_CMD_NOT_FOUND
            or settings.CHATROOM_RELAY
            or self.host.plugins_read_messages
            or not self._hints.allows(person_origin(backend.network, message.frm))
        ):
            return None
        return command_hint(settings.BOT_PREFIX)

    async def unknown(self, msg: Message, cmd: None, args: Any, dry_run: bool, emptycmd: bool = True) -> str:
        backend = self.host.networks.current
        if self.host.config.SUPPRESS_CMD_NOT_FOUND:
            return ""
        text = self.host.dispatcher.finder.without_prefix(msg)
        if not any(map(str.isalnum, text)):
            return ""
        name, _, rest = text.partition(" ")
        method = self._bot.unknown_command
        if isinstance(backend, HasOwnReplies):
            # The backend's own method may block.
            reply: str = await self._bot.runner.run(method, msg, name, rest)
        else:
            reply = method(msg, name, rest)
        return reply

    # `@cmdfilter` would also call it for every known command, which would slow down all commands.
    unknown.catch_unprocessed = True  # type: ignore[attr-defined]
