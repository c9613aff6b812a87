"""Markdown rendered for those who read it: as plain text, for a terminal, and for IRC."""

from __future__ import annotations

import re
from collections.abc import Callable

from errklein.text import xhtml
from errklein.text._sanitizing import sanitize
from errklein.text.characters import IMTEXT_CHRS
from errklein.text.styles import replace_styles, strip_styles, styles_to_ansi, styles_to_irc

MARKDOWN_CAP = 20_000
"""Characters of the longest text that is read as Markdown. A longer one is shown as it is."""

LINES_CAP = 2_000
"""Lines of such a text. Markdown's parser takes time with the square of their number, for some texts seconds."""

STYLED_CAP = 2_500
"""Beginnings and ends of emphasis, code, links and entities in such a text. They take time with the square, too."""

FOOTNOTES_CAP = 200
"""Footnotes, and what looks like them."""

CELLS_CAP = 20_000
"""Cells of the tables, those that aren't written down as well: rows may be shorter than the head."""

REPEATED_CAP = 1_000_000
"""Characters that the longest line may come to where it defines what others refer to."""

_STYLED = re.compile(r"[*_`]+|[\[\\&]")
_DEFINITION = re.compile(r"\] ?:")
_BREAK = re.compile(r"<br", re.IGNORECASE)
_NESTED = re.compile(r"^ *(?:(?:[-+*]|[0-9]+\.)[ \t]+|> ?){41}", re.MULTILINE)

# Whatever Markdown might take for more than text; everything that isn't found here is only text, which the tests prove
# by rendering both ways. `]:` begins definitions, without which brackets alone mean nothing.
_SPECIAL = re.compile(
    r"[*`\\|~]"
    r"|(?<![^\W_])_|_(?![^\W_])"
    r"|\]\(|\]\s?:"
    r"|<[^\s\d=]|&[#\w]"
    r"|\{:"
    r"|[^\S \n]"
    r"|  \n"
    r"|^ *(?:[-+=:#>]|[0-9]+\.)"
    r"|^ {4}",
    re.MULTILINE,
)
_NEW_PARAGRAPH = re.compile(r"\n(?: *\n)+ *")
_ATTRIBUTES = re.compile(r"(?<!\\)\{:[^}\n]*\}")
_ESCAPED = re.compile(r"([\\`*_{}\[\]()>#+\-.!])")
_IMTEXT = IMTEXT_CHRS.by_mark()


def to_plain(markdown: str, *, compact: bool = False) -> str:
    """The text alone: tables as boxes (columns without borders if `compact`), bullets, addresses after their labels.

    It is what errbot's tests see of a message. Control characters other than tab and newline are removed.
    """
    markdown = sanitize(markdown)
    if is_only_text(markdown):
        # "You said: " ends with a space in plugins' tests.
        return _paragraphs(markdown, " ").strip("\n" if markdown.endswith(" ") else " \n").lstrip(" \n")
    return strip_styles(_laid_out(markdown, compact, exact=True)).strip(" \n")


def to_imtext(markdown: str, *, compact: bool = False) -> str:
    """The text as people write it to each other: `*bold*`, `_emphasis_`, code and tables in backticks."""
    return _rendered(markdown, lambda text: replace_styles(text, _IMTEXT), compact, exact=True).strip(" \n")


def to_xhtml(markdown: str) -> str:
    """The text as XHTML. All of it is errklein's own: tags in the text are shown, and links lead to the web and mail."""
    markdown = sanitize(markdown)
    # Here abbreviations are explained wherever they are used, which may be in every other character.
    if is_too_much(markdown) or ("*[" in markdown and _repeats(markdown, len(markdown) // 2)):
        return xhtml.as_it_is(markdown)
    try:
        page = xhtml.from_markdown(markdown)
    except Exception:
        # As below, it is nested too deep.
        return xhtml.as_it_is(markdown)
    text = markdown.strip()
    return xhtml.as_it_is(text) if text and not page else page


def to_md(markdown: str) -> str:
    """The Markdown itself, for a network that knows it, without the attributes such as `{: color='red'}`."""
    return _ATTRIBUTES.sub("", sanitize(markdown))


def md_escape(text: str) -> str:
    """The text with a backslash before all that Markdown might take for more."""
    return _ESCAPED.sub(r"\\\1", text)


def to_ansi(markdown: str, *, compact: bool = False) -> str:
    """The text for a terminal: bold, underlined and coloured by ECMA-48 sequences, all of which are errklein's own."""
    return _rendered(markdown, styles_to_ansi, compact)


def to_irc(markdown: str, *, compact: bool = True) -> str:
    """The text for IRC, with its formatting codes, each line complete in itself. Lines are separated by newlines."""
    return _rendered(markdown, styles_to_irc, compact)


def is_only_text(markdown: str) -> bool:
    """Whether Markdown has nothing to say about the text, so that it can be shown without being parsed."""
    return not _SPECIAL.search(markdown)


def is_too_much(markdown: str) -> bool:
    """Whether Markdown would take long over the text, as nobody writes for people to read; it is shown as it is."""
    return (
        len(markdown) > MARKDOWN_CAP
        or markdown.count("\n") >= LINES_CAP
        or markdown.count("[^") > FOOTNOTES_CAP
        or sum(1 for _ in _STYLED.finditer(markdown)) > STYLED_CAP
        or _NESTED.search(markdown) is not None
        or _cells(markdown) > CELLS_CAP
        or _repeats(markdown, markdown.count("["))
    )


def _cells(markdown: str) -> int:
    """No fewer than the cells of its tables, each line of them counted; lines such as `--|--` tell how many columns."""
    lines = markdown.split("\n")
    columns = max((line.count("|") + 1 for line in lines if not line.strip(" \t>|:-")), default=0)
    return columns * (len(lines) + len(_BREAK.findall(markdown)))


def _repeats(markdown: str, uses: int) -> bool:
    """Whether what the text defines, such as `[a]: http://b/`, makes it far too long if it is shown so many times."""
    return bool(_DEFINITION.search(markdown)) and uses * max(map(len, markdown.split("\n"))) > REPEATED_CAP


def _rendered(markdown: str, convert: Callable[[str], str], compact: bool, exact: bool = False) -> str:
    markdown = sanitize(markdown)
    if is_only_text(markdown):
        return _paragraphs(markdown, " " if exact else "").strip(" \n")
    return convert(_laid_out(markdown, compact, exact))


def _paragraphs(text: str, indent: str) -> str:
    return _NEW_PARAGRAPH.sub("\n" + indent, text)


def _laid_out(markdown: str, compact: bool, exact: bool = False) -> str:
    if is_too_much(markdown):
        return markdown
    # Markdown takes its time to import, and a bot that says plain sentences never needs it.
    from errklein.text.layout import LayoutOptions, lay_out
    from errklein.text.markdown_tree import parse

    try:
        text = lay_out(parse(markdown), LayoutOptions(exact=exact, compact=compact))
    except Exception:
        # Markdown is nested by whoever wrote it, perhaps deeper than Python's stack. To see it as it was written is
        # better than not to see it.
        return markdown
    # Definitions such as `[ticket]: http://x/1` show nothing by themselves, and a message of nothing else would vanish.
    vanishes = not strip_styles(text).strip(" \n") and _DEFINITION.search(markdown)
    return markdown.strip() if vanishes else text
