"""The HTTP client of a plugin, the agent that all clients share, and the proxies that it uses. The environment variables
HTTPS_PROXY, HTTP_PROXY and NO_PROXY name proxies, as curl and Python's standard library read them."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web import client
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from errklein._version import __version__
from errklein.http_client import BodyTooLarge, ProxyError
from errklein.running import may_use_reactor
from errklein.text.masking import masker

if TYPE_CHECKING:
    from hyperlink import DecodedURL, EncodedURL

TIMEOUT = 30.0  # the default timeout of a request, in seconds
LARGEST = 50_000_000  # the default limit of a body, in bytes
_CONNECT_TIMEOUT, _IDLE_PER_HOST, _LONGEST_HEAD = 30.0, 10, 16_384


class PluginHTTPClient(HTTPClient):
    """A treq client for the reactor: `get`, `head`, `post`, `put`, `patch`, `delete` and `request`.

    The methods take the arguments of `treq's functions <https://treq.readthedocs.io/en/latest/api.html>`__, and return a
    Deferred of treq's response::

        response = await self.http.post(URL, json={"text": "Hello!"}, headers={"X-Token": token})
        if response.code == 200:
            answer = await response.json()

    Four things differ from treq's own client:

    - The timeout is 30 s unless `timeout` is given, in seconds; None removes it. It covers the request, the response
      and its body. After it, `TimeoutError` is raised.
    - The Deferred fires when the body is complete. With `unbuffered=True` it fires when the response begins, and the
      timeout ends there; pass a function to `response.collect` then, which gets the parts of the body.
    - The limit of a body is 50 MB unless `max_body` is given, in bytes. A larger one raises `BodyTooLarge`. The limit
      doesn't apply with `unbuffered=True`.
    - In a thread, the methods raise RuntimeError.

    All plugins share one pool of connections. Each plugin has its own cookies, which the client keeps between requests.
    """

    def __init__(self, reactor: Any, agent: Any, in_flight: set[Deferred[Any]]) -> None:
        super().__init__(agent)
        self._reactor, self._in_flight = reactor, in_flight

    def request(
        self,
        method: str,
        url: str | bytes | DecodedURL | EncodedURL,
        *,
        timeout: float | None = TIMEOUT,
        max_body: int = LARGEST,
        **options: Any,
    ) -> Deferred[Any]:
        if not may_use_reactor(self._reactor):
            remedy = "make the handler async def and await the request, mark the handler with @on_reactor"
            others = "or use a blocking library such as requests"
            raise RuntimeError(f"self.http was used in a thread, but works only on the reactor; {remedy}, {others}")
        response: Deferred[Any] = super().request(method, url, reactor=self._reactor, **options)
        address = url.decode("ascii", "replace") if isinstance(url, bytes) else str(url)
        shown = f"{method} {masker(address.partition('?')[0])}"
        response.addCallback(_without_redirects)
        if not options.get("unbuffered"):
            response.addCallback(_completed, _Body(max_body, shown))
        if timeout is not None:
            response.addTimeout(timeout, self._reactor, partial(_timed_out, shown))
        self._in_flight.add(response)

        def ended(result: Any) -> Any:
            self._in_flight.discard(response)
            return result

        return response.addBoth(ended)


def _timed_out(request: str, _: object, seconds: float) -> NoReturn:
    raise TimeoutError(f"{request}: no complete response within {seconds:g} s") from None


def _without_redirects(response: Any) -> Any:
    """Read the bodies of redirects, whose connections would stay open otherwise."""
    for redirect in response.history():
        body = _Body(LARGEST, "redirect")
        body.complete.addErrback(lambda _: None)
        redirect.deliverBody(body)
    return response


def _completed(response: Any, body: _Body) -> Deferred[Any]:
    response.deliverBody(body)
    return body.complete.addCallback(lambda _: response)


class _Body(Protocol):
    """Waits for the end of a body. The connection is closed if `complete` is cancelled, or if the body is too large."""

    def __init__(self, most: int, request: str) -> None:
        self.complete: Deferred[None] = Deferred(lambda _: self._abort())
        self._most = self._left = most
        self._request = request

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0 and not self.complete.called:
            self._abort()
            text = f"{self._request}: the response is larger than {self._most / 1_000_000:g} MB"
            self.complete.errback(BodyTooLarge(text))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Handle the end of the body, or of the connection. Without a Content-Length, HTTP/1.0 can't tell them apart."""
        if self.complete.called:
            return
        if reason.check(client.ResponseDone, PotentialDataLoss):
            self.complete.callback(None)
        else:
            self.complete.errback(reason)


