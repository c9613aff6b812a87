"""Connections from proxies that send the PROXY protocol, whose header has the client's address. Twisted's
implementation closes the connection if the header is `PROXY UNKNOWN`, or arrives in several segments, has no deadline,
and expects the header within TLS."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from errklein.webhooks.forwarding import UNIX, InvalidHeader, ProxyHeader, parse_proxy_header

_DEADLINE = 10.0


class ProxiedProtocol(ProtocolWrapper):
    """A connection from a proxy. The wrapped connection begins when the header is complete, with the client's address.
    It is closed if the header is invalid, or isn't complete after 10 seconds."""

    log = Logger(namespace="errklein.web.access")
    factory: ProxiedFactory
    wrappedProtocol: Any

    # For the limit of connections, which closes one without a head in favour of a new one.
    has_received_head = False
    deadline = 0.0
    waits_since = 0.0

    def __init__(self, factory: ProxiedFactory) -> None:
        super().__init__(factory, None)  # type: ignore[arg-type]
        self._header: ProxyHeader | None = None
        self._received = b""

    def makeConnection(self, transport: Any) -> None:
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)  # type: ignore[no-untyped-call]
        self._deadline = self.factory.reactor.callLater(
            _DEADLINE, self._refuse, "the PROXY header took too long to arrive"
        )
        self.factory.opened(self)

    def dataReceived(self, data: bytes) -> None:
        if self.wrappedProtocol is not None:
            self.wrappedProtocol.dataReceived(data)
        elif not self.disconnecting:
            self._received += data
            try:
                self._header = parse_proxy_header(self._received)
            except InvalidHeader as error:
                self._refuse(str(error))
            else:
                if self._header is not None:
                    self._begin(self._received[self._header.size :])

    def _begin(self, rest: bytes) -> None:
        self._received = b""
        self._deadline.cancel()
        self.factory.closed(self)
        self.wrappedProtocol = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        self.wrappedProtocol.makeConnection(self)
        if rest and self.wrappedProtocol is not None:
            self.wrappedProtocol.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self.log.info('{peer} "-" {reason}', peer=getattr(self.getPeer(), "host", "-"), reason=reason)
        self.abort()

    def abort(self) -> None:
        self.disconnecting = 1
        self.transport.abortConnection()  # type: ignore[union-attr]

    close_if_idle = abort

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        if self.wrappedProtocol is not None:
            super().connectionLost(reason)  # type: ignore[no-untyped-call]
        else:
            self.factory.closed(self)
            self.factory.unregisterProtocol(self)  # type: ignore[no-untyped-call]

    @property
    def proxy(self) -> str | None:
        """The address of the proxy, or UNIX, if its header has the address of a client; else None."""
        reports = self._header and self._header.source
        return getattr(super().getPeer(), "host", UNIX) if reports else None  # type: ignore[no-untyped-call]

    def getPeer(self) -> IAddress:
        source = self._header and self._header.source
        return address_of(*source) if source else super().getPeer()  # type: ignore[no-untyped-call]

    def getHost(self) -> IAddress:
        destination = self._header and self._header.destination
        return address_of(*destination) if destination else super().getHost()  # type: ignore[no-untyped-call]


class ProxiedFactory(WrappingFactory[ProxiedProtocol]):
    """Creates connections that begin with a PROXY header. `opened` and `closed` are called for those without a complete header."""

    noisy = False

    def __init__(self, reactor: Any, factory: IProtocolFactory) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.opened: Callable[[ProxiedProtocol], object] = lambda connection: None
        self.closed = self.opened

    def buildProtocol(self, addr: IAddress | None) -> ProxiedProtocol:
        return ProxiedProtocol(self)


@lru_cache(512)
def address_of(host: str, port: int) -> IAddress:
    """Return the address. The host may be an identifier such as "_hidden", which Twisted has no class for, or UNIX."""
    if host == UNIX:
        return UNIXAddress(None)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)
