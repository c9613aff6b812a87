"""Generates valid and invalid HTTP requests for `fuzz_http.py`. The same seed always results in the same bytes."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

PATHS = (
    *("/plain", "/async", "/form", "/raw", "/raw_async", "/small", "/generator", "/stream", "/large", "/fails"),
    *("/board/card/7", "/board/card/", "/board", "/socket", "/variable/7/a/b", "/unknown", "/"),
)
ENDS = ("wait",) * 14 + ("close", "close", "reset", "reset", "half-close", "slow")
SPECIAL = (
    "", "\x00", "\ud800", "é", "😀", "a" * 300, "=", "&", "%", "\r\n", '"', "\\", "../..", "<a>", "null", "1e999",
)  # fmt: skip
PIECES = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b";", b"=", b'"', b"0", b"1", b"-1", b"%", b"%00", b"%ff", b"#", b"\\",
    b"\x00", b"\x7f", b"\x80", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"[", b"]", b"{", b"//", b"/../",
    b"chunked", b"gzip, chunked", b"HTTP/1.0", b"HTTP/2.0", b"\r\n\r\n", b"0\r\n\r\n", b"\r\n ", b"ffffffff\r\n",
    b"http://a/", b"Host: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"--b--\r\n", b"--b\r\n",
)  # fmt: skip
HEADERS = (
    "Connection: close", "Connection: keep-alive, x", "Expect: 100-continue", "Accept: application/json;q=0.5, */*;q=x",
    "Cookie: a=b; c=\xe9; $x; =; a", "Forwarded: for=1.2.3.4;proto=https", "X-Forwarded-For: , x", "X-Forwarded-Host: a b",
    "Authorization: Basic !!", "Range: bytes=0-1", "If-Modified-Since: yesterday", "Content-Encoding: gzip",
    "Accept-Charset: x", "Content-Range: bytes 0-1/2", "If-None-Match: *", "X-\x7e: \xff", "Upgrade: h2c", "Origin: null",
    "Date: 0", "TE: trailers",
)  # fmt: skip
SOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "


@dataclass(frozen=True)
class Exchange:
    """What a client does on a connection.

    It sends `pieces`, with pauses between them, and then waits for the responses, closes or resets the connection, closes only
    its own side of it, or reads slowly, as `end` says. `patience` is the number of seconds that it waits for a first response.
    """

    seed: int
    pieces: Sequence[bytes]
    pause: float
    end: str
    patience: float

    @property
    def sent(self) -> bytes:
        """All bytes."""
        return b"".join(self.pieces)


def exchange(seed: int, longest: float) -> Exchange:
    """Return the exchange of a seed. Few clients wait for `longest` seconds, in which the server must respond or close."""
    rng = random.Random(seed)
    data = b"".join(mutated(rng, request(rng)) for _ in range(rng.choice((1, 1, 1, 2, 3, 10))))
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data) + 1)]
    patience = longest if rng.random() < 0.05 else 1.0
    return Exchange(seed, pieces(rng, data), rng.choice((0, 0, 0.001)), rng.choice(ENDS), patience)


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """Return the bytes in one piece, in some, or one by one."""
    kind = rng.random()
    if kind < 0.5:
        return [data]
    if kind < 0.6 and len(data) < 500:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def request(rng: random.Random) -> bytes:
    """Return a valid request."""
    path = rng.choice(PATHS)
    if rng.random() < 0.2:
        path += quote(text(rng), errors="replace")
    if rng.random() < 0.3:
        path += "?" + form(rng)
    if rng.random() < 0.05:
        path = rng.choice(("*", "http://localhost" + path, "localhost:80", path + "//", "/.." + path))
    method = rng.choice(("POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "CONNECT", "x"))
    lines = ["Host: localhost"]
    lines += rng.sample(HEADERS, rng.choice((0, 0, 1, 3)))
    if "socket" in path:
        lines.append(SOCKET + rng.choice(("dGhlIHNhbXBsZSBub25jZQ==", "x", "")))
    content_type, body = rng.choice(((rng.choice(("text/plain", "")), b""), contents(rng), contents(rng)))
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if rng.random() < 0.5:
        if body or rng.random() < 0.5:
            lines.append(f"Content-Length: {len(body)}")
    else:
        lines.append("Transfer-Encoding: chunked")
        body = chunked(rng, body)
    rng.shuffle(lines)
    line = f"{method} {path} HTTP/1.{rng.choice('11110')}"
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1") + body


def contents(rng: random.Random) -> tuple[str, bytes]:
    """Return a content type and a body."""
    kind = rng.randrange(7)
    charset = rng.choice(
        ("", "", "; charset=utf-8", "; charset=utf-16", "; charset=unknown", "; charset=latin-1", ";;=")
    )
    if kind <= 1:
        return "application/json" + charset, json.dumps(value(rng, 4), ensure_ascii=rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    if kind == 2:
        numbers = (
            b"[" * 5_000,
            b"9" * 5_000,
            b"1e999",
            b"-",
            b"NaN",
            b"[1,",
            b'{"a":1,"a":2}',
            b'"\\ud800"',
            b"\xef\xbb\xbf{}",
        )
        return "application/json" + charset, rng.choice(numbers)
    if kind == 3:
        return "application/x-www-form-urlencoded" + charset, form(rng).encode()
    if kind == 4:
        return "multipart/form-data" + rng.choice(
            ("; boundary=b", '; boundary="b"', "; boundary=", "", "; boundary=c")
        ), parts(rng)
    if kind == 5:
        return "text/plain" + charset, rng.randbytes(rng.choice((10, 2_000, 70_000)))
    return rng.choice(("application/octet-stream", "x", "/", "a/b;c", "text/xml")), rng.randbytes(rng.randrange(100))


def value(rng: random.Random, depth: int) -> object:
    """Return a value of JSON."""
    kind = rng.randrange(7 if depth else 5)
    if kind == 5:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {text(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return rng.choice((None, True, rng.randrange(-(2**70), 2**70), rng.random(), text(rng)))


def text(rng: random.Random) -> str:
    """Return a text, maybe an unusual one."""
    return rng.choice((*SPECIAL, *("".join(rng.choices(string.printable, k=rng.randrange(20))) for _ in range(8))))


def form(rng: random.Random) -> str:
    """Return the fields of a form."""
    names = ("payload", "a", "title", text(rng))
    fields = [(rng.choice(names), rng.choice((text(rng), json.dumps(value(rng, 2))))) for _ in range(rng.randrange(6))]
    return rng.choice("&&&;").join(
        f"{quote_plus(name, errors='replace')}={quote_plus(content, errors='replace')}" for name, content in fields
    )


def parts(rng: random.Random) -> bytes:
    """Return the parts of a form with files."""
    body = b""
    for _ in range(rng.randrange(5)):
        name = text(rng).encode("utf-8", "replace")
        filename = rng.choice(
            (b"", b'; filename="a.txt"', b"; filename=" + name, b"; filename*=utf-8''%ff", b"; filename*=x")
        )
        lines = [b'Content-Disposition: form-data; name="%b"%b' % (rng.choice((b"payload", name)), filename)]
        lines += rng.sample(
            (b"Content-Type: text/plain; charset=x", b"Content-Transfer-Encoding: base64", b"X", b" y"),
            rng.choice((0, 0, 1, 2)),
        )
        body += b"--b\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + rng.randbytes(rng.randrange(200)) + b"\r\n"
    return body + b"--b--\r\n"


def chunked(rng: random.Random, body: bytes) -> bytes:
    """Return a body in chunks, maybe with extensions and trailers."""
    chunks = b""
    while body:
        size = rng.randrange(1, len(body) + 1)
        extension = rng.choice((b"", b"", b";a", b' ; a="b;\\""'))
        chunks += rng.choice((b"%x", b"%X", b"00%x")) % size + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return chunks + b"0\r\n" + rng.choice((b"", b"", b"X-Sum: 1\r\n", b"Content-Length: 7\r\n")) + b"\r\n"


def mutated(rng: random.Random, raw: bytes) -> bytes:
    """Return the bytes with some changes, or none."""
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4))):
        # Most changes are in the head.
        begin = rng.randrange(1 + (len(raw) if rng.random() < 0.4 else min(len(raw), 200)))
        end = min(len(raw), begin + rng.choice((0, 1, 1, 2, 10, 100)))
        inserted = rng.choice((b"", rng.choice(PIECES), rng.choice(PIECES), raw[begin:end] * 2, rng.randbytes(1)))
        if rng.random() < 0.02:
            inserted = (inserted or b"a") * rng.choice((300, 9_000, 20_000))
        if rng.random() < 0.1:
            inserted = request(rng)
        raw = raw[:begin] + inserted + raw[end:]
    return raw
