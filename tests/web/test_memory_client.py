"""Tests for the client without sockets."""

from __future__ import annotations

import json

from errklein.web import WebSettings
from errklein.web._server import request_bytes
from tests.web.kit import Echo, WebCase


class MemoryClientTests(WebCase):
    """Requests and responses of the client."""

    settings = WebSettings(max_body=10)

    def test_what_is_sent(self) -> None:
        """Headers are added unless they are given."""
        raw = request_bytes("post", "http://example.org/a?b=c", {"X": "y"}, b"body")
        lines = raw.split(b"\r\n")
        self.assertEqual(lines[0], b"POST /a?b=c HTTP/1.1")
        self.assertEqual(set(lines[1:-2]), {b"Host: example.org", b"X: y", b"Content-Length: 4", b"Connection: close"})
        self.assertEqual(lines[-1], b"body")

    def test_what_may_not_stand_in_a_url(self) -> None:
        """Characters that a URL can't contain are escaped, and can't add headers."""
        raw = request_bytes("GET", "/a b\u00e9%20?c=d e")
        self.assertTrue(raw.startswith(b"GET /a%20b%C3%A9%20?c=d%20e HTTP/1.1\r\n"), raw)
        self.assertNotIn(b"\r\nEvil", request_bytes("GET", "/a HTTP/1.1\r\nEvil: 1"))
        self.assertRaises(ValueError, request_bytes, "GET", "/", {"X": "a\r\nEvil: 1"})

    def test_what_is_answered(self) -> None:
        """A response has status, reason, headers and body."""
        response = self.ask("POST", "/nowhere", headers={"Accept": "application/json"})
        self.assertEqual((response.status, response.reason), (404, "Not Found"))
        self.assertEqual(response.header("content-type"), response.header("Content-Type"))
        self.assertIsNone(response.header("X-Nothing"))
        self.assertEqual(response.json(), json.loads(response.text))

    def test_limits_hold(self) -> None:
        """The limits of the server apply to the client's requests."""
        self.serve(Echo())
        self.assertEqual(self.ask("POST", "/quick", b"x" * 11).status, 413)
