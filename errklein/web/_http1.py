"""The rules of HTTP/1.1 for requests (RFC 9112), without input or output. `read_head` reads a request line and headers,
`ChunkedBody` a chunked body. Both are strict: bytes that two parsers could interpret differently are rejected, since a
proxy in front may have chosen the other interpretation (request smuggling)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from errklein.web._error_pages import Problem
from errklein.webhooks.forwarding import is_host

_MAX_HEAD, _MAX_HEADERS, _MAX_CHUNK_LINE = 16 * 1024, 500, 1024
# RFC 9110, 5.6: a token; a token or a quoted string.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"(?:%b|\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+\")" % _TOKEN
# RFC 9112, 3: the target has no `#`, no backslash and no byte above 127; RFC 3986 excludes more.
_REQUEST_LINE = re.compile(rb"(%b) ([!\"$-\[\]-~]++) HTTP/([0-9]\.[0-9])\r\n" % _TOKEN)
# RFC 9112, 2.2 and 5; RFC 9110, 5.5: no white space before the colon, folded lines, control characters, other line ends.
# Names have at most 256 bytes, since Twisted's Headers keep 10,000 of them forever.
_HEADER = re.compile(rb"(?<=\n)(?![^:]{257})(%b):[\t ]*+([^\x00-\x08\x0a-\x1f\x7f]*(?<![\t ])|)[\t ]*+\r\n" % _TOKEN)
# RFC 9110, 8.6, and stricter: a length without leading zeros. RFC 9112, 6.1: `chunked` is the last coding, and occurs once.
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_CODING = rb"(?!chunked[ \t;,])%b(?:[ \t]*;[ \t]*%b[ \t]*=[ \t]*%b)*+" % (_TOKEN, _TOKEN, _VALUE)
_CODINGS = re.compile(rb"((?:%b[ \t]*+,[ \t]*+)*+)chunked" % _CODING)
# RFC 9112, 7.1: the line end of the previous chunk, the size and extensions of the next one; and the beginning of such a line.
_CHUNK_LINE = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%b(?:=%b)?)*\r\n" % (_TOKEN, _VALUE))
_CHUNK_LINE_BEGIN = re.compile(rb"(?:\r(?:\n[^\n]{0,%d})?)?" % (_MAX_CHUNK_LINE - 3))
# The requests of a client have the same names of headers; those that wait share them.
_lower = lru_cache(128)(lambda names: tuple(name.lower() for name in names))


class Head(NamedTuple):
    """A request line, and the lower-case names and the values of headers. `length` is the body's size; None if it is chunked."""

    method: bytes
    target: bytes
    version: bytes
    names: tuple[bytes, ...]
    values: tuple[bytes, ...]
    length: int | None
    keep_alive: bool
    expects_continue: bool


NO_HEAD = Head(b"-", b"*", b"HTTP/1.1", (), (), 0, False, False)  # stands for a head that could not be parsed


def read_head(received: bytes) -> tuple[Head | None, bytes]:
    """Return the head at the beginning of the bytes, or None while it is incomplete, and the bytes after it. Raises
    Problem: the head is malformed, too long, or not supported."""
    # RFC 9112, 2.2: old clients send an empty line after a body.
    received = received.removeprefix(b"\r\n")
    end = _end_of_headers(received, 0)
    return (None, received) if end < 0 else (_parse_head(received[: end + 2]), received[end + 4 :])


def _end_of_headers(data: bytes, begin: int) -> int:
    end = data.find(b"\r\n\r\n", begin, begin + _MAX_HEAD + 4)
    if end < 0 and len(data) - begin > _MAX_HEAD:
        status, part = (431, "headers are") if b"\r\n" in data[begin : begin + _MAX_HEAD] else (414, "request line is")
        raise Problem(status, f"the {part} longer than {_MAX_HEAD} bytes")
    if end < 0 and data.count(b"\n", begin) > data.count(b"\r\n", begin):
        raise Problem(400, "a line ends with LF instead of CR LF")
    return end


