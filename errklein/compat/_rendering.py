"""The content of errbot.rendering and errbot.rendering.ansiext: converters, and formats that a table of characters defines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

from errklein.text import to_ansi, to_imtext, to_md, to_plain, to_xhtml
from errklein.text.layout import Fences, adapt, lay_out
from errklein.text.rendering import is_too_much
from errklein.text.styles import ANSI_CHRS, CharacterTable, replace_styles


@dataclass(frozen=True)
class Converter:
    """Converts Markdown to one format. It has no state, so threads may share it."""

    convert: Callable[[str], str]


def _to_ansi_with_reset(markdown: str) -> str:
    """Return text for a terminal. Unless it is empty, it ends with the sequence that resets all attributes."""
    converted = to_ansi(markdown)
    return f"{converted}{ANSI_CHRS.fx_reset}" if converted else ""


ansi = partial(Converter, _to_ansi_with_reset)
text = partial(Converter, to_plain)
imtext = partial(Converter, to_imtext)
xhtml = partial(Converter, to_xhtml)
md = partial(Converter, to_md)


AnsiPreprocessor = Fences


def enable_format(name: str, chr_table: CharacterTable, borders: bool = True) -> None:
    """Register an output format that writes the characters of the table."""
    characters = CharacterTable(*chr_table).by_mark()
    reset = str(chr_table.fx_reset)

    def serialize(root: Element) -> str:
        raw = root.raw if isinstance(root, _Root) else []
        return replace_styles(lay_out(root, raw, exact=True, compact=not borders), characters) + reset

    # The stubs declare only Markdown's own two formats.
    formats: dict[str, Any] = Markdown.output_formats  # type: ignore[assignment]
    formats[name] = serialize


class AnsiExtension(Extension):
    """A Markdown extension that prepares a parser for the formats of `enable_format`. It must be the last extension in
    the list."""

    def extendMarkdown(self, md: Markdown) -> None:
        adapt(md)
        md.stripTopLevelTags = False
        # A low priority runs it after all others.
        md.treeprocessors.register(_WithRaw(md), "errklein_raw", -1000)
        convert = md.convert

        def convert_if_quick(source: str) -> str:
            return source if is_too_much(source) else convert(source)

        md.convert = convert_if_quick  # type: ignore[method-assign]


class _Root(Element):
    """The tree, with the raw HTML blocks that its placeholders stand for."""

    raw: list[str]


class _WithRaw(Treeprocessor):
    def run(self, root: Element) -> Element:
        whole = _Root(root.tag, root.attrib)
        whole.text = root.text
        whole.extend(root)
        whole.raw = [raw for raw in self.md.htmlStash.rawHtmlBlocks if isinstance(raw, str)]
        # The parser converts the next text without a reset, so the blocks of this text are removed.
        self.md.htmlStash.reset()
        return whole
