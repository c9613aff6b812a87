"""Markdown built from untrusted values."""

from __future__ import annotations

from hypothesis import assume, example, given
from hypothesis import strategies as st
from markupsafe import Markup
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import sanitize, templating, to_plain, to_xhtml
from errklein.text.templating import as_it_is, md_image, md_link, md_table

STRANGERS = st.text(alphabet=" ab1é漢*_`[](){}<>#:!|=+-./\\\"'&;~^", max_size=40)


class AsItIsTests(SynchronousTestCase):
    """The filter `plain`."""

    @given(STRANGERS)
    @example("~~~")
    @example("&lt;br> <br>")
    @example("C# #")
    @example("]: x")
    def test_shown_as_it_is(self, text: str) -> None:
        """Any value is shown literally: in a line, at its start, and in a list, heading, link and cell."""
        text = " ".join(sanitize(text).split())
        assume(text)
        shown = as_it_is(text)
        self.assertEqual(text, to_plain(shown))
        self.assertEqual(f"Look: {text}", to_plain(f"Look: {shown}"))
        self.assertEqual(f"• {text}", to_plain(f"- {shown}"))
        self.assertEqual(text, to_plain(f"## {shown}"))
        self.assertEqual(f"{text} (http://x/)", to_plain(md_link(text, "http://x/")))
        cells = to_plain(md_table([[shown, "z"]], ["a", "b"])).splitlines()[-2]
        self.assertTrue(cells.startswith(f"│ {text} ") and cells.endswith("│ z │"), cells)

    def test_lines(self) -> None:
        """Line breaks are kept, also in a list; None is an empty text."""
        lines = "*a*\n# b"
        self.assertEqual("• *a*\n# b", to_plain(f"- {as_it_is(lines)}"))
        self.assertEqual("", as_it_is(None))
        self.assertEqual("1", as_it_is(1))

    def test_in_a_template(self) -> None:
        """Templates have the filter without an import."""
        text = templating.tenv().from_string("{{ x|plain }} {{ md_link(x, 'http://x/') }}").render(x="*<*")
        self.assertEqual("*<* *<* (http://x/)", to_plain(text))


class LinkTests(SynchronousTestCase):
    """`md_link` and `md_image`."""

    @given(STRANGERS, STRANGERS)
    def test_one_link(self, label: str, address: str) -> None:
        """For any label and address there is one link, to an address that begins as given."""
        page = to_xhtml(md_link(f"x{label}", f"http://x/{address}"))
        self.assertEqual(1, page.count("<a "), page)
        self.assertIn('href="http://x/', page)
        page = to_xhtml(md_image(f"http://x/{address}"))
        self.assertEqual((1, 0), (page.count("<img "), page.count("<a ")), page)

    def test_ordinary_addresses(self) -> None:
        """Ordinary addresses are unchanged."""
        for address in ("http://x/a_b_c?d=1&e=%20f#g", "http://[::1]:80/~h/*,+;", "mailto:a@b.c", "/x", "https://é/漢"):
            self.assertEqual(f"l ({address})", to_plain(md_link("l", address)))
            self.assertEqual(address, to_plain(md_image(address)))

    def test_where_no_link_should_lead(self) -> None:
        """An address with a scheme that isn't allowed is shown as text."""
        for address in ("javascript:*x*", " JavaScript:x", "java\nscript:x"):
            for markdown in (md_link("l", address), md_image(address)):
                self.assertNotRegex(to_xhtml(markdown), "href|src")
        self.assertEqual("l (javascript:*x*)", to_plain(md_link("l", "javascript:*x*")))


class TableTests(SynchronousTestCase):
    """`md_table` in templates and in Python."""

    def test_headers(self) -> None:
        """Rows are sequences with headers, or mappings with headers as keys."""
        expected = "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
        self.assertEqual(expected, md_table([(1, 2)], ["a", "b"]))
        self.assertEqual(expected, md_table([{"a": 1, "b": 2}]))
        self.assertEqual("| b |\n| --- |\n| 2 |\n", md_table([{"a": 1, "b": 2}], ["b"]))

    def test_hostile_cells(self) -> None:
        """No value in a cell breaks the table or becomes a tag."""
        table = md_table([["x|y", "a\nb", "<i>", None, Markup("<b>")]], ["1", "2", "3", "4", "5"])
        self.assertIn("| x\\|y | a<br/>b | &lt;i&gt; |  | <b> |", table)
        self.assertIn("│ x|y │ a │ <i> │", to_plain(table))

    def test_bars_that_are_escaped(self) -> None:
        """Escaped bars don't end a cell, nor does a backslash before a bar in a value."""
        for cell in ("x\\|y", "x\\\\|y", "\\|", "|", "||"):
            for value in (cell, as_it_is(cell)):
                self.assertTrue(to_plain(md_table([[value, "z"]], ["a", "b"])).splitlines()[-2].endswith("│ z │"), cell)

    def test_uneven(self) -> None:
        """Short rows are filled up, and no rows make no table."""
        self.assertEqual("|  |  |\n| --- | --- |\n| 1 |  |\n| 2 | 3 |\n", md_table([[1], [2, 3]]))
        self.assertEqual("", md_table([]))

    def test_in_a_template(self) -> None:
        """Templates have the function without an import, and its result isn't escaped."""
        text = templating.tenv().from_string("{{ md_table([['<']], ['h']) }}").render()
        self.assertEqual("| h |\n| --- |\n| &lt; |\n", text)
