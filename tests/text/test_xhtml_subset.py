"""HTML with the tags that a network allows."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import sanitize, split_message, to_xhtml
from errklein.text.xhtml import subset

TAGS = frozenset(
    [
        "a",
        "b",
        "blockquote",
        "br",
        "code",
        "em",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "strong",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
ATTRIBUTES = {"a": ("href",), "code": ("class",), "ol": ("start",)}

_TAGS_IN = (
    "<p> </p> <b> </b> <i> </i> <pre> </pre> <li> </li> <br/> <hr/> </a> <script> < > & &lt; &nbsp; &#1; &#xd800;"
)
_LINKS_IN = (
    '<a href="http://x">',
    "<a href='x'>",
    '<a href="javascript:alert(1)">',
    '<a onclick="x" href="https://a?b&amp;c">',
    '<img src="http://i" alt="i"/>',
)
pieces = strategies.sampled_from([*_TAGS_IN.split(), *_LINKS_IN, "\n", "x", '"', "\ud800", "\x00", "é😀"])
markdown = strategies.lists(
    strategies.sampled_from(
        [
            "*",
            "**",
            "`",
            "```\n",
            "\n",
            "\n\n",
            "> ",
            "- ",
            "1. ",
            "| ",
            "--|--\n",
            "# ",
            "[a](http://b)",
            "<b>",
            "&amp;",
            "word ",
            "[^1]",
        ]
    )
).map("".join)


def page(text: str, tags: frozenset[str] = TAGS) -> Element:
    """Return the parsed subset of a text; raise ParseError if it isn't balanced."""
    return fromstring(f"<page>{subset(text, tags, ATTRIBUTES)}</page>")


class HostileTests(SynchronousTestCase):
    """Whatever comes in, what goes out is balanced and has only what is allowed."""

    @given(strategies.lists(pieces).map("".join))
    def test_any_input_is_balanced_and_has_only_allowed_tags(self, text: str) -> None:
        """It parses as XML, and each tag and attribute is an allowed one."""
        for element in list(page(text).iter())[1:]:
            self.assertIn(element.tag, TAGS)
            self.assertLessEqual(set(element.attrib), set(ATTRIBUTES.get(element.tag, ())))
            self.assertNotIn("javascript", element.attrib.get("href", ""))

    @given(strategies.text())
    def test_text_without_tags_stays(self, text: str) -> None:
        """An escaped text is shown as it is, without control characters."""
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        shown = "".join(page(f"<pre>{escaped}</pre>").itertext())
        self.assertEqual([one for one in shown if one > "~" or one.isalnum()], list(_plain(text)))

    @given(markdown, strategies.integers(20, 60))
    def test_parts_of_split_markdown_are_balanced(self, text: str, size: int) -> None:
        """Each part of a message that was split is a page of its own."""
        for part in split_message(text, size):
            page(to_xhtml(part))
            page(to_xhtml(part), frozenset({"b", "code", "pre"}))

    def test_deep_nesting_has_an_end(self) -> None:
        """Networks refuse what is nested too deeply; the text stays."""
        shown = subset("<b>" * 10_000 + "x" + "</b>" * 10_000, TAGS, {})
        self.assertLess(shown.count("<b>"), 100)
        self.assertIn("x", shown)
        self.assertEqual(shown.count("<b>"), shown.count("</b>"))


class ShownTests(SynchronousTestCase):
    """What readers see."""

    def shown(self, text: str, tags: str = "") -> str:
        return subset(to_xhtml(text), frozenset(tags.split()) if tags else TAGS, ATTRIBUTES)

    def test_line_breaks_stay(self) -> None:
        """Networks join the lines of a paragraph unless there is `<br>`; code has its own lines."""
        self.assertEqual(self.shown("a\n**b**\nc"), "<p>a<br/><strong>b</strong><br/>c</p>")
        self.assertEqual(self.shown("```\na\n\nb\n```"), "<pre><code>a\n\nb\n</code></pre>")

    def test_images_become_links(self) -> None:
        """Servers of other people are only asked if a reader follows the link."""
        self.assertEqual(self.shown("![a plot](http://x/y.png)"), '<p><a href="http://x/y.png">a plot</a></p>')
        self.assertEqual(self.shown("![a plot](http://x/y.png)", "p"), "<p>a plot</p>")

    def test_blocks_that_are_missing_become_lines(self) -> None:
        """A network with a few inline tags shows lists and paragraphs as lines."""
        self.assertEqual(self.shown("a\nb\n\n- c\n- **d**\n\ne", "strong"), "a\nb\n\n• c\n• <strong>d</strong>\ne")

    def test_nested_blocks_stay_nested(self) -> None:
        """The end of an inner list or quote isn't that of the outer one."""
        lists = "<ul>\n<li>a<ul>\n<li>b</li>\n</ul>\n</li>\n<li>c</li>\n</ul>"
        self.assertEqual(self.shown("- a\n    - b\n- c"), lists)
        self.assertEqual(self.shown("> > a\n>\n> b").count("blockquote"), 4)

    def test_links_to_places_in_the_page_are_text(self) -> None:
        """Messages have no such places."""
        self.assertNotIn("<a", self.shown("a[^1]\n\n[^1]: note"))

    def test_typed_tags_are_text(self) -> None:
        """Tags in Markdown are never tags of the page."""
        self.assertEqual(self.shown('<a href="http://x">'), '<p>&lt;a href="http://x"&gt;</p>')


def _plain(text: str) -> str:
    return "".join(one for one in sanitize(text) if one > "~" or one.isalnum())
