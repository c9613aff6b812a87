"""A network between a process and its server that can be cut: nothing arrives any more, and nobody is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol


class Side(Protocol):
    """One side of a connection."""

    def __init__(self, proxy: Proxy, other: Side | None) -> None:
        self._proxy = proxy
        self.other = other
        self._waiting: list[bytes] = []

    def connectionMade(self) -> None:
        """Connect the other side as well."""
        self._proxy.sides.append(self)
        if self.other is None:
            if not self._proxy.is_cut:
                self._proxy.connect(self)
            return
        self.other.other = self
        self.transport.write(b"".join(self.other._waiting))
        if self._proxy.is_cut:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        if self.other is None:
            self._waiting.append(data)
        else:
            self.other.transport.write(self._proxy.changed(data))

    def connectionLost(self, reason: Any = None) -> None:
        """End the other side, unless the network is cut."""
        self._proxy.sides.remove(self)
        if self.other is not None and not self._proxy.is_cut:
            self.other.transport.abortConnection()


class Proxy:
    """A proxy on a free port of loopback, which forwards to `port` what the function returns."""

    def __init__(self, port: int, changed: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.target = port
        self.changed = changed
        self.is_cut = False
        self.sides: list[Side] = []

    async def listen(self) -> int:
        """Begin, and return the port."""
        factory = Factory.forProtocol(lambda: Side(self, None))
        self._listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        return self._listening.getHost().port

    def connect(self, side: Side) -> None:
        """Connect to the server for a client."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.target)
        factory = Factory.forProtocol(lambda: Side(self, side))
        endpoint.connect(factory).addErrback(lambda _: side.transport.abortConnection())

    def cut(self) -> None:
        """Forward nothing any more. New connections are accepted."""
        self.is_cut = True
        for side in self.sides:
            side.transport.pauseProducing()

    def repair(self) -> None:
        """Forward again. Connections from before are gone."""
        self.is_cut = False
        for side in list(self.sides):
            side.transport.abortConnection()

    def close(self) -> Any:
        """End everything."""
        self.repair()
        return self._listening.stopListening()
