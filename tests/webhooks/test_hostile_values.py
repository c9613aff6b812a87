"""Values of payloads in rendered messages: on no network is any of them an address, a mention, or formatting."""

from __future__ import annotations

import html
import json
import re
from functools import partial
from time import process_time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import sanitize, split_message, to_ansi, to_imtext, to_irc, to_md, to_plain, to_xhtml
from errklein.webhooks.source import LENGTH_CAP, VALUE_CAP, InvalidOption, Markdown, message, render, value
from tests import takes_long

# fmt: off
PIECES = (
    "@", "＠", "&#64;", "&commat;", "@bob", "@here", "<!channel>", "<@U1>", "<@&2>", "@**all**", "everyone", "bob", "#ops",
    "http", "https", ":", "/", "//", "://", "&colon;", "&#58;", "www", ".", "www.", "evil.com", "mailto", "mailto:", "javascript:", "tel:1",
    "*", "**", "_", "__", "~", "~~", "~~~", "`", "```", "\\", "[", "]", "](", "]:", "[x](http://evil)", "![x](//evil)", "(", ")", "<", ">",
    "<b>", "<a href='//evil'>", "<http://evil>", "<http://evil|x>", "|", "!", "#", "# ", "- ", "+", "1. ", "> ", "===", "---", "    ", "{:", "{: color='red'}",
    "{", "}", "{a}", "{{", "'", '"', "\n", "\r\n", "\t", " ", "\u2028", "\u200b", "\u202e", "\x02", "\x03", "\x1b[31m", "\ud800", "\ufdd0", "&", "&lt;", "a", "é",
)
TEMPLATES = (
    "{a}", "{a}{b}", "{a} {b}", "{a}: {b}", "- {a} ({b})", "{a}/{b}", "{a}.{b}", "{a}:{b}", "{a}:/{b}", "{a}://{b}", "x{a}", "{a|title}{b|upper}",
    "{a|short} {b|line|lower}", "1. {a}\n{b}", "{a}\n{b}", "{c}{a}", "{c or a}", "{a}@{b}", "{a}](x) {b}", "`{a}` {b}", "` `{a}`", "{a}]: {b}",
    "{a|date} {b|count}", "{a|upper|link}", "[{a} {b}]({c})", "[x]({a}",
    "<{a}>", "</{a}", "<{a} {b}>", "{a}[x]", "{a}[x](y)", "{a}b>", "{a}#{b}", "{a}&{b}", "{a}!{b}", "&{a}", "\\{a}", "{a}<{b}", "[{a}]: {b}", "{a}({b})", "*{a}*", "**{a}{b}**"
)
# fmt: on
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
RENDERERS = (to_plain, to_imtext, to_irc, to_ansi, to_md)

ADDRESS = re.compile(r"[a-z]://|\bwww\.|\b(?:mailto|javascript|tel):", re.IGNORECASE)
MENTION = re.compile(
    r"(?<!\w)[@＠](?=[\w*&!])|[@＠](?=everyone|here|all\b|channel\b)|<@(?=[\w&])|<!(?=everyone|here|channel|group|subteam)",
    re.IGNORECASE,
)
TAG = re.compile(r"</?(?!(?:p|br ?/|li|ul|ol)>)[a-z]")
STYLE = re.compile("</?(?:code|em|strong)>")


def text_of(page: str) -> str:
    """Return what a browser shows."""
    return html.unescape(re.sub(r"<[^<>]*>", "", page))


