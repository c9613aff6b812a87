"""Quoting of untrusted text for Markdown, so that it is shown literally; removal of control characters; and folding, a normal form of
text that is equal for spellings that differ only in case, width or invisible characters. That form is Unicode's NFKC_Casefold (Unicode
Standard, section 3.13), without control characters."""

from __future__ import annotations

import re
import unicodedata

# Markdown syntax at the beginning of a line, anywhere, and (underscores) at the edge of a word.
_SPECIAL = re.compile(r"(^\s*[0-9]+)(\.)|(^\s*)([#>+-])|()([\\`*{\[\]|]|(?<![^\W_])_|_(?![^\W_]))")
_ESCAPED = r"\1\3\\\2\4\6"
# Syntax that a backslash doesn't escape: headings underlined with `=`, definitions after a colon, and fences of `~`.
_BLOCK = re.compile(r"^(\s*)(=(?==*\s*$)|:(?=\s)|~(?=~~))")
# Entities, and tags and addresses in angle brackets.
_OF_HTML = re.compile(r"&(?=#?\w+;)|<(?=[^\s\d=])")
# Syntax in the middle of a line that would be at its beginning if a long text were split there.
_LATER = re.compile(r"(?<=\s)(?:([0-9]*)([+.-])(?=\s)|()([#>]))")
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
    shown = (_LATER.sub(r"\1\\\2\4", _escaped(line)) if line.strip() else "" for line in lines)
    # An indented line after an empty one would be a code block, in which backslashes are visible.
    return _INDENTED.sub(r"\1   ", "\n".join(shown))


def _escaped(line: str) -> str:
    # Hash signs at the end of a heading are removed by Markdown, so they are escaped too.
    head = line.rstrip().rstrip("#")
    shown = _SPECIAL.sub(_ESCAPED, head) + line[len(head) :].replace("#", "\\#")
    return _BLOCK.sub(lambda start: start[1] + _entity(start), shown)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0][-1])};"


def _ticks(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


# Control characters (C0, DEL and C1) except tab and line feed; lone surrogates, which can't be encoded; and the noncharacters U+FDD0
# to U+FDEF, which this package uses for styles.
_UNPRINTABLE = re.compile(r"[^\t\n -~\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\U0010ffff]")
_NEWLINES = re.compile(r"\r\n?")

# The whole sequence is removed: without its ESC, the rest would show as "[31m". A title or link (OSC) ends with BEL or ST.
# If the end is missing, only the ESC is removed, to keep the text after it.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\)"
)

_SURROGATES = re.compile(r"[\ud800-\udfff]")


def sanitize(text: str) -> str:
    r"""Return the text without control characters and terminal sequences. Tab and line feed are kept. CR LF and CR
    become line feeds, and lone surrogates become U+FFFD."""
    if not _UNPRINTABLE.search(text):
        return text
    text = _SEQUENCES.sub("", _NEWLINES.sub("\n", text))
    return _UNPRINTABLE.sub("", _SURROGATES.sub("\ufffd", text))


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
