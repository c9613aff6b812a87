"""The web server: from bytes on a socket to a plugin's hook, and back."""

from errklein.web.expiry import ExpiryWatch
from errklein.web.listeners import ListenError, Listeners, identify, server_endpoint
from errklein.web.memory_client import ClientResponse, ConnectionBroken, MemoryClient
from errklein.web.routes import Routes
from errklein.web.server import WebServer
from errklein.web.settings import WebSettings

__all__ = [
    "ClientResponse",
    "ConnectionBroken",
    "ExpiryWatch",
    "ListenError",
    "Listeners",
    "MemoryClient",
    "Routes",
    "WebServer",
    "WebSettings",
    "identify",
    "server_endpoint",
]
