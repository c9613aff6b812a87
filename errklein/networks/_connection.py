"""The connection to a network, which is established again and again until the bot stops, and the delays between attempts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat.outgoing import Wait
from errklein.networks.outbox import NotConfirmed, Outbox, RetryLater
from errklein.running import cancel_timers

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext
    from errklein.ports.chat import Backend, BackendEvents

_DAY, _LONGEST_PAUSE = 86_400.0, 3_600.0
_EXPECTED = (NotConfirmed, RetryLater, ConnectError, ConnectionClosed, OSError)


class Unusable(NotConfirmed):
    """The network refuses the bot until somebody changes something, such as a wrong token. The text is the reason."""


class Backoff:
    """Delays between attempts. They double up to `longest`, and each is randomly prolonged by up to half, by numbers
    from 0 to 1. The random part keeps bots from reconnecting to a server at the same moment."""

    FIRST, LONGEST = 1.0, 300.0

    def __init__(self, chance: Callable[[], float], first: float | None = None, longest: float = LONGEST) -> None:
        self._chance, self._longest = chance, longest
        self._first = self._next = self.FIRST if first is None else first

    def delay(self) -> float:
        base = self._next
        self._next = min(max(base * 2, self.FIRST), self._longest)
        return min(base * (1 + self._chance() / 2), self._longest)

    def reset(self) -> None:
        self._next = self._first


def describe_failure(failure: Failure, certificates: str = "the variable SSL_CERT_FILE") -> str:
    """Return the reason for a failed connection, in one line. `certificates` may name a file with other authorities."""
    error = failure.value
    # What Twisted's HTTP client raises has the reasons, and no text.
    if reasons := [one for one in getattr(error, "reasons", None) or () if isinstance(one, Failure)]:
        return describe_failure(reasons[0], certificates)
    if isinstance(error, VerificationError):
        return "the server's TLS certificate is for another name"
    if isinstance(error, SSL.Error):
        why = ", ".join(str(entry[-1]) for entry in error.args[0]) if error.args and error.args[0] else ""
        if "certificate verify failed" in why:
            return f"the server's TLS certificate is not trusted; {certificates} names a file with other CAs"
        return f"TLS failed ({why})" if why else "TLS failed"
    return " ".join(failure.getErrorMessage().split()) or type(error).__name__


class Connection:
    """Keeps the bot connected to a network: runs the session again after it has ended, until `disconnect`. Pauses the outbox
    meanwhile. A session connects, calls `connected`, and returns the reason, or raises an exception, when the connection is
    lost. It may be cancelled. After Unusable, the next one begins in 5 minutes, up to an hour; the first such failure is a
    notice. RetryLater names the least delay, and `first` is that of the first attempt after a loss. The log has the `place`."""

    log = Logger(namespace="errklein.networks")
    STABLE_AFTER = 30.0
    """Seconds after which a connection counts as stable, and the backoff is reset."""

    def __init__(
        self,
        context: NetworkContext,
        session: Callable[[], Awaitable[object]],
        outbox: Outbox[Any],
        place: str = "",
        first: float | None = None,
    ) -> None:
        self._context, self._session, self._outbox = context, session, outbox
        self._reactor, self.network = context.reactor, context.network
        self._place, self._backoff = place, Backoff(context.chance, first)
        self._rarely = Backoff(context.chance, 300.0, 3600.0)
        self._link: tuple[Backend, BackendEvents] | None = None
        self._running: Deferred[None] = succeed(None)
        self._current: Deferred[object] = succeed(None)
        self._broken: NotConfirmed | None = None
        self._pause: IDelayedCall | None = None
        self._connected_at: float | None = None

    def start(self, backend: Backend, events: BackendEvents) -> None:
        self._link = backend, events
        # A session may call `connected` before it waits for the first time.
        self._running = succeed(None)
        self._running = Deferred.fromCoroutine(self._run())

    def connected(self, resumes: bool = True) -> None:
        """Note that the session has connected. It may call this again. Without `resumes`, it resumes the outbox itself."""
        if self._link is not None and not self.is_connected:
            backend, events = self._link
            self._connected_at = self._reactor.seconds()
            self._rarely.reset()
            events.backend_connected(backend)
            if resumes:
                self._outbox.resume()

    def interrupt(self, error: NotConfirmed) -> None:
        """Cancel the session, which hasn't noticed that the connection is broken."""
        if self.is_connected and self._broken is None:
            self._broken = error
            self._reactor.callLater(0, self._cancel)

    def _cancel(self) -> None:
        # Later than the interruption: a session that has sent the part itself runs at the time, and can't be cancelled.
        self._current.cancel()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send the outbox for up to `grace` seconds, if the network is connected by then, and cancel the session."""
        return self._outbox.close(grace if self.will_connect_within(grace) else 0.0).addCallback(self._stop)

    @property
    def is_connected(self) -> bool:
        return self._connected_at is not None

    @property
    def next_attempt_in(self) -> float | None:
        pause = self._pause
        return max(0.0, pause.getTime() - self._reactor.seconds()) if pause and pause.active() else None

    @property
    def absence(self) -> Wait | None:
        return None if self.is_connected else self._outbox.absence

    def will_connect_within(self, seconds: float) -> bool:
        """Return whether the network is connected, or a session runs or begins within `seconds`."""
        return self._link is not None and (self.next_attempt_in or 0.0) < max(seconds, 0.001)

    def _stop(self, closed: None) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        self._link = None
        self._running.addBoth(lambda _: gone.callback(None))
        self._running.cancel()
        return gone

    async def _run(self) -> None:
        while True:
            self._outbox.absence = self._outbox.absence._replace(again_at=0.0)
            try:
                self._current = Deferred.fromCoroutine(self._run_session())
                reason = await self._current
                delay = self._lost(reason if reason and isinstance(reason, str) else "the connection was closed")
            except Exception as raised:
                error = self._broken or raised
                if not isinstance(error, _EXPECTED) and self._link is not None:
                    self.log.failure("{network}: the connection failed", network=self.network)
                least = min(error.seconds, _LONGEST_PAUSE) if isinstance(error, RetryLater) else 0.0
                is_refused = isinstance(error, Unusable)
                delay = self._refused(str(error)) if is_refused else self._lost(describe_failure(Failure(error)))
                delay = max(delay, least)
            if self._link is None:
                return
            text = "{network}: not connected{place} ({reason}); next try in {delay:.0f} s"
            absence = self._outbox.absence = self._outbox.absence._replace(again_at=self._context.now() + delay)
            self.log.warn(text, network=self.network, place=self._place, reason=absence.cause, delay=delay)
            over: Deferred[None] = Deferred(lambda _: cancel_timers(self._pause))
            self._pause = self._reactor.callLater(delay, over.callback, None)
            await over

    async def _run_session(self) -> object:
        self._broken = None
        return await self._session()

    def _lost(self, reason: str) -> float:
        """Note that there is no connection any more, and return the seconds until the next attempt."""
        self._outbox.absence = self._outbox.absence._replace(cause=reason)
        connected_at, self._connected_at = self._connected_at, None
        if connected_at is not None and self._link is not None:
            self._outbox.pause(reason)
            backend, events = self._link
            events.backend_disconnected(backend, reason)
            if self._reactor.seconds() - connected_at >= self.STABLE_AFTER:
                self._backoff.reset()
        return self._backoff.delay()

    def _refused(self, reason: str) -> float:
        self._lost(reason)
        text = "{} can't be used{}. The bot tries again later; until then its messages there wait."
        summary, text = text.format(self.network, ""), text.format(self.network, f": {reason}")
        self._context.notify(("unusable", self.network), text, summary, interval=_DAY)
        return self._rarely.delay()
