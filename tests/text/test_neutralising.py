"""Mentions of whole rooms and unsafe links in text that the bot sends."""

from __future__ import annotations

import html
import re
from time import process_time

from hypothesis import given
from hypothesis import strategies as st
from markdown import Markdown
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import sanitize, to_ansi, to_imtext, to_irc, to_md, to_plain, to_xhtml
from errklein.text.neutralising import (
    ZERO_WIDTH_SPACE,
    without_effects,
    without_mentions,
    without_people,
    without_unsafe_links,
)

# What Discord, Mattermost, Slack and Zulip take as a mention, without what a network or renderer removes before.
MENTION = re.compile(
    r"@(?:everyone|here|(?:all|channel|room)\b)|<!(?:channel|here|everyone|subteam)\b|@\*\*(?:all|everyone|channel)\*\*",
    re.IGNORECASE,
)
RENDERERS = (sanitize, to_plain, to_imtext, to_md, to_irc, to_ansi)

# fmt: off
PIECES = (
    "@", "＠", "&#64;", "&commat;", "<!", "&lt;!", "here", "everyone", "all", "channel", "HERE", "he", "re", "h", "e", "r",
    "&#104;", "ｈ", "**", "*", "_", "`", "```\n", "~~", "\\", "[", "]", "<", ">", "(x)", "(http://h)", " ", "\n", "\u200d",
    "\u200b", "\u2060", "\ufe0f", "\x00", "\x1b[31m", "&zwj;", "&#8203;", "&#1;", "{: color='red'}", "{:", "subteam^S1", "|",
    "<here@example.com>", "# ", "- ", "[^1]", "[^1]: ", "!", "\\!here",
)
ADDRESSES = (
    "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:1", "&#106;avascript:1", "&#x6A;avascript:1", "javascript&colon;1",
    "javascript\\:1", "data:text/html,x", "vbscript:x", "file:///etc/passwd", " javascript:1", "<javascript:1>", "\x01javascript:1",
    "foo:bar", "tg://user?id=1",
)
HARMLESS = ("http://h/a:b", "HTTPS://h", "mailto:a@b.c", "/a:b", "#a", "?a:b", "page.html", "", 'http://h "title: x"')
# fmt: on


