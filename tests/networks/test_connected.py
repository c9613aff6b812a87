"""Tests of the base class of networks with a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.config import load_config
from errklein.networks.base import ConnectedNetwork, LocalOccupant, LocalPerson, NamedRoom
from errklein.networks.context import NetworkContext
from errklein.networks.errors import NotConfirmed
from errklein.testing import TestReactor
from errklein.testing.backend_contract import RecordedEvents


class PlayedNetwork(ConnectedNetwork):
    """A network whose session never ends by itself, and that fails as a test wants."""

    mode = "played"
    window = 8

    def __init__(self, context: NetworkContext) -> None:
        super().__init__(context)
        self.failures, self.connects_after = 0, 0.0
        self.sent: list[tuple[str, str]] = []

    async def session(self) -> None:
        """Connect at once, or later."""
        if self.connects_after:
            await deferLater(self.context.reactor, self.connects_after)
        self.connection.connected()
        await Deferred()

    def build_identifier(self, text: str) -> LocalPerson:
        """Return the person."""
        return LocalPerson(text)

    def parts(self, operation: Any, message: Any, original: Any) -> Sequence[tuple[str, str]]:
        """Return the recipient and the text."""
        return [(message.recipient, operation.text)]

    def transmit(self, parts: Sequence[tuple[str, str]], keys: Sequence[str]) -> Sequence[Deferred[Any]]:
        """Send the parts, or fail."""
        return [self.transmit_one(part) for part in parts]

    def transmit_one(self, part: tuple[str, str]) -> Deferred[Any]:
        """Send a part, or fail."""
        if self.failures:
            self.failures -= 1
            return fail(NotConfirmed("the server has answered with status 500"))
        self.sent.append(part)
        return succeed("id")


class ConnectedNetworkTests(SynchronousTestCase):
    """Messages on a network whose server fails."""

    def setUp(self) -> None:
        """Make the network."""
        self.reactor: Any = TestReactor()
        [config] = load_config(None, {"BACKEND": "Null", "BOT_DATA_DIR": self.mktemp()}).networks.values()
        context = NetworkContext(self.reactor, config, self.reactor.seconds, lambda: 0.0)
        self.network, self.events = PlayedNetwork(context), RecordedEvents()

    def connect(self) -> None:
        """Connect the network."""
        events: Any = self.events
        self.network.connect(events)

    def test_server_error(self) -> None:
        """What isn't confirmed is sent again in the next session, which begins soon."""
        self.connect()
        self.network.failures = 1
        accepted = self.network.send_message(Message("one", to=LocalPerson("alice")))
        self.reactor.advance(0)
        self.assertIn(("backend_disconnected", "the server has answered with status 500"), self.events.recorded)
        self.assertNoResult(accepted)
        self.reactor.advance(1)
        self.successResultOf(accepted)
        self.assertEqual(self.network.sent, [("alice", "one")])

    def test_error_at_once(self) -> None:
        """It is the same for what waits for the connection."""
        self.network.failures = 1
        for name in ("alice", "bob"):
            self.network.send_message(Message("early", to=LocalPerson(name)))
        self.connect()
        for _ in range(40):
            self.reactor.advance(1)
        self.assertEqual(sorted(self.network.sent), [("alice", "early"), ("bob", "early")])

    def test_error_after_a_while(self) -> None:
        """It is the same if the connection needs time."""
        self.network.connects_after = 0.5
        self.test_error_at_once()

    def test_occupant(self) -> None:
        """A message to a person in a room is for the person."""
        self.connect()
        self.network.send_message(Message("psst", to=LocalOccupant("alice", NamedRoom("#ops"))))
        self.assertEqual(self.network.sent, [("alice", "psst")])