class HostileValueTests(SynchronousTestCase):
    """Values of payloads in templates without formatting of their own."""

    def assert_no_effect(self, shown: str, template: str = "") -> None:
        own = re.sub(r"\{[^{}]*\}", "", template)
        for text in (shown, *(renderer(shown) for renderer in RENDERERS), text_of(to_xhtml(shown))):
            if "@" not in own:
                self.assertNotRegex(text, MENTION)
            if "://" not in own:
                self.assertNotRegex(text, ADDRESS)
        if not re.search(r"[`*]|\]\(", own):
            self.assertNotRegex(to_irc(shown), r"[\x02\x03\x0f\x11\x16\x1d\x1e\x1f]")
            self.assertNotRegex(to_ansi(shown), "\x1b")
        page = re.sub('<a href="y">x</a>', "x", to_xhtml(shown))
        self.assertNotRegex(STYLE.sub("", page) if re.search("[`*]", own) else page, TAG)

    @given(JSON, JSON, st.sampled_from(TEMPLATES))
    @example("https:/", "evil.com", "{a}/{b}")
    @example("http", "//evil", "{a}:{b}")
    @example("a]: //evil", "", "[{a} {b}]({c})")
    @example("`*a*", "*b*`", "`{a}` {b}")
    @example(None, ":~~~", "{a} {b}")
    @example("<", "b>", "{a}/{b}")
    @example("b", "", "<{a}>")
    @example("x", "x@y>", '<"<{a}{b}')
    @example("~~x", "", "~{a}")
    @example("x!", "", "{a}[x](y)")
    def test_rendered(self, a: Any, b: Any, template: str) -> None:
        """No value adds an address, a mention or formatting, whatever follows it."""
        try:
            shown = message([render(template, {"a": a, "b": b})], 10)
        except InvalidOption:
            self.assertEqual(template, "[x]({a}")
            return
        self.assert_no_effect(shown, template)

    @given(TEXTS)
    def test_shown_literally(self, text: str) -> None:
        """What a reader sees is the value, apart from spaces, and from characters without width."""
        invisible = "[\u200b\u202a-\u202e\u2066-\u2069]"
        expected = " ".join(re.sub(invisible, "", sanitize(text)).split())
        for shown in (to_plain(value(text)), text_of(to_xhtml(value(text)))):
            self.assertEqual(" ".join(re.sub(invisible, "", shown).split()), expected)

    @given(st.lists(TEXTS, min_size=4).map(" ".join), st.integers(100, 140))
    def test_split(self, text: str, limit: int) -> None:
        """Nor does a part of a message that is split."""
        for part in split_message(message([render("{a}, {a}", {"a": text})], 10), limit):
            self.assertNotRegex(to_irc(part), r"[\x02\x03\x0f\x11\x16\x1d\x1e\x1f]")
            self.assertNotRegex(to_xhtml(part), TAG)

    @given(TEXTS, TEXTS)
    def test_addresses(self, label: str, address: str) -> None:
        """A value as the address of a link ends the link nowhere, and has the scheme http or https."""
        for url in (address, f"https://h/{address}", f"HTTP://{address}"):
            shown = message([render("[{a} x]({b})", {"a": label, "b": url})], 10)
            page = re.sub('<a href="y">x</a>', "x", to_xhtml(shown))
            self.assertLessEqual(page.count("<a "), 1)
            for href in re.findall('href="([^"]*)"', page):
                self.assertRegex(href, "(?i)^https?://")
            # A link without a label shows its address.
            self.assertNotRegex(text_of(re.sub(r'<a href="([^"]*)">\1</a>', "", page)), ADDRESS)
            self.assertNotRegex(shown, MENTION)
            self.assertNotRegex(page.replace("<a ", "").replace("</a>", ""), TAG)
            self.assertNotRegex(to_irc(shown), r"[\x02\x03\x0f\x11\x16\x1d\x1e\x1f]")

    @given(TEXTS)
    def test_texts(self, text: str) -> None:
        """Any text is rendered, or invalid."""
        try:
            shown = render(text, {"a": "@bob"})
        except InvalidOption:
            return
        self.assertLess(len(shown), 3_000)

    @given(JSON, st.sampled_from(("title", "upper", "lower", "line", "short", "date", "count", "link")))
    def test_filters(self, given: Any, name: str) -> None:
        """No filter fails for any value."""
        self.assert_no_effect(message([render(f"{{a|{name}}}", {"a": given})], 10))

    @given(JSON)
    def test_json_is_no_markdown(self, given: Any) -> None:
        """No decoded payload contains Markdown that is shown as it is."""
        self.assertNotIsInstance(json.loads(json.dumps(given)), Markdown)


class TimeTests(SynchronousTestCase):
    """Time and length for large payloads and texts."""

    def assert_fast(self, call: Any, seconds: float = 1.0) -> Any:
        start = process_time()
        result = call()
        self.assertLess(process_time() - start, seconds)
        return result

    def test_large_values(self) -> None:
        """A message of a megabyte of any text is short, and takes a fraction of a second."""
        takes_long()
        for piece in (*PIECES, "@everyon", "@&#104;", "a ", "]( "):
            values = {"a": piece * (1_000_000 // len(piece)), "b": [piece * 100_000] * 3}
            text = "{a} {b} {a|title|upper|lower|line|short} {a|date} `{a}` [{a}]({a})\n" * 10
            shown = self.assert_fast(partial(render, text, values))
            self.assertLess(len(message([shown], 10)), 4_000)

    def test_large_text(self) -> None:
        """A text that is too long is refused at once; the longest is read in a fraction of a second."""
        for piece in (*PIECES, "{a", "{a|", "{'", '{a or "', "[{a}](", "`{a}", "{a}*", "{a[", "{a.b", "{{{"):
            for size in (LENGTH_CAP, 1_000_000):
                text = piece * (size // len(piece))
                try:
                    self.assert_fast(partial(render, text, {"a": "x" * VALUE_CAP}))
                except InvalidOption:
                    pass

    def test_large_markdown(self) -> None:
        """A megabyte of Markdown that a source made is cut in linear time."""
        takes_long()
        for piece in (*PIECES, "```\n", "@ ", "]( ", "](x", "https://"):
            body = Markdown(sanitize(piece * (1_000_000 // len(piece))))
            self.assertLessEqual(len(self.assert_fast(partial(message, [body], 10), 3.0)), 4_000)
