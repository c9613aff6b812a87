"""The Null backend."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.networks.null import NullBackend
from errklein.ports.outbox import OutboxClosed
from errklein.testing.backend_contract import RecordedEvents
from tests.networks.test_text import configuration


class NullTests(SynchronousTestCase):
    """The Null backend, apart from the parts of the backend contract that need received messages."""

    def setUp(self) -> None:
        self.backend = NullBackend(None, configuration(network="nowhere"))
        self.events = RecordedEvents()

    def test_connects(self) -> None:
        """The network is connected at once."""
        self.backend.connect(self.events)
        self.assertEqual([("backend_connected",)], self.events.recorded)
        self.assertEqual(("nowhere", "null"), (self.backend.network, self.backend.mode))

    def test_accepts_everything(self) -> None:
        """A message is accepted and confirmed, also before `connect`."""
        person = self.backend.build_identifier("anybody")
        for _ in range(2):
            accepted = self.backend.send_message(Message("x", to=person))
            assert isinstance(accepted, Deferred)
            self.assertEqual(self.successResultOf(accepted), str(accepted))
            self.backend.connect(self.events)

    def test_message_without_recipient(self) -> None:
        """A message without a recipient raises ValueError."""
        self.assertRaises(ValueError, self.backend.send_message, Message("x"))

    def test_leaves(self) -> None:
        """Sending after `disconnect` raises OutboxClosed."""
        self.successResultOf(self.backend.disconnect())
        self.assertRaises(
            OutboxClosed, self.backend.send_message, Message("x", to=self.backend.build_identifier("anybody"))
        )

    def test_identifiers(self) -> None:
        """A name with # is a room, any other name a person, and an empty name an error."""
        for text in ("anybody", "#room"):
            identifier = self.backend.build_identifier(text)
            self.assertEqual((text, "nowhere"), (str(identifier), identifier.network))
        self.assertRaises(ValueError, self.backend.build_identifier, "")
        self.assertEqual([], self.backend.rooms())

    def test_presence(self) -> None:
        """A presence is stored."""
        self.backend.change_presence("dnd", "busy")
        self.assertEqual(("dnd", "busy"), self.backend.presence)
