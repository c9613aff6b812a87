"""Tests for the messages that plugins send, and those that an earlier process has accepted and not sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.bot._sending import restore_outboxes
from errklein.chat.outgoing import OutgoingMessage
from errklein.ports.outbox import OutboxStatus, OutboxStore
from errklein.testing._surroundings import TestReactor
from errklein.text.masking import MASK, masker
from tests.doubles import NetworksCase
from tests.journal.inline import memory_journal, restarted
from tests.notices import KeptNotices


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


class StoringNetwork:
    """A network with an outbox, which notes what it gets."""

    status = OutboxStatus(0, 0, 0, 0.0)

    def __init__(self, name: str) -> None:
        self.network = name
        self.outbox = self
        self.restored: list[str] = []
        self.store: OutboxStore | None = None

    def use_store(self, store: OutboxStore) -> None:
        self.store = store

    def take(self, restored: Sequence[OutgoingMessage]) -> None:
        self.restored = [message.body for message in restored]


class RestoreTests(SynchronousTestCase):
    """A start with messages in the store."""

    def setUp(self) -> None:
        """Create two networks and an empty store, at 10,000 s."""
        self.journal = memory_journal(lambda: 10_000.0)
        self.store = self.journal.outbox
        self.networks = [StoringNetwork("libera"), StoringNetwork("oftc")]
        self.board = KeptNotices(TestReactor())

    def add(self, network: str, body: str, accepted_at: float = 10_000.0) -> None:
        """Store a message of an earlier process."""
        self.store.add(OutgoingMessage(0, network, "#ops", body, accepted_at=accepted_at))

    def restart(self) -> None:
        """Let the next process use the store."""
        self.journal = restarted(self.journal)
        self.store = self.journal.outbox

    def restore(self) -> None:
        """Start."""
        self.restart()
        networks: Any = list(self.networks)
        ages = {"oftc": 86_400.0}
        restored = restore_outboxes(
            self.store, networks, self.board.post, lambda network: ages.get(network, 3600.0), lambda: 10_000.0
        )
        self.successResultOf(Deferred.fromCoroutine(restored))

    def waiting(self) -> list[str]:
        """Return the texts that the next process would find in the store."""
        self.restart()
        return [message.body for message in self.successResultOf(self.store.lease())]

    def test_each_network_gets_its_own(self) -> None:
        """Each network gets the store and its messages, oldest first."""
        for network, body in (("libera", "one"), ("oftc", "two"), ("libera", "three")):
            self.add(network, body)
        self.restore()
        self.assertEqual([network.restored for network in self.networks], [["one", "three"], ["two"]])
        self.assertEqual([network.store for network in self.networks], [self.store] * 2)
        self.assertEqual(self.board.texts, [])

    def test_old_messages(self) -> None:
        """Messages that are too old are dropped; the log has each without secrets, and administrators get the number."""
        masker.learn(self, "test", ["hunter2-and-more"])
        self.add("libera", "the password is hunter2-and-more", accepted_at=6_399.0)
        self.add("libera", "new", accepted_at=6_401.0)
        lines: list[Any] = []

        def observe(event: Any) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.restore()
        self.assertEqual(self.networks[0].restored, ["new"])
        self.assertEqual(self.waiting(), ["new"])
        self.assertIn(f"is not sent: the password is {MASK}", lines[-1])
        [notice] = self.board.texts
        self.assertTrue(notice.startswith("A message of an earlier run was not sent"), notice)

    def test_network_with_an_age_of_its_own(self) -> None:
        """A network may have its own OUTBOX_MAX_AGE in NETWORKS."""
        self.add("oftc", "hello", accepted_at=0.0)
        self.restore()
        self.assertEqual(self.networks[1].restored, ["hello"])

    def test_network_that_is_not_configured(self) -> None:
        """Messages to a network that was removed from the configuration wait for its return until they are too old."""
        self.add("gone", "hello")
        self.add("gone", "old", accepted_at=0.0)
        self.restore()
        self.assertEqual(self.waiting(), ["hello"])
        self.assertEqual(len(self.board.texts), 1)
