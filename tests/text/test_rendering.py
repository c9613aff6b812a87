"""Rendering of Markdown for each kind of network."""

from __future__ import annotations

import re
import threading
from time import process_time

from hypothesis import assume, example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import md_escape, sanitize, to_ansi, to_imtext, to_irc, to_md, to_mrkdwn, to_plain, to_xhtml
from errklein.text.rendering import is_only_text
from tests import takes_long

RENDERERS = (to_plain, to_ansi, to_irc)

TABLE = "Header | Other\n------ | -----\nA | X\nB | Y<br/>Z"

ANYTHING = st.text(max_size=80)
MARKDOWNISH = st.text(alphabet=" \n\tab1é漢*_`[](){}<>&;#:!|~=+-./\\\"'\x00\x1b\x9b\r\u202e", max_size=60)
MOSTLY_TEXT = st.text(alphabet=" \nab1é漢_[]()<>&;#:!=+-.{}\"'/", max_size=40)


class PlainTextTests(SynchronousTestCase):
    """`to_plain` returns the text that tests of plugins written for errbot compare with."""

    def assert_plain(self, markdown: str, expected: str) -> None:
        """Assert that `markdown` is rendered as `expected`."""
        self.assertEqual(expected, to_plain(markdown))

    def test_text_stays(self) -> None:
        """Text without Markdown syntax is unchanged."""
        self.assert_plain("hello world", "hello world")
        self.assert_plain("build #3 of my_repo: 2 < 3 & 4 > 1 [ok]", "build #3 of my_repo: 2 < 3 & 4 > 1 [ok]")

    def test_title_keeps_addresses(self) -> None:
        """Upper case in a title doesn't change an address."""
        self.assert_plain("# see [it](http://h/aB)", "SEE it (http://h/aB)")

    def test_nested_bullets(self) -> None:
        """A nested list is indented."""
        self.assert_plain("* a\n* b\n    * c\n    * d\n* e", "• a\n• b\n  • c\n  • d\n• e")

    def test_links(self) -> None:
        """A link shows its address after its label; an image is shown as its address."""
        self.assert_plain(
            "[label](http://h/?b=c&d=e) ![alt](http://i/x.png)", "label (http://h/?b=c&d=e) http://i/x.png"
        )
        self.assert_plain("[x][1]\n\n[1]: http://h/", "x (http://h/)")

    def test_address_with_entity_like_parameters(self) -> None:
        """`&copy` in an address without a semicolon isn't an entity."""
        self.assert_plain("[x](http://h/?a=1&copy=2)", "x (http://h/?a=1&copy=2)")

    def test_fences(self) -> None:
        """Fences of code are removed, and the code is kept."""
        self.assert_plain("a\n\n```python\nif x < 1:\n    **y** &lt;\n```\n\nb", "a\n if x < 1:\n    **y** &lt;\n\n b")
        self.assert_plain("a\n\n    x &amp; y\n      z\n\nb", "a\nx &amp; y\n  z\n b")

    def test_entities(self) -> None:
        """Known entities, which templates create, become characters; unknown ones are kept."""
        self.assert_plain("&lt;a&gt; &amp; &quot; &#39; &copy; &bogus;", "<a> & \" ' © &bogus;")

    def test_html_is_text(self) -> None:
        """Tags are shown as text, since people write <name> for placeholders; only <br> is a line break."""
        self.assert_plain("!do <some_name_> <b>*x*</b><br/>y", "!do <some_name_> <b>x</b>\ny")

    def test_wide_characters_in_table(self) -> None:
        """Columns stay aligned with characters of two columns or none."""
        self.assert_plain("漢|b\n-|-\nxe\u0301|y", "┏━━━━┳━━━┓\n┃ 漢 ┃ b ┃\n┡━━━━╇━━━┩\n│ xe\u0301 │ y │\n└────┴───┘")

    def test_compact_table(self) -> None:
        """A compact table has no borders, and no line for an empty head."""
        self.assertEqual("Header  Other\nA       X\nB       Y\n        Z", to_plain(TABLE, compact=True))
        self.assertEqual("1  2", to_plain("| | |\n|-|-|\n| 1 | 2 |", compact=True))

    def test_attributes_vanish(self) -> None:
        """Attributes for colours aren't shown; JSON in braces isn't an attribute."""
        self.assert_plain("`r`{: color='red' }\n{: color='blue'}", "r")
        self.assert_plain('Answer of `x`:\n{"a": 1}', 'Answer of x:\n{"a": 1}')

    def test_definitions_footnotes_abbreviations(self) -> None:
        """The rest of Markdown Extra is readable as text."""
        self.assert_plain("term\n:   meaning", "term\n  meaning")
        self.assert_plain("text[^1]\n\n[^1]: note", f"text[1]\n{'─' * 80}\n•  note")
        self.assert_plain("HTML\n\n*[HTML]: Hyper", "HTML")

    def test_space_at_the_end(self) -> None:
        """A line of text keeps a space at its end."""
        self.assert_plain("You said: ", "You said: ")
        self.assert_plain(" ", "")

    def test_low_headings(self) -> None:
        """Headings of the fourth level and below take one line."""
        self.assert_plain("#### four\ntext\n##### five", "four\n text\n\n      five")


