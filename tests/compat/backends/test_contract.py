"""Third-party backends fulfil the backend contract."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Identifier
from errklein.compat.backends.network import make_network
from errklein.config import load_config
from errklein.running.threads import register_reactor_thread
from errklein.testing.backend_contract import BackendContract
from tests.compat import BACKENDS as FIXTURES
from tests.compat.backends.legacy_network import QueueReactor


class ContractTests(BackendContract, SynchronousTestCase):
    """The contract, with one thread that serves and one that sends."""

    invalid_identifiers = (" ", "")

    def make_backend(self) -> Any:
        self.reactor = QueueReactor()
        register_reactor_thread(self.reactor)
        settings = {"BACKEND": "Once", "BOT_EXTRA_BACKEND_DIR": str(FIXTURES), "BOT_ADMINS": ("alice",)}
        config = next(iter(load_config(None, settings).networks.values()))
        network: Any = make_network(self.reactor, config)
        leave = network.disconnect
        gone: list[Deferred[None]] = []
        self.left: list[None] = []

        def disconnect(grace: float = 0.0) -> Deferred[None]:
            if not gone:
                gone.append(leave(grace))
                gone[0].addCallback(self.left.append)
            return gone[0]

        network.disconnect = disconnect
        self.addCleanup(self.close_connection, network)
        self.addCleanup(disconnect)
        return network

    def bring_online(self, backend: Any) -> None:
        events = backend.events
        backend.query_room(self.room_text).join()
        self.reactor.turn_until(lambda: ("backend_connected",) in events.recorded, "the network to be connected")

    def receive(self, backend: Any, to: str, text: str) -> None:
        before = len(backend.events.messages)
        backend.bot = SimpleNamespace(events=_Events(backend.events))
        backend.legacy.wire.put((to, self.person_text, text))
        self.reactor.turn_until(lambda: len(backend.events.messages) > before, "the message to be heard")

    def sent(self, backend: Any) -> Sequence[tuple[str, str]]:
        self.reactor.turn_until(lambda: not backend.outbox.status.messages, "everything to be sent")
        return list(backend.legacy.sent)

    def let_resolve(self, resolving: Deferred[Identifier]) -> None:
        self.reactor.turn_until(lambda: resolving.called, "the name to be resolved")

    def close_connection(self, backend: Any) -> None:
        self.reactor.turn_until(lambda: self.left, "the network to be left")


class _Events:
    """The part of a bot that gets the messages of such a backend."""

    def __init__(self, events: Any) -> None:
        self.events = events

    def command_received(self, network: Any, message: Any) -> None:
        self.events.message_received(network, message)

    def callback_requested(self, network: Any, callback: str, *details: Any) -> None:
        """Do nothing."""
