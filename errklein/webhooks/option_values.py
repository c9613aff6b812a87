"""The values of the options of webhooks: their checks, for the decorator and for the operator's settings, and their
errors. Rates are texts such as "10/s", and durations such as "10min"."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from errklein.text.errors import InvalidValue
from errklein.text.suggestions import did_you_mean
from errklein.verify import ImmediateResponse, Verification, parse_reference, references

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_DEDUPE = re.compile(r"id|content|header:[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MOST_SECONDS = 366 * 86400
_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_DURATION = re.compile(r"([0-9]{1,9})(s|m|min|h|d|w)")
_DURATIONS = {**_SECONDS, "m": 60, "d": 86400, "w": 604800}


class HookError(ValueError):
    """A webhook can't be served. The text is one line that names it, and contains no secret."""


class InvalidOption(InvalidValue, ValueError):
    """An option of a webhook is invalid. The arguments are a description of valid values, and the invalid one as it is shown: of a
    collection only the type, since it may contain secrets; and a hint that follows, such as a suggestion."""

    option = ""  # the name of the option, with which the text begins

    def __init__(self, expected: str, given: object, hint: str = "") -> None:
        kind = given if isinstance(given, type) else type(given)
        shown = repr(given) if isinstance(given, (str, int, float, type(None))) else f"a {kind.__name__}"
        super().__init__(expected, shown + hint)

    def __str__(self) -> str:
        expected, given = self.args
        return f"{self.option and self.option + ': '}expected {expected}, not {given}"


def duration_of(text: str) -> int | None:
    """Return the seconds of a duration such as "300s", "10min" or "10m", "12h", "3d" or "1w"; None if the text is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _DURATIONS[match[2]] if match else None


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests in a period of `seconds`. After a pause, `count` of them may arrive at once."""

    count: int
    seconds: int

    @classmethod
    def of(cls, text: object) -> Rate:
        """Return the rate of a text such as "10/s", "100/min" or "1000/h"; raise InvalidOption."""
        match = _RATE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidOption("a rate such as '10/s', '100/min' or '1000/h'", text)
        return cls(int(match[1]), _SECONDS[match[2]])

    def __str__(self) -> str:
        return f"{self.count}/{next(unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)}"

    @property
    def interval(self) -> float:
        """The seconds in which one request is allowed."""
        return self.seconds / self.count


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


def where(is_valid: Callable[[Any], object], expected: str) -> Callable[[Any], Any]:
    """Return a check of valid values, which are used as they are."""

    def check(value: Any) -> Any:
        if not is_valid(value):
            raise InvalidOption(expected, value)
        return value

    return check


def _secret(value: Any) -> tuple[str, ...]:
    try:
        given = references(value)
        for one in given:
            parse_reference(one)
    except ValueError:
        # It may be the secret itself.
        raise InvalidOption("a reference such as 'env:GH_SECRET', or several", type(value)) from None
    return given


def _response(value: Any) -> ImmediateResponse:
    expected = (
        "a status from 200 to 299, a text, a dict that can be JSON, or one of these and a status, such as ('ok', 201)"
    )
    body, status = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, 200)
    if is_number(value, int):
        body, status = "", value
    try:
        content = json.dumps(body, ensure_ascii=False, allow_nan=False) if isinstance(body, dict) else body
    except (TypeError, ValueError):
        content = None
    if not isinstance(content, str) or not is_number(status, int) or not 200 <= status <= 299:
        raise InvalidOption(expected, value)
    if content and status in (204, 205):
        raise InvalidOption(f"no text with the status {status}, which has no body", content)
    kind = b"application/json" if isinstance(body, dict) else b"text/plain; charset=utf-8"
    return ImmediateResponse(status, ((b"Content-Type", kind),) if content else (), content.encode())


