"""The lanes of an outbox, in which messages wait for their turn; see "Sent messages" in docs/design.md."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, islice
from math import inf
from typing import Any, Generic

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import NOTHING_ELSE, Edit, Kind, Operation, Post, Unsupported, Upload, Wanted
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage
from errklein.networks.outbox._network import Connections, Load, P, RetryLater, Transport, Unavailable
from errklein.ports.receipts import Receipt
from errklein.running import ThreadReactor, cancel_timers
from errklein.text import split_rendered, truncated
from errklein.text.masking import masker

LATE_AFTER = 300.0  # the seconds after which a message is late

TOGETHER = 10
"""The parts of a message that no other to the same recipient separates: as many as a webhook of a room sends."""

LANES_SEEN = 8  # the lanes of a recipient of which the next message is chosen: those that were chosen least recently
SHOWN = 60  # number of characters of a message in a log line
KEPT = 500  # number of characters of a message in which secrets are masked, before it is truncated to SHOWN
ROUNDING = 1e-6  # the seconds by which a timer may fire before the time

OTHERS_FIRST = 10.0
"""The seconds for which others are sent before parts that may have broken the last connection. Then they take turns."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 3600.0  # the seconds between which a pause is that a network asks for


@dataclass(slots=True, eq=False)
class Entry(Generic[P]):
    """A message in an outbox, accepted at `since` on the reactor's clock, and split when its turn comes. It has `count`
    parts without its time. Those before `position` were transmitted on this connection, or confirmed earlier.

    The parts before `suspect` were unconfirmed when a connection broke, the last time on the one with the number
    `broken`. They were so on `breaks` connections, and alone on `attempts` ones. An isolated message has left its lane,
    so that it delays no other.

    `names` is the key of the handle whose message it sends or changes, which has the addresses `refs` in the end. `of`
    is that of the message that it refers to, whose addresses are `known`, or those of the entry `after` which it is
    sent. `operations` and `ids` belong to its parts.

    It isn't sent again until `not_before`, on the reactor's clock. Of messages to one recipient, that with the lowest
    `mark` is next: the number of parts of its lane when it is over. It gets the mark when it can be next at first."""

    message: OutgoingMessage
    load: Load
    since: float
    original: Message | None = None
    parts: Sequence[P] | None = None
    names: str = ""
    of: str = ""
    wanted: Wanted = NOTHING_ELSE
    after: Entry[P] | None = None
    known: Sequence[MessageRef] | None = None
    operations: Sequence[Operation] = ()
    ids: dict[int, str] | None = None
    refs: Sequence[MessageRef] = ()
    receipts: tuple[Receipt, ...] = ()
    lane: MessageLane[P] = field(init=False)
    count: int = 0
    position: int = 0
    unconfirmed: set[int] = field(default_factory=set)
    suspect: int = 0
    broken: int = 0
    breaks: int = 0
    attempts: int = 0
    is_isolated: bool = False
    mark: float | None = None
    not_before: float = 0.0

    def settle(self, failure: Failure | None) -> None:
        receipts, self.receipts = self.receipts, ()
        for receipt in receipts:
            if failure is None:
                receipt.refs = self.refs
            receipt.settle(failure or Handle(receipt))

    def addresses(self) -> Sequence[MessageRef]:
        """Return the addresses of the parts; none if one is unknown, as of a part that an earlier process has sent."""
        refs, ids, (_, network, recipient, *_) = [], self.ids or {}, self.message
        for index, operation in enumerate(self.operations):
            if isinstance(operation, Edit):
                refs.append(operation.ref)
            elif isinstance(operation, Post | Upload):
                if index not in ids:
                    return ()
                refs.append(MessageRef(network, recipient, ids[index], operation.thread))
        return tuple(refs)

    def split(self, transport: Transport[P], seconds: float, now: float) -> None:
        """Split the message, and skip what an earlier process has sent, unless that has split it differently. If none
        of it was sent when it was late, its time is at the beginning."""
        message = self.message
        self.parts = parts = self._parts(transport, message.body)
        self.count = len(parts)
        if message.sent and abs((sent := message.sent * len(parts)) - round(sent)) < 1e-6:
            self.position = min(len(parts), round(sent))
        if message.sent or seconds - self.since <= LATE_AFTER or not parts or self.wanted.kind is not Kind.POST:
            return
        then = time.localtime(message.accepted_at)
        is_today = then[:3] == time.localtime(now)[:3]
        stamp = time.strftime("[%H:%M %Z]" if is_today else "[%Y-%m-%d %H:%M %Z]", then)
        operations = self.operations
        from errklein.chat.features import beginning_with

        self.parts = self._parts(transport, beginning_with(stamp, message.body))
        if len(self.parts) > 1:
            # A later process, which splits the message without its time, must see the difference by the number of parts.
            assert isinstance(operations[0], Post)
            first = Post(stamp, operations[0].thread)
            own = transport.parts(first, message, self.original)
            self.parts, self.operations = [*own, *parts], [*([first] * len(own)), *operations]

    def _parts(self, transport: Transport[P], body: str) -> Sequence[P]:
        message, wanted = self.message, self.wanted
        features = transport.features(message.recipient)
        if wanted is NOTHING_ELSE and not features.size:
            post = Post(body)
            split = transport.parts(post, message, self.original)
            self.operations = [post] * len(split)
            return split
        if not message.recipient:
            raise Unsupported("the message that is meant isn't known any more")
        # Most messages need no more than a text.
        from errklein.chat.features import operations

        if self.after is not None:
            self.known, self.after = self.after.refs, None
        known = [wanted.target] if isinstance(wanted.target, MessageRef) else self.known or ()
        parts: list[P] = []
        self.operations = of_parts = []
        for each in operations(wanted, body, features, known, split_rendered, message.file):
            some = transport.parts(each, message, self.original)
            parts += some
            of_parts += [each] * len(some)
        return parts

    def key(self, index: int) -> str:
        """Return the key of a part. It is counted from the end, and so is the same with the time and without it."""
        return f"{self.message.key}-{self.count}-{len(self.parts or ()) - index}"

    def record(self, failure: Failure | None, dropped: str, now: float) -> MessageRecord:
        state = MessageState.DROPPED if dropped else MessageState.SENT if failure is None else MessageState.REJECTED
        reason = dropped or (failure.getErrorMessage() if failure is not None else "")
        number, network, recipient, *_ = self.message
        return MessageRecord(number, network, recipient, self.message.delivery, state, now, reason, self.names)

    @property
    def is_suspect(self) -> bool:
        """True if the next part may have broken a connection, so that it is sent alone."""
        return self.position < self.suspect

    @property
    def is_transmitted(self) -> bool:
        return self.parts is not None and self.position >= len(self.parts)

    @property
    def confirmed(self) -> int:
        return min(self.unconfirmed, default=self.position)

    @property
    def loss(self) -> str:
        if self.is_transmitted and self.unconfirmed:
            what = "sent but not confirmed"
        elif self.confirmed:
            what = f"sent {self.confirmed} of {len(self.parts or ())} parts"
        else:
            what = "not sent"
        return f"{what}, to {truncated(self.message.recipient, SHOWN)}: {self.shown}"

    @property
    def shown(self) -> str:
        return truncated(masker.part(self.message.body, 0, KEPT), SHOWN)


