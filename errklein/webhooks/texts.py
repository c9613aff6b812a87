"""Texts with placeholders such as `{sender.login}`, whose values are shown literally."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from errklein.text import plain, sanitize

_PLACEHOLDER = re.compile(r"\{([^{}]{1,100})\}")


class Markdown(str):
    """Markdown in which all values are escaped."""

    __slots__ = ()


def value(given: object, most: int = 200) -> Markdown:
    """Return Markdown that shows one value literally; Markdown, which may have several lines, is returned as it is."""
    if isinstance(given, Markdown):
        return given
    shown = str(given) if isinstance(given, (str, int, float)) and not isinstance(given, bool) else ""
    return Markdown(plain(sanitize(shown)[:most]))


def render(text: str, values: Any) -> Markdown:
    """Return the text with values for its placeholders; those without a value are empty."""
    return Markdown(_PLACEHOLDER.sub(lambda found: value(_found(found[1], values)), text))


def _found(path: str, values: Any) -> Any:
    for key in path.split("."):
        if isinstance(values, Mapping):
            values = values.get(key)
        elif isinstance(values, Sequence) and not isinstance(values, str) and key.isdecimal():
            values = values[int(key)] if int(key) < len(values) else None
        else:
            return None
    return values


def message(lines: Iterable[Markdown], most: int, size: int = 4000) -> Markdown:
    """Return the lines that aren't empty, at most `most` of them."""
    return Markdown("\n".join([line for line in lines if line.strip()][:most])[:size])
