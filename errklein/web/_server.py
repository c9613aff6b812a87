"""The web server, put together."""

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
    """Everything between sockets and plugins' hooks.

    Blocking handlers run in `pool`. Large bodies for handlers on the reactor are decoded in `decoding_pool`, so that they
    needn't wait for handlers that block; without one, in `pool`.
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
        """A client that reaches this server without a socket."""
        return MemoryClient(self.site)

    def begin_stopping(self) -> None:
        """Listen no more, refuse new requests on open connections with 503, and close each that owes no answer.

        Who connects now waits for the next process where systemd has the socket, and is refused elsewhere.
        """
        self._closing = self.listeners.close_all()
        self.site.begin_stopping()

    def refuse_waiting(self) -> None:
        """Answer 503 to every request that still waits for a thread; what runs goes on."""
        self.resource.pool.stop()
        self.resource.decoding_pool.stop()

    def when_idle(self) -> Deferred[None]:
        """Fires when every request that was taken has its answer."""
        return self.resource.in_flight.when_none()

    def close(self) -> Deferred[None]:
        """Stop listening and break off every connection."""
        self.site.drop_connections()
        self.site.sweeper.stop()
        self.resource.time_slices.stop()
        return gatherResults([self._closing, self.listeners.close_all()]).addCallback(lambda _: None)
