"""Mentions and links in messages for third-party backends."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Card, Message
from errklein.compat.backends._messages import neutral_card, neutral_text
from tests.compat.backends.legacy_network import LegacyNetworkCase
from tests.doubles import NetworksCase

TEXT = "@here [x](javascript:1)"


class NeutralTextTests(SynchronousTestCase):
    """`neutral_text`."""

    def test_networks(self) -> None:
        """Mentions are neutralised on networks that have them or are unknown, and unsafe links on all."""
        for mode in ("slack", "slackv3", "discord", "mattermost", "telegram", "zulip", "something"):
            self.assertEqual(neutral_text(mode, Message(TEXT), TEXT), "@\u200bhere [x]\u200b(javascript:1)")
        for mode in ("irc", "null", "test", "text", "IRC"):
            self.assertEqual(neutral_text(mode, Message(TEXT), TEXT), "@here [x]\u200b(javascript:1)")

    def test_on_request(self) -> None:
        """A message with `mentions` keeps them."""
        message = Message(TEXT)
        message.mentions = True
        self.assertEqual(neutral_text("slack", message, message.body), "@here [x]\u200b(javascript:1)")


class NeutralCardTests(SynchronousTestCase):
    """`neutral_card`."""

    def test_texts(self) -> None:
        """All texts of a card are neutralised; the card itself is unchanged."""
        card = Card("@here", title="@all", summary="<!here>", fields=(("@channel", "@everyone"), ("number", 1)))  # type: ignore[arg-type]
        neutral = neutral_card("slack", card)
        self.assertEqual((neutral.body, neutral.title, neutral.summary), ("@\u200bhere", "@\u200ball", "<!\u200bhere>"))
        self.assertEqual(neutral.fields, [("@\u200bchannel", "@\u200beveryone"), ("number", 1)])
        self.assertEqual((card.body, card.title), ("@here", "@all"))

    def test_addresses(self) -> None:
        """Unsafe addresses of a card are text below its body; others stay."""
        card = Card("body", link="javascript:1", image="http://h/i.png", thumbnail="data:image/png,x")
        neutral = neutral_card("slack", card)
        self.assertEqual((neutral.link, neutral.image, neutral.thumbnail), (None, "http://h/i.png", None))
        self.assertEqual(neutral.body, "body\n\njavascript:1\n\ndata:image/png,x")


class SentTests(LegacyNetworkCase):
    """What a backend gets."""

    def test_message(self) -> None:
        """A backend gets the neutralised text, and a plugin that asks for mentions gets them."""
        bob = self.bot.build_identifier("bob")
        self.bot.send(bob, "@here")
        self.bot.send(bob, "@here", mentions=True)
        self.until(lambda: len(self.legacy.sent) == 2)
        self.assertEqual(self.legacy.sent, [("bob", "@\u200bhere"), ("bob", "@here")])

    def test_card(self) -> None:
        """A backend with cards gets a neutralised one; without, the text of the card is neutralised."""
        card = Card(title="@here", to=self.bot.build_identifier("bob"))
        self.bot.send_card(card)
        self.until(lambda: self.legacy.sent)
        self.assertIn("@\u200bhere", self.legacy.sent[0][1])
        cards: list[Any] = []
        self.patch(type(self.legacy), "send_card", lambda legacy, card: cards.append(card))
        self.bot.send_card(card)
        self.until(lambda: cards)
        self.assertEqual(cards[0].title, "@\u200bhere")


class ThreadTests(LegacyNetworkCase):
    """Threads, whose ids are in the `extras` of the message that begins them."""

    def test_answer_in_a_thread(self) -> None:
        """A question is answered in its thread, and not in another one."""

        def hear(text: str, thread: str) -> Message:
            bob, parent = self.bot.build_identifier("bob"), Message("begin", extras={"id": thread})
            message = Message(text, frm=bob, to=self.bot.bot_identifier, parent=parent)
            self.legacy.callback_message(message)
            return message

        asked = self.bot.conversations.ask(self, hear("hello", "1"), "Which?", None)
        hear("other", "2")
        hear("main", "1")
        self.until(lambda: asked.called)
        self.assertEqual(self.successResultOf(asked), "main")


class TestNetworkTests(NetworksCase):
    """The network of tests."""

    def test_neutralises_on_request(self) -> None:
        """Tests of plugins get texts as they were sent, or neutralised if they ask for it."""
        bob = self.bot.build_identifier("bob")
        self.bot.send(bob, "@here")
        self.backends["libera"].neutralises_mentions = True
        self.bot.send(bob, "@here")
        self.bot.send(bob, "@here", mentions=True)
        self.assertEqual(self.texts(), ["@here", "@\u200bhere", "@here"])
