"""Quoting of untrusted text for Markdown, so that it is shown literally."""

from __future__ import annotations

import re

# Markdown syntax at the beginning of a line, anywhere, and (underscores) at the edge of a word.
_SPECIAL = re.compile(r"(^\s*[0-9]+)(\.)|(^\s*)([#>+-])|()([\\`*{\[\]|]|(?<![^\W_])_|_(?![^\W_]))")
_ESCAPED = r"\1\3\\\2\4\6"

# Syntax that a backslash doesn't escape: headings underlined with `=`, definitions after a colon, and fences of `~`.
_BLOCK = re.compile(r"^(\s*)(=(?==*\s*$)|:(?=\s)|~(?=~~))")

# Entities, and tags and addresses in angle brackets.
_OF_HTML = re.compile(r"&(?=#?\w+;)|<(?=[^\s\d=])")

# Syntax in the middle of a line that would be at its beginning if a long text were split there.
_LATER = re.compile(r"(?<=\s)([0-9]*)([#>+.-])(?=\s)")

_INDENTED = re.compile(r"(\A\n?|\n\n) {4,}")


def code(text: str) -> str:
    """Return untrusted text as inline code, on one line.

    The text can't end the code, since the delimiter has more backticks than any run in the text::

        code("a `b`")  # "`` a `b` ``"
    """
    text = " ".join(text.split())
    ticks = _ticks(text, 1)
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def fenced(text: str) -> str:
    """Return untrusted text as a fenced code block. The text can't end the block."""
    fence = _ticks(text, 3)
    return f"{fence}\n{text}\n{fence}"


def plain(text: str) -> str:
    r"""Return Markdown that shows untrusted text literally, on one line.

    The result may be used anywhere in a line, and in a table cell::

        f"Unknown project: {plain('my_*project*')}"  # "Unknown project: my\_\*project\*"
    """
    return plain_but_html(_OF_HTML.sub(_entity, text))


def plain_but_html(text: str) -> str:
    """Return the same as `plain` without escaping HTML, for templates, which escape it themselves."""
    return _escaped(" ".join(text.split()))


def plain_lines(text: str) -> str:
    """Return Markdown that shows untrusted text literally, line by line. A message of it may be split anywhere."""
    lines = (_OF_HTML.sub(_entity, line) for line in text.expandtabs(4).splitlines())
    shown = (_LATER.sub(r"\1\\\2", _escaped(line)) if line.strip() else "" for line in lines)
    # An indented line after an empty one would be a code block, in which backslashes are visible.
    return _INDENTED.sub(r"\1   ", "\n".join(shown))


def _escaped(line: str) -> str:
    # Hash signs at the end of a heading are removed by Markdown, so they are escaped too.
    head = line.rstrip().rstrip("#")
    shown = _SPECIAL.sub(_ESCAPED, head) + line[len(head) :].replace("#", "\\#")
    return _BLOCK.sub(lambda start: start[1] + _entity(start), shown)


def _entity(found: re.Match[str]) -> str:
    """Return the HTML entity for the last character of the match."""
    return f"&#{ord(found[0][-1])};"


def _ticks(text: str, least: int) -> str:
    """Return more backticks than the longest run in the text, and at least `least`."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
