"""Tests of texts in Telegram's HTML."""

from __future__ import annotations

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.telegram._backend import EMOJI, keyboard, size_of, to_html
from tests.networks.telegram.server import TYPES, parsed

TABLE = "| name | state |\n|---|---|\n| a < b | *up* |\n| long name | down |\n"


class FormattingTests(SynchronousTestCase):
    """`to_html`, as Telegram reads it."""

    def test_markup(self) -> None:
        """Each kind of markup that Telegram has is kept; what it doesn't have is text."""
        for markdown, html in (
            ("plain & <b>", "plain &amp; &lt;b&gt;"),
            ("**bold** *em* `a<b`", "<strong>bold</strong> <em>em</em> <code>a&lt;b</code>"),
            ("# Title\n\ntext", "<b>Title</b>\n\ntext"),
            ("- one\n- two", "• one\n• two"),
            ("[a](https://x.example/?a=1&b=2)", '<a href="https://x.example/?a=1&amp;b=2">a</a>'),
            ("[a](javascript:x)", "a"),
            ("```python\na < 1\n```", '<pre><code class="language-python">a &lt; 1\n</code></pre>'),
            ("> quote", "<blockquote>quote</blockquote>"),
        ):
            self.assertEqual(to_html(markdown, {}).strip(), html)
            parsed(to_html(markdown, {}))

    def test_tables(self) -> None:
        """A table is code, with columns below each other."""
        text, entities = parsed(to_html(f"Now:\n\n{TABLE}\nend", {}))
        self.assertIn("name       state\na < b      up\nlong name  down", text)
        self.assertEqual([one["type"] for one in entities], ["pre"])

    def test_mentions(self) -> None:
        """The name in the text is a link, though not within code, links or words; without it, one is put before."""
        link = '<a href="tg://user?id=5">al</a>'
        for markdown, html in (
            ("@al hello", f"@{link} hello"),
            ("final", f"{link}: final"),
            ("`al` al", f"<code>al</code> {link}"),
            ("[al](https://x.example)", f'{link}: <a href="https://x.example">al</a>'),
        ):
            self.assertEqual(to_html(markdown, {"5": "al"}), html)
        self.assertIn("&lt;i&gt;", to_html("x", {"5": "<i>"}))

    def test_mention_in_a_long_text(self) -> None:
        """A name for which no room is left isn't put before the text: Telegram would refuse the message."""
        for length, shown in ((10, 15), (3600, 1), (3880, 0), (4096, 0)):
            people = {str(number): "\N{GRINNING FACE}" * 129 for number in range(100)}
            text, entities = parsed(to_html("x" * length, people))
            self.assertLessEqual(len(text.encode("utf-16-le")) // 2, 4096)
            self.assertEqual(len(entities), shown)

    def test_nothing_to_see(self) -> None:
        """What Markdown shows as nothing is sent as it is: Telegram refuses a text without a character."""
        for markdown in ("---", "> ", "&nbsp;", "![](x)", "# "):
            self.assertEqual(parsed(to_html(markdown, {}))[0], markdown.strip())

    @given(strategies.text(alphabet="ab*_`[]()<>&|#-\n\\~!@:/ \N{GRINNING FACE}\x00\ud800", max_size=60))
    def test_any_text(self, markdown: str) -> None:
        """Telegram can read it, and counts what is measured."""
        text, _ = parsed(to_html(markdown, {"5": "a"} if "@" in markdown else {}))
        if "@" not in markdown:
            self.assertLessEqual(len(text.encode("utf-16-le")) // 2, size_of(markdown))

    def test_emoji(self) -> None:
        """The reactions are those that Telegram has."""
        self.assertEqual(EMOJI, frozenset(TYPES["emoji"]))

    def test_keyboard(self) -> None:
        """Short choices are beside each other, long ones below."""
        self.assertIsNone(keyboard(()))
        for choices, rows in ((["yes", "no"], [2]), (list("abcde"), [4, 1]), (["yes", "a rather long label"], [1, 1])):
            made = keyboard(choices)
            assert made is not None
            self.assertEqual([len(row) for row in made["inline_keyboard"]], rows)
            data = [button["callback_data"] for row in made["inline_keyboard"] for button in row]
            self.assertEqual(data, [str(number) for number in range(len(choices))])
