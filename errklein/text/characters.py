"""Tables of the characters that a network writes for bold, colours and other styles. Backends may define their own."""

from __future__ import annotations

from typing import NamedTuple

from errklein.text import styles


class NSC:
    """A string that counts as zero characters wide, such as the asterisks around bold text. The name is errbot's."""

    def __init__(self, s: str) -> None:
        self.s = s

    def __str__(self) -> str:
        return self.s

    def __repr__(self) -> str:
        return f"NSC({self.s!r})"


class CharacterTable(NamedTuple):
    """The characters at the beginning and end of each style, by errbot's names; `str()` of a value is written."""

    fg_black: str | NSC = ""
    fg_red: str | NSC = ""
    fg_green: str | NSC = ""
    fg_yellow: str | NSC = ""
    fg_blue: str | NSC = ""
    fg_magenta: str | NSC = ""
    fg_cyan: str | NSC = ""
    fg_white: str | NSC = ""
    fg_default: str | NSC = ""
    bg_black: str | NSC = ""
    bg_red: str | NSC = ""
    bg_green: str | NSC = ""
    bg_yellow: str | NSC = ""
    bg_blue: str | NSC = ""
    bg_magenta: str | NSC = ""
    bg_cyan: str | NSC = ""
    bg_white: str | NSC = ""
    bg_default: str | NSC = ""
    fx_reset: str | NSC = ""
    fx_bold: str | NSC = ""
    fx_italic: str | NSC = ""
    fx_underline: str | NSC = ""
    fx_not_italic: str | NSC = ""
    fx_not_underline: str | NSC = ""
    fx_normal: str | NSC = ""
    fixed_width: str | NSC = ""
    end_fixed_width: str | NSC = ""
    inline_code: str | NSC = ""
    end_inline_code: str | NSC = ""

    def by_mark(self) -> dict[str, str]:
        """Return the characters for each style mark that has any. Emphasis is written as underlining."""
        written: dict[str, str | NSC] = {
            styles.BOLD: self.fx_bold,
            styles.BOLD_END: self.fx_normal,
            styles.EMPHASIS: self.fx_underline,
            styles.EMPHASIS_END: self.fx_not_underline,
            styles.COLOR_END: self.fg_default,
            styles.BACKGROUND_END: self.bg_default,
            styles.CODE: self.inline_code,
            styles.CODE_END: self.end_inline_code,
            styles.FIXED: self.fixed_width,
            styles.FIXED_END: f"\n{str(self.end_fixed_width).strip()}" if str(self.end_fixed_width) else "",
        }
        written |= {mark: getattr(self, f"fg_{name}") for name, mark in styles.COLOR_MARKS.items()}
        written |= {mark: getattr(self, f"bg_{name}") for name, mark in styles.BACKGROUND_MARKS.items()}
        return {mark: str(characters) for mark, characters in written.items() if str(characters)}


def _sgr(code: int) -> str:
    return f"\x1b[{code}m"


TEXT_CHRS = CharacterTable()
"""No characters: plain text."""

IMTEXT_CHRS = CharacterTable(
    fx_bold=NSC("*"),
    fx_normal=NSC("*"),
    fx_underline=NSC("_"),
    fx_not_underline=NSC("_"),
    fixed_width="```\n",
    end_fixed_width="```\n",
    inline_code="`",
    end_inline_code="`",
)
"""The conventions of instant messaging: `*bold*`, `_emphasis_` and code in backticks."""

ANSI_CHRS = CharacterTable(*(_sgr(code) for code in (*range(30, 38), 39, *range(40, 48), 49, 0, 1, 3, 4, 23, 24, 22)))
"""Terminal sequences (ECMA-48 SGR)."""
