"""Tests for the messages that plugins send."""

from __future__ import annotations

from typing import Any
from unittest import mock

from errklein import BotPlugin
from tests.networks import NetworksCase


class Sender(BotPlugin):
    """Sends messages to a room."""

    def send_each(self, **options: Any) -> None:
        """Send a text, a template and a card with these options."""
        room = self.build_identifier("libera:#ops")
        self.send(room, "text", **options)
        self.send_templated(room, "card", {"card": mock.Mock(spec=["title"], title="template")}, **options)
        self.send_card(to=room, title="card", **options)


class OptionTests(NetworksCase):
    """`priority` and `mentions`."""

    plugins = (Sender,)

    def options(self, **options: Any) -> list[tuple[bool, bool]]:
        """Return `priority` and `mentions` of the messages that are sent with these options."""
        backend = self.backends["libera"]
        backend.sent.clear()
        self.bot.plugin_manager.instance("Sender").send_each(**options)
        return [(sent.message.priority, sent.message.mentions) for sent in backend.sent]

    def test_default(self) -> None:
        """Messages have no priority and mention nobody."""
        self.assertEqual(self.options(), [(False, False)] * 3)

    def test_set(self) -> None:
        """Texts, templates and cards, also those that are shown as text, have the options of the call."""
        self.assertEqual(self.options(priority=True), [(True, False)] * 3)
        self.assertEqual(self.options(mentions=True), [(False, True)] * 3)

    def test_replaced_send(self) -> None:
        """A function with errbot's parameters may replace the bot's `send` in a test."""
        calls: list[Any] = []
        plugin: Any = self.bot.plugin_manager.instance("Sender")
        self.patch(self.bot, "send", lambda to, text, in_reply_to, groupchat_nick_reply: calls.append(text))
        plugin.send(plugin.build_identifier("libera:#ops"), "text")
        self.assertEqual(calls, ["text"])

    def test_notices(self) -> None:
        """Notices to administrators have priority."""
        self.bot.warn_admins("careful")
        [sent] = self.backends["libera"].sent
        self.assertTrue(sent.message.priority)


class LongCardTests(NetworksCase):
    """Cards with text from outside."""

    plugins = (Sender,)

    def test_long_card(self) -> None:
        """On a network without cards, long texts of a card are cut, except the body, which is shown as any message."""
        sender = self.bot.plugin_manager.instance("Sender")
        long, body = "x" * 1_000_000, "b" * 30_000
        sender.send_card(
            to=sender.build_identifier("libera:#ops"), body=body, title=long, summary=long, fields=[(long, long)]
        )
        shown = "".join(sent.message.body for sent in self.backends["libera"].sent)
        self.assertIn(body, shown)
        self.assertLess(len(shown), 120_000)
