"""Conversion of untrusted Markdown to XHTML that is safe to show, and the part of it that a network shows."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping
from html.entities import html5
from typing import TYPE_CHECKING

from errklein.text._quoting import sanitize

if TYPE_CHECKING:
    from markdown import Markdown

# Schemes that links may have. Others, such as `javascript`, may run code when a link is clicked.
SCHEMES = frozenset({"http", "https", "mailto"})
_ATTRIBUTES = frozenset({"alt", "bgcolor", "class", "color", "href", "id", "src", "start", "style", "title"})

# In Markdown's output, < and > only occur in tags: in texts and attributes they are entities.
_TAG = re.compile(r"<[^<>]*>")
_ATTRIBUTE = re.compile(r'(?<!\s)\s++([\w:.-]+)="([^"]*)"')
_SCHEME = re.compile(r"([^/?#]*?):")
_BREAK = re.compile(r"&lt;br\s*/?&gt;", re.IGNORECASE)
_CODE = re.compile(r"(<code[^<>]*>[^<]*</code>)")
_ENTITY = re.compile(r"&(#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")
_LANGUAGE = re.compile(r" *+\{? *+\.?([\w#.+-]+)")
_OF_XML = frozenset({"amp", "apos", "gt", "lt", "quot"})


def from_markdown(text: str) -> str:
    """Return the text as XHTML; tags in it become text, except `<br>`. May be called from several threads at once."""
    from errklein.text.layout import idle_parser

    with idle_parser(_build) as parser:
        page = _TAG.sub(lambda tag: _ATTRIBUTE.sub(_allowed, tag[0]), parser.convert(text))
    return "".join(part if part.startswith("<code") else _BREAK.sub("<br/>", part) for part in _CODE.split(page))


def as_it_is(text: str) -> str:
    """Return the text as one paragraph, line by line, without parsing it as Markdown."""
    return "<p>" + html.escape(text, quote=False).replace("\n", "<br />\n") + "</p>"


def is_harmless(address: str) -> bool:
    """Return whether an address has one of SCHEMES, or none."""
    scheme = _SCHEME.match("".join(address.split()))
    return scheme is None or scheme[1].lower() in SCHEMES


def unescape(text: str) -> str:
    """Return the text with HTML entities replaced by characters, except the five that XML defines."""
    return _ENTITY.sub(_character, text)


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    if name in _OF_XML or not (name.startswith("#") or f"{name};" in html5):
        return entity[0]
    character = html.unescape(entity[0])
    return html.escape(character) if character in "&<>\"'" else character


def _build() -> Markdown:
    from markdown import Markdown

    from errklein.text.layout import Attributes, Fences, cap_links

    class XHTMLFences(Fences):
        """Stores code blocks as XHTML. Markdown's own search for them takes cubic time."""

        def stored(self, info: str, code: str) -> str:
            language = _LANGUAGE.match(info)
            attribute = f' class="language-{language[1]}"' if language else ""
            return f"<pre><code{attribute}>{html.escape(code)}</code></pre>"

    names = ("tables", "def_list", "footnotes", "abbr")
    parser = Markdown(output_format="xhtml", extensions=[f"markdown.extensions.{name}" for name in names])
    parser.treeprocessors.register(Attributes(parser), "attr_list", 8)
    parser.preprocessors.register(XHTMLFences(parser), "fences", 25)
    parser.preprocessors.deregister("html_block")
    parser.inlinePatterns.deregister("html")
    cap_links(parser)
    return parser


def _allowed(attribute: re.Match[str]) -> str:
    name, value = attribute[1].lower(), html.unescape(attribute[2])
    harmless = (
        name in _ATTRIBUTES
        and (name not in ("href", "src") or is_harmless(value))
        and (name != "style" or re.fullmatch(r"text-align: [a-z]+;", value))
    )
    return attribute[0] if harmless else ""


_PARTS_OF_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)([^<>]*+)>")
_ANY_ATTRIBUTE = re.compile(r'(?<![\w:.-])([\w:.-]++)="([^"]*)"')
_EMPTY = frozenset({"br", "hr", "img"})
_INLINE = frozenset({"a", "abbr", "b", "code", "del", "em", "i", "s", "span", "strike", "strong", "sub", "sup", "u"})
_DEEPEST = 60  # the number of tags that may be open. Networks refuse or cut what is nested deeper than about 100.


