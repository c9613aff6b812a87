"""Text from elsewhere in Markdown, shown as it is."""

from __future__ import annotations

import re

# What Markdown sees at the beginning of a line, anywhere, and unless it is in the midst of a word.
_SPECIAL = re.compile(r"(^\s*[0-9]+)(\.)|(^\s*)([#>+-])|()([\\`*{\[\]|]|(?<![^\W_])_|_(?![^\W_]))")
_ESCAPED = r"\1\3\\\2\4\6"

# What no backslash helps against: titles underlined with `=`, meanings after a colon, and fences of `~`.
_BLOCK = re.compile(r"^(\s*)(=(?==*\s*$)|:(?=\s)|~(?=~~))")

# Entities, and tags and addresses in angle brackets.
_OF_HTML = re.compile(r"&(?=#?\w+;)|<(?=[^\s\d=])")

# What begins a line as soon as a long text is cut before it.
_LATER = re.compile(r"(?<=\s)([0-9]*)([#>+.-])(?=\s)")

_INDENTED = re.compile(r"(\A\n?|\n\n) {4,}")


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
    return plain_but_html(_OF_HTML.sub(_entity, text))


def plain_but_html(text: str) -> str:
    """As `plain`, for a template, which escapes entities and tags itself."""
    return _escaped(" ".join(text.split()))


def plain_lines(text: str) -> str:
    """The text as Markdown that shows it as it is, line for line, also in parts if it is too long."""
    lines = (_OF_HTML.sub(_entity, line) for line in text.expandtabs(4).splitlines())
    shown = (_LATER.sub(r"\1\\\2", _escaped(line)) if line.strip() else "" for line in lines)
    # What is indented after an empty line would be code, in which backslashes show.
    return _INDENTED.sub(r"\1   ", "\n".join(shown))


def _escaped(line: str) -> str:
    # At the end of a heading, more of its signs mean nothing.
    head = line.rstrip().rstrip("#")
    shown = _SPECIAL.sub(_ESCAPED, head) + line[len(head) :].replace("#", "\\#")
    return _BLOCK.sub(lambda start: start[1] + _entity(start), shown)


def _entity(found: re.Match[str]) -> str:
    """HTML's entity for the last character that was found."""
    return f"&#{ord(found[0][-1])};"


def _ticks(text: str, least: int) -> str:
    """More backticks than the text has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
