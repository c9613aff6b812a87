"""Tests of the services that networks get, in a bot."""

from __future__ import annotations

import hashlib
import hmac
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from errklein.config.networks import _entries, find_network
from errklein.networks.context import DurableState, NetworkContext, Seen
from errklein.storage import MemoryStorage, StorageError
from errklein.testing import TestBot, TestReactor

SECRET = b"S3CRET"


class ContextCase(SynchronousTestCase):
    """A bot on the network of another package."""

    def setUp(self) -> None:
        """Start the bot."""
        super().setUp()
        found = [EntryPoint("Thin", "tests.networks.thin:NETWORK", "errklein.networks")]
        self.patch(sys.modules["errklein.config.networks"], "entry_points", lambda group: found)
        for cached in (_entries, find_network):
            cached.cache_clear()
            self.addCleanup(cached.cache_clear)
        settings = {"BACKEND": "Thin", "BOT_IDENTITY": {"url": "https://chat.example.org"}, "BOT_ADMINS": ("@admin",)}
        self.bot = TestBot(networks={"chat": settings})
        self.addCleanup(self.bot.stop)
        self.bot.start()
        backend: Any = self.bot.backends["chat"]
        self.context: NetworkContext = backend.context


class RouteTests(ContextCase):
    """Requests with events."""

    def post(self, path: str, body: bytes, signature: str | None = None) -> Any:
        """Return the response to a request, signed unless another signature is given."""
        return self.successResultOf(self.send(path, body, signature))

    def send(self, path: str, body: bytes, signature: str | None = None) -> Deferred[Any]:
        """Send a request."""
        if signature is None:
            signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        headers: Mapping[str, str] = {"X-Hub-Signature-256": f"sha256={signature}"}
        return self.bot.post(path, body, headers=headers)

    def test_event(self) -> None:
        """The handler gets verified requests, on the reactor, and its value is the response; nothing is recorded."""
        bodies: list[bytes] = []

        async def handle(request: Any) -> dict[str, str]:
            bodies.append(request.get_data())
            return {"challenge": "x"}

        self.context.route("/chat/events", handle, "github", [b"an older one", SECRET])
        response = self.post("/chat/events", b'{"event": 1}')
        self.assertEqual((response.status, response.json()), (200, {"challenge": "x"}))
        self.assertEqual(bodies, [b'{"event": 1}'])
        self.assertEqual(self.post("/chat/events", b"{}", signature="0" * 64).status, 401)
        self.assertEqual(len(bodies), 1)
        self.assertEqual(self.bot.command("!deliveries"), "No delivery matches.")

    def test_several(self) -> None:
        """A network may have several routes, and a Deferred as response."""
        waiting: Deferred[str] = Deferred()
        self.context.route("/chat/events", lambda request: waiting, "github", [SECRET])
        self.context.route("/chat/presses", lambda request: "pressed", "github", [SECRET])
        self.assertEqual(self.post("/chat/presses", b"{}").text, "pressed")
        event = self.send("/chat/events", b"{}")
        self.assertNoResult(event)
        waiting.callback("event")
        self.assertEqual(self.successResultOf(event).text, "event")
        self.assertIn("POST /chat/events -> network:chat:chat/events", self.bot.webhooks)

    def test_defect(self) -> None:
        """A handler that fails is a response with status 500, and a notice."""
        self.context.route("/chat/events", lambda request: {}["event"], "github", [SECRET])  # type: ignore[arg-type]
        self.assertEqual(self.post("/chat/events", b"{}").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.bot.advance(1)
        self.assertIn("network:chat:chat/events", "\n".join(self.bot.sent_to("@admin")))

    def test_secret(self) -> None:
        """Without a secret there is no route."""
        for secrets in ([], [b""]):
            self.assertRaises(ValueError, self.context.route, "/x", print, "github", secrets)
        self.assertRaises(ValueError, self.context.route, "/x", print, "github", [SECRET], speed=9)


class ServiceTests(ContextCase):
    """What else the bot lends."""

    def test_http(self) -> None:
        """The client is that of plugins, which tests play."""
        self.bot.http.respond("GET", "https://chat.example.org/me", json={"id": 7})
        result = self.context.http("https://chat.example.org").call("GET", "me")
        self.assertEqual(self.successResultOf(result), {"id": 7})

    def test_state(self) -> None:
        """The state is in the storage, under the name of the network."""
        self.successResultOf(self.context.state.set("token", "S3CRET"))
        self.assertIn("network:chat", self.bot.storage.namespaces())

    def test_notify(self) -> None:
        """Administrators are notified."""
        self.context.notify("x", "chat can't be used")
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("@admin", network="chat"), ["chat can't be used"])


