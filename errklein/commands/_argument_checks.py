"""Checks of the arguments of decorators. The errors name the method, the argument, and a valid call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TEXT = (str, type(None))
# errbot takes any value as true or false; a text or a list is a mistake.
_FLAG = (bool, int, type(None))

_OPTIONS: Mapping[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(
        ("admin_only", "catch_unprocessed", "flow_only", "hidden", "matchall", "threaded"), (_FLAG, "True")
    ),
    **dict.fromkeys(("historize", "prefixed", "unpack_args"), (_FLAG, "False")),
    "aliases": ((tuple, list, set, frozenset), "('plus', 'sum')"),
    "flags": ((int,), "re.IGNORECASE"),
    "name": (_TEXT, "'add up'"),
    "pattern": ((str, re.Pattern), "r'^close #(\\d+)$'"),
    "re_cmd_name_help": (_TEXT, "'close #NUMBER'"),
    "split_args_with": (_TEXT, "None"),
    "syntax": (_TEXT, "'[NAME]'"),
    "template": (_TEXT, "'status'"),
}
"""The types of options, and an example."""


def check_values(decorator: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option with an invalid value."""
    for name, value in options.items():
        types, example = _OPTIONS[name]
        valid = isinstance(value, types)
        if name == "split_args_with":
            valid = valid or callable(value) or hasattr(value, "parse_args")
        elif name == "aliases":
            valid = valid and all(isinstance(alias, str) for alias in value)
        elif name == "pattern":
            valid = valid and not isinstance(getattr(value, "pattern", ""), bytes)
        if not valid:
            raise _error(decorator, function, f"invalid {name}: {value!r}", f"{name}={example}")


def applied(decorator: str, given: Sequence[Any], declare: Callable[[Any], Any], example: str = "") -> Any:
    """Return the decorated function, or without one the decorator.

    :param given: The positional arguments: none, or the function.
    :param example: Options of a valid call, for the error.
    :raises TypeError: There are other positional arguments. If none is a function, it is raised for the method.
    """
    if not given:
        return declare
    if len(given) == 1 and callable(given[0]):
        return declare(given[0])

    def refuse(function: Any) -> Any:
        others = ", ".join(repr(one) for one in given if one is not function)
        raise _error(decorator, function, f"unexpected argument {others}; options have names", example)

    return refuse(given[0]) if callable(given[0]) else refuse


def _error(decorator: str, function: Any, reason: str, example: str) -> TypeError:
    name = getattr(function, "__qualname__", repr(function))
    return TypeError(f"@{decorator} on {name}: {reason}; write @{decorator}{example and f'({example})'}")
