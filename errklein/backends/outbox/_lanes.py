"""Queues of messages that take turns, and the connections that some of them break."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from errklein.backends.outbox._transport import Transport
from errklein.chat import Message
from errklein.chat.outgoing import MessageRecord, MessageState, OutboxLane, OutgoingMessage, Wait, waiting_record

P = TypeVar("P")

_LATE_AFTER = 300.0
"""The seconds after which a message is late."""

STABLE_AFTER = 31.0
"""The age in seconds from which on a connection is stable: a backend reconnects soon after it is lost."""

_SHORT_LIVED = 3
"""Number of connections in a row that broke before they were stable after which parts that may be the cause wait."""


@dataclass(slots=True, eq=False)
class Entry(Generic[P]):
    """A message in an outbox.

    `since` is the reactor's time at which the message was accepted. `estimate` is the number of parts for the limits. The message is
    split when its turn comes. Its parts before `position` were transmitted on this connection, or confirmed earlier.

    The parts before `suspect` were unconfirmed when a connection broke, the last time on the one with the number `broken`. They were
    so on `breaks` connections, and alone on `attempts` ones. An isolated message has left its lane, so that it delays no other.
    """

    message: OutgoingMessage
    delivery: Deferred[None] | None
    since: float
    estimate: int
    size: int
    original: Message | None
    parts: Sequence[P] | None
    position: int = 0
    unconfirmed: set[int] = field(default_factory=set)
    suspect: int = 0
    broken: int = 0
    breaks: int = 0
    attempts: int = 0
    is_isolated: bool = False
    lane: OutboxLane = field(init=False)

    def __post_init__(self) -> None:
        self.lane = self.message.lane

    def settle(self, failure: Failure | None) -> None:
        """Fire the Deferred, once. An ignored failure isn't logged as unhandled, since the outbox logs it itself."""
        delivery, self.delivery = self.delivery, None
        if delivery is not None:
            delivery.callback(failure)
            # Iterating, as `await` does, marks the failure as handled and keeps it for later callbacks.
            with suppress(Exception):
                next(iter(delivery), None)

    def split(self, transport: Transport[P], seconds: float, now: float) -> None:
        """Split the message, and skip what an earlier process has sent, unless that has split it differently.

        If none of it was sent when it was late, its time is at the beginning.

        :param seconds: The time of the reactor.
        :param now: The Unix time.
        """
        message = self.message
        self.parts = parts = transport.split(message, self.original)
        sent = message.sent * len(parts)
        if abs(sent - round(sent)) < 1e-6:
            self.position = min(len(parts), max(0, round(sent)))
        if message.sent or seconds - self.since <= _LATE_AFTER or not parts:
            return
        then = time.localtime(message.accepted_at)
        is_today = then[:3] == time.localtime(now)[:3]
        stamp = time.strftime("[%H:%M %Z]" if is_today else "[%Y-%m-%d %H:%M %Z]", then)
        separator = "\n\n" if message.body.startswith(("#", "|", ">", "`")) else " "
        self.parts = transport.split(message._replace(body=stamp + separator + message.body), self.original)
        if len(self.parts) > 1:
            # A later process, which splits the message without its time, must see the difference by the number of parts.
            self.parts = [*transport.split(message._replace(body=stamp), self.original), *parts]

    def record(self, failure: Failure | None, dropped: str, now: float) -> MessageRecord:
        """Return the record of the message that was sent, rejected for a failure, or dropped for a reason."""
        state = MessageState.SENT if failure is None else MessageState.DROPPED if dropped else MessageState.REJECTED
        reason = dropped or (failure.getErrorMessage() if failure is not None else "")
        return waiting_record(self.message)._replace(state=state, at=now, reason=reason)

    @property
    def is_suspect(self) -> bool:
        """True if the next part may have broken a connection, so that it is sent alone."""
        return self.position < self.suspect

    @property
    def queue(self) -> tuple[bool, OutboxLane | int]:
        """What the messages have in common that are sent one after the other."""
        return (False, self.message.id) if self.is_isolated else (self.message.priority, self.lane)

    @property
    def is_transmitted(self) -> bool:
        """True if no part is left to be transmitted."""
        return self.parts is not None and self.position >= len(self.parts)

    @property
    def is_complete(self) -> bool:
        """True if the network has confirmed all parts."""
        return self.is_transmitted and not self.unconfirmed

    @property
    def confirmed(self) -> int:
        """The number of parts at the beginning of the message that the network has confirmed."""
        return min(self.unconfirmed, default=self.position)


@dataclass(slots=True, eq=False)
class _Queue(Generic[P]):
    """The entries of a lane, in order. Those before `cursor` are transmitted."""

    entries: deque[Entry[P]] = field(default_factory=deque)
    cursor: int = 0
    is_waiting: bool = False


