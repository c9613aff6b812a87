"""Converters and output formats, as third-party backends use them."""

from __future__ import annotations

from markdown import Markdown
from markdown.extensions.extra import ExtraExtension
from markdown.preprocessors import Preprocessor
from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.errbot.rendering.ansiext import (
    IMTEXT_CHRS,
    NSC,
    TEXT_CHRS,
    AnsiExtension,
    AnsiPreprocessor,
    CharacterTable,
    enable_format,
)

TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"


def converter(name: str) -> Markdown:
    """Return a Markdown parser as backends create it."""
    return Markdown(output_format=name, extensions=[ExtraExtension(), AnsiExtension()])


class FormatTests(SynchronousTestCase):
    """`errbot.rendering.ansiext`."""

    def test_borders(self) -> None:
        """Tables have borders if the backend asks for them."""
        enable_format("one", IMTEXT_CHRS)
        enable_format("two", IMTEXT_CHRS, borders=False)
        self.assertIn("┏━━━┳", converter("one").convert(TABLE))
        self.assertEqual("```\na  b\n1  2\n```", converter("two").convert(TABLE))

    def test_own_characters(self) -> None:
        """A backend can use its own table of characters."""
        plain = dict.fromkeys(CharacterTable._fields, "")
        table = CharacterTable(
            **{**plain, "fx_bold": NSC("<b>"), "fx_normal": NSC("</b>"), "fg_red": "R", "fg_default": "r"}
        )
        enable_format("mine", table)
        self.assertEqual("<b>x</b> y", converter("mine").convert("**x** `y`"))
        self.assertEqual("Rxr", converter("mine").convert("*x*{: color='red' }"))

    def test_many_texts(self) -> None:
        """A parser can be used repeatedly; code blocks of one text don't appear in the next."""
        enable_format("plain", TEXT_CHRS)
        parser = converter("plain")
        for number in range(3):
            self.assertEqual(
                f"x{number}\n code{number} <i>\n\n <b>",
                parser.convert(f"x{number}\n\n```\ncode{number} <i>\n```\n\n&lt;b&gt;"),
            )

    def test_own_preprocessor(self) -> None:
        """A backend can add its own preprocessor."""

        class Links(Preprocessor):
            def run(self, lines: list[str]) -> list[str]:
                return [line.replace("[l](http://h)", "&lt;http://h|l&gt;") for line in lines]

        enable_format("imtext", IMTEXT_CHRS)
        parser = converter("imtext")
        parser.preprocessors.register(Links(parser), "LinkPreProcessor", 30)
        parser.stripTopLevelTags = False
        self.assertEqual("• <http://h|l> *x*", parser.convert("- [l](http://h) **x**"))

    def test_too_much(self) -> None:
        """A text that takes too long to convert is left unchanged."""
        enable_format("plain", TEXT_CHRS)
        self.assertEqual("*" * 30_000, converter("plain").convert("*" * 30_000))

    def test_preprocessor(self) -> None:
        """Tests can patch `AnsiPreprocessor.run`."""
        self.assertEqual(["x"], AnsiPreprocessor(Markdown()).run(["x"]))