def _parse_head(raw: bytes) -> Head:
    if (line := _REQUEST_LINE.match(raw)) is None:
        raise Problem(400, "the request line is malformed")
    method, target, version = line.groups()
    if version not in (b"1.1", b"1.0"):
        raise Problem(505, "the HTTP version is not supported; use HTTP/1.1 or HTTP/1.0")
    count = raw.count(b"\n") - 1
    if count > _MAX_HEADERS:
        raise Problem(431, f"the request has more than {_MAX_HEADERS} headers")
    if len(headers := _HEADER.findall(raw, line.end())) != count:
        raise Problem(400, "a header is malformed, or its name is longer than 256 bytes")
    names, values = zip(*headers, strict=True) if headers else ((), ())
    names = _lower(names)
    return Head(method, target, b"HTTP/" + version, names, values, *_framing(names, values, version == b"1.1"))


def _framing(names: tuple[bytes, ...], values: tuple[bytes, ...], modern: bool) -> tuple[int | None, bool, bool]:
    """Return `length`, `keep_alive` and `expects_continue` (RFC 9112, 3.2, 6.1, 6.3 and 9.3; RFC 9110, 8.6 and 10.1.1)."""
    fields = dict(zip(names, values, strict=True))
    if len(fields) < len(names):
        if any(names.count(name) > 1 for name in (b"host", b"content-length", b"content-type")):
            raise Problem(400, "Host, Content-Length or Content-Type occurs twice")
        for joined in fields.keys() & {b"connection", b"transfer-encoding", b"expect"}:
            fields[joined] = b",".join(value for name, value in zip(names, values, strict=True) if name == joined)
    host = fields.get(b"host")
    if modern if host is None else not is_host(host):
        raise Problem(400, "the Host header is missing or malformed")
    if _LENGTH.fullmatch(size := fields.get(b"content-length", b"0")) is None:
        raise Problem(400, "Content-Length is malformed")
    length: int | None = int(size)
    if b"transfer-encoding" in fields:
        codings = _CODINGS.fullmatch(fields[b"transfer-encoding"].lower())
        if codings is None or b"content-length" in fields or not modern:
            raise Problem(400, "Transfer-Encoding is malformed, or occurs together with Content-Length or in HTTP/1.0")
        if codings[1]:
            raise Problem(501, "the transfer coding is not supported; the only valid one is chunked")
        length = None
    if (expect := fields.get(b"expect", b"").lower()) not in (b"", b"100-continue"):
        raise Problem(417, "the expectation is not supported; the only valid one is 100-continue")
    closing = b"connection" in fields and b"close" in map(bytes.strip, fields[b"connection"].lower().split(b","))
    return length, modern and not closing, modern and bool(expect)


class ChunkedBody:
    """A parser of a chunked body (RFC 9112, 7.1). Extensions and trailers are checked and discarded."""

    def __init__(self) -> None:
        self._buffer, self._left = b"\r\n", 0

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the decoded bytes in `data`, and the bytes after the body; None while it is incomplete. Raises Problem."""
        data = self._buffer + data
        body, at = [], 0
        while True:
            body.append(data[at : at + self._left])
            at += len(body[-1])
            self._left -= len(body[-1])
            line = _CHUNK_LINE.match(data, at, at + _MAX_CHUNK_LINE)
            if line is None:
                if not _CHUNK_LINE_BEGIN.fullmatch(data, at):
                    raise Problem(400, "a chunk is malformed")
                break
            self._left = int(line[1], 16)
            if not self._left:
                end = _end_of_headers(data, line.end() - 2)
                if end < 0:
                    break
                if len(_HEADER.findall(data, line.end(), end + 2)) != data.count(b"\n", line.end(), end + 2):
                    raise Problem(400, "a trailer is malformed")
                return b"".join(body), data[end + 4 :]
            at = line.end()
        self._buffer = data[at:]
        return b"".join(body), None