@dataclass(slots=True, eq=False)
class MessageLane(Generic[P]):
    """Entries that are sent in their order. Those before `cursor` are transmitted. A lane is queued if it is in its
    ring, or will return to it. `turn` is higher for lanes that began to wait for the rate limit later; 0 if it doesn't
    wait. `finish` is the mark of its last message that has begun."""

    recipient: Recipient[P]
    ring: deque[MessageLane[P]]
    entries: deque[Entry[P]] = field(default_factory=deque)
    cursor: int = 0
    is_queued: bool = False
    turn: int = 0
    finish: float = 0.0

    @property
    def head(self) -> Entry[P] | None:
        """The entry whose part is next in this lane; None if all of them are transmitted."""
        while self.cursor < len(self.entries):
            entry = self.entries[self.cursor]
            if not (entry.is_transmitted and entry.unconfirmed):
                return entry
            self.cursor += 1
        return None

    def add(self, entry: Entry[P]) -> None:
        self.entries.append(entry)
        entry.lane = self
        self._queue()

    def remove(self, entry: Entry[P]) -> None:
        index = self.entries.index(entry)
        del self.entries[index]
        if index < self.cursor:
            self.cursor -= 1

    def rewind(self, entry: Entry[P], part: int) -> None:
        entry.position = min(entry.position, part)
        self.cursor = min(self.cursor, self.entries.index(entry))
        self._queue()

    def _queue(self) -> None:
        if not self.is_queued:
            self.is_queued = True
            self.ring.append(self)


