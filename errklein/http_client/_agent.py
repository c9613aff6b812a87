"""The agent of all clients: one pool of connections, with verified certificates."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HostnameCachingHTTPSPolicy,
    HTTPConnectionPool,
    ProxyAgent,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from errklein._version import __version__
from errklein.http_client._errors import ProxyError
from errklein.http_client._proxies import Proxy, TunnelEndpoints, proxy_for

_CONNECT_TIMEOUT = 30.0
_IDLE_PER_HOST = 10
_USER_AGENT = f"errklein/{__version__}"


class PooledAgent(Agent):
    """Makes requests over persistent connections, which a pool keeps for four minutes.

    Requests pass through the proxies that the environment names, see `_proxies`.

    A server's certificate must be valid for its name, and signed by an authority that the system trusts. OpenSSL takes
    other authorities from the file SSL_CERT_FILE and the directory SSL_CERT_DIR, environment variables.
    """

    def __init__(self, reactor: Any) -> None:
        self._connections: Any = HTTPConnectionPool(reactor)
        self._connections.maxPersistentPerHost = _IDLE_PER_HOST
        # Otherwise Twisted logs two lines for each connection.
        self._connections._factory.noisy = False
        # Without the cache, the authorities' certificates are read again for each connection.
        policy = HostnameCachingHTTPSPolicy(BrowserLikePolicyForHTTPS())
        super().__init__(reactor, policy, connectTimeout=_CONNECT_TIMEOUT, pool=self._connections)  # type: ignore[no-untyped-call]
        tunnels = TunnelEndpoints(reactor, policy, _CONNECT_TIMEOUT)
        self._tunnelled: Any = Agent.usingEndpointFactory(reactor, tunnels, pool=self._connections)
        self._through = cache(partial(_agent_through, reactor, self._connections))

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Make a request, with a User-Agent, which some services require."""
        headers = Headers() if headers is None else headers.copy()
        if not headers.hasHeader("User-Agent"):
            headers.setRawHeaders("User-Agent", [_USER_AGENT])
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

    def close(self) -> Deferred[None]:
        """Close the idle connections. Connections that are opened later are closed after their first response."""
        self._connections.persistent = False
        closed: Deferred[None] = self._connections.closeCachedConnections()
        return closed


def _agent_through(reactor: Any, connections: HTTPConnectionPool, proxy: Proxy) -> Any:
    """Return the agent for HTTP requests through a proxy, which sends the complete URL."""
    return ProxyAgent(proxy.endpoint(reactor, _CONNECT_TIMEOUT), reactor, connections)
