"""The `WebServer` class, which connects the parts of the web server; and its HTTP client without sockets."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from errklein.listening import SOCKETS, Listeners
from errklein.running import DeadlineSweeper, Runner, WorkerPool
from errklein.sources import find_source
from errklein.web._checks import Checks, Recording
from errklein.web._delivery import Lanes, WebServices
from errklein.web._error_pages import Problem
from errklein.web._intake import Intake
from errklein.web._routes import NoRoute, Route, Routes
from errklein.web._settings import BotParts, WebSettings
from errklein.web._site import Site
from errklein.web.request import StockRequest, clean_path, without_base
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import Outcome, Postponed, StoredDelivery
from errklein.webhooks.options import configured


class WebServer:
    """The web server of a bot: endpoints, connections, routes, and the handling of requests by plugins. `decoding_pool` decodes
    bodies above 64 KiB, which then don't wait for blocking handlers, and `large_pool` those above 256 KiB, for which smaller ones
    don't wait then. `recorded_pool` calls the blocking handlers of recorded deliveries. By default, all are that of `runner`."""

    def __init__(
        self,
        reactor: Any,
        runner: Runner,
        settings: WebSettings | None = None,
        *,
        decoding_pool: WorkerPool | None = None,
        large_pool: WorkerPool | None = None,
        recorded_pool: WorkerPool | None = None,
        now: Callable[[], float] = time.time,
        bot: Callable[[], BotParts] = BotParts,
    ) -> None:
        settings = settings or WebSettings()
        pool = runner.pool
        decoding_pool = decoding_pool or pool
        pools = decoding_pool, large_pool or decoding_pool
        self.now = now  # returns the Unix time in seconds
        self._runner, self._recorded_runner = runner, runner.using(recorded_pool or pool)
        self.pools = tuple(dict.fromkeys((pool, self._recorded_runner.pool, *pools)))  # the pools of threads
        self._bot = bot
        self._open_requests = DeadlineSweeper(reactor)
        self.routes = Routes(self._enter, self._shadowed, self._configured, self._prepare, settings.prefix)
        self._lanes, self._recorded_lanes = (Lanes(reactor, settings.body_memory, *pools) for _ in range(2))
        self._intake = Intake(self._make_services, self.routes, self._recorded_runner, self._recorded_lanes)
        self.site = Site(reactor, settings, self._intake, decoding_pool)
        self.app = self.routes.app  # `app.resource()` answers all webhooks under any Twisted site, also in tests
        self.counts = self.site.counts  # the responses and handlers since the start
        self.lag = self.site.lag
        self.run: Callable[[StoredDelivery], Deferred[Outcome | Postponed]] = partial(self._intake.run, site=self.site)
        self.request = partial(send_request, self.site)
        self.listeners = Listeners(reactor, self.site, self.site.limits.guard)
        self._closing: Deferred[None] = succeed(None)

    def use(self, settings: WebSettings) -> None:
        """Use these timeouts, sizes, rates, options and methods for requests that are admitted from now on."""
        self.site.settings = settings
        self._intake.use(settings)
        self.routes.reconfigure()

    @property
    def services(self) -> WebServices:
        return self._intake.services

    def _make_services(self) -> WebServices:
        """Return what deliveries use, with the parts of the bot, which is created after the web server."""
        bot, settings, site = self._bot(), self.site.settings, self.site
        return WebServices(
            settings,
            self._runner,
            self._lanes,
            site.time_slices,
            self._open_requests,
            bot,
            self.routes,
            self._intake,
            Checks(settings, self._lanes, bot, site.now, self.now),
            Recording(settings, bot, self.now),
            None if bot.journal is None else bot.journal.outbox,
        )

    def url_for(self, owner: str, endpoint: str, values: Mapping[str, Any]) -> str:
        settings = self.site.settings
        if not settings.public_url:
            meant = "set PUBLIC_URL in config.py, such as 'https://bot.example.net'"
            raise RuntimeError(f"the URLs of webhooks are unknown; {meant}")
        return settings.public_url + settings.base_path + self.routes.url_for(owner, endpoint, values)

    def webhook_at(self, method: str, path: str) -> Hook | None:
        """Return the webhook that gets the requests for a path, which may be below WEBHOOK_BASE_PATH; None if there is none."""
        raw = without_base(path.encode(), self.site.settings.base_path.encode())
        try:
            path = clean_path(raw)
            route: object = self.routes.match(raw, path, method.encode()).route
        except Problem:
            return None
        except NoRoute:
            named = self.routes.match_named(path)
            route = named and named.route
        return route.hook if isinstance(route, Route) else None

    def begin_draining(self) -> None:
        """Close each connection after its next response, so that clients make new ones to other processes. Sockets that these
        share are closed now; others accept connections until `begin_stopping`."""
        self.site.draining = True
        shared = json.loads(os.environ.get(SOCKETS, "{}"))
        self._closing = gatherResults(map(self.listeners.close, shared)).addCallback(lambda _: None)

    def begin_stopping(self) -> None:
        """Close the endpoints, idle connections and streams of events, and respond to new requests on other connections with
        503. A client that connects now waits for the next process if systemd owns the socket; otherwise it is refused."""
        self._closing = gatherResults([self._closing, self.listeners.close_all()]).addCallback(lambda _: None)
        self.site.begin_stopping()
        self.routes.end_event_streams()

    def refuse_waiting(self) -> None:
        """Respond with 503 to requests that wait for a thread. Running handlers continue."""
        self._runner.pool.stop()
        self._recorded_runner.pool.stop()
        self._lanes.stop()
        self._recorded_lanes.stop()

    def when_idle(self) -> Deferred[None]:
        return self._open_requests.when_none()

    def close(self) -> Deferred[None]:
        self.site.drop_connections()
        self.site.sweeper.stop()
        self._open_requests.stop()
        self.site.time_slices.stop()
        return gatherResults([self._closing, self.listeners.close_all()]).addCallback(lambda _: None)

    def _enter(self, route: Route | None, request: Any, captures: Mapping[str, Any]) -> None:
        received = StockRequest(request, self.site, (route and route.max_body) or self.site.settings.max_body)
        if route is None:
            self._intake.route(received)
        else:
            self._intake.enter(route, received, captures)

    def _prepare(self, hook: Hook) -> Sequence[bytes]:
        secrets = self.services.checks.prepare(hook)
        if (later := self.services.bot.later) is not None:
            later.look()
        return secrets

    def _configured(self, hook: Hook) -> Hook:
        return configured(hook, self.site.settings.webhooks, self.site.settings.default_methods, find_source)

    def _shadowed(self, hook: Hook, by: Hook) -> None:
        self.services.bot.report(lambda events: events.hook_shadowed(hook, by))


