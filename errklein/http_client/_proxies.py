"""Proxies in environment variables: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as curl and Python's standard library read them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from errklein.http_client._errors import ProxyError

_LONGEST_HEAD = 16_384


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy. `authorization` is the value of Proxy-Authorization; b"" without a user name."""

    host: str
    port: int
    authorization: bytes = b""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def endpoint(self, reactor: Any, timeout: float) -> HostnameEndpoint:
        """Return the endpoint that connects to the proxy."""
        return HostnameEndpoint(reactor, self.host, self.port, timeout)


def proxy_for(uri: bytes) -> Proxy | None:
    """Return the proxy for the URI; None for a direct connection. Raises ProxyError."""
    parts = urlsplit(uri.decode("ascii"))
    address = getproxies_environment().get(parts.scheme)
    if not address or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.hostname:
        variable = f"{parts.scheme.upper()}_PROXY"
        raise ProxyError(f"{variable}: expected the address of an HTTP proxy, such as http://proxy.example.org:3128")
    user = proxy.netloc.rpartition("@")[0]
    authorization = b"Basic " + b64encode(unquote_to_bytes(user)) if user else b""
    return Proxy(proxy.hostname, proxy.port or 80, authorization)


@implementer(IAgentEndpointFactory)
class TunnelEndpoints:
    """Connects to HTTPS servers through their proxies."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, timeout: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout = timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return an endpoint with TLS in a tunnel of the proxy."""
        proxy = proxy_for(uri.toBytes())
        assert proxy is not None
        host = b"[%s]" % uri.host if b":" in uri.host else uri.host
        tunnel = TunnelEndpoint(self._reactor, proxy, b"%s:%d" % (host, uri.port), self._timeout)
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), tunnel)


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connects to `target`, a host and port, in a tunnel: the proxy passes on all bytes (RFC 9110, section 9.3.6)."""

    def __init__(self, reactor: Any, proxy: Proxy, target: bytes, timeout: float) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._target = target
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Return a Deferred that fires with the factory's protocol when the tunnel is open."""
        lines = [b"CONNECT %s HTTP/1.1" % self._target, b"Host: %s" % self._target]
        if self._proxy.authorization:
            lines.append(b"Proxy-Authorization: %s" % self._proxy.authorization)
        tunnel = _Tunnel(b"\r\n".join([*lines, b"", b""]), protocolFactory, str(self._proxy))
        tunnel.opened.addTimeout(self._timeout, self._reactor, self._timed_out)
        connecting = self._proxy.endpoint(self._reactor, self._timeout).connect(_OneTunnel.forProtocol(lambda: tunnel))
        return connecting.addCallback(lambda _: tunnel.opened)

    def _timed_out(self, _: object, seconds: float) -> NoReturn:
        raise ProxyError(f"the proxy {self._proxy} has opened no tunnel within {seconds:g} s") from None


class _OneTunnel(Factory):
    noisy = False


class _Tunnel(Protocol):
    """A connection to a proxy. `opened` fires with the protocol that uses the tunnel."""

    transport: Any

    def __init__(self, request: bytes, factory: IProtocolFactory, proxy: str) -> None:
        self.opened: Deferred[Any] = Deferred(lambda _: self._close())
        self._request = request
        self._factory = factory
        self._proxy = proxy
        self._head = b""
        self._inner: Any = None

    def connectionMade(self) -> None:
        """Ask for the tunnel."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Read the proxy's response; then pass on the bytes."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end or len(self._head) > _LONGEST_HEAD:
            self._decide(head.partition(b"\r\n")[0], rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass on the end of the connection."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(reason)

    def _decide(self, status: bytes, rest: bytes) -> None:
        if not status.startswith((b"HTTP/1.0 2", b"HTTP/1.1 2")):
            self._close()
            shown = status[:100].decode("ascii", "replace")
            self.opened.errback(ProxyError(f"the proxy {self._proxy} refuses the connection: {shown!r}"))
            return
        self._inner = self._factory.buildProtocol(self.transport.getPeer())
        self._inner.makeConnection(self.transport)
        self.opened.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()