class IMTextTests(SynchronousTestCase):
    """`to_imtext` follows the conventions of instant messaging."""

    def test_styles(self) -> None:
        """Bold, emphasis and code have asterisks, underscores and backticks; the rest is plain text."""
        self.assertEqual("*b* _i_ `c` *_bi_*", to_imtext("**b** *i* `c` ***bi***"))
        self.assertEqual("*T*\n\n text\n• a\n• *b*", to_imtext("# t\n\ntext\n\n- a\n- **b**"))
        self.assertEqual("red", to_imtext("red\n{: color='red' }"))
        self.assertEqual("l (http://h)", to_imtext("[l](http://h)"))

    def test_letters_of_one_width(self) -> None:
        """Tables and code are between fences, without other styles."""
        self.assertEqual("```\n┏━━━┓\n┃ a ┃\n┡━━━┩\n│ b │\n└───┘\n```\n x", to_imtext("| a |\n|-|\n| **b** |\n\nx"))
        self.assertEqual("x\n```\n*y*\n```\n\n z", to_imtext("x\n\n```py\n*y*\n```\n\nz"))
        self.assertEqual("```\na  b\n1  2\n```", to_imtext("a|b\n-|-\n1|2", compact=True))

    def test_no_fences_from_nowhere(self) -> None:
        """Untrusted control characters make no fences."""
        self.assertEqual("plain\n text", to_imtext("plain\n\ntext\x1b[31m"))


class MarkdownTests(SynchronousTestCase):
    """`to_md` is for networks that render Markdown."""

    def test_attributes_vanish(self) -> None:
        """Attributes that only errklein knows are removed."""
        self.assertEqual("# *red* {'a': 1}", to_md("# *red*{: color='red' } {'a': 1}"))
        self.assertEqual("\\{: x }", to_md("\\{: x }"))

    @given(st.text(alphabet="ab*_`[](){}<>#+-.!\\|~: ", min_size=1, max_size=40))
    def test_escaped(self, text: str) -> None:
        """Escaped text is shown as it was before."""
        assume("|" not in text and "<" not in text and "~" not in text and ":" not in text)
        self.assertEqual(f"x{text}".rstrip(), to_plain(f"x{md_escape(text)}").rstrip())


class TerminalTests(SynchronousTestCase):
    """`to_ansi` is for terminals."""

    def test_coloured_heading(self) -> None:
        """Colours start at the text, not before it."""
        self.assertEqual("\x1b[1;31mt\x1b[22;39m", to_ansi("## t {: color='red' }"))

    def test_colours(self) -> None:
        """Text, blocks and items have their colours, which end with them."""
        self.assertEqual(
            "\x1b[31mr\x1b[39m \x1b[1;32;46mb\x1b[22;39;49m",
            to_ansi("`r`{: color='red'} **b**{: color='green' bgcolor='cyan'}"),
        )
        self.assertEqual("\x1b[34mpara\x1b[39m\nnext", to_ansi("para\n{: color='blue' }\n\nnext"))

    def test_outer_colour_comes_back(self) -> None:
        """After a nested colour, the outer one applies again."""
        self.assertEqual("\x1b[34ma \x1b[31mb\x1b[34m c\x1b[39m", to_ansi("a `b`{: color='red'} c\n{: color='blue'}"))

    def test_unknown_colour(self) -> None:
        """An unknown colour is ignored."""
        self.assertEqual("x", to_ansi("`x`{: color='red;41m\x1b[2J'}"))

    def test_numbers_and_indentation(self) -> None:
        """Numbered lists have numbers, paragraphs have no space before them, and an address isn't repeated."""
        self.assertEqual("a\n3. x\n4. y\n   z\nhttp://h/", to_ansi("a\n\n3. x\n4. y\nz\n\n<http://h/>"))

    def test_quote(self) -> None:
        """A quotation is marked."""
        self.assertEqual("> a\n> b\nc", to_ansi("> a\n> b\n\nc"))

    def test_code_stays_aligned(self) -> None:
        """The first line of code is aligned with the others."""
        self.assertEqual("x:\n  a\n  b", to_ansi("x:\n```\n  a\n  b\n```"))


