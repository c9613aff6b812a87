"""A second implementation of the rules for requests, line by line and without regard to speed, for differential tests.

It reads whole requests. It rejects what `errklein.web._http1` rejects, with the same status, and reads the same from the rest.
"""

from __future__ import annotations

import re

from errklein.webhooks.hosts import is_host

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*\""
REQUEST_LINE = re.compile(rb"(%b) ([!\"$-\[\]-~]+) HTTP/([0-9])\.([0-9])" % TOKEN)
HEADER = re.compile(rb"(?=[^:]{1,256}:)(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)" % TOKEN)
CODING = re.compile(rb"[ \t]*(%b)((?:[ \t]*;[ \t]*%b[ \t]*=[ \t]*(?:%b|%b))*)[ \t]*" % (TOKEN, TOKEN, TOKEN, QUOTED))
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*%b(?:=(?:%b|%b))?)*" % (TOKEN, TOKEN, QUOTED))

Names = tuple[bytes, ...]
Values = tuple[bytes, ...]


class Rejected(Exception):
    """The bytes are invalid. The argument is the status."""


class Incomplete(Exception):
    """More bytes are needed."""


def require(condition: object, status: int = 400) -> None:
    """Raise Rejected unless the condition is true."""
    if not condition:
        raise Rejected(status)


def parse_head(raw: bytes) -> tuple[bytes, bytes, bytes, Names, Values, int | None, bool, bool]:
    """Return the fields of `Head` for a request line and headers without the empty line."""
    line, *lines = raw.split(b"\r\n")
    parts = REQUEST_LINE.fullmatch(line)
    require(parts)
    method, target, major, minor = parts.groups()
    require(major == b"1" and minor in b"01", 505)
    modern = minor == b"1"
    headers = [parse_header(line) for line in lines]

    def values(name: bytes) -> list[bytes]:
        return [value for other, value in headers if other == name]

    hosts, lengths, codings = values(b"host"), values(b"content-length"), values(b"transfer-encoding")
    require(len(hosts) == 1 if modern else len(hosts) <= 1)
    require(all(is_host(host) for host in hosts))
    require(len(values(b"content-type")) <= 1)
    require(len(lengths) <= 1)
    require(all(re.fullmatch(rb"0|[1-9][0-9]{0,17}", length) for length in lengths))
    require(not codings or (modern and not lengths))
    length = int(lengths[0]) if lengths else 0
    if codings:
        require(check_codings(b",".join(codings).lower()), 501)
        length = None
    expects = [b",".join(values(b"expect"))]
    require(all(expect.lower() in (b"", b"100-continue") for expect in expects), 417)
    options = [option.strip() for option in b",".join(values(b"connection")).lower().split(b",")]
    expecting = modern and any(expects)
    names, held = tuple(name for name, _ in headers), tuple(value for _, value in headers)
    return method, target, b"HTTP/1." + minor, names, held, length, modern and b"close" not in options, expecting


def parse_header(line: bytes) -> tuple[bytes, bytes]:
    """Return the name and the value in a line."""
    field = HEADER.fullmatch(line)
    require(field)
    return field[1].lower(), field[2].rstrip(b" \t")


def check_codings(value: bytes) -> bool:
    """Return whether chunked is the only transfer coding."""
    codings = []
    begin = 0
    while begin <= len(value):
        coding = CODING.match(value, begin)
        require(coding is not None and value[coding.end() : coding.end() + 1] in (b"", b","))
        codings.append((coding[1], coding[2]))
        begin = coding.end() + 1
    require(codings.pop() == (b"chunked", b"") and all(name != b"chunked" for name, _ in codings))
    return not codings


def parse_chunks(raw: bytes) -> tuple[bytes, bytes]:
    """Return a chunked body, decoded, and the bytes after it.

    :raises Incomplete: It has no end.
    """
    body = b""
    while True:
        line, raw = next_line(raw)
        size = CHUNK_LINE.fullmatch(line)
        require(size)
        length = int(size[1], 16)
        if not length:
            break
        require(b"\r\n".startswith(raw[length : length + 2]))
        if len(raw) < length + 2:
            raise Incomplete
        body += raw[:length]
        raw = raw[length + 2 :]
    while True:
        line, raw = next_line(raw)
        if not line:
            return body, raw
        parse_header(line)


def next_line(raw: bytes) -> tuple[bytes, bytes]:
    """Return the first line without its end, and the bytes after it."""
    line, end, rest = raw.partition(b"\r\n")
    require(b"\n" not in line)
    if not end:
        raise Incomplete
    return line, rest