@dataclass(slots=True, eq=False)
class Recipient(Generic[P]):
    """The lanes with messages of one priority to a recipient, by origin. Each of them has a turn for a part, among the
    lanes of all recipients. It gives the part to the message that has `begun`, until that is over or has had TOGETHER
    parts, of which `together` counts those that came after one another. So messages stay together. The next one is
    chosen by fair queueing: that which would be over first if the lanes, with `share` parts each, took turns part by
    part."""

    lanes: dict[str, MessageLane[P]] = field(default_factory=dict)
    begun: Entry[P] | None = None
    together: int = 0
    share: float = 0.0

    def choose(self, own: Entry[P]) -> Entry[P]:
        """Return the entry whose part is next in the turn of a lane with the head `own`."""
        if not self._shares(own):
            return own
        begun = self.begun
        if begun is not None and self.together < TOGETHER and begun.lane.head is begun and self._shares(begun):
            return begun
        chosen, lowest = own, inf
        for lane in islice(self.lanes.values(), LANES_SEEN):
            head = lane.head
            if head is not None and not head.not_before and head.position >= head.suspect:
                mark = self._mark(head) if head.mark is None else head.mark
                if mark < lowest:
                    chosen, lowest = head, mark
        return chosen

    def count(self, entry: Entry[P]) -> None:
        if entry.position < entry.suspect or entry.not_before or self.lanes.get(entry.message.origin) is not entry.lane:
            return
        if entry is not self.begun or self.together >= TOGETHER:
            self.begun, self.together = entry, 0
            if len(self.lanes) > 1:
                origin = entry.message.origin
                entry.lane.finish, entry.mark = self._mark(entry), None
                # It is the last one that is looked at.
                self.lanes[origin] = self.lanes.pop(origin)
        self.together += 1
        self.share += 1 / len(self.lanes)

    def _shares(self, entry: Entry[P]) -> bool:
        """Return whether the lanes share the turn of an entry, which isn't sent alone, and needn't wait alone."""
        return not entry.is_suspect and not entry.not_before and self.lanes.get(entry.message.origin) is entry.lane

    def _mark(self, entry: Entry[P]) -> float:
        if entry.mark is None:
            count = entry.load.parts if entry.parts is None else len(entry.parts)
            # An earlier process has begun the message, or another one had to be sent again.
            is_rest = entry.message.sent if entry.parts is None else entry.position and entry is not self.begun
            together = min(TOGETHER, max(1, count - entry.position))
            entry.mark = 0.0 if is_rest else max(entry.lane.finish, self.share) + together
        return entry.mark


