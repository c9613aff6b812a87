"""Markdown, as chat bots write it, turned into a tree of elements.

It is Markdown Extra as errbot's plugins know it, without HTML: tags are text, except `<br>`.
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
"""Characters of a link's label, and of its address, that are looked at for the bracket that ends them."""

BRACKETS_CAP = 500
"""A paragraph with more opening brackets than this has no links: it isn't prose, and looking for links takes long."""


class Code(str):
    """Text of a fenced block, shown as it stands."""

    __slots__ = ()


@dataclass(frozen=True)
class Tree:
    """The elements of a text, and what placeholders in their texts stand for."""

    root: Element
    raw: list[str]


def parse(text: str) -> Tree:
    """The tree of `text`. May be called from many threads at once."""
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
    """A parser that no other thread uses. It takes milliseconds to build and is good for one text at a time."""
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
    """Let a parser make trees that can be laid out, with fenced code in `parser.htmlStash.rawHtmlBlocks` as `Code`."""
    numbered = parser.parser.blockprocessors["olist"]
    assert isinstance(numbered, OListProcessor)
    # A list begins with the number that was written.
    numbered.LAZY_OL = False  # type: ignore[misc]
    parser.preprocessors.deregister("html_block", strict=False)
    parser.preprocessors.deregister("fenced_code_block", strict=False)
    parser.preprocessors.register(Fences(parser), "fences", 25)
    parser.preprocessors.register(_Abbreviations(parser), "abbreviations", 15)
    parser.treeprocessors.register(Attributes(parser), "attr_list", 8)
    # It would put white space into the tree, for people who read HTML.
    parser.treeprocessors.deregister("prettify", strict=False)
    cap_links(parser)


def cap_links(parser: Markdown) -> None:
    """Let a parser give up on links that would take it long."""
    for name, priority in _LINKS.items():
        processor: Any = parser.inlinePatterns[name]
        capped: Any = type(type(processor).__name__, (_Capped, type(processor)), {})
        parser.inlinePatterns.register(capped(processor.pattern, parser), name, priority)


# Markdown's own names and priorities.
_LINKS = {
    "reference": 170,
    "link": 160,
    "image_link": 150,
    "image_reference": 140,
    "short_reference": 130,
    "short_image_ref": 125,
}


class Fences(Preprocessor):
    """Takes fenced code out of the text before anything in it is understood as Markdown."""

    FENCED = re.compile(
        r"^(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<code>.*?)(?<=\n)(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL
    )

    def run(self, lines: list[str]) -> list[str]:
        """The lines, with a placeholder for each block of code."""
        text = "\n".join(lines)
        if "```" not in text and "~~~" not in text:
            return lines
        stash = self.md.htmlStash
        return self.FENCED.sub(lambda found: f"\n\n{stash.store(Code(found['code']))}\n\n", text).split("\n")


class _Abbreviations(Preprocessor):
    """Drops the lines that explain abbreviations, such as `*[HTML]: Hyper Text`: plain text has nowhere to show them."""

    EXPLAINED = re.compile(r"\*\[[^\]\\]+\] ?:")

    def run(self, lines: list[str]) -> list[str]:
        return [line for line in lines if not self.EXPLAINED.match(line)]


class Attributes(AttrListTreeprocessor):
    """Knows `{: color='red'}` only with its colon, or a line of JSON after a paragraph would vanish as attributes."""

    # The stubs call these final; they are there to be changed.
    BASE_RE = r"\{:[ ]*([^\}\n ][^\n]*)\}"  # type: ignore[misc]
    HEADER_RE = re.compile(rf"[ ]+{BASE_RE}[ ]*$")  # type: ignore[misc]
    BLOCK_RE = re.compile(rf"\n[ ]*{BASE_RE}[ ]*$")  # type: ignore[misc]
    INLINE_RE = re.compile(rf"^{BASE_RE}")  # type: ignore[misc]


class _Capped(LinkInlineProcessor):
    """Gives up early. As it is in Markdown, each opening bracket makes it read to the end of the text."""

    def handleMatch(self, m: re.Match[str], data: str) -> Any:  # type: ignore[override]
        if data.count("[") > BRACKETS_CAP:
            return None, None, None
        return super().handleMatch(m, data)

    def getText(self, data: str, index: int) -> Any:
        return super().getText(data[: index + LINK_CAP], index)

    def getLink(self, data: str, index: int) -> Any:
        return super().getLink(data[: index + LINK_CAP], index)
