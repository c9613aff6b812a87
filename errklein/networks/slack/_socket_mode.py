"""Socket Mode: WebSockets on which Slack sends events. Slack renews them about once an hour, and the bot those that may be deaf."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.networks._connection import Unusable
from errklein.networks.json_client import mapping
from errklein.networks.outbox import NotConfirmed
from errklein.networks.slack._client import at
from errklein.running import cancel_timers

if TYPE_CHECKING:
    from errklein.networks._socket import Socket
    from errklein.networks.slack._backend import SlackBackend

HELLO, OVERLAP = 20.0, 10.0
"""The seconds within which Slack must begin a socket, and for which the one before stays open."""

LOOK, QUIET, ECHO = 10.0, 600.0, 30.0
"""The seconds between looks at a socket; those without any event after which it is replaced; and those after which the event of the
bot's own message must have come. Slack sometimes sends nothing on a socket that answers to pings."""


class SocketMode:
    """Receives events until the connection is lost. A socket is opened before the one that it replaces is closed."""

    def __init__(self, backend: SlackBackend) -> None:
        self._backend, self._receiver, self._reactor = backend, backend.receiver, backend.context.reactor
        self._ended: Deferred[str] = Deferred()
        self._sockets: list[Socket] = []
        self._opened_at = 0.0
        self._replacing: Deferred[Any] = succeed(None)
        self._timer: IDelayedCall | None = None

    async def run(self, connected: Callable[[], object]) -> str:
        """Open a socket, call `connected`, and return the reason when the connection is lost."""
        self._ended = Deferred()
        try:
            await self._open()
            connected()
            self._look()
            return await self._ended
        finally:
            self._replacing.cancel()
            cancel_timers(self._timer)
            while self._sockets:
                self._sockets.pop().close()

    async def _open(self) -> None:
        answer = await self._backend.client.call("apps.connections.open", by="app_token")
        hello: Deferred[None] = Deferred()
        opened: list[Socket] = []
        url = at(answer, "url")
        opened.append(await self._backend.context.websocket(url, lambda text: self._receive(text, opened, hello)))
        try:
            late = Failure(NotConfirmed(f"no hello of Slack within {HELLO:g} s"))
            await hello.addTimeout(HELLO, self._reactor, lambda *_: late)
        except BaseException:
            opened[0].close()
            raise
        self._sockets += opened
        self._opened_at = self._receiver.heard_at = self._reactor.seconds()
        opened[0].closed.addCallback(self._closed, opened[0])

    def _receive(self, text: str | bytes, opened: list[Socket], hello: Deferred[None]) -> None:
        envelope = mapping(json.loads(text))
        kind, number = at(envelope, "type"), at(envelope, "envelope_id")

        def acknowledge() -> None:
            # Without it, Slack sends the event again.
            with suppress(NotConfirmed, IndexError):
                opened[0].send(json.dumps({"envelope_id": number}))

        if kind == "hello" and not hello.called:
            hello.callback(None)
        elif kind == "disconnect" and envelope.get("reason") == "link_disabled":
            self._end(Failure(Unusable("Socket Mode is switched off in the settings of the app")))
        elif kind == "disconnect":
            self._replace()
        elif number:
            self._receiver.receive(kind, mapping(envelope.get("payload")), acknowledge)

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK, self._look)
        now, heard, posted = self._reactor.seconds(), self._receiver.heard_at, self._backend.posted_at
        is_deaf = now - heard > QUIET or (self._receiver.has_echo and posted > heard and now - posted > ECHO)
        if is_deaf and now - self._opened_at > ECHO:
            self._replace()
        while len(self._sockets) > 1 and now - self._opened_at >= OVERLAP:
            self._sockets.pop(0).close()

    def _replace(self) -> None:
        if self._replacing.called:
            self._replacing = Deferred.fromCoroutine(self._open()).addErrback(self._end)

    def _closed(self, reason: str, socket: Socket) -> None:
        if self._sockets[-1:] == [socket] and self._replacing.called:
            self._end(reason)

    def _end(self, reason: str | Failure) -> None:
        is_stop = isinstance(reason, Failure) and reason.check(CancelledError)
        if not (self._ended.called or is_stop):
            self._ended.errback(reason) if isinstance(reason, Failure) else self._ended.callback(reason)
