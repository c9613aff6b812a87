"""Style marks inside a text, such as bold and red, their conversion to terminal sequences and IRC codes, and tables of
characters for them. A mark is one of the noncharacters U+FDD0 to U+FDEF, which Unicode reserves for internal use.
`sanitize` removes them from untrusted text. Texts with marks can be cut, padded and joined like any others."""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_FIRST = 0xFDD0
BOLD, BOLD_END, EMPHASIS, EMPHASIS_END, COLOR_END, BACKGROUND_END = map(chr, range(_FIRST, _FIRST + 6))
_COLOR_FIRST = _FIRST + 6
_BACKGROUND_FIRST = _COLOR_FIRST + len(COLORS)
# The marks that begin a text colour or a background colour, by the colour's name.
COLOR_MARKS = {name: chr(_COLOR_FIRST + number) for number, name in enumerate(COLORS)}
BACKGROUND_MARKS = {name: chr(_BACKGROUND_FIRST + number) for number, name in enumerate(COLORS)}
CODE, CODE_END, FIXED, FIXED_END = map(chr, range(_BACKGROUND_FIRST + len(COLORS), _BACKGROUND_FIRST + len(COLORS) + 4))
"""The marks of inline code, and of blocks in a fixed-width font. Networks with a fixed-width font ignore them."""

LINK, LINK_ADDRESS, LINK_END = map(chr, range(ord(FIXED_END) + 1, ord(FIXED_END) + 4))
"""The marks of a link: before its label, before " (address)", and behind that."""

_LAST = LINK_END
_MARK = re.compile(f"([{BOLD}-{_LAST}])")
_FIXED_BLOCK = re.compile(f" ?{FIXED}([^{FIXED}{FIXED_END}]*){FIXED_END}")
_MARK_OR_NEWLINE = re.compile(f"([\n{BOLD}-{_LAST}])")
# Colour codes that IRC clients agree on, in the order of COLORS: https://modern.ircdocs.horse/formatting.
_IRC_COLORS = ("01", "04", "03", "08", "02", "06", "11", "00")
_IRC_DEFAULT = "99"
_IRC_BOLD, _IRC_ITALICS, _IRC_COLOR, _IRC_RESET = "\x02", "\x1d", "\x03", "\x0f"


def strip_styles(text: str) -> str:
    """Return the text without marks."""
    return _MARK.sub("", text)


def styles_to_ansi(text: str) -> str:
    """Return the text with terminal sequences (ECMA-48 SGR) for bold, emphasis (underlined) and colours."""
    return _converted(_MARK.split(text), _sgr)


def styles_to_irc(text: str) -> str:
    """Return the text with IRC formatting codes. Each line has its own codes, since it is sent as a message of its own."""
    return _converted(_MARK_OR_NEWLINE.split(text), _irc, end="\n")


def _converted(pieces: Sequence[str], codes: Callable[[_OpenStyles, _OpenStyles, str], str], end: str = "") -> str:
    """Return the pieces between marks, each after the codes for its styles. A piece `end` has none."""
    shown = state = _NOTHING
    parts = []
    for piece in filter(None, pieces):
        if _MARK.fullmatch(piece):
            state = state.after(piece)
        else:
            styles = _NOTHING if piece == end else state
            parts += [codes(shown, styles, piece), piece]
            shown = styles
    return "".join([*parts, codes(shown, _NOTHING, "")])


def replace_styles(text: str, characters: Mapping[str, str]) -> str:
    """Return the text with each mark replaced by its characters. Marks that `characters` lacks are removed. Fixed-width
    blocks contain no other styles, since networks show them literally."""
    if FIXED in characters:
        # Removes the space at the beginning of a paragraph, which would precede the fence.
        text = _FIXED_BLOCK.sub(lambda block: f"{FIXED}{strip_styles(block[1])}{FIXED_END}", text)
    return _MARK.sub(lambda mark: characters.get(mark[0], ""), text)


