"""A client without sockets: requests go through the real site and its parser."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from errklein.web.site import Site

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
        for header, value in self.headers:
            if header.lower() == name.lower():
                return value
        return None

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

    def __init__(self, reactor: Any, site: Site) -> None:
        self._reactor = reactor
        self._site = site

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | HeaderPairs | None = None,
        body: bytes = b"",
    ) -> Deferred[ClientResponse]:
        """Send a request, and wait for the answer. The Deferred fails with ConnectionBroken if there is none."""
        request = request_bytes(method, url, headers, body)
        transport = _MemoryTransport(method.upper())
        channel = self._site.buildProtocol(transport.getPeer())
        transport.protocol = channel
        channel.makeConnection(transport)  # type: ignore[no-untyped-call]
        channel.dataReceived(request)
        return transport.response


def request_bytes(
    method: str, url: str, headers: Mapping[str, str] | HeaderPairs | None = None, body: bytes = b""
) -> bytes:
    """A request as it goes over the wire. Host, Content-Length and Connection are added unless given.

    What may not stand in a URL is escaped. Raises ValueError for headers that aren't one line each, and for what
    is no method.
    """
    parts = urlsplit(url)
    target = quote(parts.path or "/", _SAFE)
    if parts.query:
        target += f"?{quote(parts.query, _SAFE)}"
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())
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
        self._closed = False

    def getPeer(self) -> IPv4Address:
        """Where the client seems to be."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    def getHost(self) -> IPv4Address:
        """Where the server seems to be."""
        return IPv4Address("TCP", "127.0.0.1", 80)

    def write(self, data: bytes) -> None:
        """Take a part of the answer."""
        self._received += data

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Take parts of the answer."""
        self._received += b"".join(data)

    def loseConnection(self) -> None:
        """The answer is complete."""
        self._close(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        """The answer is broken off."""
        self._received.clear()
        self._close(Failure(ConnectionAborted()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing to do: memory is never full."""

    def unregisterProducer(self) -> None:
        """Nothing to do."""

    def pauseProducing(self) -> None:
        """Nothing to do: the request has been sent."""

    def resumeProducing(self) -> None:
        """Nothing to do: the request has been sent."""

    def stopProducing(self) -> None:
        """Nothing to do: the request has been sent."""

    def _close(self, reason: Failure) -> None:
        if self._closed:
            return
        self._closed = True
        self.disconnecting = True
        self.protocol.connectionLost(reason)
        response = _parse_response(bytes(self._received), self._method)
        if self.response.called:
            return
        if response is None:
            self.response.errback(ConnectionBroken("the connection was broken off before the answer was complete"))
        else:
            self.response.callback(response)


def _parse_response(raw: bytes, method: str) -> ClientResponse | None:
    while raw.startswith(b"HTTP/1.1 100 "):
        raw = raw.partition(b"\r\n\r\n")[2]
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    _, status, reason = status_line.split(" ", 2)
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    if ("Transfer-Encoding", "chunked") in headers:
        pieces = _join_chunks(body)
        if pieces is None:
            return None
        body = pieces
    elif method != "HEAD":
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        if lengths and len(body) != lengths[0]:
            return None
    return ClientResponse(int(status), reason, tuple(headers), body)


def _join_chunks(raw: bytes) -> bytes | None:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return body
        body += raw[:length]
        raw = raw[length + 2 :]
    return None
