"""Parsing of chat messages in Markdown, and their layout as lines of text, with marks for bold, colours and other
styles (see `styles`). The dialect is Markdown Extra without HTML: tags are text, except `<br>`."""

from __future__ import annotations

import html
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.blockprocessors import OListProcessor
from markdown.extensions.attr_list import AttrListTreeprocessor
from markdown.extensions.def_list import DefListExtension
from markdown.extensions.footnotes import NBSP_PLACEHOLDER, FootnoteExtension
from markdown.extensions.tables import TableExtension
from markdown.inlinepatterns import LinkInlineProcessor
from markdown.preprocessors import Preprocessor
from markdown.util import AMP_SUBSTITUTE, HTML_PLACEHOLDER_RE, STX

from errklein.text import styles
from errklein.text._quoting import sanitize
from errklein.text.styles import strip_styles

LINK_CAP = 2000  # Maximum length of a link's label, and of its address, in characters
# Maximum number of opening brackets in a paragraph with links. With more, links aren't searched for: it takes too long.
BRACKETS_CAP = 500


class Code(str):
    """The text of a fenced code block, shown literally."""

    __slots__ = ()


def parse(text: str) -> tuple[Element, list[str]]:
    """Return the root element of a text in Markdown, and the texts that placeholders in it refer to. For any thread."""
    with idle_parser(_build) as parser:
        lines = text.split("\n")
        for preprocessor in parser.preprocessors:
            lines = preprocessor.run(lines)
        root = parser.parser.parseDocument(lines).getroot()
        assert root is not None
        for treeprocessor in parser.treeprocessors:
            changed = treeprocessor.run(root)
            if changed is not None:
                root = changed
        return root, [raw for raw in parser.htmlStash.rawHtmlBlocks if isinstance(raw, str)]


_idle: defaultdict[Callable[[], Markdown], deque[Markdown]] = defaultdict(deque)


@contextmanager
def idle_parser(build: Callable[[], Markdown]) -> Iterator[Markdown]:
    """Provide a parser no other thread uses, in a `with` block. It takes milliseconds to build, and parses one text at a time."""
    try:
        parser = _idle[build].pop()
    except IndexError:
        parser = build()
    try:
        yield parser
    finally:
        parser.reset()
        _idle[build].append(parser)


def _build() -> Markdown:
    parser = Markdown(extensions=[TableExtension(), DefListExtension(), FootnoteExtension()])
    adapt(parser)
    return parser


def adapt(parser: Markdown) -> None:
    """Configure a parser to make trees for `layout`. Fenced code is stored in `parser.htmlStash.rawHtmlBlocks` as `Code`."""
    numbered = parser.parser.blockprocessors["olist"]
    assert isinstance(numbered, OListProcessor)
    # Lists start with the number that was written.
    numbered.LAZY_OL = False  # type: ignore[misc]
    parser.preprocessors.deregister("html_block", strict=False)
    parser.preprocessors.deregister("fenced_code_block", strict=False)
    parser.preprocessors.register(Fences(parser), "fences", 25)
    parser.preprocessors.register(_Abbreviations(parser), "abbreviations", 15)
    parser.treeprocessors.register(Attributes(parser), "attr_list", 8)
    # It would add white space to the tree to make HTML readable.
    parser.treeprocessors.deregister("prettify", strict=False)
    cap_links(parser)


def cap_links(parser: Markdown) -> None:
    """Apply LINK_CAP and BRACKETS_CAP to a parser."""
    for name, priority in _LINKS.items():
        processor: Any = parser.inlinePatterns[name]
        capped: Any = type(type(processor).__name__, (_Capped, type(processor)), {})
        parser.inlinePatterns.register(capped(processor.pattern, parser), name, priority)


# Names and priorities of Markdown's own processors.
_LINKS = {
    "reference": 170,
    "link": 160,
    "image_link": 150,
    "image_reference": 140,
    "short_reference": 130,
    "short_image_ref": 125,
}


