"""Tests for the server as a whole."""

from __future__ import annotations

from tests.web.kit import Slow, WebCase, request, status_of


class StoppingTests(WebCase):
    """A server that stops while requests are open."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Slow()
        self.serve(self.plugin)

    def test_stopping(self) -> None:
        """Open requests get their responses, new ones get 503, and idle connections are closed."""
        busy, idle, new = self.connect(), self.connect(), self.connect()
        self.assertEqual(busy.send(request("POST", "/slow")), b"")
        idle.send(request("POST", "/quick"))
        new.send(b"POST /quick HT")
        self.web.begin_stopping()
        done = self.web.when_idle()
        self.assertTrue(idle.closed)
        self.assertFalse(busy.closed or new.closed)
        refused = new.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(status_of(refused), 503)
        self.assertIn(b"Retry-After: ", refused)
        self.assertTrue(new.closed)
        self.assertEqual(self.successResultOf(self.start("POST", "/quick")).status, 503)
        self.assertNoResult(done)
        self.plugin.gates[0].callback("the last word")
        response = busy.received()
        self.assertEqual(status_of(response), 200)
        self.assertTrue(response.endswith(b"the last word"))
        self.assertTrue(busy.closed)
        self.successResultOf(done)
        self.successResultOf(self.web.when_idle())

    def test_pipelined_request_while_stopping(self) -> None:
        """The current request gets its response; the pipelined one behind it does not."""
        connection = self.connect()
        connection.send(request("POST", "/slow") + request("POST", "/slow"))
        self.web.begin_stopping()
        self.plugin.gates[0].callback("one")
        self.assertEqual(connection.received().count(b"HTTP/1.1"), 1)
        self.assertTrue(connection.closed)

    def test_closing(self) -> None:
        """All connections are aborted."""
        busy = self.connect()
        busy.send(request("POST", "/slow"))
        self.successResultOf(self.web.close())
        self.assertTrue(busy.disconnected)
