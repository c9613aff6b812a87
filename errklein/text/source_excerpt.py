"""Source lines in error messages, without the secrets in them."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

from errklein.text.masking import MASK, is_secret, masker

_LONGEST = 120

_STRING = re.compile(r"""(?P<quote>"{3}|'{3}|["'])(?P<content>(?:\\.|(?!(?P=quote)).)*+)(?P<end>(?P=quote)|$)""")
_ASSIGNMENT = re.compile(r"\s*(?P<name>\w+)\s*(?::[^=]*)?=(?!=)\s*(?P<value>[^\s#].*)")


def source_excerpt(path: Path, line: int, column: int | None = None) -> str:
    """Return a line of a file with its number, such as "    3 | BOT_LOG_LEVEL = logging.INFO"; "" if it can't be read.

    With the column, counted from 1, a second line has a caret below it. MASK replaces the contents of strings, except for
    keys, and the value of a variable with a secret name. A line within a string of several lines isn't returned.
    """
    try:
        source = path.read_text("utf-8-sig")
    except (OSError, ValueError):
        return ""
    lines = source.split("\n")
    if not 0 < line <= len(lines) or _is_within_string(source, line):
        return ""
    text = lines[line - 1].rstrip().replace("\t", " ")
    if not text.isprintable():
        return ""
    number = f"    {line} | "
    shown = _masked(text)[:_LONGEST]
    if not column or column < 1:
        return f"{number}{shown}"
    position = min(len(_masked(text[: column - 1])), len(shown))
    return f"{number}{shown}\n{' ' * (len(number) - 2)}| {' ' * position}^"


def _masked(text: str) -> str:
    assignment = _ASSIGNMENT.match(text)
    if assignment is not None and is_secret(assignment["name"]):
        return text[: assignment.start("value")] + MASK

    def masked(found: re.Match[str]) -> str:
        before, after = text[max(found.start() - 2, 0) : found.start()], text[found.end() :]
        is_key = re.match(r"\s*:", after) or (re.fullmatch(r"[\w)\]]\[", before) and after.startswith("]"))
        content = found["content"] if is_key or not found["content"] else MASK
        return f"{found['quote']}{content}{found['end']}"

    return masker(_STRING.sub(masked, text))


def _is_within_string(source: str, line: int) -> bool:
    """Return whether the line continues or ends a string that begins on an earlier line."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.start[0] > line:
                return False
            if token.start[0] < line <= token.end[0] and token.type != tokenize.NEWLINE:
                return True
    except (SyntaxError, tokenize.TokenError) as error:
        # Python reports where an unclosed string begins; the lines after it may belong to it.
        begins = error.args[1][0] if isinstance(error, tokenize.TokenError) else error.lineno or 0
        return "string" in str(error.args[0]) and begins < line
    return False
