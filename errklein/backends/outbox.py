"""What a bot has still to say on one network: ordered, bounded, at the network's pace, across reconnections.

A backend cuts a message into parts, such as lines, and puts them here from any thread; the outbox hands one part at a
time to the backend's `transmit`, and the next one when that part is confirmed. What isn't confirmed when a connection
goes is handed out again, first, when the next one is ready. So nothing is lost, nothing overtakes, and only a part
that the network had just taken when the connection broke may be said twice.
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

from errklein.ports import OutboxClosed, OutboxFull
from errklein.running.pool import PoolReactor
from errklein.text import truncated
from errklein.text.masking import masker

SHOWN = 60
"""Characters of a message that a log line about it shows."""

KEPT = 500
"""Characters of a message that are kept for it: secrets have to be masked before the text is cut, and may be longer."""

SINGLE = 1_000
"""Lost messages with a log line of their own. Further ones are logged SHARED to a line, since the process ends within a
second."""

SHARED = 50

P = TypeVar("P")


class NotConfirmed(Exception):
    """The connection went before the network confirmed a part, which will be sent again."""


class TokenBucket:
    """Lets `burst` parts go at once and one more each `interval` seconds. A pace for parts of any kind."""

    def __init__(self, seconds: Callable[[], float], interval: float, burst: int) -> None:
        self.interval = interval
        self.burst = burst
        self._seconds = seconds
        self._tokens = float(burst)
        self._since = seconds()

    def take(self, part: object) -> float:
        """Zero if a part may go now, else the seconds until the next may."""
        now = self._seconds()
        if self.interval > 0:
            self._tokens = min(self.burst, self._tokens + (now - self._since) / self.interval)
            self._since = now
            # Sums of fractions come out a little short of one.
            if self._tokens < 1 - 1e-6:
                return (1 - self._tokens) * self.interval
            self._tokens = max(0.0, self._tokens - 1)
        return 0.0


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
        """The beginning of the message, for the log."""
        return truncated(masker(self.beginning), SHOWN)


class Outbox(Generic[P]):
    """An ordered queue of at most `limit` messages, each a sequence of parts.

    `wait_for(part)` returns zero if the part may go now, which is then counted, else the seconds until to ask again.
    `transmit(part)` is called on the reactor while the network is ready; its Deferred fires when the network has the
    part, fails with NotConfirmed if the connection went, and with anything else if the network refuses the part: then
    the rest of its message is given up. A part on which `attempts` connections break is given up too, for it may well
    be what breaks them. Other threads wait `put_timeout` seconds for room. The thread that makes the outbox is the
    reactor's.
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
        """Accept a message, from any thread. `recipient` and `text` name it in the log if it can't be sent.

        On the reactor: raises OutboxFull at once if there is no room; returns a Deferred, which may be ignored, that
        fires when the network has the whole message, and fails if it never will. In another thread: waits for room,
        then raises OutboxFull; returns None. Raises OutboxClosed after `close`.
        """
        delivery: Deferred[None] | None = Deferred() if threading.get_ident() == self._reactor_thread else None
        entry = _Entry(parts, delivery, truncated(recipient, SHOWN), text[:KEPT])
        with self._room:
            if delivery is None:
                self._room.wait_for(lambda: self._closed or len(self._entries) < self.limit, self._put_timeout)
            if self._closed:
                raise OutboxClosed(f"{self.network} has been left, nothing more is sent there")
            if len(self._entries) >= self.limit:
                raise OutboxFull(f"{len(self._entries)} messages wait to be sent to {self.network} already")
            self._entries.append(entry)
        if delivery is None:
            self._reactor.callFromThread(self._go_on)
        else:
            self._go_on()
        return delivery

    def resume(self) -> None:
        """The network is ready: begin with what isn't confirmed yet."""
        self._ready = True
        self._go_on()

    def pause(self) -> None:
        """The network is gone: keep everything until `resume`. The part under way has failed with NotConfirmed."""
        self._ready = False
        self._stop_timer()

    def close(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue, and messages that are added to it, for up to `grace` seconds; then refuse new messages.

        Messages are sent at the network's pace, across reconnections. After the grace period each remaining message is named in
        the log and fails with OutboxClosed, as do threads that wait for room. Fires when the queue is empty.
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
        """Hand out the next part, unless one is under way, the network isn't ready, or it is too early."""
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
                # Without this a network that confirms at once would recurse as deep as its queue is long.
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
        """The first message is done with."""
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
        failure = Failure(OutboxClosed(f"{self.network} was left before the message was sent"))
        for entry in left:
            _settle_quietly(entry.delivery, failure)
        if self._drained is not None and not self._drained.called:
            self._drained.callback(None)

    def _log_loss(self, left: Sequence[_Entry[P]]) -> None:
        """Log the recipient and text of each lost message, and how much of it the network has confirmed."""
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
    """Fire the Deferred. A failure isn't reported as unhandled if nobody ever looks at it: the log has it already."""
    if delivery is None:
        return
    delivery.callback(failure)
    # A failed Deferred that was iterated over, as `await` does, counts as handled, and keeps its result for others.
    with suppress(Exception):
        next(iter(delivery), None)
