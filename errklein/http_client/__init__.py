"""The HTTP client of plugins, `self.http`: treq with one pool of connections, a timeout, and no lines in the log.

`HTTPClients` belongs to the bot, and each plugin gets a client from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errklein.http_client._clients import BodyTooLarge, HTTPClients, ProxyError

if TYPE_CHECKING:
    from errklein.http_client._client import PluginHTTPClient, PooledAgent

__all__ = ["BodyTooLarge", "HTTPClients", "PluginHTTPClient", "PooledAgent", "ProxyError"]


def __getattr__(name: str) -> Any:
    # Imported on first use, since its module imports treq.
    if name in ("PluginHTTPClient", "PooledAgent"):
        from errklein.http_client import _client

        return getattr(_client, name)
    raise AttributeError(f"module 'errklein.http_client' has no attribute {name!r}")
