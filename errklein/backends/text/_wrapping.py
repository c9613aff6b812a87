"""Lines of text with ANSI sequences, broken between words for the width of a terminal."""

from __future__ import annotations

import re

from prompt_toolkit.utils import get_cwidth

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_INDENT = re.compile(r"\s*(?:[•-] |\d+\. )?")


def wrapped(text: str, columns: int) -> str:
    """Return the text with lines of at most so many columns, except longer words and rows of tables.

    Further lines of a paragraph are indented as the text of its first one, also in lists.
    """
    return "\n".join(line for long in text.split("\n") for line in _lines(long, columns))


def _lines(text: str, columns: int) -> list[str]:
    if _width(text) <= columns or "│" in text:
        return [text]
    match = _INDENT.match(_STYLE.sub("", text))
    indent = " " * _width(match[0] if match else "")
    lines, begun = [""], 0
    for word in re.findall(r"\S+\s*|\s+", text):
        if begun and _width(lines[-1] + word.rstrip()) > columns:
            lines[-1] = lines[-1].rstrip()
            lines.append(indent)
        lines[-1] += word
        begun = _width(lines[-1].strip())
    return lines


def _width(text: str) -> int:
    return get_cwidth(_STYLE.sub("", text))
