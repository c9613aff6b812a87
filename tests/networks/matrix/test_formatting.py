"""The contents of Matrix events."""

from __future__ import annotations

import json
from xml.etree.ElementTree import fromstring

from hypothesis import given
from hypothesis.strategies import text
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.matrix._backend import (
    edit_content,
    file_content,
    reaction_content,
    related,
    size_of,
    text_content,
)


class TextTests(SynchronousTestCase):
    """Texts and their HTML."""

    def test_plain_text_has_no_html(self) -> None:
        """It would only double the size."""
        self.assertEqual(text_content("one\n\ntwo"), {"msgtype": "m.text", "body": "one\n\ntwo", "m.mentions": {}})

    def test_markdown_has_html_beside_the_text(self) -> None:
        """Clients without HTML show the body."""
        content = text_content("# Build\n\n**7** failed\nsee `log`")
        self.assertEqual(content["body"], "BUILD\n7 failed\nsee log")
        self.assertEqual(content["format"], "org.matrix.custom.html")
        html = "<h1>Build</h1>\n<p><strong>7</strong> failed<br/>see <code>log</code></p>"
        self.assertEqual(content["formatted_body"], html)

    @given(text())
    def test_any_text_can_be_sent(self, markdown: str) -> None:
        """The HTML is balanced, and the content is valid JSON in UTF-8."""
        content = text_content(markdown)
        fromstring(f"<p>{content.get('formatted_body', '')}</p>")
        self.assertEqual(json.loads(json.dumps(content, ensure_ascii=False).encode()), content)
        self.assertEqual(content["m.mentions"], {})

    def test_tags_in_the_text_are_text(self) -> None:
        """Text from outside can't become a link with another address, or an image."""
        html = text_content('*a* <img src="mxc://x/y"><a href="http://evil">b</a>')["formatted_body"]
        self.assertNotIn("<img", html)
        self.assertNotIn("<a", html)

    def test_size_is_that_of_both_forms(self) -> None:
        """Four bytes an emoji, and twice that if there is HTML."""
        self.assertLess(size_of("\U0001f600" * 10_000), 40_100)
        self.assertGreater(size_of("*a* " + "\U0001f600" * 10_000), 80_000)


class MentionTests(SynchronousTestCase):
    """Whom a message notifies."""

    def test_text_notifies_nobody(self) -> None:
        """Neither the room nor people, whatever the text says."""
        content = text_content("@room @alice:example.org alice: *wake up*")
        self.assertEqual(content["m.mentions"], {})
        self.assertNotIn("@room", content["body"])
        self.assertNotIn("@room", content["formatted_body"])

    def test_people_who_are_meant(self) -> None:
        """Once each; an occupant is the person, and anything else is nobody."""
        people = ("!a:x/@alice:x", "@alice:x", "@bob:x", "carol")
        self.assertEqual(text_content("hi", mentions=people)["m.mentions"], {"user_ids": ["@alice:x", "@bob:x"]})

    def test_everybody_if_that_is_asked_for(self) -> None:
        """`mentions=True` lets @room and ids in the text notify."""
        content = text_content("@room, (@alice:example.org) and @bob:x.", for_all=True)
        self.assertEqual(content["m.mentions"], {"user_ids": ["@alice:example.org", "@bob:x"], "room": True})
        self.assertEqual(text_content("me@room:x", for_all=True)["m.mentions"].get("user_ids"), None)

    def test_many_long_ids(self) -> None:
        """Ids in a text never make the event too large; the first ones notify."""
        people = [f"@{number}{'a' * 190}:{'b' * 40}" for number in range(10, 99)]
        said = " ".join(people)
        content = text_content(said, for_all=True)
        self.assertEqual(content["m.mentions"]["user_ids"], people[:12])
        self.assertLess(len(json.dumps(content)), size_of(said) + 3100)


class RelationTests(SynchronousTestCase):
    """Edits, threads, reactions and files."""

    def test_edit(self) -> None:
        """Old clients show the text behind an asterisk, and nobody is notified again."""
        edit = edit_content("$1", text_content("*b*", mentions=["@a:x"]))
        self.assertEqual(edit["m.relates_to"], {"rel_type": "m.replace", "event_id": "$1"})
        self.assertEqual((edit["body"], edit["m.new_content"]["body"]), ("* b", "b"))
        self.assertEqual((edit["m.mentions"], edit["m.new_content"]["m.mentions"]), ({}, {"user_ids": ["@a:x"]}))

    def test_thread(self) -> None:
        """Clients without threads show a reply to the message that begins it."""
        relation = {"rel_type": "m.thread", "event_id": "$t", "is_falling_back": True}
        self.assertEqual(related({}, "$t")["m.relates_to"], {**relation, "m.in_reply_to": {"event_id": "$t"}})

    def test_reply(self) -> None:
        """A reply names the message, in a thread or outside."""
        self.assertEqual(related({}, "", "$5"), {"m.relates_to": {"m.in_reply_to": {"event_id": "$5"}}})
        in_thread = related({}, "$t", "$5")["m.relates_to"]
        self.assertEqual((in_thread["is_falling_back"], in_thread["m.in_reply_to"]), (False, {"event_id": "$5"}))
        self.assertEqual(related({"a": 1}, ""), {"a": 1})

    def test_reaction(self) -> None:
        """An annotation of the event."""
        relation = {"rel_type": "m.annotation", "event_id": "$1", "key": "\U0001f44d"}
        self.assertEqual(reaction_content("$1", "\U0001f44d"), {"m.relates_to": relation})

    def test_files(self) -> None:
        """Clients show images; other files have their name."""
        image = file_content("plot.png", "image/png", 7, "mxc://x/y")
        self.assertEqual((image["msgtype"], image["body"], image["url"]), ("m.image", "plot.png", "mxc://x/y"))
        self.assertEqual(image["info"], {"mimetype": "image/png", "size": 7})
        self.assertEqual(file_content("a.log", "text/plain", 1, "mxc://x/z")["msgtype"], "m.file")
