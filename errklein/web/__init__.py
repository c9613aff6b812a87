"""The web server, which parses HTTP requests, routes them to plugins' webhooks and sends the responses."""

from errklein.web._certificate_expiry import ExpiryWatch
from errklein.web._listen_errors import in_use_by_another, listen_problem, unix_problem
from errklein.web._listeners import ListenError, Listeners, identify, server_endpoint
from errklein.web._memory_client import ClientResponse, ConnectionBroken, MemoryClient
from errklein.web._routes import Routes
from errklein.web._server import WebServer
from errklein.web._settings import WebSettings

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
    "in_use_by_another",
    "listen_problem",
    "server_endpoint",
    "unix_problem",
]
