"""Chapter 11, continued: templates that fail, and each format's own ways."""

from __future__ import annotations

import unittest
from pathlib import Path

from tests.contract.kit import ContractTest, decided

TABLE = "a | b\n--- | ---\nA | X\nBB | Y\n"


class FallbackTests(ContractTest):
    """Where templates come from if a plugin's own one is no good."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd(template="status_gc")
            def fails(self, msg, args):
                return {"gc": (1, 2, 3)}

            @botcmd(template="status_load")
            def makes_no_sense(self, msg, args):
                return {"loads": (0.5, 0.25, 0.125)}

            @botcmd(template="nowhere")
            def nowhere(self, msg, args):
                return {"a": 1}

            @botcmd
            def sent(self, msg, args):
                self.send_templated(msg.frm, "mine", {"text": "<x>"})

            @botcmd(template="sub/deeper")
            def deeper(self, msg, args):
                return {"text": args}

            @botcmd
            def of_others(self, msg, args):
                self.send_templated(msg.frm, "only_theirs", {"text": "x"})
        """
    files = {
        "templates/status_gc.md": "{{ there.is.nothing }}",
        "templates/status_load.md": "{% if %}",
        "templates/sub/deeper.md": "deeper {{ text }}",
        "templates/mine.md": "mine *{{ text }}*",
        "other/other.plug": "[Core]\nName = Other\nModule = other_templates\n",
        "other/other_templates.py": """
            from errbot import BotPlugin

            class Other(BotPlugin):
                pass
            """,
        "other/templates/mine.md": "the other's",
        "other/templates/only_theirs.md": "theirs {{ text }}",
    }

    def test_fails(self) -> None:
        """If it can't be rendered, the one that is there for all is."""
        self.assertRegex(self.ask("!fails"), "1.*2.*3")

    def test_makes_no_sense(self) -> None:
        """If it can't be read either."""
        self.assertIn("Load", self.ask("!makes no sense"))

    def test_nowhere(self) -> None:
        """If there is none at all it is an error of the command."""
        said = self.ask("!nowhere")
        self.assertIn("Computer says nooo", said)
        self.assertIn("nowhere", said)

    def test_sent(self) -> None:
        """`send_templated` looks in the same places, the plugin's own first."""
        self.assertEqual(self.ask("!sent"), "mine <x>")
        self.assertEqual(self.ask("!of others"), "theirs x")

    def test_directories(self) -> None:
        """Templates may lie in directories."""
        self.assertEqual(self.ask("!deeper x"), "deeper x")

    def test_where(self) -> None:
        """The places are `template_path`, and for each plugin `plugin_templates`."""
        from errbot import templating

        own = self.directory / "templates"
        self.assertIn(own, [Path(place) for place in templating.template_path])
        self.assertIn("Tried", templating.plugin_templates)
        self.assertEqual(Path(templating.make_templates_path(self.directory)), own)

    def test_by_hand(self) -> None:
        """Templates of a plugin can be taken away and put back."""
        from errbot import templating

        info = self.bot.plugin_manager.plugin_infos["Tried"]
        templating.remove_plugin_templates_path(info)
        self.assertNotIn("Tried", templating.plugin_templates)
        templating.add_plugin_templates_path(info)
        self.assertEqual(self.ask("!sent"), "mine <x>")


class RepliesTests(ContractTest):
    """What tests of plugins see."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def formatted(self, msg, args):
                return "# Title\\n\\n**x** `c`\\n\\n```\\nfenced\\n```\\n\\na | b\\n--- | ---\\nA | X\\n"
        """

    def test_text(self) -> None:
        """It is as `text()` makes it."""
        from errbot.rendering import text

        said = self.ask("!formatted")
        self.assertEqual(said, text().convert("# Title\n\n**x** `c`\n\n```\nfenced\n```\n\na | b\n--- | ---\nA | X\n"))
        self.assertRegex(said, r"\ATITLE\n+ x c\n+ *fenced\n+┏━━━┳━━━┓\n┃ a ┃ b ┃\n┡━━━╇━━━┩\n│ A │ X │\n└───┴───┘\Z")


class TextTests(unittest.TestCase):
    """`text()`."""

    def assert_converted(self, markdown: str, expected: str) -> None:
        """It is shown like that."""
        from errbot.rendering import text

        self.assertEqual(text().convert(markdown), expected, markdown)

    def test_everything(self) -> None:
        """Marks, colours and fences are gone, entities are characters."""
        for markdown, expected in (
            ("**b** __c__ _d_", "b c d"),
            ("*x*{: color='red' bgcolor='cyan' }", "x"),
            ("[label](http://x/)", "label (http://x/)"),
            ('&lt;x&gt; &amp; "q"', '<x> & "q"'),
            ("a <b> c", "a <b> c"),
            ("a\nb\n\nc\n\nd", "a\nb\n c\n d"),
            ("a\n", "a"),
            ("- a\n- b", "• a\n• b"),
        ):
            self.assert_converted(markdown, expected)

    def test_blocks(self) -> None:
        """Headings, lists, quotes and code have lines of their own."""
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
        ):
            self.assert_converted(markdown, expected)

    def test_what_is_no_mark(self) -> None:
        """Attributes in the wrong place, marks that aren't Markdown's, and what is escaped are text."""
        for markdown, expected in (
            ("x *a* {: color='red'} z", "x a {: color='red'} z"),
            ("a {: color='red' }", "a {: color='red' }"),
            ("~~x~~ a_b_c http://x/", "~~x~~ a_b_c http://x/"),
            ("<http://x/> \\*y\\*", "http://x/ (http://x/) *y*"),
        ):
            self.assert_converted(markdown, expected)

    @decided("run together")
    def test_lines_within_paragraphs(self) -> None:
        """Breaks are kept."""
        for markdown, expected in (("a<br/>b", "a\nb"), ("a  \nb", "a\nb"), ("a\n:   b", "a\n  b")):
            self.assert_converted(markdown, expected)

    def test_whole_table(self) -> None:
        """A table is drawn with lines."""
        lines = ("┏━━━━┳━━━┓", "┃ a  ┃ b ┃", "┡━━━━╇━━━┩", "│ A  │ X │", "├────┼───┤", "│ BB │ Y │", "└────┴───┘")
        self.assert_converted(TABLE, "\n".join(lines))


