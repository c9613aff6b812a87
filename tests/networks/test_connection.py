"""Tests of the supervised connection to a network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived

from errklein.chat.outgoing import Wait
from errklein.networks._connection import Connection, Unusable
from errklein.networks.context import NetworkContext
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.testing import TestReactor


class PlayedOutbox:
    """Keeps what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.absence = Wait("chat is not connected", 1000.0)

    def resume(self) -> None:
        """Note it."""
        self.calls.append("resume")

    def pause(self, reason: str = "") -> None:
        """Note it."""
        self.calls.append(f"pause: {reason}")
        self.absence = Wait("chat is not connected", 1000.0, reason)

    def close(self, grace: float = 0.0) -> Deferred[None]:
        """Note it."""
        self.calls.append(grace)
        return succeed(None)


class ConnectionTests(SynchronousTestCase):
    """Sessions that a test ends."""

    def setUp(self) -> None:
        """Start a connection."""
        super().setUp()
        self.reactor: Any = TestReactor()
        self.sessions: list[Deferred[None]] = []
        self.events: list[str] = []
        self.notices: list[str] = []
        self.outbox: Any = PlayedOutbox()
        config: Any = SimpleNamespace(network="chat")
        context = NetworkContext(
            self.reactor,
            config,
            lambda: 1000.0 + self.reactor.seconds(),
            lambda: 0.0,
            notify=lambda key, text, *more, **options: self.notices.append(text),
        )
        self.connection = Connection(context, self.session, self.outbox)

    def session(self) -> Deferred[None]:
        """Begin a session."""
        self.sessions.append(Deferred())
        return self.sessions[-1]

    def start(self) -> None:
        """Start the connection; the events are in `events`."""
        test = self

        class Events:
            def backend_connected(self, backend: Any) -> None:
                test.events.append(f"connected: {backend}")

            def backend_disconnected(self, backend: Any, reason: str) -> None:
                test.events.append(f"disconnected: {reason}")

        backend, events = "the backend", Events()
        self.connection.start(backend, events)  # type: ignore[arg-type]

    def fail_session(self, error: Exception) -> None:
        """End the session with an error."""
        self.sessions[-1].errback(error)

    def test_connected(self) -> None:
        """The first `connected` of a session is an event, and lets the outbox send."""
        self.assertFalse(self.connection.will_connect_within(10))
        self.start()
        self.assertEqual(self.connection.absence and self.connection.absence.state, "chat is not connected")
        self.assertTrue(self.connection.will_connect_within(0))
        self.connection.connected()
        self.connection.connected()
        self.assertEqual(self.events, ["connected: the backend"])
        self.assertEqual(self.outbox.calls, ["resume"])
        self.assertIsNone(self.connection.absence)

    def test_lost(self) -> None:
        """After a loss the outbox pauses, the state names the reason and the time of the next attempt, and delays double."""
        self.start()
        self.connection.connected()
        self.fail_session(NotConfirmed("chat.example.org: no response within 30 s"))
        self.assertEqual(self.events[1:], ["disconnected: chat.example.org: no response within 30 s"])
        self.assertEqual(self.outbox.calls[1:], ["pause: chat.example.org: no response within 30 s"])
        absence = self.connection.absence
        assert absence is not None
        self.assertEqual(absence.cause, "chat.example.org: no response within 30 s")
        self.assertEqual((absence.since, absence.again_at), (1000.0, 1001.0))
        for delay in (1, 2, 4, 8):
            self.assertEqual(self.connection.next_attempt_in, delay)
            self.assertTrue(self.connection.will_connect_within(delay + 1))
            self.assertFalse(self.connection.will_connect_within(delay - 0.5))
            self.reactor.advance(delay)
            self.assertIsNone(self.connection.next_attempt_in)
            self.fail_session(ConnectionRefusedError("nobody listens"))
        self.assertEqual(self.events[2:], [])

    def test_stable(self) -> None:
        """After a stable connection the first delay applies again."""
        self.start()
        for _ in range(3):
            self.fail_session(NotConfirmed("no"))
            self.reactor.advance(self.connection.next_attempt_in)
        self.connection.connected()
        self.reactor.advance(30)
        self.sessions[-1].callback(None)
        self.assertEqual(self.connection.next_attempt_in, 1)
        self.assertIn("disconnected: the connection was closed", self.events)

    def test_reason(self) -> None:
        """What a session returns is the reason, such as that of a WebSocket."""
        self.start()
        self.connection.connected()
        self.sessions[-1].callback("no answer to a ping within 20 s")  # type: ignore[arg-type]
        self.assertIn("disconnected: no answer to a ping within 20 s", self.events)

    def test_connected_at_once(self) -> None:
        """A session may connect before it waits for the first time."""

        async def session() -> None:
            connection.connected()
            await Deferred()

        connection = self.connection = Connection(self.connection._context, session, self.outbox)
        self.start()
        self.assertEqual(self.events, ["connected: the backend"])

    def test_interrupted(self) -> None:
        """An interrupted session ends with the reason, and another one follows, which late reports from the first don't end."""
        self.start()
        self.connection.interrupt(NotConfirmed("too early"))
        self.connection.connected()
        self.connection.interrupt(NotConfirmed("status 500"))
        self.connection.interrupt(NotConfirmed("status 502"))
        self.reactor.advance(0)
        self.assertEqual(self.events[1:], ["disconnected: status 500"])
        self.assertEqual(self.outbox.calls, ["resume", "pause: status 500"])
        self.assertTrue(self.sessions[0].called)
        self.reactor.advance(1)
        self.connection.connected()
        self.assertTrue(self.connection.is_connected)
        self.sessions[1].callback(None)
        self.assertEqual(self.events[3:], ["disconnected: the connection was closed"])

    def test_interrupted_by_refusal(self) -> None:
        """A part that is refused with the bot's token ends the session as a wrong token does."""
        self.start()
        self.connection.connected()
        self.connection.interrupt(Unusable("the token was revoked"))
        self.reactor.advance(0)
        self.assertEqual(self.connection.next_attempt_in, 300)
        self.assertEqual(len(self.notices), 1)
        self.assertIn("the token was revoked", self.notices[0])

    def test_interrupted_at_once(self) -> None:
        """A session may be interrupted before it waits for the first time."""

        async def session() -> None:
            connection.connected()
            connection.interrupt(NotConfirmed("status 500"))
            await Deferred()

        connection = self.connection = Connection(self.connection._context, session, self.outbox)
        self.start()
        self.reactor.advance(0)
        self.assertEqual(self.events[1:], ["disconnected: status 500"])
        self.assertEqual(connection.next_attempt_in, 1)

    def test_retry_later(self) -> None:
        """The network may ask for a longer delay."""
        self.start()
        for asked, delay in ((90, 90), (1e9, 3600)):
            self.fail_session(RetryLater(asked, "network"))
            self.assertEqual(self.connection.next_attempt_in, delay)
            self.reactor.advance(delay)

    def test_unusable(self) -> None:
        """A wrong password is a notice, and is tried again rarely."""
        self.start()
        for delay in (300, 600, 1200, 2400, 3600, 3600):
            self.fail_session(Unusable("the password is wrong"))
            self.assertEqual(self.connection.next_attempt_in, delay)
            self.reactor.advance(delay)
        self.assertIn("chat can't be used: the password is wrong.", self.notices[0])
        self.connection.connected()
        self.fail_session(Unusable("the token was revoked"))
        self.assertEqual(self.connection.next_attempt_in, 300)

    def test_defect(self) -> None:
        """An unexpected error is logged with its traceback, and the connection is tried again."""
        self.start()
        self.fail_session(KeyError("next_batch"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.connection.next_attempt_in, 1)

    def test_disconnect(self) -> None:
        """The outbox is sent, and the session cancelled, whose failure is no event."""
        self.start()
        self.connection.connected()
        session = self.sessions[-1]
        session._canceller = lambda _: session.errback(ResponseNeverReceived([]))
        self.successResultOf(self.connection.disconnect(5))
        self.assertEqual(self.outbox.calls[1:3], [5])
        self.assertEqual(self.events, ["connected: the backend"])
        self.assertEqual(len(self.sessions), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_disconnect_while_waiting(self) -> None:
        """Nothing is waited for if no attempt begins in time."""
        self.start()
        self.fail_session(RetryLater(90, "network"))
        self.successResultOf(self.connection.disconnect(5))
        self.assertEqual(self.outbox.calls, [0.0])
        self.reactor.advance(100)
        self.assertEqual(len(self.sessions), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_disconnect_before_start(self) -> None:
        """A connection that hasn't begun has nothing to close."""
        self.successResultOf(self.connection.disconnect(5))
