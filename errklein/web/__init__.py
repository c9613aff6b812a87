"""The web server, which parses HTTP requests, routes them to plugins' webhooks and sends the responses."""

from errklein.web._memory_client import ClientResponse, ConnectionBroken, MemoryClient
from errklein.web._response_counts import BOUNDS, REFUSALS, Durations, ResponseCounts
from errklein.web._routes import Routes
from errklein.web._server import BotParts, WebServer
from errklein.web._settings import WebSettings

__all__ = [
    "BOUNDS",
    "REFUSALS",
    "BotParts",
    "ClientResponse",
    "ConnectionBroken",
    "Durations",
    "MemoryClient",
    "ResponseCounts",
    "Routes",
    "WebServer",
    "WebSettings",
]
