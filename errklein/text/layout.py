"""Layout of a Markdown tree as lines of text, with marks for bold, colours and other styles (see `styles`)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from markdown.extensions.footnotes import NBSP_PLACEHOLDER
from markdown.util import AMP_SUBSTITUTE, HTML_PLACEHOLDER_RE, STX

from errklein.text import styles
from errklein.text._sanitizing import sanitize
from errklein.text.markdown_tree import Code, Tree
from errklein.text.styles import strip_styles

Row = Sequence[str]
"""The texts of the cells, which may have several lines and style marks."""

PADDED_CAP = 200_000
"""Maximum size of a table in characters, with padding. In a larger table the columns are narrowed, and long cells exceed
theirs. Without the limit, padding could turn a few thousand characters into millions."""


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
    bars = [width * "━" for width in (each + 2 for each in widths)]
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
    """Yield the lines of one row, each a list of cells padded to the widths of their columns."""
    cells = [cell.split("\n") for cell in row] + [[""]] * (len(widths) - len(row))
    for number in range(max(map(len, cells), default=0)):
        line = [cell[number] if number < len(cell) else "" for cell in cells]
        yield [text + " " * (columns - width(text)) for text, columns in zip(line, widths, strict=True)]


NEWLINE = "\n"
RULER = "─" * 80

_ENTITY = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


@dataclass(frozen=True)
class LayoutOptions:
    """Options for the layout of blocks.

    :param exact: Reproduce errbot's plain text exactly, since plugins' tests compare with it: paragraphs after the first
        begin with a space, headings are indented, numbered lists have bullets, and the address of a link is repeated even
        if it is the label.
    :param compact: Draw tables without borders.
    """

    exact: bool = False
    compact: bool = False


def lay_out(tree: Tree, options: LayoutOptions) -> str:
    """Return the text of the tree with style marks, and without white space at its end."""
    return _Layout(tree, options).flow(tree.root).strip("\n").rstrip(" \n")


class _Layout:
    """Converts elements to text. The text of a block ends with a newline."""

    def __init__(self, tree: Tree, options: LayoutOptions) -> None:
        self._tree = tree
        self._options = options
        self._blocks: dict[str, Callable[[Element], str]] = {
            "p": self._paragraph,
            "h1": self._title,
            **dict.fromkeys(("h2", "h3", "h4", "h5", "h6"), self._heading),
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
            block = self._blocks.get(child.tag)
            if block is None:
                line += self._inline(child)
            else:
                if line.strip(" \n"):
                    blocks.append(f"{line.rstrip(' ')}\n")
                blocks.append(self._colored(child, block(child)))
                line = ""
            line += self._text(child.tail)
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
        kind = element.get("class", "")
        if kind == "footnote-ref":
            return f"[{self._line(element)}]"
        if kind == "footnote-backref":
            return ""
        label = self._line(element)
        address = self._text(element.get("href", ""))
        if not self._options.exact and address in (label, f"mailto:{label}"):
            return label
        return f"{label} ({address})" if label else f"({address})"

    def _paragraph(self, element: Element) -> str:
        stashed = HTML_PLACEHOLDER_RE.fullmatch(element.text or "") if len(element) == 0 else None
        if stashed:
            raw = self._tree.raw[int(stashed[1])]
            if isinstance(raw, Code):
                code = _fixed(sanitize(raw))
                return f" {code}\n" if self._options.exact else code
        indent = " " if self._options.exact else ""
        return f"{indent}{self._line(element)}\n"

    def _title(self, element: Element) -> str:
        text = f"{styles.BOLD}{self._line(element, str.upper)}{styles.BOLD_END}"
        return f"{text}\n\n" if self._options.exact else f"\n{text}\n"

    def _heading(self, element: Element) -> str:
        level = int(element.tag[1:])
        text = self._line(element)
        if level == 2:
            text = f"{styles.BOLD}{text}{styles.BOLD_END}"
        elif level == 3:
            text = f"{styles.EMPHASIS}{text}{styles.EMPHASIS_END}"
        if not self._options.exact:
            return f"\n{text}\n"
        return f"\n{'  ' * min(level - 1, 3)}{text}\n{NEWLINE if level < 4 else ''}"

    def _list(self, element: Element) -> str:
        items = []
        number = int(element.get("start", "1"))
        for item in element:
            bullet = f"{number}. " if element.tag == "ol" and not self._options.exact else "• "
            items.append(self._colored(item, self._item(bullet, item)))
            number += 1
        return "".join(items)

    def _item(self, bullet: str, item: Element) -> str:
        content = self.flow(item)
        if not self._options.exact or any(child.tag in ("ul", "ol") for child in item):
            return self._hanging(bullet, content)
        ends_with_block = len(item) > 0 and item[-1].tag in self._blocks
        return f"{bullet}{content or NEWLINE}{NEWLINE if ends_with_block else ''}"

    def _hanging(self, first: str, content: str) -> str:
        """Return the content with `first` before its first line, and the other lines indented by the same width."""
        lines = content.strip("\n").split("\n")
        below = " " * len(first)
        return "".join(
            f"{first if number == 0 else below if line else ''}{line}\n" for number, line in enumerate(lines)
        )

    def _preformatted(self, element: Element) -> str:
        code = element.find("code")
        text = sanitize(_restored((code if code is not None else element).text or ""))
        return _fixed(text.rstrip(" \n") + "\n")

    def _quote(self, element: Element) -> str:
        content = self.flow(element)
        if self._options.exact:
            return content
        return "".join(f"> {line}\n" for line in content.strip("\n").split("\n"))

    def _table(self, element: Element) -> str:
        rows: list[Row] = [[self._cell(cell) for cell in row] for row in element.iter("tr")]
        head = rows[0] if rows else []
        draw = compact_table if self._options.compact else boxed_table
        return _fixed(draw(head, rows[1:]))

    def _cell(self, cell: Element) -> str:
        return self._colored(cell, "\n".join(line.strip(" ") for line in self._line(cell).strip("\n").split("\n")))

    def _colored(self, element: Element, text: str) -> str:
        """Return the text with marks for the colours in the element's attributes. Newlines at its ends stay outside."""
        if not element.attrib:
            return text
        body = text.strip("\n")
        before, _, after = text.partition(body) if body else (text, "", "")
        ground = styles.BACKGROUND_MARKS.get(element.get("bgcolor", ""))
        if ground:
            body = f"{ground}{body}{styles.BACKGROUND_END}"
        ink = styles.COLOR_MARKS.get(element.get("color", ""))
        if ink:
            body = f"{ink}{body}{styles.COLOR_END}"
        return before + body + after

    def _text(self, text: str | None) -> str:
        """Return text of the tree with placeholders and entities replaced, and control characters removed."""
        if not text:
            return ""
        if STX in text:
            text = (
                HTML_PLACEHOLDER_RE.sub(self._stashed, text).replace(AMP_SUBSTITUTE, "&").replace(NBSP_PLACEHOLDER, "")
            )
        elif "&" not in text:
            return text
        return sanitize(_ENTITY.sub(lambda entity: html.unescape(entity[0]), text))

    def _stashed(self, placeholder: re.Match[str]) -> str:
        raw = self._tree.raw[int(placeholder[1])]
        return "\n" if _BREAK.fullmatch(raw) else raw


def _fixed(block: str) -> str:
    """Return the block with marks for a fixed-width font; the final mark is before the last newline."""
    return f"{styles.FIXED}{block.removesuffix(NEWLINE)}{styles.FIXED_END}\n"


def _restored(code: str) -> str:
    """Return the text of a code element, which Markdown has escaped for HTML."""
    return code.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
