"""Tests for the parser of requests."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.web._error_pages import Problem
from errklein.web._http1 import ChunkedBody, LengthBody, parse_head

chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


def chunked(parts: list[bytes]) -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class HeadTests(SynchronousTestCase):
    """Request lines and headers."""

    def test_a_head(self) -> None:
        """Names of headers are in lower case, and values are stripped."""
        head = parse_head(b"POST /a?b HTTP/1.1\r\nHost: x:80\r\nX-A: \t b c \t\r\nContent-Length: 5\r\nX-A:")
        self.assertEqual((head.method, head.target, head.version, head.length), (b"POST", b"/a?b", b"HTTP/1.1", 5))
        self.assertEqual(head.headers[1:], [(b"x-a", b"b c"), (b"content-length", b"5"), (b"x-a", b"")])
        self.assertTrue(head.keep_alive)

    def test_connections_that_end(self) -> None:
        """HTTP/1.0 and `Connection: close` end the connection."""
        self.assertFalse(parse_head(b"GET / HTTP/1.0").keep_alive)
        self.assertFalse(parse_head(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: x, Close").keep_alive)

    def test_refused(self) -> None:
        """Each malformed head is rejected with its status."""
        for raw, status in (
            (b"GET  / HTTP/1.1\r\nHost: x", 400),
            (b"GET / HTTP/1.1 \r\nHost: x", 400),
            (b"GET / HTTP/2.0\r\nHost: x", 505),
            (b"GET / HTTP/1.2\r\nHost: x", 505),
            (b"GET /", 400),
            (b"G(T / HTTP/1.1\r\nHost: x", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nA B: c", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\n: c", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: miracles", 417),
            (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked", 501),
            (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1234567890123456789", 400),
        ):
            self.assertEqual(self.assertRaises(Problem, parse_head, raw).status, status, raw)

    @given(st.binary(max_size=200))
    def test_no_bytes_do_harm(self, raw: bytes) -> None:
        """Any bytes result in a head or in a rejection."""
        try:
            parse_head(raw)
        except Problem as refused:
            self.assertIn(refused.status, (400, 417, 431, 501, 505))


class BodyTests(SynchronousTestCase):
    """Bodies with a length, and chunked ones."""

    def read(self, body: LengthBody | ChunkedBody, raw: bytes, cuts: list[int]) -> tuple[bytes, bytes | None]:
        """Feed the bytes in pieces. Return the body and the bytes after it."""
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
        self.assertEqual(self.read(ChunkedBody(), chunked(parts) + after, cuts), (b"".join(parts), after))

    @given(st.binary(max_size=50), st.binary(max_size=10), st.lists(st.integers(0, 100), max_size=4))
    def test_lengths_however_they_arrive(self, content: bytes, after: bytes, cuts: list[int]) -> None:
        """A body with a length is read in any pieces, and the bytes after it are kept."""
        data, rest = self.read(LengthBody(len(content) + 1), b"x" + content + after, cuts)
        self.assertEqual((data, rest), (b"x" + content, after))

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
        self.assertEqual(self.read(ChunkedBody(), raw, []), (b"abc", b"next"))

    def test_bad_chunks(self) -> None:
        """Malformed chunks are rejected, also byte by byte."""
        for raw in (
            b"x\r\n",
            b"-1\r\n",
            b"0x1\r\na\r\n",
            b"3\r\nabcd\r\n",
            b"3\nabc\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3;\r\nabc\r\n",
            b"3;a=\x00\r\nabc\r\n",
            b"1" * 17 + b"\r\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n" + b"X: " + b"y" * 20_000,
        ):
            self.assertRaises(Problem, ChunkedBody().receive, raw)
            body = ChunkedBody()
            with self.assertRaises(Problem):
                for byte in raw:
                    body.receive(bytes([byte]))