_SAFE = "!#$%&'()*+,/:;=?@[]~"
RequestHeaders = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class ClientResponse:
    """A response of the web server, as tests get it.

    ::

        response = self.post("/builds/7", json={"status": "ok"})
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json(), {"number": 7})
        self.assertEqual(response.header("content-type"), "application/json")
    """

    status: int
    reason: str  #: the reason phrase, such as "OK"
    headers: tuple[tuple[str, str], ...]  #: pairs of name and value, in the order and case in which they were sent
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of the first header with this name, in any case; None if it is missing."""
        return next((value for header, value in self.headers if header.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as text, decoded as UTF-8; invalid bytes are replaced by U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the value of a JSON body. Raises ValueError with the status and the beginning of the body."""
        try:
            return json.loads(self.body)
        except ValueError:
            text = f"the body of the response {self.status} {self.reason} is not JSON: {self.text[:300]!r}"
            raise ValueError(text) from None


class ConnectionBroken(Exception):
    """The server aborted the connection before the response was complete, such as when a generator raised."""


def send_request(
    site: Site, method: str, url: str, headers: RequestHeaders = (), body: bytes = b"", origin: str = ""
) -> Deferred[ClientResponse]:
    """Send a request to a site, on a connection in memory of its own. With the `origin` "test", its source isn't verified, and it
    runs at once. The Deferred may fail with ConnectionBroken. Raises ValueError as `request_bytes`."""
    request = request_bytes(method, url, headers, body)
    transport = _MemoryTransport(method.upper())
    channel = site.buildProtocol(transport.getPeer())
    channel.origin = origin
    transport.protocol = channel
    channel.makeConnection(transport)  # type: ignore[no-untyped-call]
    channel.dataReceived(request)
    return transport.response


def request_bytes(method: str, url: str, headers: RequestHeaders = (), body: bytes = b"") -> bytes:
    """Return the bytes of a request, with Host, Content-Length and Connection, and its URL escaped. Raises ValueError."""
    parts = urlsplit(url)
    target = quote(parts.path or "/", _SAFE)
    if parts.query:
        target += f"?{quote(parts.query, _SAFE)}"
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    given = {name.lower() for name, _ in pairs}
    if "host" not in given:
        pairs.insert(0, ("Host", parts.netloc or "localhost"))
    if "content-length" not in given and "transfer-encoding" not in given and (body or method.upper() != "GET"):
        pairs.append(("Content-Length", str(len(body))))
    if "connection" not in given:
        pairs.append(("Connection", "close"))
    if not method or not method.isprintable() or " " in method:
        raise ValueError(f"invalid HTTP method: {method!r}")
    if any(character in "".join(pair) for pair in pairs for character in "\r\n\0"):
        raise ValueError("a header contains a line end or NUL; its name and value must be one line")
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method.upper()} {target} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape") + body


@implementer(ITransport, IConsumer, IPushProducer)
class _MemoryTransport:
    disconnecting = False

    def __init__(self, method: str) -> None:
        self.response: Deferred[ClientResponse] = Deferred(lambda _: self.abortConnection())
        self.protocol: Any = None
        self._method = method
        self._received = bytearray()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 0)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 80)

    def write(self, data: bytes) -> None:
        self._received += data

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._received += b"".join(data)

    def loseConnection(self) -> None:
        self._close(ConnectionDone())

    def abortConnection(self) -> None:
        self._received.clear()
        self._close(ConnectionAborted())

    def registerProducer(self, *_: Any) -> None:
        """Do nothing: no producer is paused, since the buffer has no limit."""

    unregisterProducer = pauseProducing = resumeProducing = stopProducing = registerProducer

    def _close(self, reason: Exception) -> None:
        if self.disconnecting:
            return
        self.disconnecting = True
        self.protocol.connectionLost(Failure(reason))
        socket: Any = SimpleNamespace(makefile=lambda mode: io.BytesIO(bytes(self._received)))
        received = HTTPResponse(socket, method=self._method)
        try:
            received.begin()
            body = received.read()
        except HTTPException:
            if not self.response.called:
                text = "the server aborted the connection before the response was complete"
                self.response.errback(ConnectionBroken(text))
            return
        if not self.response.called:
            headers = tuple(received.getheaders())
            self.response.callback(ClientResponse(received.status, received.reason, headers, body))
