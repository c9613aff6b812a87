"""Folding: a normal form of text that is equal for spellings that differ only in case, width or invisible characters.
The form is Unicode's NFKC_Casefold (Unicode Standard, section 3.13), without control characters. For example,
`Production`, fullwidth `ｐｒｏｄｕｃｔｉｏｎ` and `produc\u00adtion` all become `production`."""

from __future__ import annotations

import unicodedata

# Default_Ignorable_Code_Point outside of the general category Cf: DerivedCoreProperties.txt, Unicode 17. The module
# unicodedata lacks this property. The unassigned code points are reserved for invisible characters.
_IGNORABLE = frozenset(
    code
    for first, last in (
        (0x034F, 0x034F),  # combining grapheme joiner
        (0x115F, 0x1160),  # Hangul fillers
        (0x17B4, 0x17B5),  # Khmer inherent vowels
        (0x180B, 0x180F),  # Mongolian variation selectors
        (0x2065, 0x2065),
        (0x3164, 0x3164),  # Hangul filler
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
        (0xFFF0, 0xFFF8),
        (0xE0000, 0xE0FFF),  # tags, variation selectors
    )
    for code in range(first, last + 1)
)


def is_invisible(character: str) -> bool:
    """Return whether the character is invisible. True for format characters (general category Cf, such as zero-width
    spaces, the soft hyphen and bidirectional marks), for other default-ignorable code points (such as variation
    selectors), and for control characters that aren't white space."""
    category = unicodedata.category(character)
    if category == "Cc":
        return not character.isspace()
    return category == "Cf" or ord(character) in _IGNORABLE


def folded(text: str) -> str:
    """Return the text after NFKC, casefolding and removal of invisible characters, with U+0020 for each white space."""
    if text.isascii() and text.isprintable():
        return text.lower()
    before = None
    # One pass may require another: a letter and an accent compose when the joiner between them is removed.
    while text != before:
        before = text
        text = unicodedata.normalize("NFKC", text).casefold()
        text = "".join(" " if one.isspace() else one for one in text if not is_invisible(one))
    return text
