"""The status server, a small site on an endpoint of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from errklein.bot import Bot
from errklein.listening import Listeners
from errklein.ports.chat import QueuesMessages
from errklein.running import Overloaded, PoolStopped, WorkerPool
from errklein.status._metrics import Snapshot, encode

_IDLE = 30
"""The seconds after which an idle connection is closed."""

_CONNECTIONS = 100
"""The number of open connections. A further one closes another, since the web server needs file descriptors, too."""

LONGEST_WAIT = 300.0
"""The seconds that a message may wait in an outbox."""

INTAKE = ("phase", "journal", "storage", "listeners")
"""The parts without which webhooks aren't accepted.

An absent network isn't one of them: what handlers send waits for it. Nor is a broken plugin: the webhooks of others are accepted.
"""

FULL = 0.95
"""The part of OUTBOX_LIMIT and OUTBOX_SIZE from which on an outbox is full, since many messages don't fit any more."""


class StatusServer:
    """Responds to `/health`, `/ready`, `/ready/intake` and `/metrics` from before the start of the bot until after its end.

    Requests aren't authenticated, and responses contain no secrets.

    :param endpoint: The endpoint as Twisted's description.
    :param public: The endpoints of the web server.
    :param make_pool: Called instead of WorkerPool.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: str,
        public: Sequence[str] = (),
        make_pool: Callable[..., WorkerPool] = WorkerPool,
    ) -> None:
        self.endpoint = endpoint
        self._reactor = reactor
        self._public = public
        self._bot: Bot | None = None
        self.resource = Resource()
        self.resource.putChild(b"health", _Page(lambda _: (200, b"ok\n")))
        self.resource.putChild(b"ready", _Page(self._ready))
        self.resource.putChild(b"metrics", _Page(self._metrics))
        # A thread of its own, since those of the bot may all be busy.
        self._pool = make_pool(reactor, "metrics", 1, queue=10)
        site = _QuietSite(self.resource, reactor=reactor, timeout=_IDLE)  # type: ignore[no-untyped-call]
        self._listeners = Listeners(reactor, _FewConnections(site))  # type: ignore[no-untyped-call]

    def open(self) -> Deferred[None]:
        """Open the endpoint. The Deferred fails with ListenError."""
        return self._listeners.open(self.endpoint)

    def watch(self, bot: Bot) -> None:
        """Report the state of the bot from now on."""
        self._bot = bot
        bot.health.watch()

    def close(self) -> Deferred[None]:
        """Close the endpoint."""
        if self._bot is not None:
            self._bot.health.stop()
        self._pool.stop()
        return self._listeners.close_all()

    def problems(self) -> Mapping[str, str]:
        """Return the problem of each part of the bot; "" if the part works."""
        if self._bot is None:
            return {"phase": "the bot is starting"}
        bot = self._bot
        return {
            "phase": "" if bot.phase == "running" else f"the bot is {bot.phase}",
            "networks": _networks(bot),
            **bot.health.problems,
            "outbox": _outbox(bot),
            "listeners": _listeners(bot, self._public),
            "plugins": _plugins(bot),
        }

    def _ready(self, request: Request) -> tuple[int, bytes]:
        found = self.problems()
        if request.path.startswith(b"/ready/intake"):
            found = {part: problem for part, problem in found.items() if part in INTAKE}
        ready = not any(found.values())
        parts = {part: problem or "ok" for part, problem in found.items()}
        request.setHeader(b"Content-Type", b"application/json")
        return 200 if ready else 503, json.dumps({"ready": ready, **parts}).encode() + b"\n"

    async def _metrics(self, request: Request) -> tuple[int, bytes]:
        if self._bot is None:
            return 503, b"the bot is starting\n"
        snapshot = Snapshot(self._bot, self._bot.health.depth, self.problems())
        accept = request.getHeader("accept") or ""
        kind, body = await self._pool.run(lambda: partial(encode, snapshot, accept))
        request.setHeader(b"Content-Type", kind.encode())
        return 200, body


def _plugins(bot: Bot) -> str:
    named = {webhook.rpartition(":")[0] for webhook in bot.bot_config.setting("WEBHOOKS")}
    broken = [one.name for one in bot.plugin_manager.found if one.name in named and one.problem and not one.active]
    return f"broken, but named in WEBHOOKS: {', '.join(broken)}" if broken else ""


def _networks(bot: Bot) -> str:
    absent = [name for name, state in bot.events.states.items() if state.connected_at is None and not state.ended]
    return f"not connected: {', '.join(absent)}" if absent else ""


def _outbox(bot: Bot) -> str:
    found = []
    for name, backend in bot.backends.items():
        if isinstance(backend, QueuesMessages):
            waiting, config = backend.outbox.status, bot.bot_config.networks[name]
            if waiting.parts >= FULL * config.OUTBOX_LIMIT or waiting.size >= FULL * config.OUTBOX_SIZE:
                found.append(f"{name}: full, with {waiting.messages} messages")
            elif waiting.oldest_at and (age := bot.now() - waiting.oldest_at) > LONGEST_WAIT:
                found.append(f"{name}: a message has been waiting for {age:.0f} s")
    return "; ".join(found)


def _listeners(bot: Bot, endpoints: Sequence[str]) -> str:
    closed = [endpoint for endpoint in endpoints if not bot.web.listeners.is_open(endpoint)]
    return f"closed: {', '.join(closed)}" if closed else ""


class _Page(Resource):
    """A page whose function gets the request, and returns the status and the body."""

    isLeaf = True
    log = Logger(namespace="errklein.status")

    def __init__(self, respond: Callable[[Request], Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._respond = respond

    def render_GET(self, request: Request) -> int:
        """Respond when the function has its result. Called by Twisted."""
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        gone = request.notifyFinish()
        gone.addErrback(lambda _: None)
        responding = maybeDeferred(self._respond, request).addErrback(self._failed)
        responding.addCallback(self._send, request, gone)
        return NOT_DONE_YET

    def _failed(self, failure: Failure) -> tuple[int, bytes]:
        if not failure.check(Overloaded, PoolStopped):
            self.log.failure("The status could not be shown", failure)
        return 503, b"the status could not be shown\n"

    def _send(self, response: tuple[int, bytes], request: Request, gone: Deferred[None]) -> None:
        if not gone.called:
            status, body = response
            request.setResponseCode(status)
            request.write(body)
            request.finish()


class _BodilessRequest(Request):
    """A request whose body is discarded. Twisted would keep it, whatever its size."""

    def handleContentChunk(self, data: bytes) -> None:
        """Do nothing."""


class _QuietSite(Site):
    """A site without an access log and without tracebacks in responses."""

    requestFactory = _BodilessRequest
    noisy = False
    displayTracebacks = False

    def log(self, request: Any) -> None:
        """Do nothing."""


class _Connection(ProtocolWrapper):
    """A connection whose last activity is known."""

    def dataReceived(self, data: bytes) -> None:
        """Move the connection behind those that have been idle for longer. Called by Twisted."""
        if self in self.factory.protocols:
            self.factory.protocols[self] = self.factory.protocols.pop(self)
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class _FewConnections(WrappingFactory):
    """Closes the connection that has been idle for longest when there are too many; logs nothing, as that may happen often."""

    noisy = False
    protocol = _Connection

    def buildProtocol(self, addr: Any) -> Any:
        """Return the protocol of a new connection. Called by Twisted."""
        if len(self.protocols) >= _CONNECTIONS:
            idle = next(iter(self.protocols))
            del self.protocols[idle]
            idle.transport.abortConnection()
        return super().buildProtocol(addr)

    def unregisterProtocol(self, p: Any) -> None:
        """Forget a connection that has ended. Called by Twisted."""
        self.protocols.pop(p, None)
