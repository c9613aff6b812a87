"""The active plugins' commands and filters, and the look-up of a command by the beginning of a text."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from operator import attrgetter
from typing import Any

from errklein.commands._declaration import CommandDeclaration, is_admin_by_default, joined
from errklein.text import code, plain
from errklein.text.suggestions import most_similar

_rank = attrgetter("rank")


def find_command(text: str, names: Container[str], most_words: int) -> tuple[str, str] | None:
    """Return the longest command name that the text begins with, and the arguments after it, as they are, or None. The text may
    have spaces where the name has underscores. `most_words` is the number of words in the longest name."""
    words = text.split(None, most_words)[:most_words]
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count])
        if name in names:
            return name, "".join(text.split(None, count)[count:])
    return None


def unknown_command(text: str, names: Collection[str], prefix: str) -> str:
    """Return the Markdown reply to an unknown command, with suggestions from `names` that resemble the text's first
    words. If the text is the beginning of several names, as "plugin" is, the reply lists these. If another word follows
    such a beginning, the reply lists them, too, with the closest first."""

    def quoted(name: str) -> str:
        return f'"{plain(prefix + name)}"'

    words = text.split()
    spaced = {name.replace("_", " ").lower(): name.replace("_", " ") for name in names}
    longest = max((name.count(" ") for name in spaced), default=0)
    for count in range(min(len(words), longest), 0, -1):
        begun = " ".join(words[:count])
        begins = f"{begun.lower()} "
        after = {lower.removeprefix(begins): name for lower, name in spaced.items() if lower.startswith(begins)}
        if not after:
            continue
        closest = after.pop(most_similar(words[count], after), "") if count < len(words) else ""
        kind, listed = "Others" if closest else "Commands", ", ".join(map(quoted, after.values()))
        others = f"{kind} that begin with {quoted(begun)}: {listed}." if after else ""
        if count == len(words):
            return others
        meant = f"Did you mean {quoted(closest)}? " if closest else ""
        return f'Command "{plain(f"{begun} {words[count]}")}" not found.\n\n{meant}{others}'.rstrip()
    attempts = dict.fromkeys((" ".join(words[:1]), " ".join(words[:2])))
    shown = " / ".join(f'"{plain(attempt)}"' for attempt in attempts)
    meant = " or ".join(map(quoted, similar_commands(text, names)))
    return f"Command {shown} not found." + (f"\n\nDid you mean {meant}?" if meant else "")


def similar_commands(text: str, names: Collection[str]) -> list[str]:
    words, spaced = text.lower().split(), {name.replace("_", " ").lower(): name.replace("_", " ") for name in names}
    attempts = {" ".join(words[:1]), " ".join(words[:2])}
    return list(dict.fromkeys(spaced[name] for one in sorted(attempts) for name in get_close_matches(one, spaced)))


def command_hint(prefix: str) -> str:
    listed = f"{code(f'{prefix}help')} lists them."
    return f"Commands begin with {code(prefix)}; {listed}" if prefix else f"Commands: {listed}"


@dataclass(frozen=True, eq=False)
class RegisteredCommand:
    """A command of an active plugin: its declaration and the method `handler` of the plugin named `owner`. `yields` is whether
    each item of a generator is a reply. `name` differs from the declaration's if it was renamed because of a clash."""

    owner: str
    name: str
    declaration: CommandDeclaration
    handler: Callable[..., Any]
    instance: object = None  # that of the plugin: those created at run time may have the name of another plugin
    rank: int = 0  # the plugin's number in the order of activation: the lower one keeps a name that two commands have
    yields: bool = field(init=False)
    core: bool = field(init=False)  # whether it is the core's, which doesn't wait for threads and commands of plugins
    needs_admin: bool = field(init=False)  # whether the command is for administrators, always or by default

    def __post_init__(self) -> None:
        function = _function(self.handler)
        yields = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        object.__setattr__(self, "yields", yields)
        object.__setattr__(self, "core", bool(getattr(self.handler, "_errklein_core", False)))
        needs_admin = self.declaration.admin_only or is_admin_by_default(self.handler)
        object.__setattr__(self, "needs_admin", needs_admin)


