"""Parsing of chat messages in Markdown into a tree of elements.

The dialect is Markdown Extra without HTML: tags are text, except `<br>`.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.blockprocessors import OListProcessor
from markdown.extensions.attr_list import AttrListTreeprocessor
from markdown.extensions.def_list import DefListExtension
from markdown.extensions.footnotes import FootnoteExtension
from markdown.extensions.tables import TableExtension
from markdown.inlinepatterns import LinkInlineProcessor
from markdown.preprocessors import Preprocessor

LINK_CAP = 2000
"""Maximum length of a link's label, and of its address, in characters."""

BRACKETS_CAP = 500
"""Maximum number of opening brackets in a paragraph with links. With more, links aren't searched for: it takes too long."""


class Code(str):
    """The text of a fenced code block, shown literally."""

    __slots__ = ()


@dataclass(frozen=True)
class Tree:
    """The root element of a text, and the raw texts that placeholders in the elements refer to."""

    root: Element
    raw: list[str]


def parse(text: str) -> Tree:
    """Parse Markdown. May be called from several threads at once."""
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
        return Tree(root, [raw for raw in parser.htmlStash.rawHtmlBlocks if isinstance(raw, str)])


_idle: defaultdict[Callable[[], Markdown], deque[Markdown]] = defaultdict(deque)


@contextmanager
def idle_parser(build: Callable[[], Markdown]) -> Iterator[Markdown]:
    """Return a context manager that provides a parser no other thread uses.

    A parser takes milliseconds to build, and parses one text at a time.
    """
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