class MentionTests(SynchronousTestCase):
    """`without_mentions`."""

    def assert_neutral(self, *texts: str) -> None:
        """Assert that a space of no width is inserted, and nothing else is changed."""
        for text in texts:
            neutral = without_mentions(text)
            self.assertEqual(neutral.count(ZERO_WIDTH_SPACE), text.count(ZERO_WIDTH_SPACE) + 1, text)
            self.assertEqual(neutral.replace(ZERO_WIDTH_SPACE, ""), text.replace(ZERO_WIDTH_SPACE, ""))

    def test_names_for_everybody_have_no_effect(self) -> None:
        """Names for everybody in a room have no effect, in any case and next to any punctuation."""
        self.assertEqual(without_mentions("@here: look"), "@\u200bhere: look")
        self.assert_neutral("@channel", "@Everyone!", "(@HERE)", "@all.", "@all-hands", "@room", "x@here", "@everyone1")

    def test_syntax_of_networks(self) -> None:
        """The syntax of Slack, Zulip, Webex, Google Chat, and of Discord's roles has no effect."""
        self.assert_neutral(
            "<!channel>", "<!here|x>", "<!subteam^S1>", "@**all**", "<@all>", "<users/all>", "<@&12345>"
        )

    def test_variants_of_mentions_have_no_effect(self) -> None:
        """Neither have variants that become a name when the message is rendered."""
        self.assert_neutral(
            "`@here`", "@`here`", "@**here**", "@he**re**", "@_all_", "\\@here", "@\\here", "[x](http://h/@all)"
        )
        self.assert_neutral(
            "＠here", "@ｈere", "&#64;here", "&#x40;here", "&commat;here", "@&#104;ere", "&lt;!here&gt;"
        )
        self.assert_neutral("@\u200dhere", "@h\u2060ere", "@&zwj;here", "@{: color='red'}here", "@<here@example.com>")

    def test_syntax_of_networks_in_pieces(self) -> None:
        """Neither has the syntax of Slack and Discord if formatting or escapes separate its characters."""
        self.assert_neutral("<\\!here>", "<**!here**>", "<*!*here>", "`<`!here>", "&lt;\\!here&gt;", "<**users**/all>")
        self.assert_neutral("<@**&**1>", "<@&**1**>", "<@&#38;1>", "<@&amp;1>", "@\n`here`", "[@](x)here")

    def test_control_characters(self) -> None:
        """Control characters in a name are removed, as renderers do."""
        self.assertEqual(without_mentions("@he\x00re \x1b[31m@all"), "@\u200bhere @\u200ball")

    def test_single_people(self) -> None:
        """People and other words are left as they are, and so are dates of Slack and emoji of Discord."""
        for text in (
            "@bob",
            "@allison",
            "@ally is in",
            "@channels",
            "a@b.c",
            "here",
            "everyone",
            "<@U123>",
            "<!date^1^{date}|x>",
            "<:a:1>",
        ):
            self.assertEqual(without_mentions(text), text)

    @given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
    def test_rendered(self, text: str) -> None:
        """For any text, no renderer makes a mention of the result."""
        neutral = without_mentions(text)
        for rendered in (neutral, *(render(neutral) for render in RENDERERS)):
            self.assertNotRegex(rendered, MENTION)
        shown = html.unescape(re.sub(r"<[^<>]*>", "", to_xhtml(neutral)))
        self.assertNotRegex(shown, MENTION)

    @given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text())
    def test_looks_the_same(self, text: str) -> None:
        """For any text, only spaces of no width and control characters differ, and a second call changes nothing."""
        neutral = without_mentions(text)
        self.assertEqual(neutral.replace(ZERO_WIDTH_SPACE, ""), sanitize(text).replace(ZERO_WIDTH_SPACE, ""))
        self.assertEqual(without_mentions(neutral), neutral)

    def test_many(self) -> None:
        """After a thousand words with `@`, all further ones are neutralised unseen, and so is one with many invisible characters."""
        self.assertEqual(without_mentions("@bob " * 1003), "@bob " * 1000 + "@\u200bbob " * 3)
        self.assertTrue(without_mentions("@" + "\u2060" * 1000 + "here").startswith("@\u200b"))

    def test_time(self) -> None:
        """A hostile text takes time that grows with its length."""
        for piece in ("@", "@*", "@everyon", "@{:", "@&#104;", "<", "<*", "@]("):
            start = process_time()
            without_mentions(piece * (100_000 // len(piece)))
            self.assertLess(process_time() - start, 2)


class LinkTests(SynchronousTestCase):
    """`without_unsafe_links`."""

    def test_unsafe_links_are_text(self) -> None:
        """Links to other schemes are shown as they were written, in every form of Markdown and in HTML."""
        self.assertEqual(without_unsafe_links("[x](javascript:1)"), "[x]\u200b(javascript:1)")
        self.assertEqual(without_unsafe_links("<javascript:1|x>"), "<\u200bjavascript:1|x>")
        self.assertEqual(without_unsafe_links("<JavaScript:1>"), "<\u200bJavaScript:1>")
        self.assertEqual(without_unsafe_links("<A HREF='javascript:1'>"), "<A HREF=\u200b'javascript:1'>")
        for address in ADDRESSES:
            for text in (
                f"[x]({address})",
                f"![x]({address} 'title')",
                f"[x]( {address})",
                f"<a href='{address}'>x</a>",
            ):
                self.assertEqual(without_unsafe_links(text).count(ZERO_WIDTH_SPACE), 1 + ("<java" in text), text)

    def test_definitions(self) -> None:
        """An unsafe address can't be defined for later links."""
        for text in (
            "[x][1]\n\n[1]: javascript:1",
            "[1]:\n  <javascript:1> 'title'",
            "> [1]: javascript&colon;1",
            "[1]: javascript:1\nx",
            "[1]: javascript:1>x\n\n[2]: y",
        ):
            self.assertIn("1]\u200b:", without_unsafe_links(text))
            text = text.replace("1", "1" * 300)
            self.assertIn("1]\u200b:", without_unsafe_links(text))
        log_line = "[ERROR]: ValueError: invalid"
        self.assertEqual(without_unsafe_links(log_line), log_line)

    def test_harmless(self) -> None:
        """Links of the web, mail addresses and relative addresses are unchanged; so are emoji and times of Discord."""
        for address in HARMLESS:
            for text in (f"[x]({address})", f"<a href='{address}'>", f"[1]: {address}", f"<{address}>"):
                self.assertEqual(without_unsafe_links(text), text)
        for text in ("<:smile:1>", "<a:wave:1>", "<t:1:R>", "<@U1>", "a < b: c", "a[0] (x: y)"):
            self.assertEqual(without_unsafe_links(text), text)

    @given(
        st.lists(st.sampled_from((*ADDRESSES, *HARMLESS, "[x](", ")", "[x]", "[1]: ", "\n\n", "<", ">", "x", " "))).map(
            "".join
        )
    )
    def test_rendered(self, text: str) -> None:
        """For any text, Python's Markdown makes no unsafe link of the result."""
        page = Markdown().convert(re.sub(r"<(?!javascript:)", "&lt;", without_unsafe_links(text)))
        for _, address in re.findall(r'(href|src)="([^"]*)"', page):
            # A browser ignores these characters. A scheme begins with a letter.
            url = re.sub(r"[\x00-\x20]", "", html.unescape(address))
            self.assertNotRegex(url, r"(?i)^(?!https?:|mailto:)[a-z][a-z0-9+.-]*:")

    def test_time(self) -> None:
        """A hostile text takes time that grows with its length."""
        for piece in ("](", "]( ", "]:", "]:\n", "]:" + " " * 100, "<a:", "href=", "href" + " " * 100):
            start = process_time()
            without_unsafe_links(piece * (100_000 // len(piece)))
            self.assertLess(process_time() - start, 2)


class EffectTests(SynchronousTestCase):
    """`without_effects`."""

    def test_addresses(self) -> None:
        """No client makes a link of an address, nor of its beginning before another text."""
        for text, neutral in (
            ("see https://h/x.", "see https:|//h/x."),
            ("HTTP://h irc:/x ssh:", "HTTP:|//h irc:|/x ssh:|"),
            ("www.h.org WWW.x www", "www|.h.org WWW|.x www|"),
            ("mailto:a@b.c tel:1 xmpp:a@b", "mailto|:a@b.c tel|:1 xmpp|:a@b"),
            ("(@bob) ](@bob) @", "(@|bob) ](@|bob) @|"),
            ("a&#58;//h b&#x3A;//h c&colon;//h", "a&#58;|//h b&#x3A;|//h c&colon;|//h"),
        ):
            self.assertEqual(without_effects(text), neutral.replace("|", ZERO_WIDTH_SPACE))

    def test_other_texts(self) -> None:
        """Other texts are left as they are, including domains, file names and paths."""
        for text in (
            "job:node_cpu:rate5m",
            "10:30: x",
            "a: b",
            "/etc/x",
            "example.org",
            "a@b.org",
            "std::map",
            "awww",
            "metadata: x",
        ):
            self.assertEqual(without_effects(text), text)


class PersonTests(SynchronousTestCase):
    """`without_people`."""

    def assert_neutral(self, text: str, neutral: str, *nicks: str) -> None:
        """Assert that the text becomes `neutral`, which has bars for spaces of no width, and that a second call changes nothing."""
        shown = without_people(text, nicks)
        self.assertEqual(shown, neutral.replace("|", ZERO_WIDTH_SPACE))
        self.assertEqual(without_people(shown, nicks), shown)

    def test_mentions(self) -> None:
        """A name after an `@` mentions nobody, in the syntax of any network."""
        self.assert_neutral("@bob, (@bob) **@bob** <@U1> <@!2>", "@|bob, (@|bob) **@|bob** <@|U1> <@|!2>")
        self.assert_neutral("&#64;bob ＠bob @**bob** @", "&#64;|bob ＠|bob @|**bob** @|")

    def test_others(self) -> None:
        """Addresses, also those of mail, and a lone sign are left as they are."""
        self.assert_neutral("\\\\](@bob)", "\\\\](@|bob)")
        for text in ("a@b.org", "5 @ 3", "[x](https://h/@bob)", "https://h/@bob"):
            self.assert_neutral(text, text)

    def test_nicks(self) -> None:
        """Nicks are neutralised as words, in any case, but not in addresses and entities."""
        self.assert_neutral("bob Bob's bobby", "b|ob B|ob's bobby", "bob")
        self.assert_neutral(
            "`bob` bob\\_ [bob](http://h/bob) &bob; http://bob",
            "`b|ob` b|ob\\_ [b|ob](http://h/bob) &bob; http://bob",
            "bob",
        )
        self.assert_neutral("_bob_ \\[bob\\] bob-away x", "_b|ob_ \\[b|ob\\] b|ob-away x", "[bob]", "_", "")
        self.assert_neutral("élan", "é|lan", "ÉLAN")
        self.assert_neutral("[x](bob) ](bob) [x](/bob)", "[x](b|ob) ](b|ob) [x](/b|ob)", "bob")

    def test_nicks_in_pieces(self) -> None:
        """Entities and formatting within a nick aren't shown."""
        self.assert_neutral("&#98;ob b&#x6f;b &lt;bob", "&#98;|o|b b|&#x6f;|b &lt;|b|o|b", "bob")
        self.assert_neutral("b*o*b bo``b x*bob*", "b|*|o|*|b b|o|``|b x|*|b|o|b*", "bob")
        self.assert_neutral("&#98;oy b**oy** &lt;", "&#98;oy b**oy** &lt;", "bob")
        self.assert_neutral("a*&#98;ob http://h<bob", "a|*|&#98;|o|b http://h<b|ob", "bob")

    @given(st.lists(st.sampled_from((*PIECES, "bob", " ", "@bob")), max_size=12).map("".join))
    def test_looks_the_same(self, text: str) -> None:
        """For any text, only spaces of no width are inserted."""
        shown = without_people(without_effects(text), ["bob"])
        self.assertEqual(shown.replace(ZERO_WIDTH_SPACE, ""), text.replace(ZERO_WIDTH_SPACE, ""))
