"""Chapter 11: templates, and Markdown as each network shows it."""

from __future__ import annotations

import unittest
from typing import Any

from tests.contract.kit import ContractTest

TABLE = "a | b\n--- | ---\nA | X\nBB | Y\n"


class TemplateTests(ContractTest):
    """Templates of plugins."""

    plugin = """
        from errbot import BotPlugin, botcmd
        from errbot.templating import tenv

        class Tried(BotPlugin):
            @botcmd(template="own")
            def own(self, msg, args):
                return {"text": args}

            @botcmd(template="shared")
            def shared(self, msg, args):
                return {"text": args}

            @botcmd(template="status_gc")
            def core(self, msg, args):
                return {"gc": (1, 2, 3)}

            @botcmd
            def by_environment(self, msg, args):
                return tenv().get_template("Tried/own.md").render(text=args)

            @botcmd
            def by_bot(self, msg, args):
                return self._bot.process_template("own", {"text": args}, self.name)

            @botcmd(template="lines")
            def lines(self, msg, args):
                return {"items": ["a", "b"]}
        """
    files = {
        "templates/own.md": "own **{{text}}**",
        "templates/lines.md": "{% for item in items %}\n- {{item}}\n{% endfor %}\n",
        "other/other.plug": "[Core]\nName = Other\nModule = other\n",
        "other/other.py": """
            from errbot import BotPlugin

            class Other(BotPlugin):
                pass
            """,
        "other/templates/shared.md": "shared {{text}}",
        "other/templates/own.md": "the other's {{text}}",
    }

    def test_own_first(self) -> None:
        """A plugin's own template comes first, whatever others have."""
        self.assertEqual(self.ask("!own x"), "own x")
        self.assertEqual(self.ask("!by bot x"), "own x")

    def test_those_of_others(self) -> None:
        """Then those of all active plugins, then errbot's."""
        self.assertEqual(self.ask("!shared x"), "shared x")
        self.assertIn("1", self.ask("!core"))

    def test_environment(self) -> None:
        """`tenv()` has them as <plugin>/<template>.md."""
        self.assertEqual(self.ask("!by environment x"), "own x")

    def test_escaped(self) -> None:
        """Values are escaped, and shown as they are."""
        self.assertEqual(self.ask("!own a<b>&c"), "own a<b>&c")

    def test_blocks_are_trimmed(self) -> None:
        """A block's own line leaves none behind."""
        self.assertEqual(self.ask("!lines"), "• a\n• b")

    def test_core_templates(self) -> None:
        """These are there."""
        from errbot.templating import tenv

        for name in [
            "card",
            "about",
            "status",
            "status_plugins",
            "status_load",
            "status_gc",
            "repos",
            "repos2",
            "plugin_info",
            "webstatus",
            "webserver",
        ]:
            tenv().get_template(f"{name}.md")

    def test_gone_with_their_plugin(self) -> None:
        """A deactivated plugin's templates are gone."""
        self.ask("!plugin deactivate Other")
        self.assertIn("Computer says nooo", self.ask("!shared x"))


class EnvironmentTests(unittest.TestCase):
    """The environment of templates."""

    def test_settings(self) -> None:
        """Blocks are trimmed, values escaped, the last newline goes."""
        from errbot.templating import tenv

        environment = tenv()
        self.assertTrue(environment.trim_blocks)
        self.assertTrue(environment.autoescape)
        self.assertFalse(environment.keep_trailing_newline)
        self.assertEqual(environment.from_string("{{x}}\n").render(x="<"), "&lt;")


