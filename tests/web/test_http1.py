"""Tests for the rules of requests."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.web._error_pages import Problem
from errklein.web._http1 import ChunkedBody, Head, read_head
from tests.web.http1_cases import CASES

chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=5)

ROWS = [case.sent for case in CASES if len(case.sent) < 1000]
BODIES = (
    b"2\r\n{}\r\n0\r\n\r\nnext",
    b'0003 ; a=b\r\nabc\r\nA;a="b\\"c";d\r\n0123456789\r\n0;x\r\nX: 1\r\nY: 2\r\n\r\nnext',
)
PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"=",
        b'"',
        b"0",
        b"1",
        b"\x00",
        b"\x7f",
        b"\xff",
        b"#",
        b"\\",
        b"/",
    ),
    *(b"chunked", b"gzip", b"close", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"[::1]", b"\r\n\r\n", b"0\r\n"),
    *(b"Host: a\r\n", b"Content-Type: a\r\n", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n", b"Upgrade: x\r\n"),
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.sampled_from((b"", *PIECES))), max_size=4)


def edited(raw: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Return the bytes with pieces removed and inserted. A change is a position from 0 to 1, a number and an insertion."""
    for position, removed, inserted in changes:
        at = round(position * len(raw))
        raw = raw[:at] + inserted + raw[at + removed :]
    return raw


def chunked(parts: list[bytes]) -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def head_of(received: bytes) -> Head:
    """Return a complete head."""
    head, _ = read_head(received)
    assert head is not None
    return head


def outcome(parse: Callable[..., Any], *args: object) -> Any:
    """Return what `parse` returns, or the status with which it rejects the bytes."""
    try:
        return parse(*args)
    except Problem as problem:
        return problem.status


