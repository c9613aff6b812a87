"""Splitting of long messages into parts that a network accepts, and truncation."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

Length = Callable[[str], int]
PARTS_CAP = 500  # Maximum number of parts of a message. More would delay other messages on a slow network for minutes.
# The last part of a message that is cut off at PARTS_CAP.
LEFT_OUT = "... (the rest of this message is too long to be sent)"
_FENCE = re.compile(r"^[ ]{0,3}(`{3,}+|~{3,}+)([^\n`]*)$", re.MULTILINE)
_NEWLINES = re.compile("\n+")


def truncated(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"


def beginning(items: Sequence[str], most: int) -> str:
    """Return the first items, separated by commas, and an ellipsis if there are more than `most`."""
    return ", ".join(items[:most]) + (" …" if len(items) > most else "")


def at_most(parts: Sequence[str], cut: bool = False, most: int = PARTS_CAP) -> list[str]:
    """Return at most `most` parts of a message. If some are missing, or `cut` states that, the last one is LEFT_OUT."""
    if len(parts) < most or (len(parts) == most and not cut):
        return [*parts, LEFT_OUT] if cut else list(parts)
    return [*parts[: most - 1], LEFT_OUT]


def split_message(text: str, limit: int, length: Length = len, most: int = PARTS_CAP) -> list[str]:
    """Split a Markdown message into parts of at most `limit`, and return them in order.

    A part ends after a paragraph if one ends in its second half; else after a line, else after a word, else between
    characters. White space at the split is removed. A fenced code block that is split is closed and opened again::

        split_message("one two three", 8)  # ["one two", "three"]

    :param limit: Maximum length of a part, as measured by `length`. A longer single character is a part of its own.
    :param length: Measures a text, for example in bytes. Each character must count as at least 1, and the length of a text
        must be the sum of the lengths of its pieces.
    :param most: Maximum number of parts. If the text needs more, the rest is dropped and the last part states that.
    :raises ValueError: `limit` is less than 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    return _split(text, limit, most, lambda at, opener: _next_part(text, at, opener, limit, length))


def split_rendered(text: str, measure: Length, limit: int, most: int = PARTS_CAP) -> list[str]:
    """Split a Markdown message as `split_message` does, into parts whose rendered forms have at most `limit`. `measure`
    returns the size of the rendered form of a text, such as the bytes of its HTML. It need not be a sum."""
    if len(text) <= 4 * limit and measure(text) <= limit:
        return [text]

    def next_part(at: int, opener: str) -> tuple[str, int, str]:
        size = limit
        while True:
            part, end, following = _next_part(text, at, opener, size, len)
            measured = measure(part)
            if measured <= limit or size == 1:
                return part, end, following
            # Most texts are rendered alike from their beginning to their end, so that this fits at once.
            size = max(1, min(size - 1, len(part) * limit // measured))

    return _split(text, limit, most, next_part)


def _split(text: str, limit: int, most: int, next_part: Callable[[int, str], tuple[str, int, str]]) -> list[str]:
    parts: list[str] = []
    at, opener = 0, ""
    while True:
        part, at, opener = next_part(at, opener)
        if at < len(text) and len(parts) == most - 1:
            return [*parts, LEFT_OUT[:limit]]
        if part or not text:
            parts.append(part)
        if at >= len(text):
            return parts


def _next_part(text: str, at: int, opener: str, limit: int, length: Length) -> tuple[str, int, str]:
    """Return the part that begins at `at` after `opener`, the start of the next one, and its opener."""
    # No part depends on more text than this. Copying the whole rest for each part would be quadratic.
    ahead = opener + text[at : at + limit + 2]
    if len(ahead) <= limit and length(ahead) <= limit:
        return ahead, len(text), ""
    end = _cut(ahead, limit, length, len(opener))
    fence = _open_fence(ahead[:end])
    if fence:
        closer = "\n" + _marker(fence)
        room = limit - length(closer)
        # Fences that would fill most of a part are not repeated.
        if room > 2 * length(f"{fence}\n"):
            end = _cut(ahead, room, length, len(opener))
            fence = _open_fence(ahead[:end])
        else:
            fence = ""
    part = ahead[:end]
    cut = at + end - len(opener)
    at = _after_space(text, cut, within_code=bool(fence))
    if fence:
        return part + "\n" + _marker(fence), at, f"{fence}\n"
    return part.rstrip(" \n") if at > cut else part, at, ""


def _cut(text: str, limit: int, length: Length, start: int) -> int:
    """Return the end of the best part of at most `limit`, with at least one character after `start`."""
    end = min(limit, len(text))
    if length(text[:end]) > limit:
        end = bisect_right(range(end), limit, key=lambda count: length(text[:count])) - 1
    end = max(end, start + 1)
    if end >= len(text):
        return len(text)
    half = max(start, end // 2)
    for border in (
        text.rfind("\n\n", half, end + 2),
        text.rfind("\n", half, end + 1),
        max(text.rfind(" ", start, end + 1), text.rfind("\n", start, end + 1)),
    ):
        if border > start and not text[start:border].isspace():
            return border
    return grapheme_boundary(text, end, start)


def grapheme_boundary(text: str, end: int, start: int = 0) -> int:
    """Return the last end of a grapheme at or before `end`, such as an emoji of several code points. Returns `end`
    itself if there is none after `start` within 16 characters."""
    if text[max(start, end - 1) : end + 1].isascii():
        return end
    # Imported late, since it takes 50 ms and most messages are short or ASCII.
    import wcwidth

    boundary = wcwidth.grapheme_boundary_before(text, end + 1)
    return boundary if boundary > max(start, end - 16) else end


def _after_space(text: str, cut: int, within_code: bool) -> int:
    """Return the start of the next part: after the newlines or the space at the split; in code, after one newline."""
    if within_code:
        return cut + text.startswith("\n", cut)
    newlines = _NEWLINES.match(text, cut)
    return newlines.end() if newlines else cut + text.startswith(" ", cut)


def _open_fence(part: str) -> str:
    """Return the line that opened the fenced block in which `part` ends; an empty string outside of a block."""
    opened = ""
    for fence in _FENCE.finditer(part):
        if not opened:
            opened = fence[0]
        elif fence[1].startswith(_marker(opened)) and not fence[2].strip():
            opened = ""
    return opened


def _marker(opener: str) -> str:
    fence = _FENCE.match(opener)
    assert fence is not None
    return fence[1]