class CommandRegistry:
    """The commands of all active plugins, by name. Commands are added and removed in any thread. Lookups take no lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # These are replaced and never modified, since other threads read them without the lock.
        self._named: dict[str, RegisteredCommand] = {}
        self._patterns: dict[str, RegisteredCommand] = {}
        self._by_name: dict[str, RegisteredCommand] = {}
        self.by_pattern: tuple[RegisteredCommand, ...] = ()  # the commands with a pattern, in the order of activation
        self.unprefixed: tuple[RegisteredCommand, ...] = ()  # those of them that require no prefix
        self.most_words = 0  # the number of words in the longest name or alias
        self._next = 0

    @property
    def named(self) -> dict[str, RegisteredCommand]:
        """A copy of the commands without a pattern, by name."""
        return dict(self._named)

    def add(
        self, owner: str, handlers: Iterable[Callable[..., Any]], instance: object = None, rank: int | None = None
    ) -> list[str]:
        """Register those handlers that are declared as commands; return a sentence for each clash. `rank` is the plugin's number
        in the order of activation, by default the next one. Of two commands with the same name, the one with the higher number
        is renamed to "<plugin>-<name>", which is also stored in its function. An alias that is taken is left out."""
        clashes: list[str] = []
        with self._lock:
            rank = self._next if rank is None else rank
            self._next = max(self._next, rank + 1)
            named, patterns = dict(self._named), dict(self._patterns)
            waiting = deque(
                RegisteredCommand(owner, declaration.name, declaration, handler, instance, rank)
                for handler in handlers
                if (declaration := CommandDeclaration.of(handler)) is not None
            )
            added = []
            while waiting:
                command = waiting.popleft()
                command, displaced = _put(command, named if command.declaration.pattern is None else patterns, clashes)
                added.append(command)
                if displaced is not None:
                    waiting.append(displaced)
            before = self._by_name
            self._settle(named, patterns)
            clashes += self._aliases_left_out(added, before)
        return clashes

    def remove(self, owner: str, instance: object = None) -> None:
        def remaining(commands: dict[str, RegisteredCommand]) -> dict[str, RegisteredCommand]:
            return {name: one for name, one in commands.items() if one.owner != owner or one.instance is not instance}

        with self._lock:
            self._settle(remaining(self._named), remaining(self._patterns))

    def assign(self, name: str, handler: Callable[..., Any] | None, *, by_pattern: bool) -> None:
        """Let the name stand for that handler only, or for none. Raises ValueError if it isn't declared as a command."""
        with self._lock:
            named, patterns = dict(self._named), dict(self._patterns)
            commands = patterns if by_pattern else named
            commands.pop(name, None)
            if handler is not None:
                known = next((one for one in self if one.handler == handler), None)
                declaration = known.declaration if known else CommandDeclaration.of(handler)
                if declaration is None:
                    raise ValueError(f"the handler of {name} must be decorated as a command")
                instance = getattr(handler, "__self__", None)
                owner = str(getattr(instance, "name", ""))
                new = RegisteredCommand(owner, name, declaration, handler, instance, self._next)
                commands[name] = replace(known, name=name) if known else new
            self._settle(named, patterns)

    def get(self, name: str) -> RegisteredCommand | None:
        """Return the command with that name or alias, or None. Commands with a pattern aren't found."""
        return self._by_name.get(name)

    def begins(self, text: str) -> tuple[RegisteredCommand, str] | None:
        """Return the command with whose name or alias the text begins, and the arguments after it; see `find_command`."""
        names = self._by_name
        found = find_command(text, names, self.most_words)
        return None if found is None else (names[found[0]], found[1])

    def find(self, name: str) -> RegisteredCommand | None:
        """Return the command with that name or alias, commands with a pattern included, or None."""
        return self._by_name.get(name) or self._patterns.get(name)

    def __iter__(self) -> Iterator[RegisteredCommand]:
        return iter(sorted([*self._named.values(), *self._patterns.values()], key=lambda command: command.name))

    def _aliases_left_out(
        self, added: Sequence[RegisteredCommand], before: Mapping[str, RegisteredCommand]
    ) -> Iterator[str]:
        """Yield a sentence for each alias that an added command doesn't get, or takes from a command in `before`."""
        for command in added:
            for alias in command.declaration.aliases:
                other, loser = self._by_name[alias], command
                if other is command and (had := before.get(alias)) is not None and alias in had.declaration.aliases:
                    loser = had
                if other is not loser and self._named.get(loser.name) is loser:
                    yield (
                        f"The alias {alias} of {loser.owner}.{loser.name} is ignored: "
                        f"{other.owner}.{other.name} has that name"
                    )

    def _settle(self, named: dict[str, RegisteredCommand], patterns: dict[str, RegisteredCommand]) -> None:
        given: dict[str, RegisteredCommand] = {}
        for command in sorted((one for one in named.values() if one.declaration.aliases), key=_rank):
            for alias in command.declaration.aliases:
                given.setdefault(alias, command)
        given.update(named)
        self._named, self._patterns, self._by_name = named, patterns, given
        self.by_pattern = tuple(sorted(patterns.values(), key=_rank))
        self.unprefixed = tuple(command for command in self.by_pattern if not command.declaration.prefixed)
        self.most_words = max((name.count("_") + 1 for name in given), default=0)


