"""Tests for the access log."""

from __future__ import annotations

import struct

from twisted.logger import LogEvent, capturedLogs, formatEvent, globalLogPublisher

from errklein.logs import format_line
from errklein.text.masking import masker
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

    def test_long_path(self) -> None:
        """The line has the first 1,024 characters of a long path, without the beginning of a known secret at their end."""
        masker.learn(self, "test", ["hunter2-of-the-bot"])
        for size in (1024, 1020, 1007):
            path = "/" + "x" * (size - 1)
            [line] = self.lines(request("GET", path + "hunter2-of-the-bot"))
            self.assertIn(f'"GET {path}{"" if size == 1024 else "•••"}…" 404', line)

    def test_long_method(self) -> None:
        """The line has the first 20 characters of a long method."""
        [line] = self.lines(request("M" * 21, "/"))
        self.assertIn(f'"{"M" * 20}… /" ', line)

    def test_duration_begins_with_the_first_byte(self) -> None:
        """The time on a line is counted from the first byte of the request."""
        self.serve(Echo())
        whole = request("POST", "/quick")
        connection = self.connect()
        connection.send(whole[:1])
        self.clock.advance(2.5)
        with capturedLogs() as events:
            connection.send(whole[1:])
        self.assertIn("200 2 2.5000s", next(map(formatEvent, events)))

    def test_duration_includes_a_blocked_reactor(self) -> None:
        """After the reactor was blocked, the time on a line includes that for which the request has waited in the socket."""
        self.serve(Echo())
        connection = self.connect()
        connection.socket = WaitingSocket(2.5)  # type: ignore[attr-defined]
        self.web.lag.ended(3.0, self.clock.seconds())
        with capturedLogs() as events:
            connection.send(request("POST", "/quick"))
            self.clock.advance(2)
            connection.send(request("POST", "/quick"))
        lines = [formatEvent(event) for event in events]
        self.assertIn("200 2 2.5000s", lines[0])
        self.assertIn("200 2 0.0000s", lines[1])


class WaitingSocket:
    """A socket whose last bytes arrived some seconds ago."""

    def __init__(self, seconds: float) -> None:
        self.milliseconds = int(seconds * 1000)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return struct.pack("I", self.milliseconds).rjust(size, b"\0")
