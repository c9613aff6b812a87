"""Formats of Markdown's own parser that third-party backends define by tables of characters."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

from errklein.text.characters import CharacterTable
from errklein.text.layout import LayoutOptions, lay_out
from errklein.text.markdown_tree import Fences, Tree, adapt
from errklein.text.rendering import is_too_much
from errklein.text.styles import replace_styles

AnsiPreprocessor = Fences


def enable_format(name: str, chr_table: CharacterTable, borders: bool = True) -> None:
    """Let `Markdown(output_format=name, extensions=[…, AnsiExtension()])` write with the characters of the table."""
    characters = CharacterTable(*chr_table).by_mark()
    style = LayoutOptions(exact=True, compact=not borders)
    reset = str(chr_table.fx_reset)

    def serialize(root: Element) -> str:
        raw = root.raw if isinstance(root, _Root) else []
        return replace_styles(lay_out(Tree(root, raw), style), characters) + reset

    # The stubs know the two formats of Markdown itself.
    formats: dict[str, Any] = Markdown.output_formats  # type: ignore[assignment]
    formats[name] = serialize


class AnsiExtension(Extension):
    """Has a parser make what the formats of `enable_format` need. It comes after other extensions."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Change the parser."""
        adapt(md)
        md.stripTopLevelTags = False
        # After all others.
        md.treeprocessors.register(_WithRaw(md), "errklein_raw", -1000)
        convert = md.convert

        def convert_if_quick(source: str) -> str:
            return source if is_too_much(source) else convert(source)

        md.convert = convert_if_quick  # type: ignore[method-assign]


class _Root(Element):
    """The tree together with what placeholders in it stand for."""

    raw: list[str]


class _WithRaw(Treeprocessor):
    def run(self, root: Element) -> Element:
        whole = _Root(root.tag, root.attrib)
        whole.text = root.text
        whole.extend(root)
        whole.raw = [raw for raw in self.md.htmlStash.rawHtmlBlocks if isinstance(raw, str)]
        # The next text has its own; the parser is used again without a reset.
        self.md.htmlStash.reset()
        return whole
