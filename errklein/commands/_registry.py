"""The commands that can be given now, and what looks at them before they run."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from errklein.commands._declaration import CommandDeclaration, joined


@dataclass(frozen=True, eq=False)
class RegisteredCommand:
    """A declaration bound to the method `handler` of the plugin `owner`; if it `yields`, each item is an answer."""

    owner: str
    name: str
    declaration: CommandDeclaration
    handler: Callable[..., Any]
    yields: bool = False
    instance: object = None
    """The plugin itself. Plugins that are made at run time may have the name of another one."""
    place: int = 0
    """The plugin's number in the order of activation. Of two commands of one name, the one with the lower place keeps it."""


class CommandRegistry:
    """The commands by name. Plugins add and remove theirs from any thread; lookups need no lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced by new ones and never changed, since other threads read them.
        self._named: dict[str, RegisteredCommand] = {}
        self._patterns: dict[str, RegisteredCommand] = {}
        self._by_name: dict[str, RegisteredCommand] = {}
        self.by_pattern: tuple[RegisteredCommand, ...] = ()
        """The commands with a pattern instead of a name, in the order of their places."""
        self.unprefixed: tuple[RegisteredCommand, ...] = ()
        """Those of them that need no prefix."""
        self.most_words = 0
        """How many words the longest name has; names are matched up to that length."""
        self._next = 0

    @property
    def named(self) -> dict[str, RegisteredCommand]:
        """The commands that are given by their names."""
        return dict(self._named)

    def add(
        self, owner: str, handlers: Iterable[Callable[..., Any]], instance: object = None, place: int | None = None
    ) -> list[str]:
        """Register the handlers that are declared as commands; returns a sentence for each that had to be renamed.

        `place` is the plugin's number in the order of activation, by default the next one. A name that is taken is kept
        by the command with the lower place; the other becomes "<plugin>-<name>", and its function is marked with that
        name from then on. An alias that is taken is left out, and a sentence is returned for it too.
        """
        clashes: list[str] = []
        with self._lock:
            place = self._next if place is None else place
            self._next = max(self._next, place + 1)
            named, patterns = dict(self._named), dict(self._patterns)
            waiting = deque(
                RegisteredCommand(owner, declaration.name, declaration, handler, _yields(handler), instance, place)
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
        """Forget all commands of a plugin."""
        with self._lock:
            self._settle(*(_without(commands, owner, instance) for commands in (self._named, self._patterns)))

    def get(self, name: str) -> RegisteredCommand | None:
        """The command that is given by that name or alias, if there is one."""
        return self._by_name.get(name)

    def find(self, name: str) -> RegisteredCommand | None:
        """As `get`, and commands that are given by a pattern as well."""
        return self._by_name.get(name) or self._patterns.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[RegisteredCommand]:
        """All commands, by name."""
        return iter(sorted([*self._named.values(), *self._patterns.values()], key=lambda command: command.name))

    def _aliases_left_out(
        self, added: Sequence[RegisteredCommand], before: Mapping[str, RegisteredCommand]
    ) -> Iterator[str]:
        """A sentence for each alias that an added command doesn't get, or takes from the command that had it `before`."""
        for command in added:
            for alias in command.declaration.aliases:
                holder, loser = self._by_name[alias], command
                if holder is command and (had := before.get(alias)) is not None and alias in had.declaration.aliases:
                    loser = had
                if holder is not loser and self._named.get(loser.name) is loser:
                    yield (
                        f"{alias}, another name of {loser.owner}.{loser.name}, is left out: it is a name of "
                        f"{holder.owner}.{holder.name}"
                    )

    def _settle(self, named: dict[str, RegisteredCommand], patterns: dict[str, RegisteredCommand]) -> None:
        given: dict[str, RegisteredCommand] = {}
        for command in sorted((one for one in named.values() if one.declaration.aliases), key=_place):
            for alias in command.declaration.aliases:
                given.setdefault(alias, command)
        given.update(named)
        self._named, self._patterns, self._by_name = named, patterns, given
        self.by_pattern = tuple(sorted(patterns.values(), key=_place))
        self.unprefixed = tuple(command for command in self.by_pattern if not command.declaration.prefixed)
        self.most_words = max((name.count("_") + 1 for name in given), default=0)


def _put(
    command: RegisteredCommand, commands: dict[str, RegisteredCommand], clashes: list[str]
) -> tuple[RegisteredCommand, RegisteredCommand | None]:
    """Add the command to `commands`, under another name if its own is taken by a command with a lower place.

    Returns the command with its final name, and the command that it displaced, which needs another name, or None. Appends a
    sentence to `clashes` if it was renamed.
    """
    name, first, displaced = command.name, None, None
    while (holder := commands.get(name)) is not None and not _same_method(holder, command.owner, command.handler):
        if holder.place > command.place:
            displaced = holder
            break
        first = first or holder
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


def _without(commands: dict[str, RegisteredCommand], owner: str, instance: object) -> dict[str, RegisteredCommand]:
    return {
        name: command
        for name, command in commands.items()
        if command.owner != owner or command.instance is not instance
    }


_MARKS = ("_err_command_filter", "catch_unprocessed")


@dataclass(frozen=True, eq=False)
class RegisteredFilter:
    """A filter of the plugin `owner`, called in the order of `place`: for commands (`decides`), others (`catches`).."""

    owner: str
    handler: Callable[..., Any]
    decides: bool
    catches: bool
    place: int


def _place(one: RegisteredCommand | RegisteredFilter) -> int:
    return one.place


class FilterRegistry:
    """The filters, in the order of their plugins' places. Used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: tuple[RegisteredFilter, ...] = ()
        self.all: tuple[RegisteredFilter, ...] = ()
        """Those that see commands."""
        self.unprocessed: tuple[RegisteredFilter, ...] = ()
        """Those that see what isn't a command."""

    def add(self, owner: str, handlers: Iterable[Callable[..., Any]], place: int) -> None:
        """Register the handlers marked as filters; `place` is the plugin's number in the order of activation."""
        added = []
        for handler in handlers:
            decides, catches = (bool(getattr(handler, mark, False)) for mark in _MARKS)
            if decides or catches:
                added.append(RegisteredFilter(owner, handler, decides, catches, place))
        self._change(lambda held: [one for one in held if one.owner != owner] + added)

    def remove(self, owner: str, instance: object = None) -> None:
        """Forget all filters of a plugin; of that instance alone, if it is given."""

        def gone(one: RegisteredFilter) -> bool:
            return one.owner == owner and (instance is None or getattr(one.handler, "__self__", None) is instance)

        self._change(lambda held: [one for one in held if not gone(one)])

    def _change(self, change: Callable[[tuple[RegisteredFilter, ...]], list[RegisteredFilter]]) -> None:
        with self._lock:
            self._held = tuple(sorted(change(self._held), key=_place))
            self.all = tuple(one for one in self._held if one.decides)
            self.unprocessed = tuple(one for one in self._held if one.catches)


def _same_method(holder: RegisteredCommand, owner: str, handler: Callable[..., Any]) -> bool:
    """Whether a plugin registers the same method once more, as it does when it is activated twice."""
    return holder.owner == owner and _function(holder.handler) is _function(handler)


def _function(handler: Any) -> Any:
    return handler.__func__ if inspect.ismethod(handler) else handler


def _yields(handler: Callable[..., Any]) -> bool:
    function = _function(handler)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
