"""Servers beside that of webhooks, for few clients: for monitoring, and for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from errklein.listening import Listeners
from errklein.running import WorkerPool

_IDLE = 30  # the seconds after which an idle connection is closed


class SideServer:
    """A server on an endpoint of its own, which is open from before the start of the bot until after its end. `pool` are its
    threads, since those of the bot may all be busy. A connection beyond the number `most` closes the one that has been idle for
    longest, since the web server needs file descriptors, too. Of the body of a request, `body` bytes are kept; Twisted would keep
    any size. `received` of the request is its size."""

    _bot: Any = None

    def __init__(
        self, reactor: Any, endpoint: str, resource: Resource, pool: WorkerPool, most: int, body: int = 0
    ) -> None:
        self.endpoint, self.resource, self._pool = endpoint, resource, pool
        site = _Site(resource, reactor=reactor, timeout=_IDLE)  # type: ignore[no-untyped-call]
        site.body = body
        few = _FewConnections(site)  # type: ignore[no-untyped-call]
        few.most = most
        self._listeners = Listeners(reactor, few)

    def open(self) -> Deferred[None]:
        return self._listeners.open(self.endpoint)

    def watch(self, bot: Any) -> None:
        self._bot = bot

    def close(self) -> Deferred[None]:
        self._pool.stop()
        return self._listeners.close_all()


class _Request(Request):
    received = 0

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.received <= self.channel.site.body:  # type: ignore[attr-defined]
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # Twisted would parse a form of anybody, which takes a second for many fields.
        self.requestHeaders.removeHeader(b"content-type")
        super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]


class _Site(Site):
    requestFactory = _Request
    noisy = displayTracebacks = False
    body = 0

    def log(self, request: Any) -> None:
        """Do nothing."""


class _Connection(ProtocolWrapper):
    def dataReceived(self, data: bytes) -> None:
        if self._use():
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._use()
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def _use(self) -> bool:
        """Move the connection behind those that have been idle for longer, unless it was closed for another one."""
        if self not in self.factory.protocols:
            return False
        self.factory.protocols[self] = self.factory.protocols.pop(self)
        return True


class _FewConnections(WrappingFactory):
    """Closes connections when there are too many; logs nothing, as that may happen often."""

    noisy = False
    protocol = _Connection
    most = 0

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.protocols) >= self.most:
            idle = next(iter(self.protocols))
            del self.protocols[idle]
            idle.transport.abortConnection()
        return super().buildProtocol(addr)

    def unregisterProtocol(self, p: Any) -> None:
        self.protocols.pop(p, None)
