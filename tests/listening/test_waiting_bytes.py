"""The time for which received bytes have waited."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening import seconds_waited
from tests import needs_network


class SecondsWaitedTests(SynchronousTestCase):
    """TCP connections and others."""

    def test_tcp(self) -> None:
        """The system knows when the last bytes of a TCP connection arrived."""
        needs_network()
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
        ):
            client.send(b"POST")
            threading.Event().wait(0.2)
            accepted, _ = server.accept()
            with accepted:
                self.assertTrue(0.1 < seconds_waited(SimpleNamespace(socket=accepted)) < 5)
                waited = []
                for _ in range(20):
                    client.send(b" /")
                    accepted.recv(2)
                    waited.append(seconds_waited(SimpleNamespace(socket=accepted)))
                self.assertLess(min(waited), 0.1)

    def test_others(self) -> None:
        """Of other connections it isn't known."""
        self.assertEqual(seconds_waited(StringTransport()), 0)
        one, other = socket.socketpair()
        with one, other:
            self.assertEqual(seconds_waited(SimpleNamespace(socket=one)), 0)