def subset(xhtml: str, tags: Collection[str], attributes: Mapping[str, Collection[str]]) -> str:
    """Return a page of `to_xhtml` with only these tags and attributes, always balanced. Any other input is safe, too. Texts stay: an
    image becomes a link to it, an item of a list begins with a bullet, and other blocks are lines. A line break in a paragraph is
    `<br/>` if that is allowed, since networks show it as Markdown's authors have typed it."""
    writer = _Writer(tags, attributes)
    end = 0
    for tag in _PARTS_OF_TAG.finditer(xhtml):
        name = tag[2].lower()
        writer.text(xhtml[end : tag.start()], ends=name not in _INLINE and name not in ("br", "img"))
        end = tag.end()
        if tag[1]:
            writer.close(name)
        else:
            writer.open(name, tag[3], is_empty=name in _EMPTY or tag[3].endswith("/"))
    writer.text(xhtml[end:], ends=True)
    return writer.page()


class _Writer:
    def __init__(self, tags: Collection[str], attributes: Mapping[str, Collection[str]]) -> None:
        self._tags, self._attributes = tags, attributes
        self._parts: list[str] = []
        self._open: list[tuple[str, bool]] = []  # the names of the open tags, and whether each is written
        self._is_between = True  # whether a block has begun or ended: then newlines only separate tags

    def text(self, text: str, ends: bool) -> None:
        text = sanitize(html.unescape(text))
        if any(name == "pre" for name, _ in self._open):
            self._add(html.escape(text, quote=False))
            return
        shown = text.lstrip("\n") if self._is_between else text
        shown = shown.rstrip("\n") if ends else shown
        self._add(html.escape(shown, quote=False).replace("\n", "<br/>" if "br" in self._tags else "\n"))
        if ends and text.endswith("\n"):
            self._end_line()
        self._is_between = self._is_between and not shown

    def open(self, name: str, attributes: str, is_empty: bool) -> None:
        self._is_between = name not in _INLINE
        found = {one.lower(): sanitize(html.unescape(value)) for one, value in _ANY_ATTRIBUTE.findall(attributes)}
        addresses = [value for one, value in found.items() if one in ("href", "src")]
        is_safe = all(value.partition(":")[0].lower() in SCHEMES for value in addresses)
        if name == "img" and name not in self._tags:
            self._image(found.get("alt", ""), found.get("src", "") if is_safe else "")
        elif len(self._open) >= _DEEPEST:
            pass
        elif name in self._tags and is_safe and (addresses or name not in ("a", "img")):
            allowed = self._attributes.get(name, ())
            shown = [f' {one}="{html.escape(value)}"' for one, value in found.items() if one in allowed]
            self._add(f"<{name}{''.join(shown)}{'/' if is_empty else ''}>")
            if not is_empty:
                self._open.append((name, True))
        elif not is_empty:
            self._add("• " if name == "li" else "")
            self._open.append((name, False))
        elif name in ("br", "hr"):
            self._end_line()

    def close(self, name: str) -> None:
        self._is_between = name not in _INLINE
        is_open = any(one == name for one, _ in self._open)
        while is_open and self._close_last() != name:
            pass

    def page(self) -> str:
        while self._open:
            self._close_last()
        return "".join(self._parts).strip("\n")

    def _close_last(self) -> str:
        name, is_written = self._open.pop()
        if is_written:
            self._add(f"</{name}>")
        elif name not in _INLINE:
            self._end_line()
            if name == "p" and not self._open:
                self._add("\n")
        return name

    def _add(self, text: str) -> None:
        if text:
            self._parts.append(text)

    def _end_line(self) -> None:
        if self._parts and not self._parts[-1].endswith(("\n", "• ")):
            self._add("\n")

    def _image(self, text: str, address: str) -> None:
        shown = html.escape(text or address)
        is_link = "a" in self._tags and address and all(name != "a" for name, _ in self._open)
        self._add(f'<a href="{html.escape(address)}">{shown}</a>' if is_link else shown)
        self._is_between = False