class IrcTests(SynchronousTestCase):
    """`to_irc` is for IRC clients."""

    def test_marks(self) -> None:
        """Bold and italics end with a reset."""
        self.assertEqual("\x02x\x0f \x1dy\x0f", to_irc("**x** _y_"))

    def test_each_line_is_complete(self) -> None:
        """Lines are sent separately, so each has its own codes."""
        self.assertEqual("\x02a\x0f\n\x02b\x0f", to_irc("**a\nb**"))

    def test_colours(self) -> None:
        """Colour codes have two digits, so that digits and commas after them are text."""
        self.assertEqual("\x03045\x0f \x0399,11x\x0f", to_irc("`5`{: color='red'} `x`{: bgcolor='cyan'}"))
        self.assertEqual("\x0304\x02\x02,5\x0f", to_irc("`,5`{: color='red'}"))

    def test_tables_without_borders(self) -> None:
        """A table takes one line for each row."""
        self.assertEqual("Header  Other\nA       X\nB       Y\n        Z", to_irc(TABLE))


class UntrustedTextTests(SynchronousTestCase):
    """Untrusted text is only displayed."""

    def test_thousands_of_lines(self) -> None:
        """Thousands of lines are shown as they were written, at once, since parsing them would take seconds."""
        text = "\n".join(["---"] * 12_000)
        begun = process_time()
        for render in (to_irc, to_plain, to_ansi):
            self.assertEqual(render(text), text)
        self.assertLess(process_time() - begun, 1)

    def test_terminal_escapes_are_removed(self) -> None:
        """Terminal sequences are removed in every rendering."""
        for render in RENDERERS:
            for evil in (
                "a\x1b[2J\x1b[31mb",
                "a\x1b]0;owned\x07b",
                "a\x1b]8;;http://x\x1b\\b",
                "a\x00\x07\x08\x7f\x9bb",
            ):
                self.assertEqual("ab", render(evil))
                self.assertTrue(render(f"**x** {evil}").endswith("ab"))

    def test_escapes_as_entities_are_removed(self) -> None:
        """Control characters written as entities, or in links and tables, are removed."""
        for render in RENDERERS:
            self.assertEqual("a[2Jb", render("a&#27;[2J&#x7f;b"))
            self.assertEqual("l (http://h/[2J)", render("[l](http://h/&#27;[2J)"))
            self.assertIn("a[2J", render("a&#27;[2J|b\n-|-\nc|d"))

    def test_irc_formatting_is_removed(self) -> None:
        """IRC codes in a text are removed; only newlines start another line."""
        self.assertEqual("abcd\nQUIT", to_irc("a\x02b\x0304c\x01\x0fd\r\nQUIT").replace("04", ""))

    def test_internal_marks_from_outside(self) -> None:
        """Noncharacters that mark styles internally are removed from a text."""
        self.assertEqual("ab", to_ansi("a\ufdd0b"))
        self.assertEqual("ab", to_ansi("`a&#xfdd0;`b").replace("&#xfdd0;", ""))
        self.assertEqual("ab", to_ansi("a&#xfdd0;b"))

    def test_placeholders_from_outside(self) -> None:
        """Placeholders of the parser in a text have no effect."""
        for render in RENDERERS:
            self.assertEqual("wzxhzdk:7klzzwxh:3", render("\x02wzxhzdk:7\x03&#2;klzzwxh:3&#3;"))

    def test_lone_surrogates(self) -> None:
        """Lone surrogates are replaced, so that the text can be sent."""
        for render in RENDERERS:
            render("a\ud800 **b**").encode()

    def test_nested_too_deep(self) -> None:
        """Text with extreme nesting is shown."""
        for deep in ("> " * 5000 + "x", "[" * 4000 + "x", "**_" * 3000 + "x"):
            self.assertIn("x", to_plain(deep))

    def test_long_text(self) -> None:
        """A very long text is shown as it was written, without parsing."""
        long = "**x** [a](b)\n" * 10_000
        self.assertEqual(long.strip(), to_plain(long))

    @given(st.one_of(MARKDOWNISH, ANYTHING))
    def test_no_control_characters(self, text: str) -> None:
        """The output has only printable text, tabs and newlines, apart from errklein's own sequences."""
        self.assertNotRegex(to_plain(text), r"[^\t\n -~\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\U0010ffff]")
        self.assertEqual("", _without(to_ansi(text), r"\x1b\[[0-9;]+m"))
        self.assertEqual("", _without(to_irc(text), r"\x03[0-9]{2}(,[0-9]{2})?|[\x02\x0f\x1d]"))