@dataclass(frozen=True)
class _OpenStyles:
    """The marks that are open. Nested colours form a stack: after the inner colour, the outer one applies again."""

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


def _sgr(before: _OpenStyles, after: _OpenStyles, _: str) -> str:
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


def _irc(before: _OpenStyles, after: _OpenStyles, text: str) -> str:
    if before == after:
        return ""
    # Bold and italics are toggles, and colours can't be ended separately: a change resets everything and starts again.
    codes = _IRC_RESET if before != _NOTHING else ""
    codes += (_IRC_BOLD if after.bold else "") + (_IRC_ITALICS if after.emphasis else "")
    if after.colors or after.backgrounds:
        codes += _IRC_COLOR + (_IRC_COLORS[after.colors[-1]] if after.colors else _IRC_DEFAULT)
    if after.backgrounds:
        codes += "," + _IRC_COLORS[after.backgrounds[-1]]
    # A toggled bold separates a comma from the colour: with a digit after it, it would set the background.
    return codes + 2 * _IRC_BOLD if codes[-3:-2] == _IRC_COLOR and text[:1] == "," else codes


class NSC:
    """A string that counts as zero characters wide, such as the asterisks around bold text. The name is errbot's."""

    def __init__(self, s: str) -> None:
        self.s = s

    def __str__(self) -> str:
        return self.s

    def __repr__(self) -> str:
        return f"NSC({self.s!r})"


_NAMES = (
    *(f"{ground}_{color}" for ground in ("fg", "bg") for color in (*COLORS, "default")),
    *("fx_reset", "fx_bold", "fx_italic", "fx_underline", "fx_not_italic", "fx_not_underline", "fx_normal"),
    *("fixed_width", "end_fixed_width", "inline_code", "end_inline_code"),
)
_Characters: Any = namedtuple("_Characters", _NAMES, defaults=[""] * len(_NAMES))  # type: ignore[misc]


class CharacterTable(_Characters):
    """The characters at the beginning and end of each style, by errbot's names, as text or NSC; `str()` of one is written."""

    __slots__ = ()
    fx_reset: Any

    def by_mark(self) -> dict[str, str]:
        """Return the characters for each style mark that has any. Emphasis is written as underlining."""
        written = {mark: str(getattr(self, field)) for mark, field in _FIELDS.items()}
        if end := written[FIXED_END].strip():
            written[FIXED_END] = f"\n{end}"
        return {mark: characters for mark, characters in written.items() if characters}


_FIELDS = {
    BOLD: "fx_bold",
    BOLD_END: "fx_normal",
    EMPHASIS: "fx_underline",
    EMPHASIS_END: "fx_not_underline",
    COLOR_END: "fg_default",
    BACKGROUND_END: "bg_default",
    CODE: "inline_code",
    CODE_END: "end_inline_code",
    FIXED: "fixed_width",
    FIXED_END: "end_fixed_width",
    **{mark: f"fg_{name}" for name, mark in COLOR_MARKS.items()},
    **{mark: f"bg_{name}" for name, mark in BACKGROUND_MARKS.items()},
}

TEXT_CHRS = CharacterTable()  # No characters: plain text

# The conventions of instant messaging: `*bold*`, `_emphasis_` and code in backticks.
IMTEXT_CHRS = CharacterTable(
    **dict.fromkeys(("fx_bold", "fx_normal"), NSC("*")),
    **dict.fromkeys(("fx_underline", "fx_not_underline"), NSC("_")),
    **dict.fromkeys(("fixed_width", "end_fixed_width"), "```\n"),
    **dict.fromkeys(("inline_code", "end_inline_code"), "`"),
)
# Terminal sequences (ECMA-48 SGR).
_SGR = (*range(30, 38), 39, *range(40, 48), 49, 0, 1, 3, 4, 23, 24, 22)
ANSI_CHRS = CharacterTable(*(f"\x1b[{code}m" for code in _SGR))
