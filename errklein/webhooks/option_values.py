"""Checks of the options of webhooks, for the decorator and for the operator's settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from errklein.text.suggestions import did_you_mean
from errklein.verify import Verification
from errklein.webhooks.errors import InvalidOption
from errklein.webhooks.rates import Rate, duration_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_HEADER = re.compile(r"header:[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MOST_SECONDS = 366 * 86400


def check_methods(value: Any) -> tuple[str, ...]:
    """Return HTTP methods in upper case. A string is one method."""
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, (tuple, list, set, frozenset)) or not given:
        raise InvalidOption("HTTP methods such as ('POST',)", value)
    for method in given:
        if not isinstance(method, str) or method.upper() not in METHODS:
            hint = did_you_mean(method, METHODS) if isinstance(method, str) else ""
            raise InvalidOption(f"HTTP methods among {', '.join(METHODS)}", method, hint)
    return tuple(dict.fromkeys(method.upper() for method in given))


def _verify(value: Any) -> Verification:
    if not isinstance(value, Verification):
        # The value may be the secret itself.
        raise InvalidOption("a verification such as errklein.verify.github(secret='env:NAME')", type(value))
    return value


def _where(is_valid: Callable[[Any], object], expected: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not is_valid(value):
            raise InvalidOption(expected, value)
        return value

    return check


def _is_dedupe(value: Any) -> bool:
    return value in ("id", "content") or (isinstance(value, str) and _HEADER.fullmatch(value) is not None)


def _window(value: Any) -> float:
    seconds: Any = duration_of(value) if isinstance(value, str) else value
    if not is_number(seconds, (int, float)) or not 0 < seconds <= _MOST_SECONDS:
        raise InvalidOption("seconds, or a text such as '300s', '10min', '12h' or '3d', at most 366 days", value)
    return float(seconds)


def _timeout(value: Any) -> float:
    if not is_number(value, (int, float)) or not 0 < value < float("inf"):
        raise InvalidOption("a number of seconds, more than 0", value)
    return float(value)


def _rule(value: Any) -> Any:
    if not isinstance(value, str):
        methods = isinstance(value, (list, tuple)) and value and all(str(one).upper() in METHODS for one in value)
        hint = f"; write @webhook(methods={value!r})" if methods else "; write @webhook('/builds')"
        raise InvalidOption("a path such as '/builds'", value, hint)
    return value


def _are_texts(value: Any) -> bool:
    is_several = isinstance(value, Collection) and all(isinstance(one, str) for one in value)
    return value is None or is_several


def is_number(value: Any, kinds: Any) -> bool:
    """Return whether the value is a number of these types. True and False aren't."""
    return isinstance(value, kinds) and not isinstance(value, bool)


_whole = _where(lambda value: is_number(value, int) and value >= 1, "a whole number, at least 1")
# errbot takes any value as true or false; a text or a list is a mistake.
_flag = _where(lambda value: isinstance(value, int), "True or False")

CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "ack": _where(lambda value: value in ("after", "now"), "'after' or 'now'"),
    "attempts": _whole,
    "dedupe": _where(_is_dedupe, "'id', 'content' or 'header:NAME'"),
    "dedupe_window": _window,
    "max_body": _whole,
    "methods": check_methods,
    "ordered": _where(lambda value: isinstance(value, bool), "True or False"),
    "rate": Rate.of,
    "timeout": _timeout,
    "verify": _verify,
}
"""The options that an operator may set too. Each check returns the value as it is used, or raises InvalidOption."""

ARGUMENTS: Mapping[str, Callable[[Any], Any]] = {
    **CHECKS,
    "form_param": _where(lambda value: isinstance(value, str), "the name of a field, such as 'payload'"),
    "methods": _where(_are_texts, "HTTP methods such as ['POST']"),
    "raw": _flag,
    "threaded": _flag,
    "uri_rule": _rule,
}
"""The arguments of the decorator, where plugins may use any HTTP method."""

_NEVER_NONE = frozenset({"ack", "methods", "ordered"})


def check_option(name: str, value: Any, checks: Mapping[str, Callable[[Any], Any]] = CHECKS) -> Any:
    """Return an option's value as it is used; None where that means the default. Raises InvalidOption."""
    if value is None and name not in _NEVER_NONE:
        return None
    try:
        return checks[name](value)
    except InvalidOption as error:
        error.option = name
        raise


def check_together(options: Mapping[str, Any]) -> None:
    """Check options, with checked values, that require others. Raises InvalidOption."""
    given: Callable[[str], Any] = options.get
    needs_now: Sequence[str] = [name for name in ("attempts", "ordered") if given(name)]
    if needs_now and given("ack") != "now":
        raise InvalidOption(f"ack='now' for {needs_now[0]}", given("ack"))
    if given("dedupe_window") and not given("dedupe"):
        raise InvalidOption("dedupe='id', 'content' or 'header:NAME' for dedupe_window", given("dedupe"))
    verify = given("verify")
    if given("dedupe") == "id" and (verify is None or verify.delivery_id is None):
        raise InvalidOption(
            "a verification of a source that gives its deliveries ids, for dedupe='id'", verify and verify.scheme
        )
