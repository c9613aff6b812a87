"""Chapter 4: messages, cards and files that plugins send."""

from __future__ import annotations

import io
from typing import Any
from unittest import mock

from tests.contract.kit import ADMIN, LONGEST, ContractTest


class SendTests(ContractTest):
    """Methods that send messages."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            said = ()

            def callback_botmessage(self, message):
                self.said += (str(message),)

            @botcmd
            def templated(self, msg, args):
                self.send_templated(msg.frm, "hello", {"name": args})

            @botcmd
            def card(self, msg, args):
                self.send_card(in_reply_to=msg, title="Title", body="Body", link="http://example.com/", color="red",
                               fields=(("a", "1"), ("b", "2")))
        """
    files = {"templates/hello.md": "hello *{{name}}*"}

    def setUp(self) -> None:
        """Create an identifier to send to."""
        super().setUp()
        self.tried: Any = self.instance()
        self.somebody = self.tried.build_identifier("somebody@host")

    def test_send(self) -> None:
        """`send` sends Markdown to an identifier."""
        self.tried.send(self.somebody, "some **text**")
        self.assertEqual(self.hear(), "some text")

    def test_send_to_text(self) -> None:
        """`send` raises ValueError if the recipient is a string."""
        with self.assertRaises(ValueError):
            self.tried.send("somebody@host", "text")

    def test_templates(self) -> None:
        """`send_templated` uses the plugin's own template."""
        self.assertEqual(self.ask("!templated you"), "hello you")

    def test_cards(self) -> None:
        """On a network without cards, a card is sent as text with all its parts."""
        card = self.ask("!card")
        for part in ("Title", "http://example.com/", "Body", "a", "1", "b", "2"):
            self.assertIn(part, card)

    def test_card_to_nobody(self) -> None:
        """`send_card` without `to` and `in_reply_to` raises ValueError."""
        with self.assertRaises(ValueError):
            self.tried.send_card(body="x")

    def test_admins(self) -> None:
        """`warn_admins` sends the text to the administrators."""
        self.tried.warn_admins("beware")
        self.assertIn("beware", self.hear())

    def test_what_the_bot_says_is_told(self) -> None:
        """`callback_botmessage` gets the messages that the bot sends."""
        self.ask("!echo something")
        self.until_quiet()
        self.assertIn("something", self.tried.said)


class SentMessageTests(ContractTest):
    """The messages as `callback_botmessage` gets them."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                import queue

                super().__init__(bot, name)
                self.said = queue.Queue()

            def callback_botmessage(self, msg):
                self.said.put(msg)
        """
    files = {"templates/hello.md": "hello *{{name}}*"}

    def setUp(self) -> None:
        """Create an identifier to send to."""
        super().setUp()
        self.tried: Any = self.instance()
        self.somebody = self.tried.build_identifier("somebody@host")

    def sent(self, text: str) -> Any:
        """Return the message with that text from `callback_botmessage`."""
        while True:
            message = self.tried.said.get(timeout=LONGEST)
            if text in message.body:
                return message

    def test_told(self) -> None:
        """The message has its Markdown, sender, recipient and the message that it replies to."""
        from errbot.backends.base import Message

        question = Message("question", frm=self.somebody, to=self.tried.bot_identifier)
        self.tried.send(self.somebody, "*text*", in_reply_to=question)
        message = self.sent("*text*")
        self.assertEqual((message.body, str(message.to)), ("*text*", "somebody@host"))
        self.assertEqual(str(message.frm), str(self.tried.bot_identifier))
        self.assertIs(message.parent, question)

    def test_texts_are_no_identifiers(self) -> None:
        """A string or None as the recipient raises ValueError."""
        for send in (
            lambda: self.tried.send(None, "text"),
            lambda: self.tried.send_card(to="somebody", body="text"),
            lambda: self.tried.send_templated("somebody", "hello", {"name": "x"}),
        ):
            with self.assertRaises(ValueError):
                send()

    def test_templated(self) -> None:
        """`send_templated` raises Jinja's TemplateNotFound for a missing template."""
        from errbot.backends.base import Message
        from jinja2 import TemplateNotFound

        question = Message("question", frm=self.somebody, to=self.tried.bot_identifier)
        self.tried.send_templated(self.somebody, "hello", {"name": "x"}, in_reply_to=question)
        self.assertEqual(self.hear(), "hello x")
        self.assertIs(self.sent("hello").parent, question)
        with self.assertRaises(TemplateNotFound):
            self.tried.send_templated(self.somebody, "missing", {})

    def test_card(self) -> None:
        """A card is sent to `to`, or else to the sender of `in_reply_to`."""
        from errbot.backends.base import Message

        self.tried.send_card(to=self.somebody, body="the body", summary="in short", title="Title")
        self.assertEqual(str(self.sent("the body").to), "somebody@host")
        self.tried.send_card(in_reply_to=Message("x", frm=self.somebody, to=self.tried.bot_identifier), body="reply")
        self.assertEqual(str(self.sent("reply").to), "somebody@host")

    def test_card_as_the_network_gets_it(self) -> None:
        """The card has the values that were given, and defaults for the others."""
        from errbot.backends.base import Message

        question = Message("x", frm=self.somebody, to=self.tried.bot_identifier)
        cards: list[Any] = []
        fields = (("a", "1"), ("b", "2"))
        with mock.patch.object(self.bot, "send_card", side_effect=cards.append):
            self.tried.send_card("body", None, question, "summary", "title", "link", "image", "thumb", "red", fields)
            self.tried.send_card(to=self.somebody)
        full, plain = cards
        self.assertEqual(
            (full.body, full.summary, full.title, full.link, full.image, full.thumbnail, full.color, full.fields),
            ("body", "summary", "title", "link", "image", "thumb", "red", fields),
        )
        self.assertIs(full.parent, question)
        self.assertEqual(
            (plain.body, plain.summary, plain.title, plain.link, plain.image, plain.thumbnail, plain.color),
            ("", None, "", None, None, None, "green"),
        )
        self.assertEqual((plain.fields, plain.parent), ((), None))
        for card in cards:
            self.assertEqual((card.frm, card.to), (self.tried.bot_identifier, self.somebody))

    def test_stream(self) -> None:
        """`send_stream_request` offers a file."""
        self.tried.send_stream_request(self.somebody, io.BytesIO(b"content"), name="n", size=7, stream_type="x/y")
        self.assertEqual(self.testbot.pop_message(timeout=LONGEST), b"content")


class NotifiedTests(ContractTest):
    """`warn_admins`."""

    plugin = SentMessageTests.plugin
    config = {"BOT_ADMINS_NOTIFICATIONS": ("one@host", "two@host")}

    def test_all(self) -> None:
        """`warn_admins` sends the text to each name in BOT_ADMINS_NOTIFICATIONS, and logs it as a warning."""
        tried = self.instance()
        with self.assertLogs(level="WARNING") as logs:
            tried.warn_admins("beware")
        self.assertEqual([record.levelname for record in logs.records if "beware" in record.getMessage()], ["WARNING"])
        self.assertEqual([self.hear(), self.hear()], ["beware", "beware"])
        told = []
        while len(told) < 2:
            message = tried.said.get(timeout=LONGEST)
            if message.body == "beware":
                told.append(str(message.to))
        self.assertEqual(told, ["one@host", "two@host"])
        self.assertNotIn(ADMIN, told)
