"""The commands that can be given now."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from errklein.commands.declaration import CommandDeclaration


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


class CommandRegistry:
    """The commands by name. Plugins add and remove theirs from any thread; lookups need no lock."""

    def __init__(self) -> None:
        self._commands: dict[str, RegisteredCommand] = {}
        self._lock = threading.Lock()
        self.most_words = 0
        """How many words the longest name has had; names are matched up to that length."""

    def add(self, owner: str, handlers: Iterable[Callable[..., Any]]) -> list[str]:
        """Register the handlers that are declared as commands; returns a sentence for each that had to be renamed.

        A name that another plugin has is kept by that one; the newcomer's becomes "<plugin>-<name>".
        """
        clashes = []
        with self._lock:
            for handler in handlers:
                declaration = CommandDeclaration.of(handler)
                if declaration is None:
                    continue
                name = declaration.name
                holder = self._commands.get(name)
                if holder is not None and holder.owner != owner:
                    name = f"{owner}-{name}".lower()
                    clashes.append(
                        f"{owner}.{declaration.name} clashes with {holder.owner}.{declaration.name} "
                        f"so it has been renamed {name}"
                    )
                self._commands[name] = RegisteredCommand(owner, name, declaration, handler, _yields(handler))
                self.most_words = max(self.most_words, name.count("_") + 1)
        return clashes

    def remove(self, owner: str) -> None:
        """Forget all commands of a plugin."""
        with self._lock:
            for name in [name for name, command in self._commands.items() if command.owner == owner]:
                del self._commands[name]

    def get(self, name: str) -> RegisteredCommand | None:
        """The command of that name, if there is one."""
        return self._commands.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._commands

    def __iter__(self) -> Iterator[RegisteredCommand]:
        with self._lock:
            return iter(sorted(self._commands.values(), key=lambda command: command.name))


def _yields(handler: Callable[..., Any]) -> bool:
    function = handler.__func__ if inspect.ismethod(handler) else handler
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
