"""Queues of messages that take turns, without Twisted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

from errklein.chat import Message
from errklein.chat.outgoing import OutboxLane, OutgoingMessage

P = TypeVar("P")


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

    def take_parts(self, parts: Sequence[P]) -> None:
        """Continue after the parts that an earlier process has sent, or begin again if it has split the message differently."""
        self.parts = parts
        position = self.message.sent * len(parts)
        if abs(position - round(position)) < 1e-6:
            self.position = min(len(parts), max(0, round(position)))

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

        After an entry was yielded, its lane is at the end if the entry was advanced, else it keeps its place. Each lane is
        yielded until all have been skipped.
        """
        for ring in (self._priority, self._others):
            skipped = 0
            while skipped < len(ring):
                queue = ring[0]
                entry = self._head(queue)
                if entry is None:
                    ring.popleft().is_waiting = False
                    continue
                position = entry.position
                yield entry
                ring.rotate(-1)
                skipped = skipped + 1 if entry.position == position and self._head(queue) is entry else 0
            # Lanes that were skipped have kept their order.

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
