"""Operations: what administrators do with the bot, in a chat, on the command line or on a web page. An operation is a
function or method beside what it changes. It takes the `Actor` who performs it, and returns values, which each caller
formats. Its `Guard` is the chat command whose access rules and filters decide who may perform it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Actor:
    """Who performs an operation.

    :param name: The person in a chat, or the user of the shell, for the log.
    :param reads_details: Whether only an administrator reads the result, which may then contain the texts of exceptions.
    """

    name: str
    reads_details: bool = False


@dataclass(frozen=True)
class Guard:
    """The chat command that guards an operation.

    :param command: The name of the command, such as "webhook_pause".
    :param parameters: The parameters of the operation that are the command's arguments, in order; or options such as "--confirm".
    """

    command: str
    parameters: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Guard | None:
        """Return the guard of an operation; None for any other function."""
        guard: Guard | None = getattr(function, "_errklein_guard", None)
        return guard

    def arguments(self, **values: object) -> str:
        """Return the command's arguments for the values of the parameters. Items of a sequence are separated by spaces."""
        texts = [name if name.startswith("-") else values[name] for name in self.parameters]
        return " ".join(text if isinstance(text, str) else " ".join(map(str, _items(text))) for text in texts).strip()


def operation(command: str, *parameters: str) -> Callable[[F], F]:
    """Mark a function or method as an operation that the command guards; see `Guard`."""

    def mark(function: F) -> F:
        function._errklein_guard = Guard(command, parameters)  # type: ignore[attr-defined]
        return function

    return mark


def _items(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else () if value is None else (value,)