class Fences(Preprocessor):
    """Replaces fenced code by placeholders before the text is parsed as Markdown."""

    FENCE = re.compile(r"(`{3,}+|~{3,}+)([^`]*)")

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines with a placeholder for each code block."""
        # The numbers of the lines that close a fence, the last ones first, so that a fence without one takes no search.
        closing: dict[str, list[int]] = {}
        for number in reversed(range(len(lines))):
            if lines[number].startswith(("```", "~~~")):
                closing.setdefault(lines[number].rstrip(" "), []).append(number)
        if not closing:
            return lines
        result: list[str] = []
        number = 0
        while number < len(lines):
            fence = self.FENCE.fullmatch(lines[number])
            ends = closing.get(fence[1], []) if fence else []
            while ends and ends[-1] <= number:
                ends.pop()
            if fence and ends:
                code = "".join(f"{line}\n" for line in lines[number + 1 : ends[-1]])
                result += ["", "", self.md.htmlStash.store(self.stored(fence[2], code)), "", ""]
                number = ends[-1]
            else:
                result.append(lines[number])
            number += 1
        return result

    def stored(self, info: str, code: str) -> Any:
        """Return what is stored in place of a code block; `info` follows the opening fence."""
        return Code(code)


class _Abbreviations(Preprocessor):
    """Removes definitions of abbreviations, such as `*[HTML]: Hyper Text`, which plain text can't show."""

    EXPLAINED = re.compile(r"\*\[[^\]\\]+\] ?:")

    def run(self, lines: list[str]) -> list[str]:
        return [line for line in lines if not self.EXPLAINED.match(line)]


class Attributes(AttrListTreeprocessor):
    """Requires the colon in `{: color='red'}`. Without it, a line of JSON after a paragraph would be taken as attributes."""

    # The stubs declare these as final, although Markdown's documentation permits overriding.
    BASE_RE = r"\{:[ ]{0,20}([^\}\n ][^\n]{0,400})\}"  # type: ignore[misc]
    HEADER_RE = re.compile(rf"(?<! )[ ]++{BASE_RE}[ ]*$")  # type: ignore[misc]
    BLOCK_RE = re.compile(rf"\n[ ]*{BASE_RE}[ ]*$")  # type: ignore[misc]
    INLINE_RE = re.compile(rf"^{BASE_RE}")  # type: ignore[misc]


class _Capped(LinkInlineProcessor):
    """A processor of links with limits. Markdown's own reads to the end of the text at each opening bracket."""

    def handleMatch(self, m: re.Match[str], data: str) -> Any:  # type: ignore[override]
        if data.count("[") > BRACKETS_CAP:
            return None, None, None
        return super().handleMatch(m, data)

    def getText(self, data: str, index: int) -> Any:
        return super().getText(data[: index + LINK_CAP], index)

    def getLink(self, data: str, index: int) -> Any:
        return super().getLink(data[: index + LINK_CAP], index)


Row = Sequence[str]  # the texts of the cells, which may have several lines and style marks

# Maximum size of a table in characters, with padding. In a larger table the columns are narrowed, and long cells exceed theirs.
# Without the limit, padding could turn a few thousand characters into millions.
PADDED_CAP = 200_000


def width(text: str) -> int:
    """Return the number of terminal columns of one line: 2 for CJK characters and emoji, 0 for combining characters."""
    text = strip_styles(text)
    if text.isascii() and text.isprintable():
        return len(text)
    # Imported late, since it takes 50 ms and most bots never need it.
    import wcwidth

    return wcwidth.width(text, control_codes="ignore")


def boxed_table(head: Row, body: Sequence[Row]) -> str:
    """Return a table with borders, heavy around the head, and a newline at the end."""
    widths = _widths([head, *body])
    bars = ["━" * (each + 2) for each in widths]
    thin = [bar.replace("━", "─") for bar in bars]
    lines = [f"┏{'┳'.join(bars)}┓"]
    lines += [f"┃ {' ┃ '.join(line)} ┃" for line in _lines(head, widths)]
    lines.append(f"┡{'╇'.join(bars)}┩")
    between = f"├{'┼'.join(thin)}┤"
    for number, row in enumerate(body):
        if number:
            lines.append(between)
        lines += [f"│ {' │ '.join(line)} │" for line in _lines(row, widths)]
    lines.append(f"└{'┴'.join(thin)}┘")
    return "\n".join(lines) + "\n"


def compact_table(head: Row, body: Sequence[Row]) -> str:
    """Return a table without borders, its columns two spaces apart, and a newline at the end. An empty head is left out."""
    rows = [row for row in (head, *body) if any(row)]
    widths = _widths(rows)
    return "".join("  ".join(line).rstrip(" ") + "\n" for row in rows for line in _lines(row, widths))


