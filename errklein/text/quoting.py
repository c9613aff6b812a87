"""Text from elsewhere in Markdown, shown as it is."""

from __future__ import annotations

import re

# What Markdown sees at the beginning of a line, anywhere, and unless it is in the midst of a word.
_SPECIAL = re.compile(r"(^\s*[0-9]+)(\.)|(^\s*)([#>+-])|()([\\`*{\[\]|]|(?<![^\W_])_|_(?![^\W_]))")
_ESCAPED = r"\1\3\\\2\4\6"


def code(text: str) -> str:
    """The text, without its line breaks, as code within a line; it can't break out of it."""
    text = " ".join(text.split())
    ticks = _ticks(text, 1)
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def fenced(text: str) -> str:
    """The text as a block of code, which it can't break out of."""
    fence = _ticks(text, 3)
    return f"{fence}\n{text}\n{fence}"


def plain(text: str) -> str:
    """The text, without its line breaks, as Markdown that shows it as it is, in a cell of a table too."""
    return _SPECIAL.sub(_ESCAPED, " ".join(text.split()))


def plain_lines(text: str) -> str:
    """The text as Markdown that shows it as it is, line for line; a line of nothing but `=` makes a title of the one before."""
    return "\n".join(_SPECIAL.sub(_ESCAPED, line) for line in text.splitlines())


def _ticks(text: str, least: int) -> str:
    """More backticks than the text has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