def _events(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not _are_texts(value) or not all(value or ()):
        raise InvalidOption("a list of events such as ['push', 'pull_request.*']", value)
    return tuple(value or ())


def _window(value: Any) -> float:
    seconds: Any = duration_of(value) if isinstance(value, str) else value
    if not is_number(seconds, (int, float)) or not 0 < seconds <= _MOST_SECONDS:
        raise InvalidOption("seconds, or a text such as '300s', '10min', '12h' or '3d', at most 366 days", value)
    return float(seconds)


def _are_texts(value: Any) -> bool:
    return value is None or (isinstance(value, Collection) and all(isinstance(one, str) for one in value))


def is_number(value: Any, kinds: Any) -> bool:
    """Return whether the value is a number of these types, and not True or False."""
    return isinstance(value, kinds) and not isinstance(value, bool)


_flag = where(lambda value: isinstance(value, bool), "True or False")
_whole = where(lambda value: is_number(value, int) and value >= 1, "a whole number, at least 1")

CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "anywhere": _flag,
    "ack": where(lambda value: value in ("after", "now"), "'after' or 'now'"),
    "attempts": _whole,
    "dedupe": where(
        lambda value: isinstance(value, str) and _DEDUPE.fullmatch(value), "'id', 'content' or 'header:NAME'"
    ),
    "dedupe_window": _window,
    "max_body": _whole,
    "methods": check_methods,
    "events": _events,
    "ordered": _flag,
    "rate": Rate.of,
    "response": _response,
    "secret": _secret,
    "source": where(lambda value: isinstance(value, str) and value, "the name of a source such as 'github'"),
    "timeout": where(
        lambda value: is_number(value, (int, float)) and 0 < value < inf, "a number of seconds, more than 0"
    ),
    "verify": _verify,
}
"""The options that an operator may set too. Each check returns the value as it is used, or raises InvalidOption."""

ARGUMENTS: Mapping[str, Callable[[Any], Any]] = {
    **CHECKS,
    "form_param": where(lambda value: isinstance(value, str), "the name of a field, such as 'payload'"),
    "methods": where(_are_texts, "HTTP methods such as ['POST']"),
    **dict.fromkeys(("raw", "threaded"), where(lambda value: isinstance(value, int), "True or False")),
    "uri_rule": where(lambda value: isinstance(value, str), "a path such as '/builds'"),
}
"""The arguments of the decorator, where plugins may use any HTTP method."""

OPTION_FIELDS = {"source": "source_name"}  # the fields of a declaration for options of another name
_NONE = {"source": "", "secret": (), "events": ()}  # what None means where it isn't None itself
_NEVER_NONE = frozenset({"ack", "anywhere", "methods", "ordered"})


def check_names(names: Iterable[Any], known: Collection[str]) -> None:
    """Raise ValueError if a name of an option isn't one of `known`."""
    for name in names:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"; expected one of {', '.join(sorted(known))}"
            raise ValueError(f"unknown option {name!r}{hint}")


def check_option(name: str, value: Any, checks: Mapping[str, Callable[[Any], Any]] = CHECKS) -> Any:
    """Return an option's value as it is used; None where that means the default. Raises InvalidOption."""
    if value is None and name not in _NEVER_NONE:
        return _NONE.get(name)
    try:
        return checks[name](value)
    except InvalidOption as error:
        error.option = name
        raise


def check_together(options: Mapping[str, Any]) -> None:
    """Check options, with checked values, that require others. Raises InvalidOption."""
    given: Callable[[str], Any] = options.get
    needs_now: Sequence[str] = [name for name in ("anywhere", "attempts", "ordered", "response") if given(name)]
    if needs_now and given("ack") != "now":
        raise InvalidOption(f"ack='now' for {needs_now[0]}", given("ack"))
    if given("dedupe_window") and not given("dedupe"):
        raise InvalidOption("dedupe='id', 'content' or 'header:NAME' for dedupe_window", given("dedupe"))
    source = given("source_name") or given("source")
    for name in ("events", "secret"):
        if given(name) and not source:
            raise InvalidOption(f"source='github' or another one for {name}", source or None)
    # The operator may replace the verification of a source.
    for name in ("form_param", "raw", *(["verify"] if given("source") else ())):
        if source and given(name):
            raise InvalidOption(f"no {name} with the source {source!r}, which has its own", given(name))
    verify = given("verify")
    if given("dedupe") == "id" and not source and (verify is None or verify.delivery_id is None):
        expected = "a verification of a source that gives its deliveries ids, for dedupe='id'"
        raise InvalidOption(expected, verify and verify.scheme)
