"""Rendering of Markdown for each kind of network: plain text, instant messaging, XHTML, ANSI terminals and IRC. Texts
that would take Markdown's parser too long are shown as they were written. The limits are the `…_CAP` constants."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from errklein.text import styles, xhtml
from errklein.text._quoting import sanitize
from errklein.text.neutralising import without_unsafe_links
from errklein.text.styles import LINK, LINK_ADDRESS, LINK_END, strip_styles

MARKDOWN_CAP = 20_000  # Maximum number of characters of a text that is parsed as Markdown
LINES_CAP = 2_000  # Maximum number of lines. The parser's time grows with the square of it.
STYLED_CAP = 2_500  # Maximum number of delimiters of styles and links, and entities. Time grows with its square.
FOOTNOTES_CAP = 200  # Maximum number of occurrences of `[^`, with which footnotes begin
TERMS_CAP = 500  # Maximum number of lines of definitions, which begin with a colon. After each, the rest is read.
# Maximum number of characters that are read again: the parser reads a block of lines once more after each heading, rule, definition
# and link definition in it.
REREAD_CAP = 4_000_000
CELLS_CAP = 20_000  # Maximum number of table cells, including those that short rows leave out
REPEATED_CAP = 1_000_000  # Maximum number of characters that definitions add where they are referred to
_STYLED = re.compile(r"[*_`]+|[\[\\&]")
_DEFINITION = re.compile(r"\] ?:")
_BREAK = re.compile(r"<br", re.IGNORECASE)
_TERM = re.compile(r"^ {0,2}: ", re.MULTILINE)
_DIVIDER = re.compile(r"^ {0,3}(?:#|: |[-=_*][-=_* ]*+$)|\] ?:", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t]*+\n")
_NESTED = re.compile(r"^ *(?:(?:[-+*]|[0-9]+\.)[ \t]+|> ?){41}", re.MULTILINE)

# Everything that may be Markdown syntax. A text without a match is plain text; property tests compare both ways of
# rendering. Brackets alone have no meaning without a definition, which contains `]:`.
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
_ATTRIBUTES = re.compile(r"(?<!\\)\{:[^}\n]{0,200}\}")
_ESCAPED = re.compile(r"([\\`*_{}\[\]()>#+\-.!])")
_IMTEXT = styles.IMTEXT_CHRS.by_mark()
_MRKDWN = _IMTEXT | {mark: mark for mark in (LINK, LINK_ADDRESS, LINK_END)}
_LINK = re.compile(f"{LINK}([^{LINK}{LINK_ADDRESS}]*+){LINK_ADDRESS} \\(([^{LINK}{LINK_END}]*+)(?<=\\)){LINK_END}")


def to_plain(markdown: str, *, compact: bool = False, indented: bool = True) -> str:
    """Render Markdown as plain text, exactly as errbot's test backend does.

    Headings, lists and tables keep their layout, and emphasis is dropped. Control characters other than tab and newline are
    removed. With `compact`, tables have no borders. With `indented`, paragraphs begin with a space, as in errbot::

        to_plain("See the **[build](https://ci.example.org/7)**.")
        # "See the build (https://ci.example.org/7)."
    """
    if not indented:
        return _rendered(markdown, strip_styles, compact)
    markdown = sanitize(markdown)
    if is_only_text(markdown):
        # A space at the end is kept, since tests of plugins expect texts such as "You said: ".
        return _NEW_PARAGRAPH.sub("\n ", markdown).strip("\n" if markdown.endswith(" ") else " \n").lstrip(" \n")
    return strip_styles(_laid_out(markdown, compact, exact=True)).strip(" \n")


def to_imtext(markdown: str, *, compact: bool = False, indented: bool = True) -> str:
    """Render Markdown with the conventions of instant messaging: `*bold*`, `_emphasis_`, code and tables in backticks.
    With `compact`, tables have no borders. With `indented`, paragraphs begin with a space, as in errbot."""
    return _rendered(markdown, lambda text: styles.replace_styles(text, _IMTEXT), compact, exact=indented).strip(" \n")


def to_mrkdwn(markdown: str) -> str:
    """Render Markdown as mrkdwn, the markup of Slack: as `to_imtext`, with links, and with entities for `&`, `<` and `>`."""

    def link(found: re.Match[str]) -> str:
        label, address = found[1].replace("\n", " "), found[2][:-1].replace("|", "%7C")
        is_link = address.partition(":")[0].lower() in xhtml.SCHEMES and not re.search(r"\s", address)
        return f"<{address}|{label}>" if is_link else f"{label} ({found[2]}"

    text = _rendered(markdown, lambda text: styles.replace_styles(text, _MRKDWN), True)
    return strip_styles(_LINK.sub(link, html.escape(text, quote=False))).strip(" \n")


def to_xhtml(markdown: str) -> str:
    """Render Markdown as XHTML that is safe to show. Tags in the text are shown as text, except `<br>`. Links and
    images with other schemes than those in `xhtml.SCHEMES` have no address."""
    markdown = sanitize(markdown)
    # In XHTML each use of an abbreviation repeats its definition.
    if is_too_much(markdown) or ("*[" in markdown and _repeats(markdown, len(markdown) // 2)):
        return xhtml.as_it_is(markdown)
    try:
        page = xhtml.from_markdown(markdown)
    except Exception:
        # Nested too deeply; see `_laid_out`.
        return xhtml.as_it_is(markdown)
    text = markdown.strip()
    return xhtml.as_it_is(text) if text and not page else page


def to_md(markdown: str) -> str:
    """Return the Markdown for a network that renders it itself, without attributes such as `{: color='red'}`, and unsafe links as
    text."""
    return without_unsafe_links(_ATTRIBUTES.sub("", sanitize(markdown)))


def md_escape(text: str) -> str:
    """Return the text with a backslash before each character that may be Markdown syntax, as errbot's `md_escape`.
    `plain` also escapes HTML and the beginnings of blocks, and leaves readable text unchanged."""
    return _ESCAPED.sub(r"\\\1", text)


def to_ansi(markdown: str, *, compact: bool = False) -> str:
    """Render Markdown for a terminal, with bold, underlining and colours as ECMA-48 sequences. Terminal sequences in
    the text itself are removed. With `compact`, tables have no borders."""
    return _rendered(markdown, styles.styles_to_ansi, compact)


def to_irc(markdown: str, *, compact: bool = True) -> str:
    """Render Markdown for IRC, with its formatting codes in each line, which is a message. With `compact`, tables have no
    borders."""
    return _rendered(markdown, styles.styles_to_irc, compact)


def is_only_text(markdown: str) -> bool:
    """Return whether the text contains no Markdown syntax, so that it needn't be parsed."""
    return not _SPECIAL.search(markdown)


