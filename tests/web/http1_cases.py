"""HTTP/1.1 requests as bytes, each with the status of its response and whether the connection is kept.

The table is independent of the server's parser. It contains the requirements of RFC 9110 and RFC 9112, and the cases in which
errklein is stricter. `tests.web.test_http1_conformance` sends each row to a server with these routes:

- `/hello` accepts GET, HEAD, OPTIONS and POST;
- all other paths get 404.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A request and its response. With `kept`, the connection serves the next request; else it is closed."""

    name: str
    sent: bytes
    status: int
    kept: bool


def _request(
    *headers: bytes,
    line: bytes = b"POST /hello HTTP/1.1",
    host: bytes = b"Host: localhost\r\n",
    body: bytes = b"",
) -> bytes:
    return line + b"\r\n" + host + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def _header(value: bytes, status: int, kept: bool, *, body: bytes = b"", name: bytes = b"Transfer-Encoding") -> Case:
    shown = (name + b":" + value).decode("latin-1")
    return Case(f"{shown!r}", _request(name + b":" + value, body=body), status, kept)


def _line(line: bytes, status: int, kept: bool) -> Case:
    return Case(f"{line.decode('latin-1')!r}", _request(line=line), status, kept)


_EMPTY = b"0\r\n\r\n"
_CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"

TRANSFER_ENCODING = (
    # RFC 9112, 6.1 and 6.3: chunked is the last coding, and applied once.
    _header(b" chunked", 200, True, body=_CHUNKS),
    _header(b"chunked", 200, True, body=_CHUNKS),
    _header(b" Chunked", 200, True, body=_CHUNKS),
    _header(b"\tchunked \t", 200, True, body=_CHUNKS),
    _header(b" chunked, gzip", 400, False, body=_EMPTY),
    _header(b" chunked,gzip", 400, False, body=_EMPTY),
    _header(b" gzip", 400, False, body=_EMPTY),
    _header(b" identity", 400, False, body=_EMPTY),
    _header(b" chunked, identity", 400, False, body=_EMPTY),
    _header(b" chunked, chunked", 400, False, body=_EMPTY),
    _header(b" chunked, gzip, chunked", 400, False, body=_EMPTY),
    _header(b" xchunked", 400, False, body=_EMPTY),
    _header(b" chunkedx", 400, False, body=_EMPTY),
    # Codings that could be undone, in principle, but aren't supported.
    _header(b" gzip, chunked", 501, False, body=_EMPTY),
    _header(b" gzip ,\tchunked", 501, False, body=_EMPTY),
    _header(b" x-new;level=1, chunked", 501, False, body=_EMPTY),
    _header(b' x-new;level="1, chunked", chunked', 501, False, body=_EMPTY),
    # Empty elements of the list, which RFC 9110, 5.6.1.2, would have a recipient ignore.
    _header(b"", 400, False, body=_EMPTY),
    _header(b" \t", 400, False, body=_EMPTY),
    _header(b" ,chunked", 400, False, body=_EMPTY),
    _header(b" , chunked", 400, False, body=_EMPTY),
    _header(b" chunked,", 400, False, body=_EMPTY),
    _header(b" chunked , ", 400, False, body=_EMPTY),
    _header(b" gzip,,chunked", 400, False, body=_EMPTY),
    _header(b" ,", 400, False, body=_EMPTY),
    # What isn't a coding at all. `chunked` has no parameters (RFC 9112, 7.1).
    _header(b' "chunked"', 400, False, body=_EMPTY),
    _header(b" 'chunked'", 400, False, body=_EMPTY),
    _header(b" chunked;q=1", 400, False, body=_EMPTY),
    _header(b" chunked;q=1, chunked", 400, False, body=_EMPTY),
    _header(b" chunked;", 400, False, body=_EMPTY),
    _header(b" gzip;, chunked", 400, False, body=_EMPTY),
    _header(b" chunked gzip", 400, False, body=_EMPTY),
    _header(b" gzip chunked", 400, False, body=_EMPTY),
    _header(b" gzip\tchunked", 400, False, body=_EMPTY),
    _header(b" chun\xe9ked", 400, False, body=_EMPTY),
    _header(b" chunked\x0b", 400, False, body=_EMPTY),
    _header(b" \x0bchunked", 400, False, body=_EMPTY),
    _header(b" chunked\x00", 400, False, body=_EMPTY),
    _header(b" \xa0chunked", 400, False, body=_EMPTY),
    # Two fields are one list.
    Case(
        "chunked in two fields",
        _request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=_EMPTY),
        400,
        False,
    ),
    Case(
        "chunked, then gzip in a second field",
        _request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", body=_EMPTY),
        400,
        False,
    ),
    Case(
        "gzip, then chunked in a second field",
        _request(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", body=_EMPTY),
        501,
        False,
    ),
    Case(
        "an empty field beside chunked",
        _request(b"Transfer-Encoding: chunked", b"Transfer-Encoding:", body=_EMPTY),
        400,
        False,
    ),
    # RFC 9112, 5.2: folded lines.
    _header(b"\r\n chunked", 400, False, body=_EMPTY),
    _header(b" chunked\r\n\t", 400, False, body=_EMPTY),
    _header(b" chunked,\r\n gzip", 400, False, body=_EMPTY),
    # RFC 9112, 6.1: with a length, and in HTTP/1.0.
    Case(
        "Transfer-Encoding after Content-Length",
        _request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=_EMPTY),
        400,
        False,
    ),
    Case(
        "Transfer-Encoding before Content-Length",
        _request(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=_EMPTY),
        400,
        False,
    ),
    Case(
        "Transfer-Encoding beside a Content-Length of 0",
        _request(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=_EMPTY),
        400,
        False,
    ),
    Case(
        "an unknown coding beside Content-Length",
        _request(b"Content-Length: 5", b"Transfer-Encoding: gzip, chunked", body=_EMPTY),
        400,
        False,
    ),
    Case(
        "Transfer-Encoding in HTTP/1.0",
        _request(b"Transfer-Encoding: chunked", b"Connection: keep-alive", line=b"POST /hello HTTP/1.0", body=_EMPTY),
        400,
        False,
    ),
    Case("white space before the colon", _request(b"Transfer-Encoding : chunked", body=_EMPTY), 400, False),
    Case("a tab before the colon", _request(b"Transfer-Encoding\t: chunked", body=_EMPTY), 400, False),
    Case("white space before the name", _request(b" Transfer-Encoding: chunked", body=_EMPTY), 400, False),
    # Another header. As a body isn't announced, the chunks are the beginning of the next request.
    Case("an underscore in place of the hyphen", _request(b"Transfer_Encoding: chunked"), 200, True),
)

