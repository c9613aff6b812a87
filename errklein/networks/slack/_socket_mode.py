"""Socket Mode: WebSockets on which Slack sends events. Slack renews them about once an hour, and the bot those that may be deaf."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.networks._connection import Unusable
from errklein.networks.json_client import at, mapping
from errklein.networks.outbox import NotConfirmed
from errklein.running import cancel_timers

if TYPE_CHECKING:
    from errklein.networks._socket import Socket
    from errklein.networks.slack._backend import SlackBackend

HELLO, OVERLAP, LOOK, QUIET, ECHO = 20.0, 10.0, 10.0, 600.0, 30.0
"""The seconds within which Slack must greet; for which a replaced socket stays open; between looks at a socket; without any event after
which it is replaced, since Slack sometimes sends nothing on one that answers to pings; and for the event of the bot's own message."""


class SocketMode:
    """Receives events until the connection is lost. A socket is opened before the one that it replaces is closed."""

    def __init__(self, backend: SlackBackend) -> None:
        self._backend, self._receiver, self._reactor = backend, backend.receiver, backend.context.reactor
        self._sockets: list[Socket] = []
        self._over: Deferred[str] = Deferred()
        """Fires when the newest socket is over: with the reason, or "" if another one takes its place."""
        self._opened_at = 0.0
        self._timer: IDelayedCall | None = None

    async def run(self, connected: Callable[[], object]) -> str:
        """Open sockets, call `connected` after the first, and return the reason when the connection is lost."""
        reason = ""
        try:
            while not reason:
                over: Deferred[str] = Deferred()
                await self._open(over)
                self._over, self._opened_at = over, self._reactor.seconds()
                if len(self._sockets) == 1:
                    connected()
                    self._look()
                reason = await over
            return reason
        finally:
            cancel_timers(self._timer)
            while self._sockets:
                self._sockets.pop().close()

    async def _open(self, over: Deferred[str]) -> None:
        answer = await self._backend.client.call("apps.connections.open", by="app_token")
        hello: Deferred[None] = Deferred()
        opened: list[Socket] = []

        def end(reason: str, error: Exception | None = None) -> None:
            is_newest = self._sockets[-1:] == opened
            if is_newest and not hello.called:
                hello.errback(error or NotConfirmed(f"Slack has not said hello: {reason}"))
            elif is_newest and not over.called:
                over.errback(error) if error else over.callback(reason)

        def receive(text: str | bytes) -> None:
            envelope = mapping(json.loads(text))
            kind = at(envelope, "type")
            if kind == "hello" and not hello.called:
                hello.callback(None)
            elif kind == "disconnect":
                reason, off = at(envelope, "reason"), Unusable("Socket Mode is switched off in the app")
                is_renewed = reason in ("warning", "refresh_requested")
                end("" if is_renewed else reason or kind, off if reason == "link_disabled" else None)
            elif envelope_id := at(envelope, "envelope_id"):
                answer = partial(self._acknowledge, opened, json.dumps({"envelope_id": envelope_id}))
                self._receiver.receive(kind, mapping(envelope.get("payload")), answer)

        opened.append(await self._backend.context.websocket(at(answer, "url"), receive))
        self._sockets += opened
        opened[0].closed.addCallback(end)
        late = NotConfirmed(f"no hello of Slack within {HELLO:g} s")
        await hello.addTimeout(HELLO, self._reactor, lambda *_: Failure(late))
        self._receiver.heard_at = self._reactor.seconds()

    def _acknowledge(self, opened: list[Socket], text: str) -> None:
        # Without it, Slack sends the event again.
        with suppress(NotConfirmed, IndexError):
            opened[0].send(text)

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK, self._look)
        now, heard, posted = self._reactor.seconds(), self._receiver.heard_at, self._backend.posted_at
        is_deaf = now - heard > QUIET or (self._receiver.has_echo and posted > heard and now - posted > ECHO)
        if is_deaf and now - self._opened_at > ECHO and not self._over.called:
            self._over.callback("")
        while len(self._sockets) > 1 and not self._over.called and now - self._opened_at >= OVERLAP:
            self._sockets.pop(0).close()
