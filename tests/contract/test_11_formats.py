"""Chapter 11: rendering of Markdown for networks."""

from __future__ import annotations

import unittest
from typing import Any

from tests.contract.kit import ContractTest, decided

TABLE = "a | b\n--- | ---\nA | X\nBB | Y\n"


class RepliesTests(ContractTest):
    """Replies in tests with TestBot."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def formatted(self, msg, args):
                return "# Title\\n\\n**x** `c`\\n\\n```\\nfenced\\n```\\n\\na | b\\n--- | ---\\nA | X\\n"
        """

    def test_text(self) -> None:
        """A reply is the Markdown rendered by `text()`."""
        from errbot.rendering import text

        said = self.ask("!formatted")
        self.assertEqual(said, text().convert("# Title\n\n**x** `c`\n\n```\nfenced\n```\n\na | b\n--- | ---\nA | X\n"))
        self.assertRegex(said, r"\ATITLE\n+ x c\n+ *fenced\n+┏━━━┳━━━┓\n┃ a ┃ b ┃\n┡━━━╇━━━┩\n│ A │ X │\n└───┴───┘\Z")


class TextTests(unittest.TestCase):
    """`text()`, for plain text."""

    def assert_converted(self, markdown: str, expected: str) -> None:
        """Check the result of the conversion."""
        from errbot.rendering import text

        self.assertEqual(text().convert(markdown), expected, markdown)

    def test_everything(self) -> None:
        """Marks, colours and fences are removed, links have their address, and entities are characters."""
        for markdown, expected in (
            ("**b** __c__ _d_", "b c d"),
            ("*x*{: color='red' bgcolor='cyan' }", "x"),
            ("[label](http://x/)", "label (http://x/)"),
            ("![alt](http://x/y.png)", "http://x/y.png"),
            ('&lt;x&gt; &amp; "q"', '<x> & "q"'),
            ("a <b> c", "a <b> c"),
            ("a\nb\n\nc\n\nd", "a\nb\n c\n d"),
            ("a\n", "a"),
            ("1. a\n2. b", "• a\n• b"),
            ("`code`", "code"),
        ):
            self.assert_converted(markdown, expected)

    def test_blocks(self) -> None:
        """Headings, lists, quotes, code and rulers are separate lines."""
        for markdown, expected in (
            ("# H\n\ntext", "H\n\n text"),
            ("## Two\ntext", "Two\n\n text"),
            ("### Three", "Three"),
            ("- a\n- b\n\nc", "• a\n• b\n c"),
            ("- a\n\n- b", "•  a\n\n•  b"),
            ("> a\n> b", "a\nb"),
            ("a\n```\nx\n```\nb", "a\n x\n\n b"),
            ("```python\nx = 1\n```", "x = 1"),
            ("    x\n    y", "x\ny"),
            ("a\n\n---\n\nb", f"a\n{'─' * 80}\n b"),
        ):
            self.assert_converted(markdown, expected)

    def test_what_is_no_mark(self) -> None:
        """Attributes in an invalid place, unknown marks and escaped characters stay as text."""
        for markdown, expected in (
            ("x *a* {: color='red'} z", "x a {: color='red'} z"),
            ("a {: color='red' }", "a {: color='red' }"),
            ("~~x~~ a_b_c http://x/", "~~x~~ a_b_c http://x/"),
            ("<http://x/> \\*y\\*", "http://x/ (http://x/) *y*"),
        ):
            self.assert_converted(markdown, expected)

    @decided("lines are joined")
    def test_lines_within_paragraphs(self) -> None:
        """Line breaks within a paragraph are kept."""
        for markdown, expected in (("a<br/>b", "a\nb"), ("a  \nb", "a\nb"), ("a\n:   b", "a\n  b")):
            self.assert_converted(markdown, expected)

    def test_whole_table(self) -> None:
        """A table is drawn with lines."""
        lines = ("┏━━━━┳━━━┓", "┃ a  ┃ b ┃", "┡━━━━╇━━━┩", "│ A  │ X │", "├────┼───┤", "│ BB │ Y │", "└────┴───┘")
        self.assert_converted(TABLE, "\n".join(lines))

    def test_cells_of_several_lines(self) -> None:
        """`<br/>` is a line break in a cell."""
        from errbot.rendering import text

        drawn = text().convert("a | b\n--- | ---\nA<br/>B | X\n")
        self.assertRegex(drawn, "│ A +│ X │")
        self.assertRegex(drawn, "│ B +│   │")


class AnsiTests(unittest.TestCase):
    """`ansi()`, for terminals."""

    def converted(self, markdown: str) -> str:
        """Return the result of the conversion."""
        from errbot.rendering import ansi

        converted: str = ansi().convert(markdown)
        return converted

    def test_marks(self) -> None:
        """Bold and underlined text begins and ends with escape sequences."""
        self.assertIn("\x1b[1mbold\x1b[22m", self.converted("**bold**"))
        self.assertIn("\x1b[4mitalic\x1b[24m", self.converted("*italic*"))
        self.assertIn("\x1b[1mTitle".upper(), self.converted("# Title").upper())

    def test_colours(self) -> None:
        """Colours of text and background are escape sequences."""
        self.assertRegex(self.converted("*x*{: color='red' }"), r"\x1b\[([0-9;]*;)?31[m;]")
        self.assertRegex(self.converted("*x*{: bgcolor='cyan' }"), r"\x1b\[([0-9;]*;)?46[m;]")
        self.assertRegex(self.converted("of a paragraph\n{: color='blue' }"), r"\x1b\[([0-9;]*;)?34[m;]")

    def test_tables(self) -> None:
        """A table has the same lines as in plain text."""
        self.assertIn("│ BB │ Y │", self.converted(TABLE))

    def test_entities(self) -> None:
        """Entities are characters."""
        self.assertIn('<x> & "q"', self.converted('&lt;x&gt; &amp; "q"'))

    def test_reset(self) -> None:
        """A text ends with the sequence that resets all attributes; an empty text stays empty."""
        self.assertEqual(self.converted("plain"), "plain\x1b[0m")
        self.assertEqual(self.converted("**bold**"), "\x1b[1mbold\x1b[22m\x1b[0m")
        self.assertEqual(self.converted(""), "")


