"""Marks such as bold and red inside a laid-out text, and what they become on a terminal and in IRC.

A mark is one of the non-characters U+FDD0 to U+FDEF, which Unicode reserves for use inside a program and `sanitize`
removes from all that comes from outside. So texts with marks can be cut, padded and joined like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")

_FIRST = 0xFDD0
BOLD, BOLD_END, EMPHASIS, EMPHASIS_END, COLOR_END, BACKGROUND_END = map(chr, range(_FIRST, _FIRST + 6))
_COLOR_FIRST = _FIRST + 6
_BACKGROUND_FIRST = _COLOR_FIRST + len(COLORS)

COLOR_MARKS = {name: chr(_COLOR_FIRST + number) for number, name in enumerate(COLORS)}
BACKGROUND_MARKS = {name: chr(_BACKGROUND_FIRST + number) for number, name in enumerate(COLORS)}
"""The marks that begin text or a background of a colour."""

CODE, CODE_END, FIXED, FIXED_END = map(chr, range(_BACKGROUND_FIRST + len(COLORS), _BACKGROUND_FIRST + len(COLORS) + 4))
"""Code within a line; blocks that need letters of one width. Networks that show all text in such letters need neither."""

_LAST = FIXED_END

_MARK = re.compile(f"([{BOLD}-{_LAST}])")
_FIXED_BLOCK = re.compile(f" ?{FIXED}([^{FIXED_END}]*){FIXED_END}")
_MARK_OR_NEWLINE = re.compile(f"([\n{BOLD}-{_LAST}])")

# What IRC clients agree on (modern.ircdocs.horse/formatting), in the order of COLORS.
_IRC_COLORS = ("01", "04", "03", "08", "02", "06", "11", "00")
_IRC_DEFAULT = "99"
_IRC_BOLD, _IRC_ITALICS, _IRC_COLOR, _IRC_RESET = "\x02", "\x1d", "\x03", "\x0f"


def strip_styles(text: str) -> str:
    """The text alone."""
    return _MARK.sub("", text)


def styles_to_ansi(text: str) -> str:
    """The text with its marks as terminal sequences (ECMA-48 SGR): bold, underlined, and the eight colours."""
    shown = state = _NOTHING
    parts = []
    for piece in _MARK.split(text):
        if _MARK.fullmatch(piece):
            state = state.after(piece)
        elif piece:
            parts += [_sgr(shown, state), piece]
            shown = state
    parts.append(_sgr(shown, _NOTHING))
    return "".join(parts)


def styles_to_irc(text: str) -> str:
    """The text with its marks as IRC formatting codes. Each line stands for itself, as each is sent by itself."""
    shown = state = _NOTHING
    parts = []
    for piece in _MARK_OR_NEWLINE.split(text):
        if _MARK.fullmatch(piece):
            state = state.after(piece)
        elif piece == "\n":
            parts += [_irc(shown, _NOTHING), piece]
            shown = _NOTHING
        elif piece:
            codes = _irc(shown, state)
            parts.append(codes)
            if codes[-3:-2] == _IRC_COLOR and piece[0] == ",":
                # Or the comma and a digit after it would be taken for a background.
                parts.append(_IRC_BOLD + _IRC_BOLD)
            parts.append(piece)
            shown = state
    parts.append(_irc(shown, _NOTHING))
    return "".join(parts)


def replace_styles(text: str, characters: Mapping[str, str]) -> str:
    """The text with each mark replaced; those that `characters` doesn't have go.

    What replaces the marks around blocks of letters of one width stands on lines of its own; between them there are no
    other styles, as networks show such blocks as they are.
    """
    if FIXED in characters:
        # The space that a paragraph begins with would be in front of the fence.
        text = _FIXED_BLOCK.sub(lambda block: f"{FIXED}{strip_styles(block[1])}{FIXED_END}", text)
    return _MARK.sub(lambda mark: characters.get(mark[0], ""), text)


@dataclass(frozen=True)
class _OpenStyles:
    """Which marks are open. Colours inside each other are stacked, so that the outer one comes back."""

    bold: int = 0
    emphasis: int = 0
    colors: tuple[int, ...] = ()
    backgrounds: tuple[int, ...] = ()

    def after(self, mark: str) -> _OpenStyles:
        if mark in (BOLD, BOLD_END):
            return replace(self, bold=self.bold + (1 if mark == BOLD else -1))
        if mark in (EMPHASIS, EMPHASIS_END):
            return replace(self, emphasis=self.emphasis + (1 if mark == EMPHASIS else -1))
        if mark == COLOR_END:
            return replace(self, colors=self.colors[:-1])
        if mark == BACKGROUND_END:
            return replace(self, backgrounds=self.backgrounds[:-1])
        if mark >= CODE:
            return self
        code = ord(mark)
        if code < _BACKGROUND_FIRST:
            return replace(self, colors=(*self.colors, code - _COLOR_FIRST))
        return replace(self, backgrounds=(*self.backgrounds, code - _BACKGROUND_FIRST))


_NOTHING = _OpenStyles()


def _sgr(before: _OpenStyles, after: _OpenStyles) -> str:
    codes = []
    if bool(before.bold) != bool(after.bold):
        codes.append("1" if after.bold else "22")
    if bool(before.emphasis) != bool(after.emphasis):
        codes.append("4" if after.emphasis else "24")
    if before.colors[-1:] != after.colors[-1:]:
        codes.append(f"3{after.colors[-1]}" if after.colors else "39")
    if before.backgrounds[-1:] != after.backgrounds[-1:]:
        codes.append(f"4{after.backgrounds[-1]}" if after.backgrounds else "49")
    return f"\x1b[{';'.join(codes)}m" if codes else ""


def _irc(before: _OpenStyles, after: _OpenStyles) -> str:
    if before == after:
        return ""
    # Bold and italics are toggles and colours can't be ended apart, so what changes begins anew.
    codes = _IRC_RESET if before != _NOTHING else ""
    codes += (_IRC_BOLD if after.bold else "") + (_IRC_ITALICS if after.emphasis else "")
    if after.colors or after.backgrounds:
        codes += _IRC_COLOR + (_IRC_COLORS[after.colors[-1]] if after.colors else _IRC_DEFAULT)
    if after.backgrounds:
        codes += "," + _IRC_COLORS[after.backgrounds[-1]]
    return codes
