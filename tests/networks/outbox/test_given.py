"""Outboxes of several processes: one sends, the others give their messages to it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.operations import Kind, Wanted
from errklein.config import load_config
from errklein.journal import INLINE
from errklein.networks.outbox import Outbox
from errklein.ports.outbox import OutboxClosed, SentLater
from errklein.wiring import make_journal
from tests.networks.outbox.test_outbox import NOON, Network, ThreadClock


class GivenTests(SynchronousTestCase):
    """The outboxes of two processes with one store."""

    def setUp(self) -> None:
        """One is connected, the other one isn't."""
        self.clock = ThreadClock()
        self.clock.advance(NOON)
        config = load_config(None, {"BOT_DATA_DIR": self.mktemp(), "STORAGE": "Memory", "BACKEND": "Null"})
        self.store: Any = make_journal(self.clock, config, self.clock.seconds, runs=INLINE).outbox
        self.network, self.told, self.may_send = Network(), 0, True
        self.here = self.outbox(self.network)
        self.here.use_store(self.store, None, lambda: self.may_send)
        self.here.resume()
        self.elsewhere = self.outbox(Network())
        self.elsewhere.use_store(self.store, self.tell)

    def outbox(self, network: Network) -> Outbox[str]:
        """Return the outbox of a process."""
        return Outbox(self.clock, "libera", network, now=self.clock.seconds)

    def tell(self) -> None:
        """Count the messages that were given."""
        self.told += 1

    def take(self) -> None:
        """Let the connected process take what the other one has given."""
        self.here.take(self.leased())

    def leased(self, *without: str) -> Any:
        """Return what was given, as it is on disk."""
        self.store.flush()
        return self.successResultOf(self.store.lease(without))

    def test_in_order(self) -> None:
        """What was given is sent once, in order, and waits nowhere else."""
        for text in ("one", "two", "three"):
            self.elsewhere.perform("#ops", text)
        self.assertEqual((self.told, len(self.elsewhere), len(self.here)), (3, 0, 0))
        self.take()
        self.take()
        for _ in range(3):
            self.network.confirm()
            self.clock.advance(0)
        self.assertEqual((self.network.got, len(self.here)), (["one", "two", "three"], 0))

    def test_handle(self) -> None:
        """The handle fails at once, since another process sends the message, and can be used for an edit in any process."""
        sent = self.elsewhere.perform("#ops", "first")
        self.failureResultOf(sent.watch(), SentLater)
        self.successResultOf(sent.stored)
        self.elsewhere.perform("", "second", Wanted(Kind.EDIT, sent))
        self.take()
        self.assertEqual([self.network.got, len(self.here)], [["second"], 1])

    def test_not_stored(self) -> None:
        """What may not be stored, and function calls, are refused."""
        self.assertRaises(OutboxClosed, self.elsewhere.perform, "#ops", "a secret", stored=False)
        self.assertRaises(OutboxClosed, self.elsewhere.put, ["a call"])

    def test_takes_over(self) -> None:
        """A process that takes messages sends its own from then on."""
        self.elsewhere.perform("#ops", "one")
        self.elsewhere.take(self.leased())
        self.elsewhere.perform("#ops", "two")
        self.assertEqual((self.told, len(self.elsewhere)), (1, 2))

    def test_networks_without_room(self) -> None:
        """Those for some networks are left."""
        self.elsewhere.perform("#ops", "one")
        self.assertEqual(self.leased("libera"), [])
        [message] = self.leased("oftc")
        self.assertEqual(message.body, "one")

    def test_may_not_send(self) -> None:
        """Nothing is sent by a process that isn't the owner any more, whatever has arrived meanwhile."""
        self.here.perform("#ops", "one two")
        self.may_send = False
        self.network.confirm()
        self.clock.advance(1)
        self.here.perform("#ops", "three")
        self.assertEqual(self.network.got, ["one"])
