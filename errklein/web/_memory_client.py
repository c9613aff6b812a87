"""A client without sockets: requests go through the real site and its parser."""

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

HeaderPairs = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class ClientResponse:
    """What the server answered. `headers` are in order and as they were sent."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, in whatever case."""
        return next((value for header, value in self.headers if header.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The value that the body is the JSON of; raises ValueError."""
        return json.loads(self.body)


class ConnectionBroken(Exception):
    """The server broke the connection off before the answer was complete."""


class MemoryClient:
    """Sends requests to a site in memory, each on a connection of its own."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | HeaderPairs = (), body: bytes = b""
    ) -> Deferred[ClientResponse]:
        """Send a request, and wait for the answer. The Deferred fails with ConnectionBroken if there is none."""
        request = request_bytes(method, url, headers, body)
        transport = _MemoryTransport(method.upper())
        channel = self._site.buildProtocol(transport.getPeer())
        transport.protocol = channel
        channel.makeConnection(transport)  # type: ignore[no-untyped-call]
        channel.dataReceived(request)
        return transport.response


def request_bytes(method: str, url: str, headers: Mapping[str, str] | HeaderPairs = (), body: bytes = b"") -> bytes:
    """A request as it goes over the wire, with Host, Content-Length and Connection unless given, and the URL escaped.

    Raises ValueError for headers that aren't one line each, and for what is no method.
    """
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
        raise ValueError(f"{method!r} is no method")
    if any(character in "".join(pair) for pair in pairs for character in "\r\n\0"):
        raise ValueError("a header must be one line")
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method.upper()} {target} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape") + body


@implementer(ITransport, IConsumer, IPushProducer)
class _MemoryTransport:
    """The server's end of a connection that is nowhere but in memory."""

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

    # Memory is never full, so no producer is ever paused.

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
            self.response.errback(ConnectionBroken("the connection was broken off before the answer was complete"))
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