class HeadTests(SynchronousTestCase):
    """Request lines and headers."""

    def test_a_head(self) -> None:
        """Names of headers are in lower case, values are stripped, and the bytes after the head are returned."""
        head, rest = read_head(
            b"\r\nPOST /a?b HTTP/1.1\r\nHost: x:80\r\nX-A: \t b c \t\r\nContent-Length: 5\r\nX-A:\r\n\r\nrest"
        )
        assert head is not None
        self.assertEqual((head.method, head.target, head.version, head.length), (b"POST", b"/a?b", b"HTTP/1.1", 5))
        self.assertEqual(head.names, (b"host", b"x-a", b"content-length", b"x-a"))
        self.assertEqual(head.values, (b"x:80", b"b c", b"5", b""))
        self.assertTrue(head.keep_alive)
        self.assertEqual(rest, b"rest")

    def test_an_incomplete_head(self) -> None:
        """A head without its empty line is incomplete. An empty line before it is dropped."""
        self.assertEqual(read_head(b"\r\nGET / HTTP/1.1\r\nHost: x\r\n"), (None, b"GET / HTTP/1.1\r\nHost: x\r\n"))

    def test_connections_that_end(self) -> None:
        """HTTP/1.0 and `Connection: close` end the connection."""
        self.assertFalse(head_of(b"GET / HTTP/1.0\r\n\r\n").keep_alive)
        for options in (
            b"Connection: x, Close",
            b"Connection: close\r\nConnection: x",
            b"Connection: x\r\nConnection: close",
        ):
            self.assertFalse(head_of(b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % options).keep_alive)
        for options in (b"Connection: closed", b"Connection: x\r\nConnection: y\r\nA: close\r\nX: close"):
            self.assertTrue(head_of(b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % options).keep_alive)

    def test_expectations(self) -> None:
        """A client waits for "100 Continue" only in HTTP/1.1."""
        for version, expected in ((b"1.1", True), (b"1.0", False)):
            head = head_of(b"POST / HTTP/%b\r\nHost: x\r\nExpect: 100-Continue\r\n\r\n" % version)
            self.assertIs(head.expects_continue, expected)

    def test_refused(self) -> None:
        """Each malformed head is rejected with its status."""
        for raw, status in (
            (b"GET  / HTTP/1.1\r\nHost: x", 400),
            (b"GET / HTTP/1.1 \r\nHost: x", 400),
            (b"GET / HTTP/2.0\r\nHost: x", 505),
            (b"GET / HTTP/1.2\r\nHost: x", 505),
            (b"GET /", 400),
            (b"\r\n", 400),
            (b"G(T / HTTP/1.1\r\nHost: x", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA B: c", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\n: c", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: miracles", 417),
            (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked", 501),
            (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1234567890123456789", 400),
        ):
            self.assertEqual(outcome(read_head, raw + b"\r\n\r\n"), status, raw)

    def test_other_defects_before_unsupported_features(self) -> None:
        """501 and 417 are only for requests that are valid otherwise."""
        for feature in (b"Transfer-Encoding: gzip, chunked", b"Expect: miracles"):
            self.assertEqual(outcome(read_head, b"GET / HTTP/1.1\r\n%b\r\n\r\n" % feature), 400)

    def test_the_largest_head(self) -> None:
        """A head may have 16 kB and 500 headers, not more."""
        line = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
        self.assertEqual(head_of(line + b"x" * (16 * 1024 - len(line)) + b"\r\n\r\n").method, b"GET")
        self.assertEqual(outcome(read_head, line + b"x" * (16 * 1024 + 1 - len(line)) + b"\r\n\r\n"), 431)
        self.assertEqual(outcome(read_head, b"GET / HTTP/1.1\r\nA: " + b"x" * 16_384), 431)
        self.assertEqual(outcome(read_head, b"GET /" + b"x" * 16_380), 414)
        self.assertEqual(read_head(b"GET /" + b"x" * 16_379)[0], None)
        self.assertEqual(outcome(read_head, b"\r\n\r\n\r\n" + b"x" * 16_384), 400)
        headers = b"".join(b"X-%d: 1\r\n" % number for number in range(499))
        self.assertEqual(len(head_of(b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % headers).names), 500)
        self.assertEqual(outcome(read_head, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n%b\r\n" % headers), 431)

    def test_the_longest_name(self) -> None:
        """The name of a header or a trailer has at most 256 bytes. Its value may be longer, and may contain colons or none."""
        for name, value, status in (
            (b"a" * 256, b"x" * 300, 200),
            (b"a" * 256, b":" * 300, 200),
            (b"9" * 257, b"x", 400),
        ):
            line = b"%b: %b\r\n" % (name, value)
            head = b"GET / HTTP/1.1\r\nHost: x\r\n%bX: 1\r\n\r\n" % line
            self.assertEqual(outcome(lambda raw: read_head(raw)[0] and 200, head), status)
            self.assertEqual(
                outcome(lambda raw: ChunkedBody().receive(raw) and 200, b"0\r\n%bX: 1\r\n\r\n" % line), status
            )

    @given(st.binary(max_size=200))
    def test_no_bytes_do_harm(self, raw: bytes) -> None:
        """Any bytes result in a head or in a rejection."""
        self.assertIn(outcome(lambda: read_head(raw)[0] and 200), (None, 200, 400))


class BodyTests(SynchronousTestCase):
    """Chunked bodies."""

    def read(self, raw: bytes, cuts: list[int]) -> tuple[bytes, bytes | None]:
        """Feed the bytes in pieces. Return the body and the bytes after it."""
        body = ChunkedBody()
        data = b""
        edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
        for begin, end in pairwise(edges):
            part, rest = body.receive(raw[begin:end])
            data += part
            if rest is not None:
                return data, rest + raw[end:]
        return data, None

    @given(chunks, st.binary(max_size=10), st.lists(st.integers(0, 500), max_size=6))
    def test_chunks_however_they_arrive(self, parts: list[bytes], after: bytes, cuts: list[int]) -> None:
        """A chunked body is decoded in any pieces, and the bytes after it are kept."""
        self.assertEqual(self.read(chunked(parts) + after, cuts), (b"".join(parts), after))

    @given(st.binary(max_size=60))
    def test_no_chunks_do_harm(self, raw: bytes) -> None:
        """Any bytes result in a body or in a rejection."""
        try:
            ChunkedBody().receive(raw)
        except Problem as refused:
            self.assertIn(refused.status, (400, 431))

    def test_extensions_and_trailers(self) -> None:
        """Extensions of chunks and trailers are discarded."""
        raw = b'3;a=b;c="d \\" e"\r\nabc\r\n0;x\r\nTrailer: 1\r\nOther: 2\r\n\r\nnext'
        self.assertEqual(self.read(raw, []), (b"abc", b"next"))

    def test_the_longest_chunk_line(self) -> None:
        """The line of a chunk has at most 1,024 bytes with the line ends before and after it."""
        self.assertEqual(ChunkedBody().receive(b"1;a=" + b"x" * 1016 + b"\r\n."), (b".", None))
        self.assertEqual(outcome(ChunkedBody().receive, b"1;a=" + b"x" * 1017 + b"\r\n."), 400)
        self.assertEqual(ChunkedBody().receive(b"1;a=" + b"x" * 1017), (b"", None))
        self.assertEqual(outcome(ChunkedBody().receive, b"1;a=" + b"x" * 1018), 400)

    def test_the_longest_trailers(self) -> None:
        """Trailers have at most 16 kB, however large the body is."""
        body = b"4e20\r\n" + b"x" * 20_000 + b"\r\n0\r\n"
        for trailers, end in ((b"X: 1\r\n", b"\r\n"), (b"X: " + b"y" * 16_300, b"\r\n\r\n")):
            parser = ChunkedBody()
            self.assertEqual(parser.receive(body + trailers), (b"x" * 20_000, None))
            self.assertEqual(parser.receive(end + b"next"), (b"", b"next"))
        self.assertEqual(outcome(ChunkedBody().receive, body + b"X: " + b"y" * 16_384), 431)
        self.assertEqual(ChunkedBody().receive(body + b"X: 1\r\n" * 300 + b"\r\n")[1], b"")

    @given(st.integers(1, 70_000))
    def test_the_longest_trailers_after_any_chunk(self, size: int) -> None:
        """The limit of trailers doesn't depend on where the chunk before them ends."""
        # The limit includes the line end before the trailers.
        before = b"%x\r\n%b\r\n0\r\nX: " % (size, b"x" * size)
        self.assertEqual(ChunkedBody().receive(before + b"y" * 16_379 + b"\r\n\r\n")[1], b"")
        self.assertEqual(outcome(ChunkedBody().receive, before + b"y" * 16_380 + b"\r\n\r\n"), 431)

    def test_bad_chunks(self) -> None:
        """Malformed chunks are rejected, also in pieces."""
        for raw, status in (
            (b"x\r\n", 400),
            (b"-1\r\n", 400),
            (b"0x1\r\na\r\n", 400),
            (b"3\r\nabcd\r\n", 400),
            (b"3\nabc\r\n", 400),
            (b"3\r\nabc\n0\r\n\r\n", 400),
            (b"3;\r\nabc\r\n", 400),
            (b"3;a=\x00\r\nabc\r\n", 400),
            (b"1" * 17 + b"\r\n", 400),
            (b"0\r\nbad trailer\r\n\r\n", 400),
            (b"0\r\nX: 1\n\r\n", 400),
            (b"3;a=" + b"x" * 1100, 400),
            (b"3;a=" + b"x" * 1100 + b"\r\nabc\r\n", 400),
            (b"0\r\n" + b"X: " + b"y" * 20_000, 431),
            (b"0\r\n" + b"X: y\r\n" * 3_000 + b"\r\n", 431),
        ):
            self.assertEqual(outcome(ChunkedBody().receive, raw), status, raw[:20])
            cuts = list(range(0, len(raw), 1 if len(raw) < 2000 else 100))
            self.assertEqual(outcome(self.read, raw, cuts), status, raw[:20])