class ImTextTests(unittest.TestCase):
    """`imtext()`, for messengers."""

    def test_tables(self) -> None:
        """A table is in a code block, so that its columns are aligned."""
        from errbot.rendering import imtext

        converted = imtext().convert(TABLE)
        self.assertTrue(converted.startswith("```"), converted)
        self.assertIn("│ BB │ Y │", converted)

    def test_marks(self) -> None:
        """Bold text, italic text and code have the marks of messengers."""
        from errbot.rendering import imtext

        self.assertEqual(imtext().convert("**bold** and *italic* and `code`"), "*bold* and _italic_ and `code`")

    def test_lists_and_links(self) -> None:
        """Lists and links are the same as in plain text."""
        from errbot.rendering import imtext

        self.assertEqual(imtext().convert("- a\n- b"), "• a\n• b")
        self.assertEqual(imtext().convert("[label](http://x/)"), "label (http://x/)")

    @decided("the fences are dropped")
    def test_fences(self) -> None:
        """A code block keeps its fences."""
        from errbot.rendering import imtext

        self.assertEqual(imtext().convert("```\nx\n```"), "```\nx\n```")


class XhtmlTests(unittest.TestCase):
    """`xhtml()`."""

    def test_elements(self) -> None:
        """Headings, bold text, links, tables and code are elements."""
        from errbot.rendering import xhtml

        self.assertIn("<h1", xhtml().convert("# Title"))
        self.assertIn("<strong>bold</strong>", xhtml().convert("**bold**"))
        self.assertIn('<a href="http://x/">label</a>', xhtml().convert("[label](http://x/)"))
        self.assertIn("<td>BB</td>", xhtml().convert(TABLE))
        self.assertIn("<code>", xhtml().convert("`code`"))

    @decided("tags and addresses are copied into the output")
    def test_tags(self) -> None:
        """Tags in the Markdown are text."""
        from errbot.rendering import xhtml

        self.assertEqual(xhtml().convert("<b>x</b>"), "<p>&lt;b&gt;x&lt;/b&gt;</p>")


class MarkdownTests(unittest.TestCase):
    """`md()`, `md_escape` and `unescape`."""

    @decided("links to any scheme stay links")
    def test_unsafe_link(self) -> None:
        """A link to another scheme than those of the web and mail is broken by a space of no width."""
        from errbot.rendering import md

        self.assertEqual(md().convert("[x](javascript:1) [y](http://h)"), "[x]\u200b(javascript:1) [y](http://h)")

    def test_only_attributes_go(self) -> None:
        """`md()` removes attributes such as colours and changes nothing else."""
        from errbot.rendering import md

        self.assertEqual(md().convert("&lt;x&gt; **b** [l](http://x/)"), "&lt;x&gt; **b** [l](http://x/)")
        self.assertNotIn("color", md().convert("*x*{: color='red' bgcolor='cyan' }"))
        self.assertIn("BB | Y", md().convert(TABLE))
        self.assertEqual(md().convert("x *a* {: color='red'} z\n{: bgcolor='cyan' }"), "x *a*  z\n")

    def test_escaped(self) -> None:
        """A text that was escaped with `md_escape` is displayed unchanged."""
        from errbot.rendering import md_escape, text

        for given in ("*not bold*", "# no title", "1. no list", "[no](link)", "a_b_c", "`no code`", "x > y", "{x} !"):
            self.assertEqual(text().convert(md_escape(given)), given)

    def test_md_escape(self) -> None:
        """`md_escape` puts a backslash before each character with a meaning in Markdown."""
        from errbot.rendering import md_escape

        for character in "\\`*_{}[]()>#+-.!":
            self.assertEqual(md_escape(character), "\\" + character)
        self.assertEqual(md_escape("a*b"), "a\\*b")

    def test_unescape(self) -> None:
        """`unescape` decodes entities, except those that XML needs."""
        from errbot.rendering.xhtmlim import unescape

        self.assertEqual(unescape("&lt;&amp;&#65;"), "&lt;&amp;A")

    def test_not_escaped(self) -> None:
        """`md_escape` leaves all other characters unchanged."""
        from errbot.rendering import md_escape

        others = "aZ09 äß漢 |<~&\"'=:;@$%^?/,\n\t"
        self.assertEqual(md_escape(others), others)


class OwnCharactersTests(unittest.TestCase):
    """Output formats that backends define."""

    def test_format(self) -> None:
        """`enable_format` registers a format, with or without borders of tables."""
        from errbot.rendering.ansiext import IMTEXT_CHRS, AnsiExtension, enable_format
        from markdown import Markdown

        enable_format("contract", IMTEXT_CHRS, borders=False)
        converter: Any = Markdown(output_format="contract", extensions=["markdown.extensions.extra", AnsiExtension()])
        converter.stripTopLevelTags = False
        self.assertIn("*bold*", converter.convert("**bold**"))
        self.assertNotIn("┃", converter.convert(TABLE))
