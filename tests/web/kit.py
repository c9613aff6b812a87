"""Shared parts of the web server's tests: a server in memory, clients, and plugins with webhooks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening import Listeners, identify
from errklein.running import PoolStopped, Runner, WorkerPool
from errklein.web import BotParts, ClientResponse, WebServer, WebSettings
from errklein.web._site import Channel
from errklein.webhooks import Hook, HookDeclaration, webhook
from tests.clocks import ThreadClock


class Recorder:
    """Records the events that the web server reports to the bot."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, str, Failure]] = []
        self.overdue: list[tuple[str, str, float]] = []
        self.shadowed: list[tuple[str, str]] = []
        self.unusable: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str, str, str]] = []

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        self.failed.append((str(hook), request_id, failure))

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        self.overdue.append((str(hook), request_id, seconds))

    def hook_unusable(self, hook: Hook, reason: str) -> None:
        self.unusable.append((str(hook), reason))

    def request_refused(self, hook: Hook, kind: str, reason: str, client: str) -> None:
        self.refused.append((str(hook), kind, reason, client))

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        self.shadowed.append((str(hook), str(by)))


def hooks_of(plugin: object, owner: str = "") -> list[Hook]:
    """Return the hooks that a plugin's methods declare."""
    hooks = []
    for name in dir(plugin):
        method = getattr(plugin, name)
        declaration = HookDeclaration.of(method)
        if declaration is not None:
            hooks.append(Hook(owner or type(plugin).__name__, name, declaration, method))
    return hooks


def port_of(listeners: Listeners, description: str) -> int:
    """Return the port of an open endpoint, also if the system has chosen it."""
    return int(listeners._open[identify(description)].port.getHost().port)  # type: ignore[attr-defined]


class Echo:
    """A plugin that returns its payload."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    @webhook
    async def quick(self, payload: Any) -> str:
        self.got.append(payload)
        return repr(payload)

    @webhook
    def blocking(self, payload: Any) -> str:
        self.got.append(payload)
        return threading.current_thread().name

    @webhook(form_param="payload")
    async def form(self, payload: Any) -> str:
        return repr(payload)

    @webhook(max_body=100)
    async def small(self, payload: Any) -> str:
        return "OK"

    @webhook(raw=True)
    async def raw(self, request: Any) -> str:
        return f"{request.method} {request.get_data()!r} {request.content_type}"


class Slow:
    """A plugin whose handler waits for the test."""

    def __init__(self) -> None:
        self.gates: list[Deferred[str]] = []

    @webhook
    async def slow(self, payload: Any) -> str:
        gate: Deferred[str] = Deferred()
        self.gates.append(gate)
        return await gate

    @webhook
    async def quick(self, payload: Any) -> str:
        return "OK"


class Connection(StringTransport):
    """The server's end of a client's connection."""

    channel: Channel
    capacity: float = math.inf
    """With more waiting bytes, the server must pause until the test calls `channel.resumeProducing`."""

    def write(self, data: bytes) -> None:
        """Collect what the server sends."""
        super().write(data)
        if len(self.value()) > self.capacity:
            self.channel.pauseProducing()

    def send(self, data: bytes) -> bytes:
        """Send bytes as the client. Return what the server has sent since the last call."""
        self.channel.dataReceived(data)
        return self.received()

    def received(self) -> bytes:
        """Return what the server has sent since the last call."""
        data: bytes = self.value()
        self.clear()
        return data

    @property
    def closed(self) -> bool:
        """True if the server has closed the connection."""
        return bool(self.disconnecting or self.disconnected)


class SocketClient(Protocol):
    """A client on a real socket, which collects the response until the server closes the connection."""

    def __init__(self) -> None:
        self.received = b""
        self.begun: Deferred[None] = Deferred()
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Collect a part of the response."""
        self.received += data
        if not self.begun.called:
            self.begun.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end of the connection."""
        self.closed.callback(self.received)


class WebCase(SynchronousTestCase):
    """A test with a web server in memory and a clock."""

    settings = WebSettings()
    clock_type = ThreadClock

    def setUp(self) -> None:
        """Create a server without routes. Blocking handlers run in real threads."""
        self.clock = self.clock_type()
        self.events = Recorder()
        self.pool = WorkerPool(self.clock, "webhook", 20, queue=200, wait=10)
        self.runner = Runner(self.clock, self.pool)
        self.addCleanup(self.pool.stop)
        decoding_pool = WorkerPool(self.clock, "decoding", 1, wait=10)
        self.addCleanup(decoding_pool.stop)
        recorded_pool = WorkerPool(self.clock, "recorded", 1)
        self.addCleanup(recorded_pool.stop)
        self.web = WebServer(
            self.clock,
            self.runner,
            self.settings,
            decoding_pool=decoding_pool,
            recorded_pool=recorded_pool,
            bot=self.bot_parts,
        )
        self.addCleanup(self.web.site.sweeper.stop)

    def bot_parts(self) -> BotParts:
        """Return what the server uses of a bot: the recorder of events. Nothing is recorded."""
        return BotParts(self.events)

    def serve(self, plugin: object, owner: str = "") -> None:
        """Register a plugin's webhooks."""
        hooks = hooks_of(plugin, owner)
        self.web.routes.replace(owner or type(plugin).__name__, hooks)

    def start(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        content_type: str = "",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> Deferred[ClientResponse]:
        """Send a request."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if content_type:
            pairs.append(("Content-Type", content_type))
        return self.web.request(method, url, pairs, body)

    def ask(self, *args: Any, **kwargs: Any) -> ClientResponse:
        """Send a request, and let threads work until its response is there."""
        return self.response_to(self.start(*args, **kwargs))

    def response_to(self, response: Deferred[ClientResponse]) -> ClientResponse:
        """Let threads work until the response is there."""
        limit = time.monotonic() + 10
        while not response.called and time.monotonic() < limit:
            self.clock.advance(0)
            self.clock.turn(0.05)
        return self.successResultOf(response)

    def connect(self, **addresses: IAddress) -> Connection:
        """Open a connection. Its addresses may be given as `hostAddress` and `peerAddress`."""
        connection = Connection(**addresses)
        connection.channel = self.web.site.buildProtocol(None)
        connection.channel.makeConnection(connection)  # type: ignore[no-untyped-call]
        return connection

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps."""
        self.clock.pump([0.25] * int(seconds / 0.25))

    def logged_failures(self, kind: type[BaseException], expected: int = 1) -> None:
        """Fail unless this number of errors of this type was logged."""
        self.assertEqual(len(self.flushLoggedErrors(kind)), expected)


def ignore_stop(response: Deferred[Any]) -> None:
    """Ignore the end of a request without a response."""
    response.addErrback(lambda failure: failure.trap(PoolStopped))


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of a request on a connection that stays open."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def status_of(raw: bytes) -> int:
    """Return the status of a response; 0 if there is none."""
    return int(raw[9:12]) if raw.startswith(b"HTTP/1.1 ") else 0
