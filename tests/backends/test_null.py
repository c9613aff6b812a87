"""The network on which nobody is."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.null import NullBackend
from errklein.backends.outbox import OutboxClosed
from errklein.chat import Message
from errklein.testing.backend_contract import RecordedEvents
from tests.backends.test_text import configuration


class NullTests(SynchronousTestCase):
    """Most of the contract of backends is about messages that arrive, which none does here."""

    def setUp(self) -> None:
        self.backend = NullBackend(None, configuration(network="nowhere"))
        self.events = RecordedEvents()

    def test_connects(self) -> None:
        """It can be used at once."""
        self.backend.connect(self.events)
        self.assertEqual([("backend_connected",)], self.events.recorded)
        self.assertEqual(("nowhere", "null"), (self.backend.network, self.backend.mode))

    def test_accepts_everything(self) -> None:
        """A message is accepted, confirmed and gone; before connecting, too."""
        person = self.backend.build_identifier("anybody")
        for _ in range(2):
            accepted = self.backend.send_message(Message("x", to=person))
            assert isinstance(accepted, Deferred)
            self.assertIs(None, self.successResultOf(accepted))
            self.backend.connect(self.events)

    def test_addressee_of_nobody(self) -> None:
        """A message without an addressee is an error here as everywhere."""
        self.assertRaises(ValueError, self.backend.send_message, Message("x"))

    def test_leaves(self) -> None:
        """After disconnect to send is an error here as everywhere."""
        self.successResultOf(self.backend.disconnect())
        self.assertRaises(
            OutboxClosed, self.backend.send_message, Message("x", to=self.backend.build_identifier("anybody"))
        )

    def test_identifiers(self) -> None:
        """Names are persons, names with # are rooms; the empty name is nobody."""
        for text in ("anybody", "#room"):
            identifier = self.backend.build_identifier(text)
            self.assertEqual((text, "nowhere"), (str(identifier), identifier.network))
        self.assertRaises(ValueError, self.backend.build_identifier, "")
        self.assertEqual([], self.backend.rooms())

    def test_presence(self) -> None:
        """A status is kept for whoever asks."""
        self.backend.change_presence("dnd", "busy")
        self.assertEqual(("dnd", "busy"), self.backend.presence)