@dataclass(slots=True, eq=False)
class Hold(Generic[P]):
    """The parts on the way to a recipient of a serial network, two if it was renamed, and lanes that wait for that or a
    pause."""

    in_flight: int = 0
    until: float = 0.0
    lanes: list[MessageLane[P]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ClosedRoom(Generic[P]):
    """A room that the bot is outside of, since when messages wait for it, and their lanes."""

    since: float
    lanes: list[MessageLane[P]] = field(default_factory=list)
    is_reported: bool = False


_Part = tuple[Entry[P], int, P]  # an entry, the index of a part of it, and the part


class OutboxLanes(ABC, Generic[P]):
    """The lanes of an outbox take turns for the parts that its network gets. `Outbox` accepts messages, and ends them.
    Lanes that may send are in two rings: those with priority, and others. A lane that can't send now leaves its ring
    until the rate limit lets it, the bot has joined its room, or nothing else is left: a wake-up looks at few."""

    def __init__(
        self,
        reactor: ThreadReactor,
        transport: Transport[P],
        unavailable: Unavailable,
        now: Callable[[], float],
        isolates: bool,
    ) -> None:
        self._reactor, self._transport, self._unavailable, self._now = reactor, transport, unavailable, now
        self._connections = Connections(reactor.seconds, isolates)
        self._entries: dict[int, Entry[P]] = {}
        self._in_flight = 0
        # True if the part in flight may break the connection.
        self._is_alone = self._is_going_on = self._has_more = self._ready = False
        self._may_send: Callable[[], bool] | None = None
        self._timer: IDelayedCall | None = None
        self._drained: Deferred[None] | None = None
        self._clear_lanes()

    @abstractmethod
    def _settle(self, result: Any, entry: Entry[P], index: int) -> None:
        """Do what follows from the network's answer to a part."""

    @abstractmethod
    def _reject(self, entry: Entry[P], failure: Failure) -> None: ...

    @abstractmethod
    def _finish(self, entry: Entry[P], failure: Failure | None) -> None: ...

    @abstractmethod
    def _end_if_drained(self) -> None:
        """Stop if nothing is left that can be sent before the end of the process."""

    def _clear_lanes(self) -> None:
        self._recipients: defaultdict[tuple[str, bool], Recipient[P]] = defaultdict(Recipient)
        self._rings: tuple[deque[MessageLane[P]], deque[MessageLane[P]]] = (deque(), deque())
        # Lanes that wait for the rate limit, by time and turn.
        self._resting: list[tuple[float, int, MessageLane[P]]] = []
        self._turns = count(1)
        self._closed_rooms: dict[str, ClosedRoom[P]] = {}
        # By recipient, and the time until which nothing is sent at all.
        self._holds: dict[str, Hold[P]] = {}
        self._paused_until = 0.0
        # Whether a lane has begun to rest in this turn, for the rate limit or for a pause.
        self._is_refused = self._is_paused = False
        # Lanes without priority whose next part is a suspect.
        self._suspects: deque[MessageLane[P]] = deque()

    def _add_to_lane(self, entry: Entry[P]) -> None:
        name, by, priority = entry.message.recipient, entry.message.origin, entry.message.priority
        recipient = self._recipients[name, priority]
        if (lane := recipient.lanes.get(by)) is None:
            lane = recipient.lanes[by] = MessageLane(recipient, self._rings[0 if priority else 1])
        lane.add(entry)

    def _remove_from_lane(self, entry: Entry[P]) -> None:
        lane, message = entry.lane, entry.message
        lane.remove(entry)
        if lane.recipient.begun is entry:
            # Otherwise each message is left in a cycle, to the garbage collector.
            lane.recipient.begun = None
        lanes = lane.recipient.lanes
        if not lane.entries and lanes.get(message.origin) is lane:
            del lanes[message.origin]
            if not lanes:
                del self._recipients[message.recipient, message.priority]

    def _isolate(self, entry: Entry[P]) -> None:
        """Let the others of the entry's lane overtake it, apart from operations on it."""
        lane = MessageLane(entry.lane.recipient, self._rings[1])
        entry.is_isolated = True
        for each in [one for one in entry.lane.entries if one is entry or (one.of and one.of == entry.names)]:
            self._remove_from_lane(each)
            lane.add(each)

    def _wake(self) -> None:
        """Let lanes that have rested have their turn before others, those that began to wait first."""
        lanes = []
        latest = self._reactor.seconds() + ROUNDING
        while self._resting and self._resting[0][0] <= latest:
            lanes.append(heappop(self._resting)[2])
        for lane in sorted(lanes, key=lambda lane: lane.turn, reverse=True):
            lane.ring.appendleft(lane)

    def _open_rooms(self) -> None:
        for recipient in [one for one in self._closed_rooms if self._unavailable(one) is None]:
            for lane in self._closed_rooms.pop(recipient).lanes:
                lane.ring.append(lane)

    def _next_parts(self) -> list[_Part[P]]:
        if (self._is_alone and self._in_flight) or self._paused_until > self._reactor.seconds() + ROUNDING:
            return []
        self._is_alone = False
        self._wake()
        if self._suspects and self._connections.age >= OTHERS_FIRST:
            # Its turn comes when the others are confirmed.
            batch = [] if self._in_flight else self._suspect_part()
            if batch or self._in_flight:
                return batch
        batch = self._parts_in_turn()
        return batch if batch or self._is_refused or self._in_flight else self._suspect_part()

    def _parts_in_turn(self) -> list[_Part[P]]:
        batch: list[_Part[P]] = []
        self._is_refused = self._is_paused = False
        most = self._transport.window - self._in_flight
        while len(batch) < most and not self._is_alone:
            ring = self._rings[0] or self._rings[1]
            if ring:
                lane = ring.popleft()
            elif self._resting and not (self._is_refused or self._is_paused):
                # The network may allow parts earlier than it thought, as when it has caught up.
                lane = heappop(self._resting)[2]
            else:
                break
            if (entry := self._next_entry(lane)) is None:
                continue
            if entry.position < entry.suspect:
                if not entry.message.priority or entry.is_isolated:
                    self._suspects.append(lane)
                    continue
                if batch or self._in_flight:
                    lane.ring.appendleft(lane)
                    break
            if (part := self._part(lane, entry)) is not None:
                batch.append(part)
        return batch

    def _suspect_part(self) -> list[_Part[P]]:
        for _ in range(len(self._suspects)):
            lane = self._suspects.popleft()
            if (entry := self._next_entry(lane)) and (part := self._part(lane, entry)):
                return [part]
        return []

    def _next_entry(self, lane: MessageLane[P]) -> Entry[P] | None:
        """Return the entry whose part is next in the turn of a lane, its own or another of the recipient; None if there is none,
        or if it has to wait."""
        if (entry := lane.head) is None:
            lane.is_queued = False
        elif len(lane.recipient.lanes) > 1 and not entry.is_transmitted:
            entry = lane.recipient.choose(entry)
        if entry is None or entry.is_transmitted:
            return entry
        if self._unavailable(recipient := entry.message.recipient) is not None:
            self._closed_rooms.setdefault(recipient, ClosedRoom(self._reactor.seconds())).lanes.append(lane)
            return None
        return None if (self._holds or entry.not_before) and self._is_held(lane, entry) else entry

    def _is_held(self, lane: MessageLane[P], entry: Entry[P]) -> bool:
        """Return whether an entry waits for a part that is on its way, or for the end of a pause, and let the lane wait for it."""
        hold: Hold[P] = self._holds.get(entry.message.recipient) or Hold()
        if (until := max(hold.until, entry.not_before)) > self._reactor.seconds() + ROUNDING:
            self._is_paused = True
            self._rest(lane, until)
            return True
        entry.not_before = 0.0
        if hold.in_flight:
            hold.lanes.append(lane)
        return hold.in_flight > 0

    def _rest(self, lane: MessageLane[P], until: float) -> None:
        lane.turn = lane.turn or next(self._turns)
        heappush(self._resting, (until, lane.turn, lane))

    def _part(self, lane: MessageLane[P], entry: Entry[P]) -> _Part[P] | None:
        is_suspect = entry.is_suspect
        if not entry.is_transmitted:
            try:
                wait = self._connections.wait_for(entry) if is_suspect else 0.0
                if (wait := wait or self._transport.take_turn(entry.message.recipient)) > 0:
                    self._is_refused = True
                    self._rest(lane, self._reactor.seconds() + wait)
                    return None
                if entry.parts is None:
                    # Only now: many lanes may wait.
                    entry.split(self._transport, self._reactor.seconds(), self._now())
            except Exception:
                entry.parts = ()
                lane.ring.append(lane)
                self._reject(entry, Failure())
                return None
        lane.ring.append(lane)
        if not entry.parts or entry.is_transmitted:
            if not entry.unconfirmed:
                # It has no text, or all parts were sent before the restart.
                self._finish(entry, None)
            return None
        self._is_alone = is_suspect
        lane.recipient.count(entry)
        lane.turn = 0
        if self._transport.serial:
            self._holds.setdefault(entry.message.recipient, Hold()).in_flight += 1
        index = entry.position
        entry.position += 1
        entry.unconfirmed.add(index)
        return entry, index, entry.parts[index]

    def _go_on(self) -> None:
        cancel_timers(self._timer)
        self._timer, self._is_going_on = None, True
        while self._ready and (self._may_send is None or self._may_send()):
            self._has_more = False
            batch = self._next_parts()
            if not batch:
                if self._has_more:
                    # The end of a message without parts has led to another message, whose lane may have been passed already.
                    continue
                break
            self._in_flight += len(batch)
            try:
                results = self._transport.transmit(
                    [part for _, _, part in batch], [entry.key(index) for entry, index, _ in batch]
                )
            except Exception:
                results = [fail() for _ in batch]
            for (entry, index, _), result in zip(batch, results, strict=True):
                result.addBoth(self._settle, entry, index)
        self._is_going_on = False
        rest, now = self._resting[0][0] if self._resting else 0.0, self._reactor.seconds()
        wait = (self._paused_until if self._paused_until > now else rest) - now
        # A lane whose time has come waits for a part that is sent alone, and for nothing else.
        if self._ready and (wait > 0 or (self._resting and not (self._is_alone and self._in_flight))):
            self._go_on_within(max(0.0, wait))
        if self._drained is not None:
            self._end_if_drained()

    def _go_on_soon(self) -> None:
        """Transmit more: now if nothing is in flight, else in the next turn of the reactor, together with what comes until then."""
        if self._is_going_on or not self._ready:
            self._has_more = True
        elif self._in_flight:
            self._go_on_within(0.0)
        else:
            self._go_on()

    def _go_on_within(self, delay: float) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(delay, self._go_on)
        elif self._timer.getTime() > self._reactor.seconds() + delay:
            self._timer.reset(delay)

    def _postpone(self, entry: Entry[P], index: int) -> None:
        entry.unconfirmed.discard(index)
        entry.position = min(entry.position, index)
        if self._entries.get(entry.message.id) is entry:
            entry.lane.rewind(entry, index)

    def _pause(self, entry: Entry[P], index: int, later: RetryLater) -> None:
        self._postpone(entry, index)
        entry.lane.recipient.together -= entry.lane.recipient.begun is entry
        until = self._reactor.seconds() + min(max(SHORTEST_PAUSE, later.seconds), LONGEST_PAUSE)
        if later.scope == "network":
            self._paused_until = max(self._paused_until, until)
        elif later.scope == "recipient":
            hold = self._holds.setdefault(entry.message.recipient, Hold())
            hold.until = max(hold.until, until)
        else:
            entry.not_before = until

    def _release(self, recipient: str) -> None:
        """Let the lanes go on that have waited for a part to a recipient, and forget a pause that is over."""
        if (hold := self._holds.get(recipient)) is None:
            return
        hold.in_flight -= self._transport.serial
        if hold.in_flight:
            return
        for lane in hold.lanes:
            lane.ring.append(lane)
        hold.lanes.clear()
        if hold.until <= self._reactor.seconds():
            del self._holds[recipient]