class NothingVanishesTests(SynchronousTestCase):
    """A message of which Markdown would show nothing is shown as it was written."""

    def test_definitions(self) -> None:
        """Definitions of links and abbreviations, alone or with others."""
        for text in ("[ticket]: http://x/1", "*[HTML]: markup", "[a]: http://b/\n*[C]: d\n\n[e]: f"):
            for render in (*RENDERERS, to_imtext):
                self.assertEqual(text, render(f"{text}\n"))
            self.assertEqual(f"<p>{text}</p>".replace("\n", "<br />\n"), to_xhtml(text))

    @given(MARKDOWNISH)
    def test_any_definition(self, text: str) -> None:
        """A message with any definition shows some text."""
        for render in (to_plain, to_ansi, to_irc, to_imtext):
            self.assertTrue(render(f"{text}\n\n[a]: http://x/").strip(" \n"))

    def test_nothing(self) -> None:
        """An empty message is empty, as with errbot."""
        for text in ("# ", "```\n```", "<br>"):
            self.assertEqual("", to_plain(text))

    def test_beside_others(self) -> None:
        """Beside other text, definitions aren't shown."""
        self.assertEqual("x (http://y/)", to_plain("[x]\n\n[x]: http://y/"))

    def test_many(self) -> None:
        """A text with more than 500 definitions is shown as it was written, since reading them takes too long."""
        for count, is_read in ((500, True), (501, False)):
            text = "\n".join("a\n: b\n" for _ in range(count))
            self.assertEqual(": b" not in to_plain(text), is_read)

    def test_many_in_a_block(self) -> None:
        """A long block of lines with many definitions, headings or rules is shown as it was written; blank lines part blocks."""
        for divider in ("[a]: http://b/c", "# heading here", "---------------"):
            for between, is_read in ((f"\n{'word ' * 3}\n", False), (f"\n\n{'word ' * 3}\n\n", True)):
                text = between.join([divider] * 480)
                self.assertEqual(divider not in to_plain(text), is_read, (divider, is_read))
        self.assertIn(": explained", to_plain("term\n: explained\n" * 480 + "word " * 300))
        self.assertNotIn(": explained", to_plain("term\n: explained\n" * 100))


class SmallTextLargeMessageTests(SynchronousTestCase):
    """A short text doesn't become a message of megabytes."""

    def assert_small(self, text: str) -> None:
        """Assert that each rendering has at most some hundred kilobytes."""
        for render in (to_plain, to_ansi, to_irc, to_imtext, to_xhtml):
            self.assertLess(len(render(text)), 1_000_000, render)

    def test_long_cell(self) -> None:
        """The other cells of the column aren't padded to the width of a long one."""
        takes_long()
        for character in "x漢":
            self.assert_small("a|b\n-|-\n" + character * 11_000 + "|y\n" + "a|b\n" * 1_900)

    def test_many_columns(self) -> None:
        """Short rows aren't filled up to a head of thousands of columns, also in quotations and lists."""
        head, line = "|a" * 2_000, "|-" * 2_000
        self.assert_small(f"{head}\n{line}\n" + "|b\n" * 1_900)
        self.assert_small(f"> {head}\n> {line}\n" + "> b\n" * 1_900)
        self.assert_small(f"- {head}\n    {line}\n" + "    b\n" * 1_000)
        self.assert_small(f"{head}\n{line}\n|" + "<br>" * 2_900)

    def test_repeated_definitions(self) -> None:
        """Definitions aren't repeated thousands of times."""
        uses = ("[a] " * 400 + "\n\n") * 5
        self.assert_small(f"[a]: http://{'x' * 8_000}\n\n{uses}")
        self.assert_small(f"[a]: http://x/ '{'x' * 8_000}'\n\n{uses}")
        self.assert_small(f"*[a]: {'x' * 9_000}\n\n" + "a " * 5_000)

    def test_ordinary(self) -> None:
        """Tables of hundreds of rows, and links defined at the end, are parsed as Markdown."""
        rows = "".join(f"| {number} | name | what it is for |\n" for number in range(500))
        self.assertIn("│ 499 │ name │ what it is for │", to_plain(f"| n | name | what |\n|-|-|-|\n{rows}"))
        links = "".join(f"see [{number}]\n\n" for number in range(100))
        defined = "".join(f"[{number}]: http://x/{number}?{'y' * 500}\n" for number in range(20))
        self.assertIn("see 19 (http://x/19?y", to_plain(links + defined))


