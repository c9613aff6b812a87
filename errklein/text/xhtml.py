"""Conversion of untrusted Markdown to XHTML that is safe to show."""

from __future__ import annotations

import html
import re
from html.entities import html5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown import Markdown

SCHEMES = frozenset({"http", "https", "mailto"})
"""Schemes that links may have. Others, such as `javascript`, may run code when a link is clicked."""

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
