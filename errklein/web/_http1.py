"""A parser of HTTP/1.1 requests (RFC 9112), without input or output.

`parse_head` parses the request line and the headers, `LengthBody` and `ChunkedBody` parse the body. All are strict: bytes that
two parsers could interpret differently are rejected, since a proxy in front may have chosen the other interpretation (request
smuggling). In particular:

- Lines end with CR LF, and CR and LF occur nowhere else. Folded headers are rejected.
- A body has either one Content-Length, a number without leading zeros, or one `Transfer-Encoding: chunked`, which requires
  HTTP/1.1. Both together are rejected.
- A target has no `#`, no backslash and no byte above 127. `split_target` in `errklein.web._paths` rejects targets in absolute
  form without a valid host.
- An HTTP/1.1 request has exactly one Host header, with a host and an optional port. No request has two Content-Types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from errklein.web._error_pages import Problem
from errklein.webhooks.hosts import is_host

MAX_HEAD = 16 * 1024
MAX_HEADERS = 500
_MAX_CHUNK_LINE = 1024
_MAX_TRAILERS = 16 * 1024

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*\""
"""Tokens and quoted strings (RFC 9110, 5.6.2 and 5.6.4)."""

_REQUEST_LINE = re.compile(rb"(%b) ([!\"$-\[\]-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_HEADER = re.compile(rb"(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)" % _TOKEN)
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_CODING = re.compile(
    rb"[ \t]*(%b)((?:[ \t]*;[ \t]*%b[ \t]*=[ \t]*(?:%b|%b))*)[ \t]*" % (_TOKEN, _TOKEN, _TOKEN, _QUOTED)
)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%b(?:=(?:%b|%b))?)*" % (_TOKEN, _TOKEN, _QUOTED))


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and headers. `length` is the size of the body in bytes; None for a chunked body.

    Names of headers are in lower case.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    length: int | None
    keep_alive: bool
    expects_continue: bool


def parse_head(raw: bytes) -> Head:
    """Parse a request line and headers.

    :param raw: The bytes before the empty line.
    :raises Problem: They are malformed, or not supported.
    """
    line, *rest = raw.split(b"\r\n")
    parts = _REQUEST_LINE.fullmatch(line)
    if parts is None:
        raise Problem(400, "the request line is malformed")
    method, target, major, minor = parts.groups()
    if major != b"1" or minor not in b"01":
        raise Problem(505, "the HTTP version is not supported; use HTTP/1.1 or HTTP/1.0")
    modern = minor == b"1"
    if len(rest) > MAX_HEADERS:
        raise Problem(431, f"the request has more than {MAX_HEADERS} headers")
    headers: list[tuple[bytes, bytes]] = []
    length: int | None = 0
    hosts = 0
    sized = typed = False
    codings: list[bytes] = []
    connection = expect = b""
    for line in rest:
        field = _HEADER.fullmatch(line)
        if field is None:
            raise Problem(400, "a header is malformed")
        name = field[1].lower()
        value = field[2].rstrip(b" \t")
        headers.append((name, value))
        if name == b"host":
            hosts += 1
            if not is_host(value):
                raise Problem(400, "the Host header is malformed")
        elif name == b"content-length":
            if sized or _LENGTH.fullmatch(value) is None:
                raise Problem(400, "Content-Length is malformed or occurs twice")
            sized = True
            length = int(value)
        elif name == b"transfer-encoding":
            codings.append(value)
        elif name == b"content-type":
            if typed:
                raise Problem(400, "Content-Type occurs twice")
            typed = True
        elif name == b"connection":
            connection += b"," + value.lower()
        elif name == b"expect":
            expect = value.lower()
    if codings:
        if sized or not modern:
            raise Problem(400, "Transfer-Encoding must not occur together with Content-Length or in HTTP/1.0")
        _check_codings(b",".join(codings))
        length = None
    if hosts > 1 or (modern and not hosts):
        raise Problem(400, "the request must have exactly one Host header")
    if expect and expect != b"100-continue":
        raise Problem(417, "the expectation is not supported; the only valid one is 100-continue")
    keep_alive = modern
    if connection and modern:
        keep_alive = b"close" not in [token.strip() for token in connection.split(b",")]
    version = b"HTTP/1.1" if modern else b"HTTP/1.0"
    return Head(method, target, version, headers, length, keep_alive, bool(expect) and modern)


def _check_codings(value: bytes) -> None:
    """Raise Problem unless chunked is the only transfer coding.

    If chunked isn't the last coding, the end of the body is unknown and the status is 400 (RFC 9112, 6.3). If it is the last one
    after codings that aren't supported, the status is 501 (6.1). Empty elements of the list are rejected with 400: RFC 9110,
    5.6.1.2, requires recipients to ignore them, but not all proxies do.
    """
    if value.lower() == b"chunked":
        return
    codings = []
    begin = 0
    while begin <= len(value):
        coding = _CODING.match(value, begin)
        if coding is None or value[coding.end() : coding.end() + 1] not in (b"", b","):
            raise Problem(400, "Transfer-Encoding is malformed")
        codings.append((coding[1].lower(), coding[2]))
        begin = coding.end() + 1
    if codings.pop() != (b"chunked", b"") or any(name == b"chunked" for name, _ in codings):
        raise Problem(400, "chunked must be the last transfer coding, and occur once")
    raise Problem(501, "the transfer coding is not supported; the only valid one is chunked")


class LengthBody:
    """A parser of a body of `length` bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the part of `data` that belongs to the body, and the bytes after it; None while it is incomplete."""
        if len(data) < self._left:
            self._left -= len(data)
            return data, None
        return data[: self._left], data[self._left :]


class ChunkedBody:
    """A parser of a chunked body (RFC 9112, 7.1). Extensions and trailers are checked and discarded."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self._trailers = -1

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the decoded bytes in `data`, and the bytes after the body; None while it is incomplete.

        :raises Problem: The chunks are malformed.
        """
        buffer = self._buffer
        buffer += data
        body = bytearray()
        while True:
            if self._trailers >= 0:
                return bytes(body), self._read_trailers()
            if self._left > 2:
                part = buffer[: self._left - 2]
                body += part
                del buffer[: len(part)]
                self._left -= len(part)
            if 0 < self._left <= 2:
                # Only the line end after the chunk is left.
                if not b"\r\n".startswith(buffer[:2]):
                    raise Problem(400, "a chunk is longer than its declared size")
                if len(buffer) < 2:
                    return bytes(body), None
                del buffer[:2]
                self._left = 0
            if self._left:
                return bytes(body), None
            end = buffer.find(b"\r\n", 0, _MAX_CHUNK_LINE)
            if end < 0:
                if len(buffer) >= _MAX_CHUNK_LINE or b"\n" in buffer:
                    raise Problem(400, "a chunk's size is malformed")
                return bytes(body), None
            size = _CHUNK_LINE.fullmatch(buffer, 0, end)
            if size is None:
                raise Problem(400, "a chunk's size is malformed")
            length = int(size[1], 16)
            del buffer[: end + 2]
            if length:
                self._left = length + 2
            else:
                self._trailers = 0

    def _read_trailers(self) -> bytes | None:
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n")
            if end == 0:
                return bytes(buffer[2:])
            size = len(buffer) if end < 0 else end + 2
            if self._trailers + size > _MAX_TRAILERS:
                raise Problem(431, "the trailers are too long")
            line = bytes(buffer if end < 0 else buffer[:end])
            if b"\n" in line or (end > 0 and _HEADER.fullmatch(line) is None):
                raise Problem(400, "a trailer is malformed")
            if end < 0:
                return None
            self._trailers += size
            del buffer[:size]