class ShortCutTests(SynchronousTestCase):
    """Text without Markdown syntax isn't parsed, with the same result."""

    @given(st.one_of(MOSTLY_TEXT, ANYTHING))
    @example("a\n\n\n   b \n c")
    @example("__a_b c_")
    @example("a\n \n b")
    @example("a  \nb")
    @example("[a]: b")
    @example("a\n===")
    def test_same_as_parsed(self, text: str) -> None:
        """A text is rendered equally alone and before a paragraph that must be parsed."""
        text = sanitize(text).rstrip(" \n")
        assume(is_only_text(text) and to_plain(text))
        self.assertEqual(f"{to_plain(text)}\n x", to_plain(f"{text}\n\n**x**"))
        self.assertEqual(f"{to_ansi(text)}\n\x1b[1mx\x1b[22m", to_ansi(f"{text}\n\n**x**"))
        self.assertEqual(f"{to_irc(text)}\n\x02x\x0f", to_irc(f"{text}\n\n**x**"))

    @given(st.text(alphabet="ab é漢!?,;()[]{}#+-=1.2_", min_size=1, max_size=40))
    def test_words_are_kept(self, text: str) -> None:
        """All words of a line are shown, parsed or not."""
        assume("_" not in text and "](" not in text)
        self.assertEqual(f"x {text}", to_plain(f"x {text}"))


class ThreadTests(SynchronousTestCase):
    """Rendering works in several threads at once."""

    def test_many_threads(self) -> None:
        """Texts that are rendered at the same time don't mix."""
        wrong: list[str] = []

        def render(number: int) -> None:
            for _ in range(30):
                if to_plain(f"**{number}** [{number}](http://h/{number})") != f"{number} {number} (http://h/{number})":
                    wrong.append(str(number))

        threads = [threading.Thread(target=render, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)


def _without(text: str, allowed: str) -> str:
    """Return the control characters of `text` that don't match `allowed`."""
    return re.sub(r"[\t\n -~\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\U0010ffff]", "", re.sub(allowed, "", text))


class MrkdwnTests(SynchronousTestCase):
    """`to_mrkdwn`, for Slack."""

    def test_styles(self) -> None:
        """Styles, lists and code are as in instant messages, and signs of markup are entities."""
        self.assertEqual(to_mrkdwn("**a** *b* `c<d`\n\n- e & f"), "*a* _b_ `c&lt;d`\n• e &amp; f")
        self.assertEqual(to_mrkdwn("a < b"), "a &lt; b")

    def test_links(self) -> None:
        """A link has its label, unless its address may run code, or both are the same."""
        self.assertEqual(to_mrkdwn("[a *b*](https://x.org/?c=1&d=|)!"), "<https://x.org/?c=1&amp;d=%7C|a _b_>!")
        self.assertEqual(to_mrkdwn("[a](javascript:x)"), "a (javascript:x)")
        self.assertEqual(to_mrkdwn("<https://x.org/>"), "https://x.org/")

    def test_tables(self) -> None:
        """In a table, which is code, a link is text."""
        table = to_mrkdwn("a | b\n--|--\n[c](https://x.org) | d")
        self.assertIn("c (https://x.org)", table)
        self.assertNotIn("<", table)
