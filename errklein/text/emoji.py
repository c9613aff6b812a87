"""The names by which Slack and others call emoji, without colons: those of the table that iamcal's emoji-data has."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_TONE, _TONES = "::skin-tone-", range(0x1F3FB, 0x1F400)
_COLOURED = "\ufe0f"  # asks for a coloured picture, and isn't always there


@cache
def _emoji() -> dict[str, str]:
    # Of each emoji, the usual name comes first.
    lines = files(__package__).joinpath("emoji.txt").read_text("utf-8").replace(_COLOURED, "").splitlines()
    return {name: emoji for emoji, *names in map(str.split, lines) for name in names}


@cache
def _names() -> dict[str, str]:
    return {emoji: name for name, emoji in reversed(_emoji().items())}


def emoji_of(name: str) -> str:
    """Return the emoji for a name, such as "+1" or "wave::skin-tone-3"; the text itself if it is none."""
    base, _, tone = name.partition(_TONE)
    if base not in _emoji():
        return name
    return _emoji()[base] + (chr(_TONES[int(tone) - 2]) if tone in tuple("23456") else "")


def name_of_emoji(emoji: str) -> str:
    """Return the name for an emoji; the text itself, without colons, if it is none."""
    plain = emoji.strip(":").replace(_COLOURED, "")
    if plain and ord(plain[-1]) in _TONES and plain[:-1] in _names():
        return f"{_names()[plain[:-1]]}{_TONE}{ord(plain[-1]) - _TONES[0] + 2}"
    return _names().get(plain, plain)
