"""Tests for the access log."""

from __future__ import annotations

from twisted.logger import LogEvent, globalLogPublisher

from errklein.logs import format_line
from tests.web.kit import Echo, WebCase, request


class AccessLogTests(WebCase):
    """The line per response."""

    def lines(self, raw: bytes) -> list[str]:
        """Return the lines about a request."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            lines.append((format_line(event) or "").partition("] ")[2].rstrip("\n"))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        connection = self.connect()
        connection.send(raw)
        return lines

    def test_a_line(self) -> None:
        """A line has method, path, status, size and request id, but no query, which may contain a secret."""
        self.serve(Echo())
        [line] = self.lines(request("POST", "/quick?token=secret"))
        self.assertRegex(line, r'^\([0-9a-f]+-[0-9a-f]+\) \S+ "POST /quick" 200 2 \d\.\d{4}s$')

    def test_escapes(self) -> None:
        """A line never contains control characters."""
        for raw in (
            b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /\xe2\x80\xa8{x} HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x0bb\r\n\r\n",
        ):
            [line] = self.lines(raw)[-1:]
            self.assertTrue(line.isascii() and line.isprintable(), line)
