"""Operations: what administrators do with the bot, in a chat, on the command line or on a web page. An operation is a
function or method beside what it changes. It takes the `Actor` who performs it, and returns values, which each caller
formats. Its `Guard` is the chat command whose access rules and filters decide who may perform it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from typing import Any, TypeVar, cast

from errklein.text import truncated
from errklein.text.masking import masker

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST = 200  # the characters of arguments that are noted


@dataclass(frozen=True)
class Actor:
    """Who performs an operation: a person in a chat, or a user of the shell, by name. `note` stores a command and its arguments
    before its operation changes something; None if nothing is to be stored."""

    name: str
    reads_details: bool = False  # whether only an administrator reads the result, and texts of exceptions in it
    note: Callable[[str, str], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Guard:
    """The chat command that guards an operation. `parameters` are those of the operation that are the command's arguments, in
    order; or options such as "--confirm". `changes` is whether the operation changes something, which is noted."""

    command: str
    parameters: tuple[str, ...]
    changes: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Guard | None:
        """Return the guard of an operation; None for any other function."""
        guard: Guard | None = getattr(function, "_errklein_guard", None)
        return guard

    def arguments(self, /, **values: object) -> str:
        """Return the command's arguments for the values of the parameters. Items of a sequence are separated by spaces."""
        texts = [name if name.startswith("-") else values[name] for name in self.parameters]
        return " ".join(text if isinstance(text, str) else " ".join(map(str, _items(text))) for text in texts).strip()


def operation(command: str, *parameters: str, changes: bool = False, hidden: Sequence[str] = ()) -> Callable[[F], F]:
    """Mark a function or method as an operation that the command guards; see `Guard`. If it changes something, it is noted before it
    begins, unless its argument `dry` is true, and without the parameters in `hidden`, which may be secret."""

    def mark(function: F) -> F:
        guard, its = Guard(command, parameters, changes), signature(function)

        @wraps(function)
        def perform(*args: Any, **kwargs: Any) -> Any:
            (given := its.bind(*args, **kwargs)).apply_defaults()
            values = given.arguments
            if (note := values["by"].note) is not None and not values.get("dry"):
                shown = {name: "…" if name in hidden else value for name, value in values.items()}
                note(command, truncated(masker(guard.arguments(**shown)), _LONGEST))
            return function(*args, **kwargs)

        made = cast(F, perform) if changes else function
        made._errklein_guard = guard  # type: ignore[attr-defined]
        return made

    return mark


def _items(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else () if value is None else (value,)
