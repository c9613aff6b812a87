"""The HTTP client of plugins, `self.http`: treq with one pool of connections, a timeout, and no lines in the log."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from errklein.http_client._client import PluginHTTPClient, PooledAgent

__all__ = ["BodyTooLarge", "HTTPClients", "PluginHTTPClient", "PooledAgent", "ProxyError"]


def __getattr__(name: str) -> Any:
    # Imported on first use, since its module imports treq.
    if name in ("PluginHTTPClient", "PooledAgent"):
        from errklein.http_client import _client

        return getattr(_client, name)
    raise AttributeError(f"module 'errklein.http_client' has no attribute {name!r}")


class BodyTooLarge(Exception):
    """A response is larger than the limit of its request."""


class ProxyError(Exception):
    """A proxy can't be used, or refuses a connection. The text names the proxy."""


class HTTPClients:
    """Creates the plugins' HTTP clients, which share one pool of connections. treq and TLS are imported when the first one is created."""

    def __init__(self, reactor: Any, make_agent: Callable[[Any], Any] | None = None) -> None:
        self._reactor, self._make_agent = reactor, make_agent
        self._agent: Any = None
        self._creating = Lock()
        self._in_flight: set[Deferred[Any]] = set()

    def client(self) -> PluginHTTPClient:
        """Return a new client, with cookies of its own."""
        from errklein.http_client._client import PluginHTTPClient

        return PluginHTTPClient(self._reactor, self.agent(), self._in_flight)

    def agent(self) -> Any:
        """Return the agent of all clients. May be called in any thread."""
        from errklein.http_client._client import PooledAgent

        with self._creating:
            if self._agent is None:
                self._agent = (self._make_agent or PooledAgent)(self._reactor)
        return self._agent

    def close(self) -> Deferred[None]:
        """Cancel the requests in flight, and close the idle connections. Later requests use a connection of their own."""
        for request in list(self._in_flight):
            request.cancel()
        return succeed(None) if self._agent is None else self._agent.close()
