"""The agent of all clients: one pool of connections, with verified certificates."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HostnameCachingHTTPSPolicy, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from errklein._version import __version__

_CONNECT_TIMEOUT = 30.0
_IDLE_PER_HOST = 10
_USER_AGENT = f"errklein/{__version__}"


class PooledAgent(Agent):
    """Makes requests over persistent connections, which a pool keeps for four minutes.

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

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Make a request, with a User-Agent, which some services require."""
        headers = Headers() if headers is None else headers.copy()
        if not headers.hasHeader("User-Agent"):
            headers.setRawHeaders("User-Agent", [_USER_AGENT])
        sent: Deferred[IResponse] = super().request(method, uri, headers, bodyProducer)
        return sent

    def close(self) -> Deferred[None]:
        """Close the idle connections. Connections that are opened later are closed after their first response."""
        self._connections.persistent = False
        closed: Deferred[None] = self._connections.closeCachedConnections()
        return closed
