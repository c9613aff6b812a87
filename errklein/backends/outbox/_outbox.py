"""The queue of one network.

A backend puts messages into the outbox from any thread. They wait in lanes, one for each recipient and origin, which take
turns part by part; within a lane, the order is kept. The outbox splits a message when its turn comes, and passes parts to
the `Transport`. When the connection breaks, unconfirmed parts are sent again on the next one.

No message is lost, then. Only parts that were unconfirmed when the connection broke may arrive twice. Messages are also
passed to an `OutboxStore`, from which a later process sends those that this one could not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.backends.outbox._lanes import Connections, Entry, Lanes
from errklein.backends.outbox._losses import log_left, log_losses, log_rejection
from errklein.backends.outbox._room import OutboxLimits, OutboxRoom
from errklein.backends.outbox._transport import NotConfirmed, Reports, Transport
from errklein.backends.outbox._waiting_rooms import Unavailable, WaitingRooms
from errklein.chat import Message
from errklein.chat.outgoing import OutgoingMessage, Wait
from errklein.ports.outbox import OutboxClosed, OutboxExpired, OutboxStatus, OutboxStore, SentLater
from errklein.running import cancel_timers
from errklein.running.context import causing_delivery, origin
from errklein.running.pool import PoolReactor

P = TypeVar("P")

_LANES_AT_ONCE = 200
"""Number of lanes below which each new message may be sent at once. With more, it waits 5 ms for every 200 of them."""

_OTHERS_FIRST = 10.0
"""The seconds for which others are sent before parts that may have broken the last connection. Then they take turns."""


class Outbox(Generic[P]):
    """A queue of messages. Create it in the reactor's thread. It is paused until `resume` is called.

    :param reactor: The reactor.
    :param network: The network's name, for log lines and errors.
    :param transport: Sends parts.
    :param limits: The bounds.
    :param reports: Gets messages that were dropped, rejected, or wait for a room.
    :param unavailable: Returns whether messages to a recipient wait, and why.
    :param now: Returns the Unix time.
    :param put_timeout: Seconds that threads other than the reactor's wait for room.
    """

    log = Logger()

    def __init__(
        self,
        reactor: PoolReactor,
        network: str,
        transport: Transport[P],
        limits: OutboxLimits | None = None,
        *,
        reports: Reports | None = None,
        unavailable: Unavailable = lambda recipient: None,
        now: Callable[[], float] = time.time,
        put_timeout: float = 5.0,
    ) -> None:
        self.network = network
        self._limits = limits or OutboxLimits()
        self._reactor = reactor
        self._transport = transport
        self._now = now
        self._put_timeout = put_timeout
        self._reactor_thread = threading.get_ident()
        self._store: OutboxStore | None = None
        # The ids of what isn't stored are negative.
        self._unstored_ids = count(-1, -1)
        self._unavailable = unavailable
        self._reports = reports or Reports()
        self._room = OutboxRoom(network, self._limits, unavailable)
        self._entries: dict[int, Entry[P]] = {}
        self._lanes: Lanes[P] = Lanes()
        self._in_flight = self._sent = 0
        self._connections = Connections(reactor.seconds, self._limits.isolates)
        # True if the part in flight may break the connection.
        self._is_alone = False
        self._waiting: WaitingRooms[P] = WaitingRooms(reactor.seconds, unavailable, self._reports)
        self._closed = self._ready = False
        self.absence = Wait(f"{network} is not connected", now())
        """The state of the network since the last `pause`, which messages wait for until `resume`."""
        self._is_going_on = self._has_more = False
        self._timer: IDelayedCall | None = None
        self._watch: IDelayedCall | None = None
        self._too_late: IDelayedCall | None = None
        self._drained: Deferred[None] | None = None

    def __len__(self) -> int:
        return self._room.usage.messages

    @property
    def status(self) -> OutboxStatus:
        """What waits in the outbox."""
        ready = (entry for entry in self._entries.values() if entry.message.recipient not in self._waiting.since)
        oldest = next(ready, None)
        accepted_at = 0.0 if oldest is None else self._now() - (self._reactor.seconds() - oldest.since)
        usage = self._room.usage
        return OutboxStatus(usage.messages, usage.parts, usage.size, accepted_at, self._sent)

    def use_store(self, store: OutboxStore, restored: Iterable[OutgoingMessage] = ()) -> None:
        """Store messages from now on, and queue those of an earlier process, oldest first. Called once, at first."""
        self._store = store
        for message in restored:
            entry = self._entry(message, None, None, max(0.0, self._now() - message.accepted_at))
            self._room.exceed(entry)
            self._queue(entry)

    def send(
        self,
        recipient: str,
        body: str,
        *,
        details: str = "",
        priority: bool = False,
        original: Message | None = None,
    ) -> Deferred[None] | None:
        """Accept a message. May be called from any thread; in the context of its origin.

        On the reactor this returns at once. In other threads it waits for room, for up to `put_timeout` seconds.

        :returns: On the reactor, a Deferred that fires when the network has the whole message, and fails if the message is
            dropped; it may be ignored. In other threads, None.
        :raises OutboxFull: The outbox, or the lane of the message, has no room.
        :raises OutboxClosed: `close` was called and its grace period is over.
        :raises TypeError: The text isn't a string.
        """
        if not isinstance(body, str):
            # A value that can't be stored would keep all others from being stored.
            raise TypeError(f"the text of a message must be a string, not {type(body).__name__}")
        message = self._message(recipient, body[: self._limits.length], priority, details)
        return self._accept(message, None, original, self._store)

    def put(
        self, parts: Sequence[P], *, recipient: str = "", text: str = "", priority: bool = False
    ) -> Deferred[None] | None:
        """Queue parts that aren't stored, such as function calls. Returns and raises as `send`.

        :param recipient: The recipient, for the lane and the log.
        :param text: The text, for the log if the parts can't be sent.
        """
        return self._accept(self._message(recipient, text, priority), parts, None, None)

    def resume(self) -> None:
        """Begin to transmit. Call it when the network is ready, and when messages may be sent to more recipients."""
        if self._ready:
            self._go_on_soon()
            return
        self._ready = True
        self._connections.begin()
        self._go_on()

    def pause(self, reason: str = "") -> None:
        """Keep the queue until `resume`. Call it when the connection is lost, after failing the unconfirmed parts."""
        self._ready, self.absence = False, Wait(f"{self.network} is not connected", self._now(), reason)
        cancel_timers(self._timer)
        self._timer = None

    def wait_of(self, id: int) -> Wait | None:
        """Return what a message waits for, apart from a room; None if it isn't in the outbox."""
        if (entry := self._entries.get(id)) is None:
            return None
        usual = Wait(f"{len(self)} messages wait, which are sent at the pace of {self.network}")
        return self._connections.wait_of(entry, usual) if self._ready else self.absence

    def close(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue, and messages that are added to it, for up to `grace` seconds; then refuse new messages.

        The rate limit applies, and reconnections are waited for, but not rooms that the bot is shut out of, if messages are
        stored. After the grace period the remaining messages fail with OutboxClosed, and threads that wait for room get
        OutboxClosed. A later process sends messages that are stored; others are logged.

        :param grace: Seconds. Zero doesn't send anything.
        :returns: A Deferred that fires when the queue is empty, or given up.
        """
        if not len(self) or not grace:
            self._give_up()
            return succeed(None)
        if self._drained is None:
            self.log.info(
                "{network}: sending {count} queued messages before disconnecting, for at most {grace:.1f} s",
                network=self.network,
                count=len(self),
                grace=grace,
            )
            self._drained = Deferred()
            self._too_late = self._reactor.callLater(grace, self._give_up)
            self._go_on_soon()
        return self._drained

    def _message(self, recipient: str, text: str, priority: bool, details: str = "") -> OutgoingMessage:
        now, of, delivery = self._now(), origin.get(), causing_delivery()
        return OutgoingMessage(0, self.network, recipient, text, of, bool(priority), now, 0.0, details, delivery)

    def _accept(
        self, message: OutgoingMessage, parts: Sequence[P] | None, original: Message | None, store: OutboxStore | None
    ) -> Deferred[None] | None:
        entry = self._entry(message, parts, original)
        on_reactor = threading.get_ident() == self._reactor_thread
        self._room.take(entry, 0.0 if on_reactor else self._put_timeout)
        # Also in a thread, not later: the outcome of a webhook's handler must not be stored before its messages.
        entry.message = message._replace(id=next(self._unstored_ids)) if store is None else store.add(message)
        if not on_reactor:
            self._reactor.callFromThread(self._begin, entry)
            return None
        delivery: Deferred[None] = Deferred()
        entry.delivery = delivery
        self._begin(entry)
        return delivery

    def _begin(self, entry: Entry[P]) -> None:
        self._queue(entry)
        self._go_on_soon()

    def _entry(
        self, message: OutgoingMessage, parts: Sequence[P] | None, original: Message | None, age: float = 0.0
    ) -> Entry[P]:
        estimate = self._transport.estimate(message.body) if parts is None else len(parts)
        since = self._reactor.seconds() - age
        size = len(message.body) + len(message.details)
        return Entry(message, None, since, estimate, size, original, parts)

    def _queue(self, entry: Entry[P]) -> None:
        self._entries[entry.message.id] = entry
        self._lanes.add(entry)
        if self._closed:
            # It was accepted in a thread before.
            self._give_up()
        else:
            self._look_later()

    def _go_on(self) -> None:
        """Transmit what the window and the rate limit allow."""
        cancel_timers(self._timer)
        self._timer = None
        self._is_going_on = True
        while self._ready:
            self._has_more = False
            batch, wait = self._next_parts()
            if not batch:
                if self._has_more:
                    # The end of a message without parts has led to another message, whose lane may have been passed already.
                    continue
                if wait > 0:
                    self._timer = self._reactor.callLater(wait, self._go_on)
                break
            self._in_flight += len(batch)
            try:
                results = self._transport.transmit([part for _, _, part in batch])
            except Exception:
                results = [fail() for _ in batch]
            for (entry, place, _), result in zip(batch, results, strict=True):
                result.addBoth(self._settle, entry, place)
        self._is_going_on = False
        if self._drained is not None and (not len(self) or self._only_rooms_are_left):
            self._give_up()

    @property
    def _only_rooms_are_left(self) -> bool:
        """True if all messages wait for rooms that the bot is shut out of, and the next start sends them."""
        waiting = (entry.message.recipient in self._waiting.since for entry in self._entries.values())
        return self._is_durable and not self._in_flight and all(waiting) and self._waiting.are_shut_out()

    @property
    def _is_durable(self) -> bool:
        return self._store is not None and self._store.durable

    def _go_on_soon(self) -> None:
        """Transmit more at the end of this turn of the reactor, so that the messages of one turn are transmitted together."""
        if self._is_going_on or not self._ready:
            self._has_more = True
            return
        # A look at all lanes takes some microseconds for each, in which most may wait for the rate limit.
        delay = len(self._lanes) // _LANES_AT_ONCE / 200
        if not self._in_flight and not delay:
            self._go_on()
        elif self._timer is None:
            self._timer = self._reactor.callLater(delay, self._go_on)
        elif self._timer.getTime() > self._reactor.seconds() + delay:
            # It waits for the rate limit of some recipient, and others may have none.
            self._timer.reset(delay)

    def _next_parts(self) -> tuple[list[tuple[Entry[P], int, P]], float]:
        """Return the parts that may be sent now, and the seconds after which to ask for others."""
        if self._is_alone and self._in_flight:
            return [], 0.0
        self._is_alone = False
        if self._connections.age < _OTHERS_FIRST:
            batch, wait = self._parts_in_turn(has_suspects=False)
            if batch or wait or self._in_flight:
                return batch, wait
        return self._parts_in_turn(has_suspects=True)

    def _parts_in_turn(self, has_suspects: bool) -> tuple[list[tuple[Entry[P], int, P]], float]:
        """Return parts of the lanes whose turn it is.

        :param has_suspects: False to leave out parts that may have broken a connection, unless they have priority.
        """
        batch: list[tuple[Entry[P], int, P]] = []
        shortest = 0.0
        room = self._transport.window - self._in_flight
        for entry in self._lanes.rotation():
            if len(batch) >= room:
                break
            if not entry.is_transmitted and self._waiting.has(entry):
                continue
            if entry.is_suspect:
                if not (has_suspects or entry.queue[0]):
                    continue
                if (wait := self._connections.wait_for(entry)) > 0:
                    shortest = min(shortest or wait, wait)
                    continue
                if batch or self._in_flight:
                    # Its turn comes when the others are confirmed.
                    break
            if not entry.is_transmitted:
                try:
                    wait = self._transport.wait_for(entry.message.recipient)
                    if wait > 0:
                        shortest = min(shortest or wait, wait)
                        continue
                    if entry.parts is None:
                        # Only now: many lanes may wait.
                        entry.split(self._transport, self._reactor.seconds(), self._now())
                except Exception:
                    entry.parts = ()
                    self._reject(entry, Failure())
                    continue
            if not entry.parts or entry.is_transmitted:
                if not entry.unconfirmed:
                    # It has no text, or all parts were sent before the restart.
                    self._finish(entry, None)
                continue
            self._is_alone = entry.is_suspect
            place = entry.position
            entry.position += 1
            entry.unconfirmed.add(place)
            batch.append((entry, place, entry.parts[place]))
            if self._is_alone:
                break
        return batch, shortest

    def _settle(self, result: Any, entry: Entry[P], place: int) -> None:
        self._in_flight -= 1
        is_rejected = isinstance(result, Failure) and not result.check(NotConfirmed)
        # Also if the message is over: nothing may be sent until the next connection.
        self._ready = self._ready and (is_rejected or not isinstance(result, Failure))
        if is_rejected and self._unavailable(entry.message.recipient) is not None:
            # The bot was removed from the room before the network got the part.
            self._postpone(entry, place)
        elif self._entries.get(entry.message.id) is entry:
            if not isinstance(result, Failure):
                self._confirm(entry, place)
            elif is_rejected:
                self._reject(entry, result)
            else:
                self._repeat(entry, place, result)
        elif self._closed and (is_rejected or not isinstance(result, Failure)):
            # It was settled after `close`, and the next start must not send it again.
            entry.unconfirmed.discard(place)
            if isinstance(result, Failure):
                log_rejection(self.log, self.network, entry, result)
            self._store_progress(entry, entry.is_complete or is_rejected, result if is_rejected else None)
        self._go_on_soon()

    def _confirm(self, entry: Entry[P], place: int) -> None:
        entry.unconfirmed.discard(place)
        entry.attempts = 0
        if place + 1 >= entry.suspect:
            entry.breaks = 0
        if entry.is_complete:
            self._finish(entry, None)
        else:
            self._store_progress(entry, over=False)

    def _postpone(self, entry: Entry[P], place: int) -> None:
        """Send a part again when the recipient is available."""
        entry.unconfirmed.discard(place)
        entry.position = min(entry.position, place)
        if self._entries.get(entry.message.id) is entry:
            self._lanes.rewind(entry, place)

    def _store_progress(self, entry: Entry[P], over: bool, failure: Failure | None = None, dropped: str = "") -> None:
        """Store how much of a message the network has confirmed, or that nothing is left to be sent, and why."""
        if entry.message.id > 0 and self._store is not None:
            if over:
                self._store.end(entry.record(failure, dropped, self._now()))
            else:
                assert entry.parts is not None
                self._store.advance(entry.message.id, entry.confirmed / len(entry.parts))

    def _repeat(self, entry: Entry[P], place: int, failure: Failure) -> None:
        """Send a part again that was unconfirmed when the connection broke."""
        entry.unconfirmed.discard(place)
        self._connections.broke(entry, place, self._in_flight + 1)
        if entry.attempts >= self._limits.attempts:
            reason = f"the connection broke {entry.attempts} times while it was sent"
            self._drop([entry], reason, failure)
            return
        self._lanes.rewind(entry, place)
        if self._connections.must_be_isolated(entry):
            self._lanes.isolate(entry)

    def _reject(self, entry: Entry[P], failure: Failure) -> None:
        log_rejection(self.log, self.network, entry, failure)
        self._finish(entry, failure)
        self._reports.undelivered(entry.message.recipient, {entry.message.origin: 1}, failure.getErrorMessage(), False)

    def _drop(self, entries: Sequence[Entry[P]], reason: str, failure: Failure) -> None:
        """Give up messages, and report them to administrators."""
        text = "{network}: {count} messages were dropped, since {reason}:"
        self.log.error(text, network=self.network, count=len(entries), reason=reason)
        log_losses(self.log, self.network, entries)
        for entry in entries:
            self._finish(entry, failure, reason)
        self._reports.dropped(len(entries), reason)

    def _finish(self, entry: Entry[P], failure: Failure | None, dropped: str = "") -> None:
        """Remove a message that was sent, rejected, or dropped for a reason, and fire its Deferred with the result."""
        self._sent += failure is None
        del self._entries[entry.message.id]
        self._lanes.remove(entry)
        self._room.give_back(entry)
        self._store_progress(entry, over=True, failure=failure, dropped=dropped)
        entry.settle(failure)
        if not len(self) and self._drained is not None and not self._is_going_on:
            self._give_up()

    def _give_up(self) -> None:
        """Refuse new messages, and fail the remaining ones. Those that are stored stay so."""
        cancel_timers(self._timer, self._watch, self._too_late)
        self._timer = self._watch = self._too_late = None
        self._closed = True
        self._room.close()
        left = list(self._entries.values())
        self._entries.clear()
        self._lanes = Lanes()
        kept = [entry for entry in left if self._is_durable and entry.message.id > 0]
        lost = [entry for entry in left if not (self._is_durable and entry.message.id > 0)]
        log_left(self.log, self.network, kept, lost)
        reason = f"the bot disconnected from {self.network} before the message was sent"
        for entries, error in (
            (kept, SentLater(f"{reason}; it is sent after the next start")),
            (lost, OutboxClosed(reason)),
        ):
            for entry in entries:
                self._room.give_back(entry)
                entry.settle(Failure(error))
        if self._drained is not None and not self._drained.called:
            self._drained.callback(None)

    def _look_later(self) -> None:
        if self._watch is None and self._entries:
            self._watch = self._reactor.callLater(1.0, self._look)

    def _look(self) -> None:
        """Drop messages that are too old, and report those that wait for rooms. Called every second while messages wait."""
        self._watch = None
        latest = self._reactor.seconds() - self._limits.age
        old = [entry for entry in self._entries.values() if entry.since <= latest and not entry.unconfirmed]
        if old:
            reason = f"they waited for {self._limits.age:g} s, which is OUTBOX_MAX_AGE"
            self._drop(old, reason, Failure(OutboxExpired(f"the message was dropped, since {reason}")))
        if self._waiting.since:
            self._waiting.report(self._entries.values())
            self._go_on_soon()
        self._look_later()
