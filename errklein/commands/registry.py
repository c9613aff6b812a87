"""The commands that can be given now, and what looks at them before they run."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from errklein.commands.declaration import CommandDeclaration, joined


@dataclass(frozen=True, eq=False)
class RegisteredCommand:
    """A declaration bound to the method that answers: `handler` of the plugin `owner`, given in chat as `name`.

    `yields` says that the handler is a generator, whose items are answers each.
    """

    owner: str
    name: str
    declaration: CommandDeclaration
    handler: Callable[..., Any]
    yields: bool = False
    instance: object = None
    """The plugin itself. Plugins that are made at run time may have the name of another one."""


class CommandRegistry:
    """The commands by name. Plugins add and remove theirs from any thread; lookups need no lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced by new ones and never changed, since other threads read them.
        self._named: dict[str, RegisteredCommand] = {}
        self._patterns: dict[str, RegisteredCommand] = {}
        self._given: dict[str, RegisteredCommand] = {}
        self.by_pattern: tuple[RegisteredCommand, ...] = ()
        """The commands that are given by what a pattern is found in, in the order in which they were registered."""
        self.overheard: tuple[RegisteredCommand, ...] = ()
        """Those of them that need no prefix."""
        self.most_words = 0
        """How many words the longest name has; names are matched up to that length."""

    @property
    def named(self) -> dict[str, RegisteredCommand]:
        """The commands that are given by their names."""
        return dict(self._named)

    def add(self, owner: str, handlers: Iterable[Callable[..., Any]], instance: object = None) -> list[str]:
        """Register the handlers that are declared as commands; returns a sentence for each that had to be renamed.

        A name that is taken is kept by the one that has it; the newcomer's becomes "<plugin>-<name>", and its function
        is marked with that name from then on. An alias that is taken is left out, and a sentence is returned for it too.
        """
        clashes: list[str] = []
        with self._lock:
            named, patterns = dict(self._named), dict(self._patterns)
            added = []
            for handler in handlers:
                declaration = CommandDeclaration.of(handler)
                if declaration is None:
                    continue
                commands = named if declaration.pattern is None else patterns
                name = declaration.name
                holders = []
                while (holder := commands.get(name)) is not None and not _same_method(holder, owner, handler):
                    holders.append(holder)
                    name = joined(f"{owner}-{name}".lower())
                if holders:
                    clashes.append(
                        f"{owner}.{declaration.name} clashes with {holders[0].owner}.{declaration.name} "
                        f"so it has been renamed {name}"
                    )
                    _function(handler)._err_command_name = name
                    declaration = replace(declaration, name=name)
                command = RegisteredCommand(owner, declaration.name, declaration, handler, _yields(handler), instance)
                commands[command.name] = command
                added.append(command)
            self._settle(named, patterns)
            for command in added:
                for alias in command.declaration.aliases:
                    holder = self._given[alias]
                    if holder is not command:
                        clashes.append(
                            f"{alias}, another name of {owner}.{command.name}, is left out: it is a name of "
                            f"{holder.owner}.{holder.name}"
                        )
        return clashes

    def remove(self, owner: str, instance: object = None) -> None:
        """Forget all commands of a plugin."""
        with self._lock:
            self._settle(*(_without(commands, owner, instance) for commands in (self._named, self._patterns)))

    def get(self, name: str) -> RegisteredCommand | None:
        """The command that is given by that name or alias, if there is one."""
        return self._given.get(name)

    def find(self, name: str) -> RegisteredCommand | None:
        """As `get`, and commands that are given by a pattern as well."""
        return self._given.get(name) or self._patterns.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def __iter__(self) -> Iterator[RegisteredCommand]:
        """All commands, by name."""
        return iter(sorted([*self._named.values(), *self._patterns.values()], key=lambda command: command.name))

    def _settle(self, named: dict[str, RegisteredCommand], patterns: dict[str, RegisteredCommand]) -> None:
        given: dict[str, RegisteredCommand] = {}
        for command in named.values():
            for alias in command.declaration.aliases:
                given.setdefault(alias, command)
        given.update(named)
        self._named, self._patterns, self._given = named, patterns, given
        self.by_pattern = tuple(patterns.values())
        self.overheard = tuple(command for command in self.by_pattern if not command.declaration.prefixed)
        self.most_words = max((name.count("_") + 1 for name in given), default=0)


def _without(commands: dict[str, RegisteredCommand], owner: str, instance: object) -> dict[str, RegisteredCommand]:
    return {
        name: command
        for name, command in commands.items()
        if command.owner != owner or command.instance is not instance
    }


_MARKS = ("_err_command_filter", "catch_unprocessed")


@dataclass(frozen=True, eq=False)
class RegisteredFilter:
    """A method of the plugin `owner` that sees commands, as `decides` says, or, as `catches` does, what isn't one."""

    owner: str
    handler: Callable[..., Any]
    decides: bool
    catches: bool


class FilterRegistry:
    """The filters, in the order in which their plugins were activated. Used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: tuple[RegisteredFilter, ...] = ()
        self.all: tuple[RegisteredFilter, ...] = ()
        """Those that see commands."""
        self.catching: tuple[RegisteredFilter, ...] = ()
        """Those that see what isn't a command."""

    def add(self, owner: str, handlers: Iterable[Callable[..., Any]]) -> None:
        """Register the handlers that are marked as filters, or as what only sees what isn't a command."""
        added = []
        for handler in handlers:
            decides, catches = (bool(getattr(handler, mark, False)) for mark in _MARKS)
            if decides or catches:
                added.append(RegisteredFilter(owner, handler, decides, catches))
        self._change(lambda held: [one for one in held if one.owner != owner] + added)

    def remove(self, owner: str, instance: object = None) -> None:
        """Forget all filters of a plugin; of that instance alone, if it is given."""

        def gone(one: RegisteredFilter) -> bool:
            return one.owner == owner and (instance is None or getattr(one.handler, "__self__", None) is instance)

        self._change(lambda held: [one for one in held if not gone(one)])

    def _change(self, change: Callable[[tuple[RegisteredFilter, ...]], list[RegisteredFilter]]) -> None:
        with self._lock:
            self._held = tuple(change(self._held))
            self.all = tuple(one for one in self._held if one.decides)
            self.catching = tuple(one for one in self._held if one.catches)


def _same_method(holder: RegisteredCommand, owner: str, handler: Callable[..., Any]) -> bool:
    """Whether a plugin registers the same method once more, as it does when it is activated twice."""
    return holder.owner == owner and _function(holder.handler) is _function(handler)


def _function(handler: Any) -> Any:
    return handler.__func__ if inspect.ismethod(handler) else handler


def _yields(handler: Callable[..., Any]) -> bool:
    function = _function(handler)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
