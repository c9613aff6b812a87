"""The words that select deliveries of webhooks in the chat and on the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from errklein.text.suggestions import did_you_mean
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery

MAX_COUNT = 1000
"""The maximal number of deliveries in a list or replay."""

_AGO = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_STATES = tuple(state.value for state in DeliveryState)
_KEYWORDS = ("since", "until", "before", "limit")


class InvalidWords(ValueError):
    """The words don't select deliveries. The text is one line with the valid ones; it contains the invalid word."""


def parse_time(text: str, now: float) -> float:
    """Return a Unix time: of `2h` or `30m` the one so long before `now`, or that of an ISO date in the local time zone.

    Units are s, m, h, d and w.

    :raises InvalidWords: The text is neither.
    """
    if ago := _AGO.fullmatch(text):
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidWords(
            f"invalid time {text!r}; examples are 30m, 2h, 3d, 2026-11-28 and 2026-11-28T18:00"
        ) from None


def parse_words(words: Iterable[str], now: float, hooks: Mapping[str, str] | None = None) -> DeliveryQuery:
    """Return the query of words such as `Github:notification failed since 2h limit 50`, in any order.

    Several states select deliveries in any of them.

    :param now: The present Unix time.
    :param hooks: The webhooks as "Plugin:method", by URL path. Unknown paths and plugins are errors then. With None, paths are,
        and lower-case words that resemble a state or keyword.
    :raises InvalidWords: A word is unknown or repeated, or a value is missing or invalid.
    """
    states: list[DeliveryState] = []
    fields: dict[str, Any] = {}
    remaining = iter(words)
    for word in remaining:
        if word in _STATES:
            states.append(DeliveryState(word))
            continue
        name, value = (word, next(remaining, None)) if word in _KEYWORDS else ("route", word)
        if value is None:
            raise InvalidWords(f"the value after {name!r} is missing")
        read = _route(value, hooks) if name == "route" else _value(name, value, now)
        if name in fields:
            raise InvalidWords(f"{name} is given twice; the second is {value!r}")
        fields[name] = read
    return DeliveryQuery(**fields, states=tuple(states) or None)


def parse_replay(words: Sequence[str], now: float, hooks: Mapping[str, str] | None = None) -> DeliveryQuery:
    """Return the query of deliveries to replay; see `parse_words`.

    Without a state, they are those that are failed or dead. The limit is by default MAX_COUNT.

    :raises InvalidWords: There are no words, or they are invalid.
    """
    if not words:
        raise InvalidWords("name ids of deliveries, a route, a state or a time")
    query = parse_words(words, now, hooks)
    states = query.states or (DeliveryState.FAILED, DeliveryState.DEAD)
    return replace(query, states=states, limit=query.limit if "limit" in words else MAX_COUNT)


def next_page(words: Sequence[str], last: int) -> str:
    """Return the words of a list whose page ends with the delivery `last`, changed to those of the next page."""
    kept = list(words)
    if "before" in kept:
        del kept[(at := kept.index("before")) : at + 2]
    return shlex.join([*kept, "before", str(last)])


def counted_query(query: DeliveryQuery, page: Sequence[StoredDelivery]) -> DeliveryQuery:
    """Return the query of the deliveries that were only counted, in the time of a page of the query."""
    since = page[-1].received_at if len(page) == query.limit else query.since
    until = page[0].received_at if page and query.before is not None else query.until
    return replace(query, since=since, until=until)


def parse_ids(words: Iterable[str]) -> list[int] | None:
    """Return the ids if all words are ids, at least one; None otherwise."""
    numbers = [_number(word) for word in words]
    found = [number for number in numbers if number is not None]
    return found if found and len(found) == len(numbers) else None


def _value(name: str, value: str, now: float) -> float | int:
    if name in ("since", "until"):
        return parse_time(value, now)
    number = _number(value)
    if not number or (name == "limit" and number > MAX_COUNT):
        expected = f"a number from 1 to {MAX_COUNT}" if name == "limit" else "the id of a delivery"
        raise InvalidWords(f"the value after {name!r} must be {expected}, not {value!r}")
    return number


def _route(word: str, hooks: Mapping[str, str] | None) -> str:
    given = hooks or {}
    plugins = {route.partition(":")[0] for route in given.values()}
    if word in given or word in plugins or (":" in word and not word.startswith("/")):
        return given.get(word, word)
    suggestion = did_you_mean(word, (*_STATES, *_KEYWORDS, *plugins, *given))
    if hooks is None and not word.startswith("/") and not (suggestion and word.islower()):
        return word
    routes = "Plugin:method or Plugin" if hooks is None else "Plugin:method, Plugin or the path of a webhook"
    raise InvalidWords(
        f"unknown word {word!r}{suggestion or ';'} valid are {routes}, {', '.join(_STATES)}, "
        "since TIME, until TIME, before ID and limit COUNT"
    )


def _number(word: str) -> int | None:
    return int(word) if re.fullmatch("[0-9]{1,18}", word) else None
