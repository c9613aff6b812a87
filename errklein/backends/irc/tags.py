r"""Message tags: https://ircv3.net/specs/extensions/message-tags."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {":": ";", "s": " ", "r": "\r", "n": "\n"}


def parse_tags(text: str) -> dict[str, str]:
    r"""The tags of a message by key, from the text between "@" and the space.

    The value of a tag without one is "". If a key occurs twice, the last value counts. An invalid escape such as `\b` yields
    the character after the backslash; a backslash at the end is dropped.
    """
    tags = {}
    for tag in text.split(";"):
        key, _, value = tag.partition("=")
        if key:
            tags[key] = _ESCAPE.sub(_unescaped, value) if "\\" in value else value
    return tags


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[1])