def _widths(rows: Sequence[Row]) -> list[int]:
    columns = max(map(len, rows), default=0)
    widths = [
        max((width(line) for row in rows if column < len(row) for line in row[column].split("\n")), default=0)
        for column in range(columns)
    ]
    height = sum(max((cell.count("\n") + 1 for cell in row), default=0) for row in rows)
    if sum(widths) * height <= PADDED_CAP:
        return widths
    return [min(each, PADDED_CAP // (columns * height)) for each in widths]


def _lines(row: Row, widths: Sequence[int]) -> Iterator[list[str]]:
    cells = [cell.split("\n") for cell in row] + [[""]] * (len(widths) - len(row))
    for number in range(max(map(len, cells), default=0)):
        line = [cell[number] if number < len(cell) else "" for cell in cells]
        yield [text + " " * (columns - width(text)) for text, columns in zip(line, widths, strict=True)]


NEWLINE, RULER = "\n", "─" * 80

_ENTITY = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def lay_out(root: Element, raw: Sequence[str], *, exact: bool = False, compact: bool = False) -> str:
    """Return the text of a tree with style marks, and without white space at its end. Placeholders in it refer to the texts
    `raw`. `exact` reproduces errbot's plain text, since plugins' tests compare with it: paragraphs after the first begin with a
    space, headings are indented, numbered lists have bullets, and an address that is a label is repeated. `compact` draws tables
    without borders."""
    return _Layout(raw, exact, compact).flow(root).strip("\n").rstrip(" \n")


class _Layout:
    """Converts elements to text. The text of a block ends with a newline."""

    def __init__(self, raw: Sequence[str], exact: bool, compact: bool) -> None:
        self._raw, self._exact, self._compact = raw, exact, compact
        self._blocks: dict[str, Callable[[Element], str]] = {
            "p": self._paragraph,
            **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), self._heading),
            "ul": self._list,
            "ol": self._list,
            "pre": self._preformatted,
            "blockquote": self._quote,
            "hr": lambda element: f"{RULER}\n",
            "table": self._table,
            "dl": self.flow,
            "dt": lambda element: f"{self._line(element)}\n",
            "dd": lambda element: self._hanging("  ", self.flow(element)),
            "div": self.flow,
        }
        self._inlines: dict[str, Callable[[Element], str]] = {
            "strong": lambda element: f"{styles.BOLD}{self._line(element)}{styles.BOLD_END}",
            "em": lambda element: f"{styles.EMPHASIS}{self._line(element)}{styles.EMPHASIS_END}",
            "code": lambda element: f"{styles.CODE}{sanitize(_restored(element.text or ''))}{styles.CODE_END}",
            "br": lambda element: "\n",
            "a": self._link,
            "img": lambda element: self._text(element.get("src", "")),
        }

    def flow(self, element: Element) -> str:
        """Return the content of an element that may contain blocks and text; each starts on a new line."""
        blocks: list[str] = []
        line = self._text(element.text)
        for child in element:
            if (block := self._blocks.get(child.tag)) is not None:
                if line.strip(" \n"):
                    blocks.append(f"{line.rstrip(' ')}\n")
                blocks.append(self._colored(child, block(child)))
            line = (line + self._inline(child) if block is None else "") + self._text(child.tail)
        if line.strip(" \n"):
            blocks.append(f"{line.rstrip(' ')}\n")
        return "".join(blocks)

    def _line(self, element: Element, first: Callable[[str], str] = str) -> str:
        """Return the content of an element without blocks. `first` is applied to the text before the first child."""
        text = first(self._text(element.text))
        for child in element:
            text += self._inline(child) + self._text(child.tail)
        return text

    def _inline(self, element: Element) -> str:
        inline = self._inlines.get(element.tag, self._line)
        return self._colored(element, inline(element))

    def _link(self, element: Element) -> str:
        if (kind := element.get("class", "")) in ("footnote-ref", "footnote-backref"):
            return f"[{self._line(element)}]" if kind == "footnote-ref" else ""
        label = self._line(element)
        address = self._text(element.get("href", ""))
        if not self._exact and address in (label, f"mailto:{label}"):
            return label
        marked = f"{styles.LINK}{label}{styles.LINK_ADDRESS} ({address}){styles.LINK_END}"
        return marked if label else f"({address})"

    def _paragraph(self, element: Element) -> str:
        stashed = HTML_PLACEHOLDER_RE.fullmatch(element.text or "") if len(element) == 0 else None
        if stashed:
            raw = self._raw[int(stashed[1])]
            if isinstance(raw, Code):
                return f" {_fixed(sanitize(raw))}\n" if self._exact else _fixed(sanitize(raw))
        return f"{' ' if self._exact else ''}{self._line(element)}\n"

    def _heading(self, element: Element) -> str:
        level = int(element.tag[1:])
        text = self._line(element, str.upper if level == 1 else str)
        if level <= 2:
            text = f"{styles.BOLD}{text}{styles.BOLD_END}"
        elif level == 3:
            text = f"{styles.EMPHASIS}{text}{styles.EMPHASIS_END}"
        if not self._exact:
            return f"\n{text}\n"
        if level == 1:
            return f"{text}\n\n"
        return f"\n{'  ' * min(level - 1, 3)}{text}\n{NEWLINE if level < 4 else ''}"

    def _list(self, element: Element) -> str:
        is_numbered = element.tag == "ol" and not self._exact
        numbered = enumerate(element, int(element.get("start", "1")))
        items = ((f"{number}. " if is_numbered else "• ", item) for number, item in numbered)
        return "".join(self._colored(item, self._item(bullet, item)) for bullet, item in items)

    def _item(self, bullet: str, item: Element) -> str:
        content = self.flow(item)
        if not self._exact or any(child.tag in ("ul", "ol") for child in item):
            return self._hanging(bullet, content)
        ends_with_block = len(item) > 0 and item[-1].tag in self._blocks
        return f"{bullet}{content or NEWLINE}{NEWLINE if ends_with_block else ''}"

    def _hanging(self, first: str, content: str) -> str:
        """Return the content with `first` before its first line, and the other lines indented by the same width."""
        top, *others = content.strip("\n").split("\n")
        return "".join([f"{first}{top}\n", *(f"{' ' * len(first) if line else ''}{line}\n" for line in others)])

    def _preformatted(self, element: Element) -> str:
        code = element.find("code")
        text = sanitize(_restored((code if code is not None else element).text or ""))
        return _fixed(text.rstrip(" \n") + "\n")

    def _quote(self, element: Element) -> str:
        content = self.flow(element)
        if self._exact:
            return content
        return "".join(f"> {line}\n" for line in content.strip("\n").split("\n"))

    def _table(self, element: Element) -> str:
        rows: list[Row] = [[self._cell(cell) for cell in row] for row in element.iter("tr")]
        draw = compact_table if self._compact else boxed_table
        return _fixed(draw(rows[0] if rows else [], rows[1:]))

    def _cell(self, cell: Element) -> str:
        return self._colored(cell, "\n".join(line.strip(" ") for line in self._line(cell).strip("\n").split("\n")))

    def _colored(self, element: Element, text: str) -> str:
        """Return the text with marks for the colours in the element's attributes. Newlines at its ends stay outside."""
        if not element.attrib:
            return text
        body = text.strip("\n")
        before, _, after = text.partition(body) if body else (text, "", "")
        if ground := styles.BACKGROUND_MARKS.get(element.get("bgcolor", "")):
            body = f"{ground}{body}{styles.BACKGROUND_END}"
        if ink := styles.COLOR_MARKS.get(element.get("color", "")):
            body = f"{ink}{body}{styles.COLOR_END}"
        return before + body + after

    def _text(self, text: str | None) -> str:
        """Return text of the tree with placeholders and entities replaced, and control characters removed."""
        if not text:
            return ""
        if STX in text:
            text = HTML_PLACEHOLDER_RE.sub(self._stashed, text)
            text = text.replace(AMP_SUBSTITUTE, "&").replace(NBSP_PLACEHOLDER, "")
        elif "&" not in text:
            return text
        return sanitize(_ENTITY.sub(lambda entity: html.unescape(entity[0]), text))

    def _stashed(self, placeholder: re.Match[str]) -> str:
        raw = self._raw[int(placeholder[1])]
        return "\n" if _BREAK.fullmatch(raw) else raw


def _fixed(block: str) -> str:
    return f"{styles.FIXED}{block.removesuffix(NEWLINE)}{styles.FIXED_END}\n"


def _restored(code: str) -> str:
    return code.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
