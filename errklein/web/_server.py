"""The `WebServer` class, which connects the parts of the web server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed

from errklein.ports import WebEvents
from errklein.running import Runner, WorkerPool
from errklein.web._listeners import Listeners
from errklein.web._memory_client import MemoryClient
from errklein.web._settings import WebSettings
from errklein.web._site import Site
from errklein.web.resource import WebhookResource


class WebServer:
    """The web server of a bot: endpoints, connections, routes and the delivery of requests to plugins.

    :param runner: Runs the handlers.
    :param pool: The threads of blocking handlers.
    :param settings: The limits; by default those of `WebSettings`.
    :param decoding_pool: The threads that decode large bodies for handlers on the reactor, which then don't wait for blocking
        handlers; by default `pool`.
    """

    def __init__(
        self,
        reactor: Any,
        runner: Runner,
        pool: WorkerPool,
        settings: WebSettings | None = None,
        *,
        decoding_pool: WorkerPool | None = None,
    ) -> None:
        settings = settings or WebSettings()
        self.site = Site(reactor, settings)
        self.resource = WebhookResource(reactor, runner, pool, decoding_pool or pool, settings, self.site.sweeper)
        self.site.resource = self.resource
        self.routes = self.resource.routes
        self.listeners = Listeners(reactor, self.site)
        self._closing: Deferred[None] = succeed(None)

    def report_to(self, events: WebEvents) -> None:
        """Report the failures of plugins' handlers to `events` from now on."""
        self.resource.events = events

    def client(self) -> MemoryClient:
        """Return a client whose requests reach this server without a socket."""
        return MemoryClient(self.site)

    def begin_stopping(self) -> None:
        """Close the endpoints and idle connections, and respond to new requests on other connections with 503.

        A client that connects now waits for the next process if systemd owns the socket; otherwise its connection is refused.
        """
        self._closing = self.listeners.close_all()
        self.site.begin_stopping()

    def refuse_waiting(self) -> None:
        """Respond with 503 to requests that wait for a thread. Running handlers continue."""
        self.resource.pool.stop()
        self.resource.decoding_pool.stop()

    def when_idle(self) -> Deferred[None]:
        """Return a Deferred that fires when every request has its response."""
        return self.resource.in_flight.when_none()

    def close(self) -> Deferred[None]:
        """Stop listening, and abort all connections."""
        self.site.drop_connections()
        self.site.sweeper.stop()
        self.resource.time_slices.stop()
        return gatherResults([self._closing, self.listeners.close_all()]).addCallback(lambda _: None)
