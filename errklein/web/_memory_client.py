"""An HTTP client without sockets, whose requests go through the real site and its parser."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from errklein.web._site import Site

_SAFE = "!#$%&'()*+,/:;=?@[]~"

RequestHeaders = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class ClientResponse:
    """A response of the web server, as tests get it.

    ::

        response = self.post("/builds/7", json={"status": "ok"})
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json(), {"number": 7})
        self.assertEqual(response.header("content-type"), "application/json")
    """

    status: int
    reason: str  #: the reason phrase, such as "OK"
    headers: tuple[tuple[str, str], ...]  #: pairs of name and value, in the order and case in which they were sent
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of the first header with this name, in any case; None if it is missing."""
        return next((value for header, value in self.headers if header.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as text, decoded as UTF-8; invalid bytes are replaced by U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the value of a JSON body. Raises ValueError with the status and the beginning of the body."""
        try:
            return json.loads(self.body)
        except ValueError:
            text = f"the body of the response {self.status} {self.reason} is not JSON: {self.text[:300]!r}"
            raise ValueError(text) from None


class ConnectionBroken(Exception):
    """The server aborted the connection before the response was complete, such as when a generator raised."""


def send_request(
    site: Site, method: str, url: str, headers: RequestHeaders = (), body: bytes = b"", origin: str = ""
) -> Deferred[ClientResponse]:
    """Send a request to a site, on a connection in memory of its own. `origin` is "test" for one whose source isn't verified, and
    which runs at once. The Deferred may fail with ConnectionBroken. Raises ValueError as `request_bytes`."""
    request = request_bytes(method, url, headers, body)
    transport = _MemoryTransport(method.upper())
    channel = site.buildProtocol(transport.getPeer())
    channel.origin = origin
    transport.protocol = channel
    channel.makeConnection(transport)  # type: ignore[no-untyped-call]
    channel.dataReceived(request)
    return transport.response


def request_bytes(method: str, url: str, headers: RequestHeaders = (), body: bytes = b"") -> bytes:
    """Return the bytes of a request. Host, Content-Length and Connection are added, and the URL is escaped. Raises ValueError:
    the method is invalid, or a header has more than one line."""
    parts = urlsplit(url)
    target = quote(parts.path or "/", _SAFE)
    if parts.query:
        target += f"?{quote(parts.query, _SAFE)}"
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    given = {name.lower() for name, _ in pairs}
    if "host" not in given:
        pairs.insert(0, ("Host", parts.netloc or "localhost"))
    if "content-length" not in given and "transfer-encoding" not in given and (body or method.upper() != "GET"):
        pairs.append(("Content-Length", str(len(body))))
    if "connection" not in given:
        pairs.append(("Connection", "close"))
    if not method or not method.isprintable() or " " in method:
        raise ValueError(f"invalid HTTP method: {method!r}")
    if any(character in "".join(pair) for pair in pairs for character in "\r\n\0"):
        raise ValueError("a header contains a line end or NUL; its name and value must be one line")
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method.upper()} {target} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape") + body


@implementer(ITransport, IConsumer, IPushProducer)
class _MemoryTransport:
    """The server's transport of a connection in memory."""

    disconnecting = False

    def __init__(self, method: str) -> None:
        self.response: Deferred[ClientResponse] = Deferred(lambda _: self.abortConnection())
        self.protocol: Any = None
        self._method = method
        self._received = bytearray()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 0)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 80)

    def write(self, data: bytes) -> None:
        self._received += data

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._received += b"".join(data)

    def loseConnection(self) -> None:
        self._close(ConnectionDone())

    def abortConnection(self) -> None:
        self._received.clear()
        self._close(ConnectionAborted())

    # No producer is paused, since the buffer has no limit.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    pauseProducing = resumeProducing = stopProducing = unregisterProducer

    def _close(self, reason: Exception) -> None:
        if self.disconnecting:
            return
        self.disconnecting = True
        self.protocol.connectionLost(Failure(reason))
        response = _parse_response(bytes(self._received), self._method)
        if self.response.called:
            return
        if response is None:
            text = "the server aborted the connection before the response was complete"
            self.response.errback(ConnectionBroken(text))
        else:
            self.response.callback(response)


def _parse_response(raw: bytes, method: str) -> ClientResponse | None:
    socket: Any = SimpleNamespace(makefile=lambda mode: io.BytesIO(raw))
    response = HTTPResponse(socket, method=method)
    try:
        response.begin()
        body = response.read()
    except HTTPException:
        return None
    return ClientResponse(response.status, response.reason, tuple(response.getheaders()), body)
