"""Checks of the arguments of decorators. The errors name the method, the argument, and a valid call."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

_TEXT = (str, type(None))
# errbot takes any value as true or false; a text or a list is a mistake.
_FLAG = (bool, int, type(None))

_OPTIONS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "admin_only": (_FLAG, "True"),
    "catch_unprocessed": (_FLAG, "True"),
    "flags": ((int,), "re.IGNORECASE"),
    "flow_only": (_FLAG, "True"),
    "hidden": (_FLAG, "True"),
    "historize": (_FLAG, "False"),
    "matchall": (_FLAG, "True"),
    "name": (_TEXT, "'add up'"),
    "pattern": ((str, re.Pattern), "r'^close #(\\d+)$'"),
    "prefixed": (_FLAG, "False"),
    "re_cmd_name_help": (_TEXT, "'close #NUMBER'"),
    "syntax": (_TEXT, "'[NAME]'"),
    "template": (_TEXT, "'status'"),
    "threaded": (_FLAG, "True"),
    "unpack_args": (_FLAG, "False"),
}
"""The types of options, and an example."""


def check_values(decorator: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option with a value of another type."""
    for name, value in options.items():
        if name == "aliases":
            is_several = isinstance(value, Collection) and not isinstance(value, str)
            if not is_several or not all(isinstance(alias, str) for alias in value):
                example = f"({value!r},)" if isinstance(value, str) else "('plus', 'sum')"
                raise _error(
                    decorator, function, f"aliases must be a tuple of names, not {value!r}", f"aliases={example}"
                )
        elif name == "split_args_with":
            if not (isinstance(value, _TEXT) or callable(value) or hasattr(value, "parse_args")):
                reason = f"split_args_with must be a separator, None for whitespace, or a function, not {value!r}"
                raise _error(decorator, function, reason, "split_args_with=None")
        elif name in _OPTIONS:
            types, example = _OPTIONS[name]
            if not isinstance(value, types) or isinstance(getattr(value, "pattern", ""), bytes):
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