@implementer(IAgentEndpointFactory)
class PooledAgent(client.Agent):
    """Makes requests over persistent connections, which a pool keeps for four minutes. Requests pass through the proxies that the
    environment names, see `proxy_for`. A server's certificate must be valid for its name, and signed by an authority that the
    system trusts. OpenSSL takes other authorities from the file SSL_CERT_FILE and the directory SSL_CERT_DIR, environment
    variables."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS | None = None) -> None:
        self._connections: Any = client.HTTPConnectionPool(reactor)
        self._connections.maxPersistentPerHost = _IDLE_PER_HOST
        # Otherwise Twisted logs two lines for each connection.
        self._connections._factory.noisy = False
        # Without the cache, the authorities' certificates are read again for each connection.
        self._policy = policy or client.HostnameCachingHTTPSPolicy(client.BrowserLikePolicyForHTTPS())
        super().__init__(reactor, self._policy, connectTimeout=_CONNECT_TIMEOUT, pool=self._connections)  # type: ignore[no-untyped-call]
        self._tunnelled: Any = client.Agent.usingEndpointFactory(reactor, self, pool=self._connections)
        # It sends the complete URL to the proxy.
        self._through = cache(lambda proxy: client.ProxyAgent(proxy.endpoint(reactor), reactor, self._connections))

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Make a request, with a User-Agent, which some services require."""
        headers = Headers() if headers is None else headers.copy()
        if not headers.hasHeader("User-Agent"):
            headers.setRawHeaders("User-Agent", [f"errklein/{__version__}"])
        try:
            proxy = proxy_for(uri)
        except ProxyError:
            return fail()
        if proxy is None:
            return super().request(method, uri, headers, bodyProducer)
        if uri.startswith(b"https:"):
            return self._tunnelled.request(method, uri, headers, bodyProducer)  # type: ignore[no-any-return]
        if proxy.authorization:
            headers.setRawHeaders("Proxy-Authorization", [proxy.authorization])
        return self._through(proxy).request(method, uri, headers, bodyProducer)  # type: ignore[no-any-return]

    def endpointForURI(self, uri: client.URI) -> IStreamClientEndpoint:
        """Return an endpoint, in a tunnel if there is a proxy: for `_tunnelled`, and for WebSockets. Without TLS only for `ws:`."""
        proxy = proxy_for(re.sub(b"^ws", b"http", uri.toBytes()))
        host = b"[%s]" % uri.host if b":" in uri.host else uri.host
        endpoint: Any = HostnameEndpoint(self._reactor, uri.host, uri.port, _CONNECT_TIMEOUT)
        if proxy is not None:
            endpoint = TunnelEndpoint(self._reactor, proxy, b"%s:%d" % (host, uri.port))
        if uri.scheme == b"ws":
            return endpoint  # type: ignore[no-any-return]
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)

    def close(self) -> Deferred[None]:
        """Close the idle connections. Connections that are opened later are closed after their first response."""
        self._connections.persistent = False
        closed: Deferred[None] = self._connections.closeCachedConnections()
        return closed


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy. `authorization` is the value of Proxy-Authorization; b"" without a user name."""

    host: str
    port: int
    authorization: bytes = b""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def endpoint(self, reactor: Any) -> HostnameEndpoint:
        return HostnameEndpoint(reactor, self.host, self.port, _CONNECT_TIMEOUT)


def proxy_for(uri: bytes) -> Proxy | None:
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


@implementer(IStreamClientEndpoint)
@dataclass(frozen=True)
class TunnelEndpoint:
    """Connects to a host and port in a tunnel: the proxy passes on all bytes (RFC 9110, section 9.3.6)."""

    _reactor: Any
    _proxy: Proxy
    _target: bytes

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        lines = [b"CONNECT %s HTTP/1.1" % self._target, b"Host: %s" % self._target]
        if self._proxy.authorization:
            lines.append(b"Proxy-Authorization: %s" % self._proxy.authorization)
        tunnel = _Tunnel(b"\r\n".join([*lines, b"", b""]), protocolFactory, str(self._proxy))
        tunnel.opened.addTimeout(_CONNECT_TIMEOUT, self._reactor, self._timed_out)
        factory = Factory.forProtocol(lambda: tunnel)
        factory.noisy = False
        connecting = self._proxy.endpoint(self._reactor).connect(factory)
        return connecting.addCallback(lambda _: tunnel.opened)

    def _timed_out(self, _: object, seconds: float) -> NoReturn:
        raise ProxyError(f"the proxy {self._proxy} has opened no tunnel within {seconds:g} s") from None


class _Tunnel(Protocol):
    """A connection to a proxy. `opened` fires with the protocol that uses the tunnel."""

    transport: Any
    _inner: Any

    def __init__(self, request: bytes, factory: IProtocolFactory, proxy: str) -> None:
        self.opened: Deferred[Any] = Deferred(lambda _: self._close())
        self._request, self._factory, self._proxy = request, factory, proxy
        self._head, self._inner = b"", None

    def connectionMade(self) -> None:
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end or len(self._head) > _LONGEST_HEAD:
            self._decide(head.partition(b"\r\n")[0], rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
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