class TextTests(unittest.TestCase):
    """`text()`: what tests of plugins see."""

    def convert(self, markdown: str) -> str:
        """The text."""
        from errbot.rendering import text

        converted: str = text().convert(markdown)
        return converted

    def test_inline(self) -> None:
        """Marks go."""
        for markdown, plain in (
            ("**bold** and *italic*", "bold and italic"),
            ("`code`", "code"),
            ("[label](http://x/)", "label (http://x/)"),
            ("![alt](http://x/y.png)", "http://x/y.png"),
            ("a &amp; b &lt;", "a & b <"),
            ("plain\n", "plain"),
        ):
            self.assertEqual(self.convert(markdown), plain, markdown)

    def test_headings(self) -> None:
        """The first level is in capitals."""
        self.assertEqual(self.convert("# Title").strip(), "TITLE")
        self.assertEqual(self.convert("## Section").strip(), "Section")

    def test_lists(self) -> None:
        """Bullets."""
        self.assertEqual(self.convert("- a\n- b"), "• a\n• b")
        self.assertEqual(self.convert("1. a\n2. b"), "• a\n• b")

    def test_code(self) -> None:
        """Fences go."""
        self.assertEqual(self.convert("```\nx = 1\ny = 2\n```").strip(), "x = 1\ny = 2")

    def test_ruler(self) -> None:
        """A line of 80."""
        self.assertEqual(self.convert("---").strip(), "─" * 80)

    def test_paragraphs(self) -> None:
        """Each after the first begins with a space; lines that are only wrapped stay as they are."""
        self.assertEqual(self.convert("a\nb\n\nc"), "a\nb\n c")

    def test_tables(self) -> None:
        """Boxes."""
        lines = self.convert(TABLE).split("\n")
        self.assertEqual(lines[0].strip(), "┏━━━━┳━━━┓")
        self.assertIn("┃ a  ┃ b ┃", lines[1])
        self.assertIn("┡━━━━╇━━━┩", lines[2])
        self.assertIn("│ A  │ X │", lines[3])
        self.assertIn("│ BB │ Y │", lines[5] if "├" in lines[4] else lines[4])

    def test_cells_of_several_lines(self) -> None:
        """<br/> is a line break inside of a cell."""
        drawn = self.convert("a | b\n--- | ---\nA<br/>B | X\n")
        self.assertRegex(drawn, "│ A +│ X │")
        self.assertRegex(drawn, "│ B +│   │")


class OtherFormatsTests(unittest.TestCase):
    """IM text, XHTML, Markdown, terminals."""

    def test_imtext(self) -> None:
        """Marks as messengers have them."""
        from errbot.rendering import imtext

        self.assertEqual(imtext().convert("**bold** and *italic* and `code`"), "*bold* and _italic_ and `code`")

    def test_xhtml(self) -> None:
        """Elements."""
        from errbot.rendering import xhtml

        converted = xhtml().convert("**bold** [label](http://x/)")
        self.assertIn("<strong>bold</strong>", converted)
        self.assertIn('<a href="http://x/">label</a>', converted)

    def test_md(self) -> None:
        """Only attributes go."""
        from errbot.rendering import md

        self.assertEqual(md().convert("**bold**{: color='red' }"), "**bold**")
        self.assertEqual(md().convert("a *b* `c`"), "a *b* `c`")

    def test_ansi(self) -> None:
        """Sequences for bold and colours; none without them."""
        from errbot.rendering import ansi

        self.assertNotIn("**", ansi().convert("**bold**"))
        self.assertIn("\x1b[", ansi().convert("**bold**"))
        self.assertIn("\x1b[", ansi().convert("*x*{: color='red' }"))

    def test_md_escape(self) -> None:
        """What Markdown would take for more than text."""
        from errbot.rendering import md_escape

        for character in "\\`*_{}[]()>#+-.!":
            self.assertEqual(md_escape(character), "\\" + character)
        self.assertEqual(md_escape("a*b"), "a\\*b")

    def test_unescape(self) -> None:
        """Entities are characters again, but for those that XML itself needs."""
        from errbot.rendering.xhtmlim import unescape

        self.assertEqual(unescape("&lt;&amp;&#65;"), "&lt;&amp;A")


class OwnCharactersTests(unittest.TestCase):
    """Formats that backends make for themselves."""

    def test_format(self) -> None:
        """`enable_format` makes one, with or without borders of tables."""
        from errbot.rendering.ansiext import IMTEXT_CHRS, AnsiExtension, enable_format
        from markdown import Markdown

        enable_format("contract", IMTEXT_CHRS, borders=False)
        converter: Any = Markdown(output_format="contract", extensions=["markdown.extensions.extra", AnsiExtension()])
        converter.stripTopLevelTags = False
        self.assertIn("*bold*", converter.convert("**bold**"))
        self.assertNotIn("┃", converter.convert(TABLE))
