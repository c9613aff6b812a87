"""The words that select deliveries of webhooks in the chat and on the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from errklein.text import beginning
from errklein.text.suggestions import did_you_mean
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.option_values import InvalidOption, Rate, duration_of

MAX_COUNT = 1000  # the maximal number of deliveries in a list or replay
_STATES = tuple(state.value for state in DeliveryState)
_KEYWORDS = ("since", "until", "before", "limit", "source-id", "status", "answered", "reason")
_FIELDS = {"source-id": "key"}  # the fields of a query by their keyword, where they differ
_WEBHOOK = "Plugin:method, Plugin, the name of a webhook of a room or (in chat) a path"
_MOST_NAMES = 20
# The valid numbers after a keyword: the least and the greatest one, and what they are.
_STATUS = (0, 599, "an HTTP status, or 0 for none")
_NUMBERS = {"limit": (1, MAX_COUNT, f"a number from 1 to {MAX_COUNT}"), "before": (1, 10**18, "the id of a delivery")}


class InvalidWords(ValueError):
    """The words don't select deliveries. The text is one line with the valid ones; it contains the invalid word."""


class UnknownWebhook(InvalidWords):
    """A word may be the name of a webhook, but there is none. The text has a suggestion and the known ones."""


class ReplayWords(NamedTuple):
    """What to replay: the deliveries with these ids, or without any, those of the query."""

    ids: Sequence[int]
    query: DeliveryQuery
    force: bool  # whether superseded ones are replayed, too
    spacing: float = 0.0  # with a rate, the seconds between their beginnings


def parse_time(text: str, now: float) -> float:
    """Return a Unix time: of `2h` or `10min` the one so long ago, or that of an ISO date, by default in local time. Raises
    InvalidWords."""
    if (ago := duration_of(text)) is not None:
        return now - ago
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        examples = "10min, 2h, 3d, 2026-11-28 and 2026-11-28T18:00+01:00"
        raise InvalidWords(f"invalid time {text!r}; examples are {examples}") from None


def parse_list(
    words: Iterable[str], now: float, hooks: Mapping[str, str], webhooks: Iterable[str] = ()
) -> tuple[DeliveryQuery, bool]:
    """Return the query of words such as `Github:notification failed since 2h limit 50`, in any order, and whether the word
    `grouped` is among them; its limit is by default MAX_COUNT then. Several states select deliveries in any of them. Raises
    InvalidWords."""
    query, is_grouped, is_limited, _ = _parsed(words, now, hooks, webhooks, "grouped")
    return (replace(query, limit=MAX_COUNT) if is_grouped and not is_limited else query), is_grouped


def _parsed(
    words: Iterable[str], now: float, hooks: Mapping[str, str], webhooks: Iterable[str], option: str
) -> tuple[DeliveryQuery, bool, bool, float]:
    """Return the query, whether the words have the option and a limit, and the seconds of a rate, which only replays have."""
    states: list[DeliveryState] = []
    has_option = False
    fields: dict[str, Any] = {}
    remaining = iter(words)
    for word in remaining:
        if word == option:
            has_option = True
            continue
        if word in _STATES:
            states.append(DeliveryState(word))
            continue
        is_keyword = word in _KEYWORDS or (word == "rate" and option == "force")
        name, value = (word, next(remaining, None)) if is_keyword else ("webhook", word)
        if value is None:
            raise InvalidWords(f"the value after {name!r} is missing")
        read = _webhook(value, hooks, webhooks) if name == "webhook" else _value(name, value, now)
        if name in fields:
            raise InvalidWords(f"{name} is given twice; the second is {value!r}")
        fields[name] = read
    spacing = fields.pop("rate", 0.0)
    values = {_FIELDS.get(name, name): value for name, value in fields.items()}
    return DeliveryQuery(**values, states=tuple(states) or None), has_option, "limit" in fields, spacing


