"""The web server, which parses HTTP requests, routes them to plugins' webhooks and sends the responses."""

from errklein.web._routes import Routes
from errklein.web._server import ClientResponse, ConnectionBroken, WebServer
from errklein.web._settings import BotParts, WebSettings
from errklein.web._site import BOUNDS, REFUSALS, ResponseCounts
from errklein.web._to_owner import ToOwner
