"""Tests of the rules of requests against llhttp, the strict parser of Node.js, which many proxies and servers use.

It accepts each request that errklein accepts, and reads the same from it, except where this module says otherwise. What only errklein
rejects is not a difference: no other request can hide in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httptools
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.web._error_pages import Problem
from errklein.web._http1 import ChunkedBody, Head, read_head
from errklein.web.request import split_target
from tests.web.test_http1 import BODIES, ROWS, edited, edits

CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUESTS = (
    *ROWS,
    *(CHUNKED + body for body in BODIES),
    CHUNKED + b'1\r\na\r\n2;a;b=c;d="\\e;\\""\r\nab\r\n00\r\nA: \xff\r\nB:\r\n\r\n',
    b"PUT /a HTTP/1.1\r\nHost: x\r\nUpgrade: a\r\nConnection: x, Upgrade\r\nContent-Length: 3\r\n\r\nabc",
    b"CONNECT /a HTTP/1.1\r\nHost: x\r\n\r\n",
)


@dataclass(frozen=True)
class Difference:
    """A kind of request that errklein accepts and llhttp doesn't.

    :param rule: Why errklein accepts it.
    :param error: A pattern of llhttp's error.
    :param pattern: A pattern of such requests.
    :param example: Such a request.
    """

    rule: str
    error: str
    pattern: bytes
    example: bytes

    def explains(self, error: str, raw: bytes) -> bool:
        """Return whether llhttp may reject a request with an error."""
        return bool(re.search(self.error, error) and re.search(self.pattern, raw))


DIFFERENCES = (
    Difference(
        "RFC 9110, 9.1: there are other methods than the registered ones. No webhook accepts one that it doesn't name.",
        "method",
        rb"^(?:\r\n)?(?!(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) )",
        b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    Difference(
        "RFC 9110, 5.6.3 and 5.5: a tab is white space, and white space at the end isn't a part of the value.",
        "invalid `Transfer-Encoding`",
        rb"(?i)\ntransfer-encoding:[^\n]*chunked[ \t]*\t",
        CHUNKED.replace(b"chunked", b"chunked\t") + b"0\r\n\r\n",
    ),
    Difference(
        "RFC 9112, 7.1.1: white space around the semicolon of an extension must be parsed and removed.",
        "chunk size|chunk extensions",
        rb"[ \t];|;[ \t]",
        CHUNKED + b"1 ; a=b\r\na\r\n0\r\n\r\n",
    ),
    Difference(
        "RFC 9112, 7.1.2: trailers may be discarded, so none of them has an effect.",
        "Transfer-Encoding|Content-Length",
        rb"(?i)\r\n\r\n(?s:.)*\n(?:transfer-encoding|content-length):",
        CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    ),
)


def accepted(received: bytes) -> tuple[Head, bytes, bytes] | None:
    """Return the head, the body, and all bytes of the first request; None if it is invalid or incomplete."""
    try:
        head, rest = read_head(received)
        if head is None:
            return None
        split_target(head.target)
        if head.length is None:
            body, after = ChunkedBody().receive(rest)
        else:
            body, after = rest[: head.length], rest[head.length :] if len(rest) >= head.length else None
    except Problem:
        return None
    return None if after is None else (head, body, received.removesuffix(after))


class Llhttp:
    """A request, as llhttp reads it."""

    def __init__(self) -> None:
        self.target = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = self.complete = self.upgraded = False
        self.error = ""
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Read bytes, unless others before them were invalid."""
        try:
            if not (self.error or self.upgraded):
                self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = True
        except httptools.HttpParserError as error:
            self.error = str(error)

    @property
    def line(self) -> tuple[bytes, bytes, bytes]:
        """The method, the target and the version."""
        return self._parser.get_method(), self.target, b"HTTP/" + self._parser.get_http_version().encode()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


class LlhttpTests(SynchronousTestCase):
    """Requests that errklein accepts, read by llhttp."""

    def read(self, raw: bytes) -> Llhttp:
        """Return a request of llhttp's. Fail if it has read the end before the last byte."""
        other = Llhttp()
        other.feed(raw[:-1])
        self.assertFalse(other.complete and not other.upgraded, raw)
        other.feed(raw[-1:])
        return other

    def check(self, received: bytes) -> None:
        """Fail if errklein accepts the first request, and llhttp doesn't read the same."""
        request = accepted(received)
        if request is None:
            return
        head, body, raw = request
        headers = list(zip(head.names, head.values, strict=True))
        other = self.read(raw)
        if other.error:
            self.assertTrue(any(known.explains(other.error, raw) for known in DIFFERENCES), (other.error, raw))
            return
        self.assertEqual(other.line, (head.method, head.target, head.version))
        # RFC 9112, 7.1.2: errklein discards trailers, llhttp reads them as headers.
        found = other.headers[: len(headers)] if head.length is None else other.headers
        self.assertEqual(found, headers)
        # RFC 9112, 9.3: a server may close connections of HTTP/1.0. errklein does.
        self.assertEqual(head.keep_alive, other.keep_alive and head.version == b"HTTP/1.1")
        if other.upgraded:
            # RFC 9110, 7.8 and 9.3.6: a server may ignore an upgrade, and errklein has no tunnels.
            self.assertTrue(head.method == b"CONNECT" or b"upgrade" in head.names, raw)
        else:
            self.assertTrue(other.complete, raw)
            self.assertEqual(other.body, body)

    def test_table(self) -> None:
        """llhttp reads the same request line, headers and body from the requests of the conformance table, with the same end."""
        for row in REQUESTS:
            self.check(row)

    @given(st.sampled_from(REQUESTS), edits)
    def test_changed_requests(self, row: bytes, changes: list[tuple[float, int, bytes]]) -> None:
        """llhttp reads the same from these requests with random changes."""
        self.check(edited(row, changes))

    def test_differences(self) -> None:
        """errklein accepts some valid requests that llhttp rejects."""
        for known in DIFFERENCES:
            request = accepted(known.example)
            self.assertIsNotNone(request, known.rule)
            self.assertTrue(known.explains(self.read(known.example).error, known.example), known.rule)
