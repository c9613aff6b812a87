"""Splitting of long messages into parts that a network takes, and truncation."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

Length = Callable[[str], int]

PARTS_CAP = 500
"""Parts of the longest message. Nobody reads more, and on a slow network others would wait for minutes."""

LEFT_OUT = "... (the rest of this message is left out, as it is too long)"
"""The last part of a message that was longer."""

_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_NEWLINES = re.compile("\n+")


def truncated(text: str, most: int) -> str:
    """The text, or its first `most` characters and an ellipsis if it is longer."""
    return text if len(text) <= most else text[:most] + "…"


def at_most(parts: Sequence[str], cut: bool = False, most: int = PARTS_CAP) -> list[str]:
    """The parts of a message, of too many the first, with a last one that says so; `cut` if there are even more."""
    if len(parts) < most or (len(parts) == most and not cut):
        return [*parts, LEFT_OUT] if cut else list(parts)
    return [*parts[: most - 1], LEFT_OUT]


def split_message(text: str, limit: int, length: Length = len, most: int = PARTS_CAP) -> list[str]:
    """`text` in parts, each at most `limit` long as measured by `length`, such as in bytes; in order, nothing lost.

    Of a text that needs more than `most` parts the rest is left out, and the last part says so.

    A part ends between paragraphs if one ends in its second half, else between lines, else between words, else
    between characters. White space at a cut goes, and a fenced block of code that is cut is closed and opened again.
    `length` counts each character as 1 or more, and of joined texts it is the sum of theirs. A character that is
    longer than `limit` makes a part of its own. Raises ValueError if `limit` isn't positive.
    """
    if limit < 1:
        raise ValueError(f"a message can't be cut to a length of {limit}")
    parts: list[str] = []
    opener = ""
    at = 0
    while True:
        # All that a part may need to know. To copy the whole rest for each would take time with the square of its length.
        ahead = opener + text[at : at + limit + 2]
        if len(ahead) <= limit and length(ahead) <= limit:
            return [*parts, ahead]
        if len(parts) == most - 1:
            return [*parts, LEFT_OUT[:limit]]
        end = _cut(ahead, limit, length, len(opener))
        fence = _open_fence(ahead[:end])
        if fence:
            closer = "\n" + _marker(fence)
            room = limit - length(closer)
            # Not where fences would take up most of a part.
            if room > 2 * length(f"{fence}\n"):
                end = _cut(ahead, room, length, len(opener))
                fence = _open_fence(ahead[:end])
            else:
                fence = ""
        part = ahead[:end]
        cut = at + end - len(opener)
        at = _after_space(text, cut, within_code=bool(fence))
        opener = ""
        if fence:
            part += "\n" + _marker(fence)
            opener = f"{fence}\n"
        elif at > cut:
            part = part.rstrip(" \n")
        if part:
            parts.append(part)
        if at >= len(text):
            return parts


def _cut(text: str, limit: int, length: Length, start: int) -> int:
    """Where the best part of at most `limit` ends. It has at least one character after `start`."""
    end = _longest(text, limit, length)
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


def _longest(text: str, limit: int, length: Length) -> int:
    """How many characters from the beginning fit into `limit`."""
    most = min(limit, len(text))
    if length(text[:most]) <= limit:
        return most
    return bisect_right(range(most), limit, key=lambda count: length(text[:count])) - 1


def grapheme_boundary(text: str, end: int, start: int = 0) -> int:
    """`end`, or the place up to 16 before it (but after `start`) where a grapheme, such as an emoji of several characters, ends."""
    if text[max(start, end - 1) : end + 1].isascii():
        return end
    # Imported late: it takes 50 ms, and most messages are short or ASCII.
    import wcwidth

    boundary = wcwidth.grapheme_boundary_before(text, end + 1)
    return boundary if boundary > max(start, end - 16) else end


def _after_space(text: str, cut: int, within_code: bool) -> int:
    """Where the next part begins: after the newlines or the one space at the cut; in code only one newline goes."""
    if within_code:
        return cut + text.startswith("\n", cut)
    newlines = _NEWLINES.match(text, cut)
    return newlines.end() if newlines else cut + text.startswith(" ", cut)


def _open_fence(part: str) -> str:
    """The line that opened the fenced block in which `part` ends; empty if it ends outside of any."""
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
