"""Parts of texts that the sources of GitHub, GitLab and Gitea share. They depend on what a payload has."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errklein.sources._payloads import at, found, items
from errklein.verify import Received

_MOST_ITEMS, _MOST_COUNTED = 5, 1_000_000
_FAILED = ("error", "failed", "failure", "startup_failure", "timed_out")


def texts(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the tables of the file `texts.toml` beside a source's module."""
    return tomllib.loads(Path(module).with_name("texts.toml").read_text(encoding="utf-8"))


def first(table: Mapping[str, str], *keys: str) -> str:
    """Return the text of the first of these keys that the table has, or ""."""
    return next((table[key] for key in keys if key in table), "")


def header(received: Received, *names: bytes) -> str:
    """Return the value of the first of these headers that a request has, or ""."""
    given = dict(received.headers)
    return next((given[name].decode("latin-1") for name in names if name in given), "")


def has_link(payload: Any, text: str) -> bool:
    """Return whether the payload has the address of the text's first link."""
    return at(payload, text.partition("]({")[2].partition("}")[0]).startswith(("https://", "http://"))


def sentence(payload: Any, who: str, what: str, place: str, between: str = " in ") -> str:
    """Return the line who did what where, with one link: that of `what`, else that of `place`, else that of `who`."""
    if has_link(payload, what):
        place, who = _label(place), _label(who)
    elif has_link(payload, place):
        who = _label(who)
    return f"{who} {what}{between}{place}".lstrip() if place else f"{who} {what}".lstrip()


def _label(text: str) -> str:
    return text[1:].partition("](")[0] if text.startswith("[") else text


def listed(payload: Any, key: str, text: str) -> list[str]:
    """Return a line for each of the first five items of a list, and how many there are beyond.

    :param text: The line, with `ITEM` for the path of the item.
    """
    lines = [f"- {text.replace('ITEM', path)}" for path in items(payload, key, _MOST_ITEMS)]
    more = _count(payload, key) - len(lines)
    return [*lines, f"… and {more} more"] if more else lines


def commits(payload: Any) -> list[str]:
    """Return the lines of a push's commits."""
    text = "[{ITEM.id|short}]({ITEM.url}) {ITEM.message|line} ({ITEM.author.name})"
    return listed(payload, "commits", text)


def pushed(payload: Any) -> str:
    """Return what a push did to which kind of reference, whose name follows."""
    kind = "tag" if at(payload, "ref").startswith("refs/tags/") else "branch"
    before, after, count = at(payload, "before"), at(payload, "after"), _count(payload, "commits")
    if after and not after.strip("0"):
        return f"deleted {kind}"
    if count:
        forced = "force-" * (payload.get("forced") is True)
        return f"{forced}pushed {count} commit{'s' * (count > 1)} to"
    return f"created {kind}" if before and not before.strip("0") else f"pushed {kind}"


def branch(payload: Any) -> Mapping[str, str]:
    """Return the name of the branch or tag as the value `branch`."""
    return {"branch": at(payload, "ref").removeprefix("refs/heads/").removeprefix("refs/tags/")}


def state(payload: Any, text: str, place: str) -> str:
    """Return the line of a new state, whose placeholder follows the text's first colon, after a sign for it."""
    given = at(payload, text.partition(": {")[2].partition("}")[0])
    sign = "❌ " if given in _FAILED else "✅ " if given == "success" else ""
    return sign + sentence(payload, "", text, place)


def _count(payload: Any, key: str) -> int:
    """Return the number of items of a list, also of a push's commits that the source has left out."""
    given = found(payload, key)
    count = len(given) if isinstance(given, list) else 0
    total = payload.get(f"total_{key}_count", payload.get(f"total_{key}"))
    return total if type(total) is int and 0 < count < total < _MOST_COUNTED else count