def is_too_much(markdown: str) -> bool:
    """Return whether the text exceeds a limit, so that it is shown as it was written."""
    return (
        len(markdown) > MARKDOWN_CAP
        or markdown.count("\n") >= LINES_CAP
        or markdown.count("[^") > FOOTNOTES_CAP
        or sum(1 for _ in _STYLED.finditer(markdown)) > STYLED_CAP
        or len(_TERM.findall(markdown)) > TERMS_CAP
        or sum(len(block) * len(_DIVIDER.findall(block)) for block in _BLANK_LINE.split(markdown)) > REREAD_CAP
        or _NESTED.search(markdown) is not None
        or _cells(markdown) > CELLS_CAP
        or _repeats(markdown, markdown.count("["))
    )


def _cells(markdown: str) -> int:
    """Return an upper bound for the number of table cells, from lines such as `--|--` and the number of lines."""
    lines = markdown.split("\n")
    columns = max((line.count("|") + 1 for line in lines if not line.strip(" \t>|:-")), default=0)
    return columns * (len(lines) + len(_BREAK.findall(markdown)))


def _repeats(markdown: str, uses: int) -> bool:
    """Return whether `uses` repetitions of definitions, such as `[a]: http://b/`, may exceed REPEATED_CAP."""
    return bool(_DEFINITION.search(markdown)) and uses * max(map(len, markdown.split("\n"))) > REPEATED_CAP


def _rendered(markdown: str, convert: Callable[[str], str], compact: bool, exact: bool = False) -> str:
    markdown = sanitize(markdown)
    if is_only_text(markdown):
        return _NEW_PARAGRAPH.sub("\n " if exact else "\n", markdown).strip(" \n")
    return convert(_laid_out(markdown, compact, exact))


def _laid_out(markdown: str, compact: bool, exact: bool = False) -> str:
    if is_too_much(markdown):
        return markdown
    # Imported late, since Markdown is slow to import and plain sentences don't need it.
    from errklein.text.layout import lay_out, parse

    try:
        text = lay_out(*parse(markdown), exact=exact, compact=compact)
    except Exception:
        # The nesting may exceed Python's recursion limit. The text is shown as it was written.
        return markdown
    # A message that only has definitions, such as `[ticket]: http://x/1`, would be empty.
    vanishes = not strip_styles(text).strip(" \n") and _DEFINITION.search(markdown)
    return markdown.strip() if vanishes else text
