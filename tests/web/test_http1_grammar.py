"""Tests of the grammar of requests: each byte in each kind of position."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from errklein.web._http1 import ChunkedBody, read_head
from tests.web.test_http1 import outcome

Rows = Sequence[tuple[bytes, bytes]]

DIGITS = string.digits.encode()
HEXADECIMAL = string.hexdigits.encode()
# RFC 9110, 5.6.2 and 5.6.3: characters of a token; white space.
TOKEN = b"!#$%&'*+-.^_`|~" + DIGITS + string.ascii_letters.encode()
SPACE = b" \t"
# RFC 9110, 5.5 and 5.6.4: visible characters, and bytes above 127; the contents of quoted strings, and what a backslash escapes.
VISIBLE = bytes(range(0x21, 0x7F))
FIELD = SPACE + VISIBLE + bytes(range(0x80, 0x100))
QUOTED = FIELD.translate(None, b'"\\')
# RFC 9112, 3: a target has no fragment. A backslash could be read as a slash.
TARGET = VISIBLE.translate(None, b"#\\")

# Each row has the bytes that may replace the question mark.
LINES = (
    (b"G?T / HTTP/1.1\r\n", TOKEN),
    (b"GET ? HTTP/1.1\r\n", TARGET),
    (b"GET /? HTTP/1.1\r\n", TARGET),
    (b"GET / HTTP?1.1\r\n", b"/"),
    (b"GET / HTTP/1?1\r\n", b"."),
    (b"GET / HTTP/1.1?\nA: b\r\n", b"\r"),
    (b"GET / HTTP/1.1\r?A: b\r\n", b"\n"),
    (b"GET / HTTP/1.1?A: b\r\n", b""),
    (b"GET / HTTP/1.1\r\n?: a\r\n", TOKEN),
    (b"GET / HTTP/1.1\r\nA?A: a\r\n", TOKEN + b":"),
    (b"GET / HTTP/1.1\r\nA?a\r\n", b":"),
    (b"GET / HTTP/1.1\r\nA:?\r\n", FIELD),
    (b"GET / HTTP/1.1\r\nA: b?c\r\n", FIELD),
    (b"GET / HTTP/1.1\r\nA: b?\nB: c\r\n", b"\r"),
    (b"GET / HTTP/1.1\r\nA: b\r?B: c\r\n", b"\n"),
)
LENGTHS = ((b"?", DIGITS), (b"?0", DIGITS[1:] + SPACE), (b"1?", DIGITS + SPACE), (b"1?2", DIGITS))
CODINGS = (
    (b"?,chunked", TOKEN),
    (b"x?,chunked", TOKEN + SPACE),
    (b"x,?chunked", SPACE),
    (b"chunked?,chunked", TOKEN),
    (b"x?;a=b,chunked", TOKEN + SPACE),
    (b"x;?a=b,chunked", TOKEN + SPACE),
    (b"x;a?=b,chunked", TOKEN + SPACE),
    (b"x;a=?b,chunked", TOKEN + SPACE),
    (b"x;a=b?,chunked", TOKEN + SPACE),
    (b'x;a="?",chunked', QUOTED),
    (b'x;a="\\?",chunked', FIELD),
)
CHUNK_LINES = (
    (b"?\r\n", HEXADECIMAL),
    (b"1?\r\n", HEXADECIMAL),
    (b"1?;a\r\n", HEXADECIMAL + SPACE),
    (b"1;?\r\n", TOKEN),
    (b"1;?a\r\n", TOKEN + SPACE),
    (b"1;a?\r\n", TOKEN),
    (b"1;a?=b\r\n", TOKEN),
    (b"1;a?b\r\n", TOKEN + b"=;"),
    (b"1;a=?b\r\n", TOKEN),
    (b"1;a=b?\r\n", TOKEN),
    (b'1;a="?"\r\n', QUOTED),
    (b'1;a="\\?"\r\n', FIELD),
    (b"1?\n", b"\r"),
    (b"1\r?\n", b"\n"),
)


def head_status(raw: bytes) -> object:
    """Return the status with which a head is rejected, or None."""
    return outcome(lambda: read_head(raw + b"Host: x\r\n\r\n") and None)


def length_status(value: bytes) -> object:
    """Return the status with which a Content-Length is rejected, or None."""
    return head_status(b"POST / HTTP/1.1\r\nContent-Length:%b\r\n" % value)


def coding_status(value: bytes) -> object:
    """Return the status with which a Transfer-Encoding is rejected, or None."""
    return head_status(b"POST / HTTP/1.1\r\nTransfer-Encoding:%b\r\n" % value)


def chunk_status(raw: bytes) -> object:
    """Return the status with which the beginning of a chunked body is rejected, or None."""
    return outcome(lambda: ChunkedBody().receive(raw) and None)


class GrammarTests(SynchronousTestCase):
    """Rows of the tables above with each byte, and the numbers of repetitions."""

    def check(self, status_of: Callable[[bytes], object], rows: Rows, valid_status: int | None = None) -> None:
        """Fail with the rows that don't have this status with a valid byte, or 400 with another one."""
        wrong = []
        for row, valid in rows:
            for byte in range(256):
                raw = row.replace(b"?", bytes([byte]))
                status = status_of(raw)
                if status != (valid_status if byte in valid else 400):
                    wrong.append(f"{raw!r}: {status}")
        self.assertEqual(wrong, [])

    def test_bytes_of_lines(self) -> None:
        """A request line or a header is rejected with a byte that its grammar doesn't have in this position."""
        self.check(head_status, LINES)

    def test_bytes_of_versions(self) -> None:
        """A version has two digits. Other versions than 1.0 and 1.1 are not supported."""
        self.check(head_status, ((b"GET / HTTP/?.2\r\n", DIGITS), (b"GET / HTTP/2.?\r\n", DIGITS)), 505)

    def test_bytes_of_lengths(self) -> None:
        """A length has digits only."""
        self.check(length_status, LENGTHS)

    def test_bytes_of_codings(self) -> None:
        """A transfer coding that is well-formed is not supported."""
        self.check(coding_status, CODINGS, 501)

    def test_bytes_of_chunk_lines(self) -> None:
        """The line of a chunk is rejected with a byte that its grammar doesn't have in this position."""
        self.check(chunk_status, CHUNK_LINES)

    def test_repetitions(self) -> None:
        """White space, digits, parameters and extensions may be repeated, or left out, as the grammar has it."""
        for status_of, raw, status in (
            (head_status, b"GET  HTTP/1.1\r\n", 400),
            (head_status, b"OPTIONS /abc HTTP/1.1\r\nAbc: \t def\t \r\n", None),
            (length_status, b"9" * 18, None),
            (length_status, b"9" * 19, 400),
            (coding_status, b'abc \t; \tdef \t= \tghi;j="kl" \t, \tm,chunked', 501),
            (coding_status, b'x;a="",chunked', 501),
            (coding_status, b"x;a=,chunked", 400),
            (coding_status, b"x;a,chunked", 400),
            (coding_status, b"chunked;a=b,chunked", 400),
            (chunk_status, b"0" * 15 + b"1\r\n", None),
            (chunk_status, b"0" * 16 + b"1\r\n", 400),
            (chunk_status, b'1 \t; \tabc=def;g="hi" ;j\r\n', None),
            (chunk_status, b'1;a=""\r\n', None),
            (chunk_status, b"1;a=b=c\r\n", 400),
            (chunk_status, b"1;a=\r\n", 400),
        ):
            self.assertEqual(status_of(raw), status, raw)