class Lanes(Generic[P]):
    """The queues of an outbox: entries with priority, and others."""

    def __init__(self) -> None:
        self._queues: dict[tuple[bool, OutboxLane | int], _Queue[P]] = {}
        self._priority: deque[_Queue[P]] = deque()
        self._others: deque[_Queue[P]] = deque()

    def __len__(self) -> int:
        return len(self._queues)

    def add(self, entry: Entry[P]) -> None:
        """Add an entry at the end of its lane."""
        queue = self._queues.get(entry.queue)
        if queue is None:
            queue = self._queues[entry.queue] = _Queue()
        queue.entries.append(entry)
        self._wait(queue, entry)

    def remove(self, entry: Entry[P]) -> None:
        """Remove an entry, wherever it is in its lane."""
        queue = self._queues[entry.queue]
        place = queue.entries.index(entry)
        del queue.entries[place]
        if place < queue.cursor:
            queue.cursor -= 1
        if not queue.entries:
            del self._queues[entry.queue]

    def isolate(self, entry: Entry[P]) -> None:
        """Let the others of the entry's lane overtake it."""
        self.remove(entry)
        entry.is_isolated = True
        self.add(entry)

    def rewind(self, entry: Entry[P], part: int) -> None:
        """Let the entry be transmitted again from this part on."""
        queue = self._queues[entry.queue]
        entry.position = min(entry.position, part)
        queue.cursor = min(queue.cursor, queue.entries.index(entry))
        self._wait(queue, entry)

    def rotation(self) -> Iterator[Entry[P]]:
        """Yield the next entry of each lane whose turn it is, those with priority first.

        After an entry was yielded, its lane is at the end if the entry was advanced; then it is yielded again when it is at the
        beginning. Else it was skipped: it keeps its place, and isn't yielded again.
        """
        for ring in (self._priority, self._others):
            skipped: list[_Queue[P]] = []
            try:
                while ring:
                    queue = ring[0]
                    entry = self._head(queue)
                    if entry is None:
                        ring.popleft().is_waiting = False
                        continue
                    position = entry.position
                    yield entry
                    ring.popleft()
                    is_skipped = entry.position == position and self._head(queue) is entry
                    (skipped if is_skipped else ring).append(queue)
            finally:
                ring.extendleft(reversed(skipped))

    def _head(self, queue: _Queue[P]) -> Entry[P] | None:
        while queue.cursor < len(queue.entries):
            entry = queue.entries[queue.cursor]
            if not (entry.is_transmitted and entry.unconfirmed):
                return entry
            queue.cursor += 1
        return None

    def _wait(self, queue: _Queue[P], entry: Entry[P]) -> None:
        if not queue.is_waiting:
            queue.is_waiting = True
            (self._priority if entry.queue[0] else self._others).append(queue)


class Connections:
    """Notes which messages were unconfirmed when a connection broke.

    Each of their parts is a suspect, and is sent alone. A message at which connections broke again and again is isolated: it has
    left its lane, and waits for a stable connection. Then the network is away for a second instead of minutes, so that messages to
    others are hardly delayed.
    """

    def __init__(self, seconds: Callable[[], float], isolates: bool) -> None:
        self._seconds = seconds
        self._isolates = isolates
        self._number = self._broken = self._short_lived = 0
        self._began = 0.0
        self._is_alone = False

    @property
    def age(self) -> float:
        """The seconds since the connection has begun."""
        return self._seconds() - self._began

    def begin(self) -> None:
        """Note that a connection has begun."""
        self._number += 1
        self._began = self._seconds()

    def broke(self, entry: Entry[Any], place: int, unconfirmed: int) -> None:
        """Note that a part was unconfirmed when the connection broke. `unconfirmed` counts it and those that aren't noted yet."""
        if self._broken != self._number:
            self._broken, self._is_alone = self._number, unconfirmed == 1
            self._short_lived = self._short_lived + 1 if self.age < STABLE_AFTER else 0
        entry.suspect = max(entry.suspect, place + 1)
        if entry.broken != self._number:
            entry.broken = self._number
            entry.breaks += 1
            entry.attempts += self._is_alone

    def must_be_isolated(self, entry: Entry[Any]) -> bool:
        """Return whether the message was unconfirmed at several breaks, at the last one alone."""
        return self._is_alone and entry.breaks > 1 and self._isolates and not entry.is_isolated

    def wait_of(self, entry: Entry[Any], usual: Wait) -> Wait:
        """Return what a message waits for while there is a connection: `usual` unless it was sent or is a suspect."""
        if entry.unconfirmed:
            return Wait("the network has not confirmed it yet")
        cause = f"the connection broke {entry.breaks} times while it was sent, so it is sent alone"
        return Wait("it needs a stable connection", cause=cause) if entry.is_suspect else usual

    def wait_for(self, entry: Entry[Any]) -> float:
        """Return 0.0 if a suspect may be sent now, else the seconds after which it may."""
        is_likely = entry.is_isolated or self._short_lived >= _SHORT_LIVED
        wait = STABLE_AFTER - self.age if is_likely and self._isolates else 0.0
        # Rounding must not lead to a delay that doesn't change the time.
        return wait if wait > 0.001 else 0.0