class AnsiTests(unittest.TestCase):
    """`ansi()`, for terminals."""

    def converted(self, markdown: str) -> str:
        """How it is shown."""
        from errbot.rendering import ansi

        converted: str = ansi().convert(markdown)
        return converted

    def test_marks(self) -> None:
        """Bold, underlined, and off again."""
        self.assertIn("\x1b[1mbold\x1b[22m", self.converted("**bold**"))
        self.assertIn("\x1b[4mitalic\x1b[24m", self.converted("*italic*"))
        self.assertIn("\x1b[1mTitle".upper(), self.converted("# Title").upper())

    def test_colours(self) -> None:
        """Of letters, and behind them."""
        self.assertRegex(self.converted("*x*{: color='red' }"), r"\x1b\[([0-9;]*;)?31[m;]")
        self.assertRegex(self.converted("*x*{: bgcolor='cyan' }"), r"\x1b\[([0-9;]*;)?46[m;]")
        self.assertRegex(self.converted("of a paragraph\n{: color='blue' }"), r"\x1b\[([0-9;]*;)?34[m;]")

    def test_tables(self) -> None:
        """The same lines as in plain text."""
        self.assertIn("│ BB │ Y │", self.converted(TABLE))

    def test_entities(self) -> None:
        """They are characters again."""
        self.assertIn('<x> & "q"', self.converted('&lt;x&gt; &amp; "q"'))

    def test_reset(self) -> None:
        """A text ends with a reset of all attributes; an empty one stays empty."""
        self.assertEqual(self.converted("plain"), "plain\x1b[0m")
        self.assertEqual(self.converted("**bold**"), "\x1b[1mbold\x1b[22m\x1b[0m")
        self.assertEqual(self.converted(""), "")


class ImTextTests(unittest.TestCase):
    """`imtext()`, for messengers."""

    def test_tables(self) -> None:
        """They are set as code, so that their columns stand in line."""
        from errbot.rendering import imtext

        converted = imtext().convert(TABLE)
        self.assertTrue(converted.startswith("```"), converted)
        self.assertIn("│ BB │ Y │", converted)

    def test_lists_and_links(self) -> None:
        """As in plain text."""
        from errbot.rendering import imtext

        self.assertEqual(imtext().convert("- a\n- b"), "• a\n• b")
        self.assertEqual(imtext().convert("[label](http://x/)"), "label (http://x/)")

    @decided("the fences are dropped")
    def test_fences(self) -> None:
        """Code stays between fences."""
        from errbot.rendering import imtext

        self.assertEqual(imtext().convert("```\nx\n```"), "```\nx\n```")


class XhtmlTests(unittest.TestCase):
    """`xhtml()`."""

    def test_elements(self) -> None:
        """Headings, tables and code are elements."""
        from errbot.rendering import xhtml

        self.assertIn("<h1", xhtml().convert("# Title"))
        self.assertIn("<td>BB</td>", xhtml().convert(TABLE))
        self.assertIn("<code>", xhtml().convert("`code`"))

    @decided("tags and addresses of anybody are as they are")
    def test_tags(self) -> None:
        """Tags are text."""
        from errbot.rendering import xhtml

        self.assertEqual(xhtml().convert("<b>x</b>"), "<p>&lt;b&gt;x&lt;/b&gt;</p>")


class MarkdownTests(unittest.TestCase):
    """`md()`."""

    def test_only_attributes_go(self) -> None:
        """All else stays as it is, entities too."""
        from errbot.rendering import md

        self.assertEqual(md().convert("&lt;x&gt; **b** [l](http://x/)"), "&lt;x&gt; **b** [l](http://x/)")
        self.assertNotIn("color", md().convert("*x*{: color='red' bgcolor='cyan' }"))
        self.assertIn("BB | Y", md().convert(TABLE))
        self.assertEqual(md().convert("x *a* {: color='red'} z\n{: bgcolor='cyan' }"), "x *a*  z\n")

    def test_escaped(self) -> None:
        """What was escaped is shown as it was."""
        from errbot.rendering import md_escape, text

        for given in ("*not bold*", "# no title", "1. no list", "[no](link)", "a_b_c", "`no code`", "x > y", "{x} !"):
            self.assertEqual(text().convert(md_escape(given)), given)

    def test_not_escaped(self) -> None:
        """All other characters stay."""
        from errbot.rendering import md_escape

        others = "aZ09 äß漢 |<~&\"'=:;@$%^?/,\n\t"
        self.assertEqual(md_escape(others), others)
