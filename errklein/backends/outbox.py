"""The outbox: an ordered, bounded queue of messages for one network, with a rate limit and retransmission.

A backend splits a message into parts, such as IRC lines, and puts them into the outbox from any thread. The outbox passes
one part at a time to the backend's `transmit`, and the next part after that one is confirmed. When the connection breaks,
the unconfirmed part is sent again first on the next connection.

Messages therefore arrive in order and none is lost. Only the part that was being transmitted when the connection broke may
arrive twice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.backends.transport import NotConfirmed
from errklein.ports import OutboxClosed, OutboxFull
from errklein.running.pool import PoolReactor
from errklein.text import truncated
from errklein.text.masking import masker

SHOWN = 60
"""Number of characters of a message in a log line."""

KEPT = 500
"""Number of characters of a message that are kept for the log. Secrets are masked before the text is truncated to SHOWN."""

SINGLE = 1_000
"""Number of lost messages with a log line each. Further ones share lines, since the process has a second left."""

SHARED = 50
"""Number of lost messages in a shared log line."""

P = TypeVar("P")


@dataclass(slots=True)
class _Entry(Generic[P]):
    parts: Sequence[P]
    delivery: Deferred[None] | None
    recipient: str
    beginning: str
    sent: int = 0
    attempts: int = 0

    @property
    def text(self) -> str:
        """The beginning of the message for the log, with secrets masked."""
        return truncated(masker(self.beginning), SHOWN)


class Outbox(Generic[P]):
    """An ordered queue of messages, each a sequence of parts.

    Create it in the reactor's thread. It is paused until `resume` is called.

    :param reactor: The reactor.
    :param network: The network's name, for log lines and errors.
    :param transmit: Called on the reactor with a part while the network is ready. Its Deferred fires when the network has
        the part. It fails with NotConfirmed if the connection broke, and with any other exception if the network rejects
        the part; the rest of that message is then dropped.
    :param wait_for: Called with a part. Returns 0 if the part may be sent now, and counts it; else the seconds after which
        to call it again.
    :param limit: Maximum number of queued messages.
    :param put_timeout: Seconds that `put` waits for room in threads other than the reactor's.
    :param attempts: Number of broken connections after which a part is dropped, since the part may be the cause.
    """

    log = Logger()

    def __init__(
        self,
        reactor: PoolReactor,
        network: str,
        transmit: Callable[[P], Deferred[Any]],
        wait_for: Callable[[P], float],
        *,
        limit: int = 10_000,
        put_timeout: float = 5.0,
        attempts: int = 5,
    ) -> None:
        self.network = network
        self.limit = limit
        self._reactor = reactor
        self._transmit = transmit
        self._wait_for = wait_for
        self._put_timeout = put_timeout
        self._attempts = attempts
        self._reactor_thread = threading.get_ident()
        self._room = threading.Condition()
        self._entries: deque[_Entry[P]] = deque()
        self._closed = False
        self._ready = False
        self._underway: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._drained: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, parts: Sequence[P], *, recipient: str = "", text: str = "") -> Deferred[None] | None:
        """Queue a message. May be called from any thread.

        On the reactor this returns at once. In other threads it waits for room, for up to `put_timeout` seconds.

        :param parts: The parts of the message, in order.
        :param recipient: The recipient, for the log if the message can't be sent.
        :param text: The text, for the log if the message can't be sent.
        :returns: On the reactor, a Deferred that fires when the network has the whole message, and fails if the message is
            dropped; it may be ignored. In other threads, None.
        :raises OutboxFull: The queue has no room.
        :raises OutboxClosed: `close` was called and its grace period is over.
        """
        delivery: Deferred[None] | None = Deferred() if threading.get_ident() == self._reactor_thread else None
        entry = _Entry(parts, delivery, truncated(recipient, SHOWN), text[:KEPT])
        with self._room:
            if delivery is None:
                self._room.wait_for(lambda: self._closed or len(self._entries) < self.limit, self._put_timeout)
            if self._closed:
                raise OutboxClosed(f"the bot has disconnected from {self.network}; the message can't be sent")
            if len(self._entries) >= self.limit:
                raise OutboxFull(
                    f"the outbox of {self.network} is full: {len(self._entries)} messages are waiting, which is OUTBOX_LIMIT"
                )
            self._entries.append(entry)
        if delivery is None:
            self._reactor.callFromThread(self._go_on)
        else:
            self._go_on()
        return delivery

    def resume(self) -> None:
        """Begin to transmit, with the unconfirmed part first. Call it when the network is ready."""
        self._ready = True
        self._go_on()

    def pause(self) -> None:
        """Keep the queue until `resume`. Call it when the connection is lost, after failing the part being transmitted."""
        self._ready = False
        self._stop_timer()

    def close(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue, and messages that are added to it, for up to `grace` seconds; then refuse new messages.

        The rate limit applies, and reconnections are waited for. After the grace period the remaining messages are logged
        and fail with OutboxClosed, and threads that wait for room get OutboxClosed.

        :param grace: Seconds. Zero drops the queue at once.
        :returns: A Deferred that fires when the queue is empty.
        """
        if not self._entries or not grace:
            self._give_up()
            return succeed(None)
        if self._drained is None:
            self.log.info(
                "{network}: sending {count} queued messages before disconnecting, for at most {grace:.1f} s",
                network=self.network,
                count=len(self._entries),
                grace=grace,
            )
            drained: Deferred[None] = Deferred()
            too_late = self._reactor.callLater(grace, self._give_up)

            def done(result: None) -> None:
                if too_late.active():
                    too_late.cancel()

            self._drained = drained.addCallback(done)
        return self._drained

    def _go_on(self) -> None:
        """Transmit the next part, unless one is being transmitted, the network isn't ready, or the rate limit forbids it."""
        self._stop_timer()
        while self._ready and self._underway is None and self._entries:
            entry = self._entries[0]
            if entry.sent == len(entry.parts):
                self._finish(None)
                continue
            part = entry.parts[entry.sent]
            wait = self._wait_for(part)
            if wait > 0:
                self._timer = self._reactor.callLater(wait, self._go_on)
                return
            self._underway = underway = maybeDeferred(self._transmit, part)
            if underway.called:
                # The loop continues instead of a callback: the recursion would be as deep as the queue is long.
                underway.addBoth(self._settle, entry)
            else:
                underway.addBoth(self._settle, entry).addBoth(lambda _: self._go_on())

    def _settle(self, result: Any, entry: _Entry[P]) -> None:
        self._underway = None
        if not self._entries or self._entries[0] is not entry:
            return
        if not isinstance(result, Failure):
            entry.sent += 1
            entry.attempts = 0
            if entry.sent == len(entry.parts):
                self._finish(None)
        elif result.check(NotConfirmed):
            self._ready = False
            entry.attempts += 1
            if entry.attempts >= self._attempts:
                self.log.error(
                    "{network}: the connection broke {attempts} times while sending the message to {recipient}; "
                    "dropping it: {text}",
                    network=self.network,
                    attempts=entry.attempts,
                    recipient=entry.recipient,
                    text=entry.text,
                )
                self._finish(result)
        else:
            self.log.warn(
                "{network}: the message to {recipient} could not be sent ({reason}): {text}",
                network=self.network,
                recipient=entry.recipient,
                reason=result.getErrorMessage(),
                text=entry.text,
            )
            self._finish(result)

    def _finish(self, failure: Failure | None) -> None:
        """Remove the first message, and fire its Deferred with the result."""
        with self._room:
            entry = self._entries.popleft()
            self._room.notify()
        _settle_quietly(entry.delivery, failure)
        if not self._entries and self._drained is not None:
            self._give_up()

    def _give_up(self) -> None:
        """Refuse new messages, and fail the remaining ones."""
        self._stop_timer()
        with self._room:
            self._closed = True
            self._room.notify_all()
            left = list(self._entries)
            self._entries.clear()
        if left:
            self._log_loss(left)
        failure = Failure(OutboxClosed(f"the bot disconnected from {self.network} before the message was sent"))
        for entry in left:
            _settle_quietly(entry.delivery, failure)
        if self._drained is not None and not self._drained.called:
            self._drained.callback(None)

    def _log_loss(self, left: Sequence[_Entry[P]]) -> None:
        """Log each lost message with its recipient, its text, and how much of it the network has confirmed."""
        self.log.warn("{network}: {count} messages were not sent:", network=self.network, count=len(left))
        losses = [
            self._loss(entry, under_way=index == 0 and self._underway is not None) for index, entry in enumerate(left)
        ]
        lines = losses[:SINGLE]
        lines += [" | ".join(losses[start : start + SHARED]) for start in range(SINGLE, len(losses), SHARED)]
        for line in lines:
            self.log.warn("{network}: {losses}", network=self.network, losses=line)

    def _loss(self, entry: _Entry[P], under_way: bool) -> str:
        if under_way and entry.sent == len(entry.parts) - 1:
            what = "sent but not confirmed"
        elif entry.sent:
            what = f"sent {entry.sent} of {len(entry.parts)} parts"
        else:
            what = "not sent"
        return f"{what}, to {entry.recipient}: {entry.text}"

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _settle_quietly(delivery: Deferred[None] | None, failure: Failure | None) -> None:
    """Fire the Deferred. An ignored failure isn't logged as unhandled, since the outbox has already logged it."""
    if delivery is None:
        return
    delivery.callback(failure)
    # Iterating, as `await` does, marks the failure as handled and keeps it for later callbacks.
    with suppress(Exception):
        next(iter(delivery), None)