def parse_replay(
    words: Sequence[str], now: float, hooks: Mapping[str, str], webhooks: Iterable[str] = ()
) -> ReplayWords:
    """Return what to replay: that of ids or of the words of `parse_list`, and of the words `force` and `rate`, as in `rate 2/s`.
    Without a state, the query is of those that are failed or dead. Its limit is by default MAX_COUNT. Raises InvalidWords."""
    others = [word for word in words if word != "force"]
    if not others:
        raise InvalidWords("name ids of deliveries, a webhook, a state or a time")
    at = others.index("rate") if "rate" in others else len(others)
    ids = parse_ids([*others[:at], *others[at + 2 :]])
    if ids is not None:
        spacing = _value("rate", "".join(others[at + 1 : at + 2]), now) if at < len(others) else 0.0
        return ReplayWords(ids[:MAX_COUNT], DeliveryQuery(), "force" in words, float(spacing))
    query, force, is_limited, spacing = _parsed(words, now, hooks, webhooks, "force")
    states = query.states or (DeliveryState.FAILED, DeliveryState.DEAD)
    query = replace(query, states=states, limit=query.limit if is_limited else MAX_COUNT)
    return ReplayWords((), query, force, spacing)


def next_page(words: Sequence[str], last: int) -> str:
    """Return the words of a list whose page ends with the delivery `last`, changed to those of the next page."""
    at = words.index("before") if "before" in words else len(words)
    return shlex.join([*words[:at], *words[at + 2 :], "before", str(last)])


def counted_query(query: DeliveryQuery, page: Sequence[StoredDelivery]) -> DeliveryQuery:
    """Return the query of the deliveries that were only counted, in the time of a page of the query."""
    since = page[-1].received_at if len(page) == query.limit else query.since
    until = page[0].received_at if page and query.before is not None else query.until
    return replace(query, since=since, until=until)


def parse_ids(words: Iterable[str]) -> list[int] | None:
    """Return the ids if all words are ids, at least one; None otherwise."""
    numbers = [_number(word) for word in words]
    return [number for number in numbers if number is not None] if numbers and None not in numbers else None


def _value(name: str, value: str, now: float) -> float | str:
    if name in ("since", "until"):
        return parse_time(value, now)
    if name in ("source-id", "reason"):
        return value
    if name == "rate":
        try:
            return Rate.of(value).interval
        except InvalidOption as error:
            raise InvalidWords(f"the value after 'rate': {error}") from None
    number = _number(value)
    least, most, expected = _NUMBERS.get(name, _STATUS)
    if number is None or not least <= number <= most:
        raise InvalidWords(f"the value after {name!r}: expected {expected}, not {value!r}")
    return number


def parse_webhook(word: str, hooks: Mapping[str, str], webhooks: Iterable[str]) -> str:
    """Return the webhook or plugin of a name or path. Raises UnknownWebhook: there is none."""
    names = sorted({*hooks.values(), *webhooks})
    plugins = {name.partition(":")[0] for name in names}
    if word in hooks or word in plugins or word in names:
        return hooks.get(word, word)
    suggestion = did_you_mean(word, (*plugins, *names, *hooks)) or ";"
    raise UnknownWebhook(f"unknown webhook {word!r}{suggestion} known are {beginning(names, _MOST_NAMES) or 'none'}")


def _webhook(word: str, hooks: Mapping[str, str], webhooks: Iterable[str]) -> str:
    try:
        return parse_webhook(word, hooks, webhooks)
    except UnknownWebhook:
        if ":" in word or word[:1] == "/" or not word.islower():
            raise
    names = {*hooks, *hooks.values(), *webhooks}
    plugins = {name.partition(":")[0] for name in names}
    suggestion = did_you_mean(word, (*_STATES, *_KEYWORDS, *sorted({*plugins, *names}))) or ";"
    valid = f"{_WEBHOOK}, {', '.join(_STATES)}, since TIME, until TIME, status STATUS, answered STATUS, reason TEXT"
    raise InvalidWords(f"unknown word {word!r}{suggestion} valid are {valid}, source-id ID, before ID and limit COUNT")


def _number(word: str) -> int | None:
    return int(word) if re.fullmatch("[0-9]{1,18}", word) else None