class StateTests(SynchronousTestCase):
    """Values and positions, in a storage and in memory."""

    def test_values(self) -> None:
        """A value is found by a later process, and by no other network."""
        storage = MemoryStorage()
        for state in (DurableState("chat", storage), DurableState("chat", None)):
            self.assertEqual(self.successResultOf(state.get("token", "none")), "none")
            self.successResultOf(state.set("token", {"a": 1}))
            self.assertEqual(self.successResultOf(state.get("token")), {"a": 1})
        self.assertEqual(self.successResultOf(DurableState("chat", storage).get("token")), {"a": 1})
        self.assertIsNone(self.successResultOf(DurableState("other", storage).get("token")))
        self.assertEqual(storage.namespaces(), ["network:chat"])


class SeenTests(SynchronousTestCase):
    """Positions in streams of events."""

    def setUp(self) -> None:
        """Make a state."""
        super().setUp()
        self.reactor: Any = TestReactor()
        self.state = DurableState("chat", MemoryStorage())

    def loaded(self, most: int = 200) -> Seen:
        """Return what a new process knows."""
        seen = Seen(self.reactor, self.state, "sync", most)
        self.successResultOf(Deferred.fromCoroutine(seen.load()))
        return seen

    def test_restart(self) -> None:
        """A later process knows the position and the latest ids."""
        seen = self.loaded(3)
        self.assertIsNone(seen.position)
        self.assertEqual(
            [seen.is_new(id) for id in ("1", "2", "1", "3", "4", "", "")], [True, True, False] + [True] * 4
        )
        seen.position = "s1"
        self.assertIsNone(self.loaded().position)
        self.reactor.advance(1)
        again = self.loaded(3)
        self.assertEqual(again.position, "s1")
        self.assertEqual([again.is_new(id) for id in ("4", "3", "2", "1")], [False, False, False, True])

    def test_stored_once_a_second(self) -> None:
        """Many events are one write; what is left is written when the bot disconnects."""
        stored: list[Any] = []

        class Counted(DurableState):
            def set(self, key: str, value: Any) -> Deferred[None]:
                stored.append(value["position"])
                return super().set(key, value)

        self.state = Counted("chat", MemoryStorage())
        seen = self.loaded()
        for position in range(100):
            seen.position = position
        self.reactor.advance(1)
        seen.position = 100
        self.successResultOf(seen.flush())
        self.successResultOf(seen.flush())
        self.assertEqual(stored, [99, 100])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ended_while_the_disk_is_slow(self) -> None:
        """A session that is cancelled while it waits for the disk ends, and no error is logged."""

        class Slow(DurableState):
            def set(self, key: str, value: Any) -> Deferred[None]:
                return Deferred()

        self.state = Slow("chat", None)
        seen = self.loaded()
        seen.position = 1
        stored = seen.flush()
        stored.cancel()
        self.failureResultOf(stored, CancelledError)

    def test_broken_disk(self) -> None:
        """A write that fails is logged, and the next one is tried."""

        class Broken(DurableState):
            def set(self, key: str, value: Any) -> Deferred[None]:
                return fail(StorageError("disk full"))

        self.state = Broken("chat", None)
        seen = self.loaded()
        seen.position = 1
        self.reactor.advance(1)
        seen.position = 2
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.successResultOf(seen.flush())
        self.assertEqual(len(self.flushLoggedErrors(StorageError)), 2)