CHUNKS = tuple(
    Case(name, _request(b"Transfer-Encoding: chunked", body=body), status, kept)
    for name, body, status, kept in (
        ("upper-case size with leading zeros", b"0002\r\n{}\r\n0\r\n\r\n", 200, True),
        ("a chunk extension", b'2;a=b;c="d"\r\n{}\r\n0\r\n\r\n', 200, True),
        ("a trailer", b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", 200, True),
        ("no digits", b"\r\n{}\r\n0\r\n\r\n", 400, False),
        ("a sign", b"+2\r\n{}\r\n0\r\n\r\n", 400, False),
        ("0x", b"0x2\r\n{}\r\n0\r\n\r\n", 400, False),
        ("an underscore in the size", b"0_2\r\n{}\r\n0\r\n\r\n", 400, False),
        ("white space before the size", b" 2\r\n{}\r\n0\r\n\r\n", 400, False),
        ("white space after the size", b"2 \r\n{}\r\n0\r\n\r\n", 400, False),
        ("an empty extension", b"2;\r\n{}\r\n0\r\n\r\n", 400, False),
        ("a bare line feed after the size", b"2\n{}\r\n0\r\n\r\n", 400, False),
        ("a bare carriage return in the extension", b"2;a\rb\r\n{}\r\n0\r\n\r\n", 400, False),
        ("a bare line feed after the chunk", b"2\r\n{}\n0\r\n\r\n", 400, False),
        ("a chunk that is longer than its declared size", b"2\r\n{}}\r\n0\r\n\r\n", 400, False),
        ("a size that overflows", b"10000000000000002\r\n{}\r\n0\r\n\r\n", 400, False),
        ("a bare line feed after the last chunk", b"2\r\n{}\r\n0\n\r\n", 400, False),
        ("a bare line feed in the trailer", b"2\r\n{}\r\n0\r\nX-Sum: 1\n\r\n", 400, False),
        ("a folded trailer", b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n", 400, False),
    )
)

CONTENT_LENGTH = (
    # RFC 9112, 6.3.
    _header(b" 2", 200, True, body=b"{}", name=b"Content-Length"),
    _header(b"2", 200, True, body=b"{}", name=b"Content-Length"),
    _header(b"  \t2", 200, True, body=b"{}", name=b"Content-Length"),
    _header(b" 2 \t ", 200, True, body=b"{}", name=b"Content-Length"),
    _header(b" 0", 200, True, name=b"Content-Length"),
    _header(b" 00", 400, False, name=b"Content-Length"),
    _header(b" 02", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 007", 400, False, body=b"[12345]", name=b"Content-Length"),
    _header(b"", 400, False, name=b"Content-Length"),
    _header(b" +2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" -2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" -0", 400, False, name=b"Content-Length"),
    _header(b" 1_0", 400, False, body=b"[12345678]", name=b"Content-Length"),
    _header(b" 1 0", 400, False, body=b"[12345678]", name=b"Content-Length"),
    _header(b" 2,2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 2, 2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 2,", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" ,2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 2;a=b", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 0x2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 2.0", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 2e0", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b' "2"', 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" \xc2\xb2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" \xd9\xa2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 2\x0c", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" \xa02", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 99999999999999999999999", 400, False, name=b"Content-Length"),
    _header(b"\r\n 2", 400, False, body=b"{}", name=b"Content-Length"),
    _header(b" 1\r\n 2", 400, False, body=b"{}", name=b"Content-Length"),
    Case("two equal lengths", _request(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"), 400, False),
    Case("two different lengths", _request(b"Content-Length: 2", b"Content-Length: 3", body=b"{}"), 400, False),
    Case("two lengths in different case", _request(b"Content-Length: 2", b"CONTENT-LENGTH: 2", body=b"{}"), 400, False),
    Case("white space before the colon of a length", _request(b"Content-Length : 2", body=b"{}"), 400, False),
)

CONTENT_TYPE = (
    Case("one type", _request(b"Content-Type: application/json", b"Content-Length: 2", body=b"{}"), 200, True),
    Case(
        "two types",
        _request(b"Content-Type: application/json", b"Content-Type: text/plain", b"Content-Length: 2", body=b"{}"),
        400,
        False,
    ),
    Case(
        "twice the same type",
        _request(b"Content-Type: text/plain", b"content-type: text/plain", b"Content-Length: 2", body=b"{}"),
        400,
        False,
    ),
    Case(
        "two types without a body",
        _request(b"Content-Type: text/plain", b"Content-Type: text/html", line=b"GET /hello HTTP/1.1"),
        400,
        False,
    ),
    Case("an empty type beside another", _request(b"Content-Type: text/plain", b"Content-Type:"), 400, False),
)

METHOD = (
    # RFC 9110, 9.1: methods are case-sensitive.
    _line(b"GET /hello HTTP/1.1", 200, True),
    _line(b"get /hello HTTP/1.1", 405, True),
    _line(b"Get /hello HTTP/1.1", 405, True),
    _line(b"gET /hello HTTP/1.1", 405, True),
    _line(b"post /hello HTTP/1.1", 405, True),
    _line(b"head /hello HTTP/1.1", 405, True),
    _line(b"options /hello HTTP/1.1", 405, True),
    _line(b"BREW /hello HTTP/1.1", 405, True),
    _line(b"PUT /hello HTTP/1.1", 405, True),
    _line(b"M-SEARCH /hello HTTP/1.1", 405, True),
    _line(b"get /nowhere HTTP/1.1", 404, True),
    _line(b"G(T /hello HTTP/1.1", 400, False),
    _line(b"G\xc9T /hello HTTP/1.1", 400, False),
    _line(b"G\x00T /hello HTTP/1.1", 400, False),
    _line(b'"GET" /hello HTTP/1.1', 400, False),
    _line(b"GET: /hello HTTP/1.1", 400, False),
    _line(b" GET /hello HTTP/1.1", 400, False),
    _line(b"/hello HTTP/1.1", 400, False),
)

TARGET = (
    # RFC 9112, 3.2, and RFC 3986: what a target can't hold.
    _line(b"GET /hello?a=b HTTP/1.1", 200, True),
    _line(b"GET /hello#a HTTP/1.1", 400, False),
    _line(b"GET /hello# HTTP/1.1", 400, False),
    _line(b"GET /hello?a#b HTTP/1.1", 400, False),
    _line(b"GET # HTTP/1.1", 400, False),
    _line(b"GET /hello%23a HTTP/1.1", 404, True),
    _line(b"GET http://localhost/hello#a HTTP/1.1", 400, False),
    _line(b"GET \\hello HTTP/1.1", 400, False),
    _line(b"GET /a\\..\\hello HTTP/1.1", 400, False),
    _line(b"GET /hello\\ HTTP/1.1", 400, False),
    _line(b"GET /hello?a\\b HTTP/1.1", 400, False),
    _line(b"GET /hello?a%5Cb HTTP/1.1", 200, True),
    _line(b"GET /hell\xc3\xb6 HTTP/1.1", 400, False),
    _line(b"GET /hello\xff HTTP/1.1", 400, False),
    _line(b"GET /hello?\xe2\x82\xac HTTP/1.1", 400, False),
    _line(b"GET /hello?\x80 HTTP/1.1", 400, False),
    _line(b"GET http://localh\xf6st/hello HTTP/1.1", 400, False),
    _line(b"GET /hello\x00 HTTP/1.1", 400, False),
    _line(b"GET /hello\t HTTP/1.1", 400, False),
    _line(b"GET /hello\x0b HTTP/1.1", 400, False),
    _line(b"GET /hello\x7f HTTP/1.1", 400, False),
    _line(b"GET /he llo HTTP/1.1", 400, False),
    # RFC 3986 has these escaped, too; senders often don't, and nobody reads them in another way.
    _line(b'GET /hello?q={"a":[1|2]}&r=<x^y`z> HTTP/1.1', 200, True),
    # The forms: origin, absolute, authority, asterisk.
    _line(b"GET http://localhost/hello HTTP/1.1", 200, True),
    _line(b"GET HTTPS://localhost:3141/hello?a HTTP/1.1", 200, True),
    _line(b"GET http://elsewhere.example/hello HTTP/1.1", 200, True),
    _line(b"GET http://[::1]:80/hello HTTP/1.1", 200, True),
    _line(b"GET ftp://localhost/hello HTTP/1.1", 400, True),
    # RFC 3986, 3.2: the authority ends at a slash or question mark. RFC 9110, 4.2: it has a host, and no user.
    _line(b"GET http://localhost HTTP/1.1", 200, True),
    _line(b"GET http://localhost?/hello HTTP/1.1", 200, True),
    _line(b"GET http://localhost?a=b/hello HTTP/1.1", 200, True),
    _line(b"GET http:///hello HTTP/1.1", 400, True),
    _line(b"GET http://:80/hello HTTP/1.1", 400, True),
    _line(b"GET http://user@localhost/hello HTTP/1.1", 400, True),
    _line(b"GET http://a,b/hello HTTP/1.1", 400, True),
    _line(b"GET http://local%68ost/hello HTTP/1.1", 400, True),
    _line(b"GET http://[::z]/hello HTTP/1.1", 400, True),
    _line(b"GET hello HTTP/1.1", 400, True),
    _line(b"GET localhost:80 HTTP/1.1", 400, True),
    _line(b"CONNECT localhost:80 HTTP/1.1", 400, True),
    _line(b"OPTIONS * HTTP/1.1", 200, True),
    _line(b"GET * HTTP/1.1", 400, True),
    _line(b"POST * HTTP/1.1", 400, True),
    _line(b"options * HTTP/1.1", 400, True),
    _line(b"OPTIONS /hello HTTP/1.1", 200, True),
)

REQUEST_LINE = (
    # RFC 9112, 3 and 2.3.
    _line(b"GET /hello", 400, False),
    _line(b"GET HTTP/1.1", 400, False),
    _line(b"GET  /hello HTTP/1.1", 400, False),
    _line(b"GET /hello  HTTP/1.1", 400, False),
    _line(b"GET\t/hello HTTP/1.1", 400, False),
    _line(b"GET /hello HTTP/1.1 ", 400, False),
    _line(b"GET /hello HTTP/1.1x", 400, False),
    _line(b"GET /hello http/1.1", 400, False),
    _line(b"GET /hello HTTP/1", 400, False),
    _line(b"GET /hello HTTP/01.1", 400, False),
    _line(b"GET /hello HTTP/1.10", 400, False),
    _line(b"GET /hello HTTPS/1.1", 400, False),
    _line(b"GET /hello HTTP /1.1", 400, False),
    _line(b"GET /hello HTTP/1.2", 505, False),
    _line(b"GET /hello HTTP/2.0", 505, False),
    _line(b"GET /hello HTTP/0.9", 505, False),
    _line(b"GET /hello\rHTTP/1.1", 400, False),
    Case("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, False),
    Case("an empty line before the request", b"\r\n" + _request(), 200, True),
    Case("a bare line feed before the request", b"\n" + _request(), 400, False),
    Case("white space after the request line", _request(line=b"GET /hello HTTP/1.1\r\n "), 400, False),
)

HOST = (
    # RFC 9112, 3.2.
    Case("no Host", _request(host=b""), 400, False),
    Case("no Host, absolute form", _request(line=b"GET http://localhost/hello HTTP/1.1", host=b""), 400, False),
    Case("no Host in HTTP/1.0", _request(line=b"GET /hello HTTP/1.0", host=b""), 200, False),
    Case("two Hosts in HTTP/1.0", _request(b"Host: a", line=b"GET /hello HTTP/1.0"), 400, False),
    Case("two equal Hosts", _request(b"Host: localhost"), 400, False),
    Case("two different Hosts", _request(b"Host: elsewhere"), 400, False),
    *(
        Case(f"Host: {value.decode('latin-1')!r}", _request(host=b"Host:" + value + b"\r\n"), status, kept)
        for value, status, kept in (
            (b"localhost", 200, True),
            (b" localhost:3141 ", 200, True),
            (b" LOCALHOST.", 200, True),
            (b" 127.0.0.1", 200, True),
            (b" [::1]:80", 200, True),
            (b"", 400, False),
            (b" :80", 400, False),
            (b" a b", 400, False),
            (b" a, b", 400, False),
            (b" a@b", 400, False),
            (b" a/b", 400, False),
            (b" a#b", 400, False),
            (b" a\\b", 400, False),
            (b" http://a", 400, False),
            (b" a:port", 400, False),
            (b" a:80:80", 400, False),
            (b" a:123456", 400, False),
            (b" [::1", 400, False),
            (b" [::::]", 400, False),
            (b" \xe9", 400, False),
            (b" " + b"a" * 64, 400, False),
        )
    ),
)

HEADERS = (
    # RFC 9112, 2.2 and 5; RFC 9110, 5.
    Case("a header without a value", _request(b"X-A:"), 200, True),
    Case("bytes above 127 in a value", _request(b"X-A: \xe9\xff"), 200, True),
    Case("a tab in a value", _request(b"X-A: a\tb"), 200, True),
    Case("no colon", _request(b"X-A"), 400, False),
    Case("no name", _request(b": a"), 400, False),
    Case("a space in a name", _request(b"X A: a"), 400, False),
    Case("white space before a colon", _request(b"X-A : a"), 400, False),
    Case("a control character in a name", _request(b"X\x01A: a"), 400, False),
    Case("a byte above 127 in a name", _request(b"X-\xc4: a"), 400, False),
    Case("a folded value", _request(b"X-A: a\r\n b"), 400, False),
    Case("a value folded with a tab", _request(b"X-A: a\r\n\tb"), 400, False),
    Case("a fold of white space alone", _request(b"X-A: a\r\n "), 400, False),
    Case("a fold after the request line", _request(host=b" Host: localhost\r\n"), 400, False),
    Case("NUL in a value", _request(b"X-A: a\x00b"), 400, False),
    Case("a control character in a value", _request(b"X-A: a\x1fb"), 400, False),
    Case("DEL in a value", _request(b"X-A: a\x7fb"), 400, False),
    Case("a bare carriage return in a value", _request(b"X-A: a\rb"), 400, False),
    Case("a carriage return before the line end", _request(b"X-A: a\r"), 400, False),
    Case("a bare line feed in a value", _request(b"X-A: a\nX-B: b"), 400, False),
    Case("line feeds alone", b"GET /hello HTTP/1.1\nHost: localhost\n\n", 400, False),
    Case("a bare line feed at the end of the head", b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\n", 400, False),
    Case("more than 500 headers", _request(*(b"X: 1" for _ in range(500))), 431, False),
    Case("more than 16 kB of headers", _request(b"X-A: " + b"a" * 16_400), 431, False),
    Case("a request line of more than 16 kB", _request(line=b"GET /" + b"a" * 16_400 + b" HTTP/1.1"), 414, False),
    Case("Connection: close", _request(b"Connection: close"), 200, False),
    Case("Connection: close in a list", _request(b"Connection: x, Close"), 200, False),
    Case("an unknown expectation", _request(b"Expect: miracles"), 417, False),
    Case("one of two expectations is unknown", _request(b"Expect: miracles", b"Expect: 100-continue"), 417, False),
)

CASES = (
    *TRANSFER_ENCODING,
    *CHUNKS,
    *CONTENT_LENGTH,
    *CONTENT_TYPE,
    *METHOD,
    *TARGET,
    *REQUEST_LINE,
    *HOST,
    *HEADERS,
)