def _put(
    command: RegisteredCommand, commands: dict[str, RegisteredCommand], clashes: list[str]
) -> tuple[RegisteredCommand, RegisteredCommand | None]:
    """Add the command to `commands`; if a command with a lower rank has its name, renamed, with a sentence in `clashes`. Returns
    the command with its final name, and the command that it displaced, which needs another name, or None."""
    name, first, displaced = command.name, None, None
    while (other := commands.get(name)) is not None:
        # A plugin registers the same method again if it is activated once more.
        if other.owner == command.owner and _function(other.handler) is _function(command.handler):
            break
        if other.rank > command.rank:
            displaced = other
            break
        first = first or other
        name = joined(f"{command.owner}-{name}".lower())
    if first is not None:
        clashes.append(
            f"{command.owner}.{command.name} clashes with {first.owner}.{first.declaration.name} "
            f"so it has been renamed {name}"
        )
        _function(command.handler)._err_command_name = name
        command = replace(command, name=name, declaration=replace(command.declaration, name=name))
    commands[name] = command
    return command, displaced


_MARKS = ("_err_command_filter", "catch_unprocessed")


@dataclass(frozen=True, eq=False)
class RegisteredFilter:
    """A filter of the plugin named `owner`. Filters are called in the order of `rank`, that of activation: those that `decides`
    marks for commands, those that `catches` marks for messages with a prefix that match no command."""

    owner: str
    handler: Callable[..., Any]
    decides: bool
    catches: bool
    rank: int


class FilterRegistry:
    """The filters of all active plugins, in the order of activation. It may be used in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._filters: tuple[RegisteredFilter, ...] = ()
        self.all: tuple[RegisteredFilter, ...] = ()  # the filters of commands
        self.unprocessed: tuple[RegisteredFilter, ...] = ()  # those of unknown commands (`catch_unprocessed=True`)

    def add(self, owner: str, handlers: Iterable[Callable[..., Any]], rank: int) -> None:
        """Register those handlers that are marked as filters, in place of the plugin's earlier ones."""
        added = []
        for handler in handlers:
            decides, catches = (bool(getattr(handler, mark, False)) for mark in _MARKS)
            if decides or catches:
                added.append(RegisteredFilter(owner, handler, decides, catches, rank))
        self._change(lambda filters: [one for one in filters if one.owner != owner] + added)

    def remove(self, owner: str, instance: object = None) -> None:
        def gone(one: RegisteredFilter) -> bool:
            return one.owner == owner and (instance is None or getattr(one.handler, "__self__", None) is instance)

        self._change(lambda filters: [one for one in filters if not gone(one)])

    def assign(self, handlers: Iterable[Callable[..., Any]]) -> None:
        """Unregister all other filters, and register those of the handlers that aren't."""
        known = {one.handler: one for one in self._filters}
        new = (RegisteredFilter("", one, True, bool(getattr(one, _MARKS[1], False)), 0) for one in handlers)
        assigned = [known.get(one.handler, one) for one in new]
        self._change(lambda filters: assigned)

    def _change(self, change: Callable[[tuple[RegisteredFilter, ...]], list[RegisteredFilter]]) -> None:
        with self._lock:
            self._filters = tuple(sorted(change(self._filters), key=_rank))
            self.all = tuple(one for one in self._filters if one.decides)
            self.unprocessed = tuple(one for one in self._filters if one.catches)


def _function(handler: Any) -> Any:
    return handler.__func__ if inspect.ismethod(handler) else handler
