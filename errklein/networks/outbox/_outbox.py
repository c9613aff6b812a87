"""The queue of one network, which accepts messages, and ends them; see "Sent messages" in docs/design.md."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from secrets import token_hex
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import MOST_FILE, NOTHING_ELSE, Kind, Unsupported, Wanted
from errklein.chat.outgoing import OutgoingMessage, Wait
from errklein.networks.outbox._lanes import SHOWN, Entry, Hold, OutboxLanes
from errklein.networks.outbox._network import (
    Bounds,
    Load,
    NotConfirmed,
    OutboxLimits,
    P,
    RetryLater,
    Transport,
    Unavailable,
)
from errklein.ports.outbox import (
    OutboxClosed,
    OutboxExpired,
    OutboxStatus,
    OutboxStore,
    RecipientStatus,
    RoomUnavailable,
    SentLater,
    give,
)
from errklein.ports.receipts import Receipt
from errklein.running import ThreadReactor, call_from_thread, cancel_timers
from errklein.running.context import causing_delivery, handled_delivery, origin
from errklein.text import truncated

ROOM_TIMEOUT = 10.0  # the seconds after which a message that waits for its room is reported
RECENT = 1000  # the number of messages that are over of which the ids are in memory

SINGLE, SHARED = 1_000, 50
"""Number of lost messages with a log line each, and of further ones that share a line, since a stopping process has a second left."""


class Outbox(OutboxLanes[P]):
    """A queue of messages. Create it in the reactor's thread. It is paused until `resume` is called. `dropped` gets the
    number of messages that were given up, and the reason; `undelivered` a recipient, the number of messages to it by
    origin, the reason, and whether they wait: otherwise the network has rejected them. The log has both. `broken` gets
    the NotConfirmed of a part, after which nothing is sent until `resume`. Threads other than the reactor's wait for
    `put_timeout` seconds while the outbox is full."""

    log = Logger()

    def __init__(
        self,
        reactor: ThreadReactor,
        network: str,
        transport: Transport[P],
        limits: OutboxLimits | None = None,
        *,
        dropped: Callable[[int, str], object] = lambda count, reason: None,
        undelivered: Callable[[str, Mapping[str, int], str, bool], object] = lambda *report: None,
        unavailable: Unavailable = lambda recipient: None,
        broken: Callable[[NotConfirmed], object] = lambda error: None,
        now: Callable[[], float] = time.time,
        put_timeout: float = 5.0,
    ) -> None:
        self.network = network
        self._limits = limits or OutboxLimits()
        super().__init__(reactor, transport, unavailable, now, self._limits.isolates)
        self._put_timeout = put_timeout
        self._reactor_thread = threading.get_ident()
        self._store: OutboxStore | None = None
        self._given: Callable[[], object] | None = None
        # No other process, also one with an older copy of the data directory, has the same keys.
        self._process, self._numbers = token_hex(8), count(1)
        # The ids of what isn't stored are negative.
        self._unstored_ids = count(-1, -1)
        self._report_dropped = dropped
        self._report_undelivered, self._report_broken = undelivered, broken
        self._bounds = Bounds(network, self._limits, unavailable)
        # By the keys of handles: the last entry that sends or changes the message, and the ids of the last ones that are over.
        self._named: dict[str, Entry[P]] = {}
        self._recent: dict[str, Sequence[MessageRef]] = {}
        self._sent = 0
        self._closed = False
        self.absence = Wait(f"{network} is not connected", now())
        """The state of the network since the last `pause`, which messages wait for until `resume`. A `Connection` adds to it."""
        self._watch: IDelayedCall | None = None
        self._too_late: IDelayedCall | None = None

    def __len__(self) -> int:
        return self._bounds.usage.messages

    @property
    def status(self) -> OutboxStatus:
        ready = (entry for entry in self._entries.values() if entry.message.recipient not in self._closed_rooms)
        oldest = next(ready, None)
        accepted_at = 0.0 if oldest is None else self._now() - (self._reactor.seconds() - oldest.since)
        usage = self._bounds.usage
        return OutboxStatus(usage.messages, usage.parts, usage.size, accepted_at, self._sent)

    def recipients(self) -> Sequence[RecipientStatus]:
        found: defaultdict[str, list[float]] = defaultdict(list)
        for entry in self._entries.values():
            found[entry.message.recipient].append(entry.message.accepted_at)
        waiting = [RecipientStatus(name, len(times), min(times)) for name, times in found.items()]
        return sorted(waiting, key=lambda one: one.oldest_at)

    def drop(self, recipient: str, reason: str) -> int:
        to = [one for one in self._entries.values() if one.message.recipient == recipient and not one.unconfirmed]
        if to:
            self._drop(to, reason, Failure(OutboxExpired(f"the message was dropped, since {reason}")))
        return len(to)

    def use_store(
        self,
        store: OutboxStore,
        given: Callable[[], object] | None = None,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self._store, self._given, self._may_send = store, given, may_send

    def take(self, messages: Iterable[OutgoingMessage]) -> None:
        self._given = None
        for message in messages:
            since = self._reactor.seconds() - max(0.0, self._now() - message.accepted_at)
            entry = self._entry(message, None)
            entry.since = since
            self._bounds.exceed(entry.load)
            self._queue(entry)
        self._go_on_soon()

    # Messages are accepted.

    def perform(
        self,
        recipient: str,
        body: str,
        wanted: Wanted = NOTHING_ELSE,
        file: bytes = b"",
        *,
        details: str = "",
        priority: bool = False,
        original: Message | None = None,
        stored: bool = True,
    ) -> Receipt:
        """Accept a message, or what is to be done with one. May be called from any thread; in the context of its
        origin. On the reactor this returns at once. In other threads it waits while the outbox is full, for up to
        `put_timeout` seconds. A message that isn't `stored` is lost if this process ends before. The handle fires on
        the reactor when the network has the whole message, and fails if it is dropped. Raises OutboxFull: the outbox,
        or the lane of the message, is full; or OutboxClosed: `close` was called and its grace period is over."""
        if not isinstance(body, str):
            # A value that can't be stored would keep all others from being stored.
            raise TypeError(f"the text of a message must be a string, not {type(body).__name__}")
        if len(file) > MOST_FILE:
            raise ValueError(f"a file may have at most {MOST_FILE:,} bytes, not {len(file):,}")
        what = "" if wanted is NOTHING_ELSE else wanted.as_json()
        message = self._message(recipient, body[: self._limits.length], priority, details, what, file)
        if wanted.target and isinstance(wanted.target, str):
            # It must not overtake what it refers to, also after a restart.
            other = self._named.get(Handle(wanted.target).key)
            message = message if other is None else _beside(message, other.message)
        return self._accept(self._entry(message, original), self._store if stored else None)

    def put(self, parts: Sequence[P], *, recipient: str = "", text: str = "", priority: bool = False) -> Receipt:
        """Queue parts that aren't stored, such as function calls. `text` is for the log. Returns and raises as `perform`."""
        return self._accept(self._entry(self._message(recipient, text, priority), None, parts), None)

    def _message(
        self, to: str, text: str, priority: bool, details: str = "", wanted: str = "", file: bytes = b""
    ) -> OutgoingMessage:
        key, by, now = f"{self._process}-{next(self._numbers):x}", origin.get(), self._now()
        # Most messages are caused by no delivery, and need not ask further.
        caused = causing_delivery() if handled_delivery.get()[1] else 0
        return OutgoingMessage(
            0, self.network, to, text, by, bool(priority), now, 0.0, details, caused, key, wanted, file
        )

    def _entry(self, message: OutgoingMessage, original: Message | None, parts: Sequence[P] | None = None) -> Entry[P]:
        estimate = self._transport.estimate(message.body) if parts is None else len(parts)
        size = len(message.body) + len(message.details) + len(message.file)
        load = Load(message.recipient, message.origin, estimate, size)
        entry = Entry(message, load, self._reactor.seconds(), original, parts, message.key)
        if message.wanted:
            entry.wanted = wanted = Wanted.from_json(message.wanted)
            entry.of = Handle(wanted.target).key if isinstance(wanted.target, str) else ""
            if entry.of and wanted.kind in (Kind.EDIT, Kind.DELETE):
                entry.names = entry.of
        return entry

    def _accept(self, entry: Entry[P], store: OutboxStore | None) -> Receipt:
        message, on_reactor = entry.message, threading.get_ident() == self._reactor_thread
        if (given := self._given) is not None:
            if store is None:
                raise OutboxClosed(f"another process is connected to {self.network}; the message can't be sent")
            receipt = give(store, message, Receipt(f"{self.network}/{entry.names}"))
            given()
            return receipt
        self._bounds.take(entry.load, 0.0 if on_reactor else self._put_timeout)
        # Also in a thread, not later: the outcome of a webhook's handler must not be stored before its messages.
        entry.message = message._replace(id=next(self._unstored_ids)) if store is None else store.add(message)
        receipt = Receipt(f"{self.network}/{entry.names}")
        if store is not None:
            receipt.flush = store.flush
        entry.receipts = (receipt,)
        if on_reactor:
            self._begin(entry)
        else:
            if entry.names == message.key:
                # The thread may edit it at once.
                self._named[message.key] = entry
            call_from_thread(self._reactor, self._begin, entry)
        return receipt

    def _begin(self, entry: Entry[P]) -> None:
        if entry.of in self._named and self._named[entry.of].message.id not in self._entries:
            # A thread has accepted the message, which isn't queued yet.
            call_from_thread(self._reactor, self._begin, entry)
            return
        self._queue(entry)
        self._go_on_soon()

    def _queue(self, entry: Entry[P]) -> None:
        entry.after = other = self._named.get(entry.of) if entry.of else None
        if other is not None and self._merge(entry, other):
            return
        if other is None and entry.of and entry.known is None:
            self._look_up(entry)
            return
        self._entries[entry.message.id] = self._named[entry.names] = entry
        if other is None:
            self._add_to_lane(entry)
        else:
            entry.message = _beside(entry.message, other.message)
            other.lane.add(entry)
        if self._closed:
            # It was accepted in a thread before.
            self._give_up()
        elif self._watch is None:
            self._watch = self._reactor.callLater(1.0, self._look)

    def _look_up(self, entry: Entry[P]) -> None:
        """Queue an entry when the ids of the message that it refers to are known."""

        def queue(refs: Sequence[MessageRef]) -> None:
            entry.known = refs
            if refs and not entry.message.recipient:
                entry.message = entry.message._replace(recipient=refs[0].room)
            self._begin(entry)

        if self._store is None or entry.of in self._recent:
            queue(self._recent.get(entry.of, ()))
        else:
            handle = Handle(f"{self.network}/{entry.of}")
            self._store.refs_of(handle).addErrback(lambda _: ()).addCallback(queue)

    def _merge(self, entry: Entry[P], other: Entry[P]) -> bool:
        """Let an edit or deletion change what hasn't begun, or return False."""
        kind, message, had = entry.wanted.kind, entry.message, other.wanted
        # An earlier process may have sent what it has left, and the network ignores a text whose key it has had.
        is_left = self._transport.serial and not other.message.key.startswith(self._process)
        if is_left or other.parts is not None or other.message.sent or message.id < 0 < other.message.id:
            return False
        if kind not in (Kind.EDIT, Kind.DELETE) or had.kind is Kind.DELETE:
            return False
        other.receipts += entry.receipts
        if kind is Kind.EDIT or had.kind is Kind.EDIT:
            is_deletion = kind is Kind.DELETE
            mentions = entry.wanted.mentions or had.mentions
            # An edit removes buttons.
            wanted = entry.wanted if is_deletion else had._replace(mentions=mentions, choices=())
            new = self._entry(other.message._replace(body=message.body, wanted=wanted.as_json()), None)
            self._bounds.give_back(other.load)
            self._bounds.exceed(new.load)
            other.message, other.load, other.wanted = new.message, new.load, new.wanted
            if self._store is not None and other.message.id > 0:
                self._store.change(other.message.id, new.message.body, new.message.wanted)
        else:
            for each in [one for one in other.lane.entries if one is other or one.after is other]:
                if each is other or each.wanted.kind not in (Kind.POST, Kind.FILE):
                    self._finish(each, None, "it was deleted before it was sent")
        self._bounds.give_back(entry.load)
        self._store_progress(entry, True)
        return True

    # The state of the network.

    def resume(self) -> None:
        """Begin to transmit. Call it when the network is ready, and when messages may be sent to more recipients."""
        self._open_rooms()
        if self._ready:
            self._go_on_soon()
            return
        self._ready = True
        self._connections.begin()
        self._go_on()

    def rename(self, recipient: str, to: str) -> None:
        """Let what waits for a recipient wait for another one, in order, such as for the room that an alias means."""
        moved = [entry for entry in self._entries.values() if entry.message.recipient == recipient != to]
        for entry in moved:
            is_isolated = entry.lane.recipient.lanes.get(entry.message.origin) is not entry.lane
            if not is_isolated:
                self._remove_from_lane(entry)
            entry.message = entry.message._replace(recipient=to)
            if self._store is not None and entry.message.id > 0:
                self._store.change(entry.message.id, recipient=to)
            if not is_isolated:
                self._add_to_lane(entry)
        if moved and (hold := self._holds.pop(recipient, None)) is not None:
            other = self._holds.setdefault(to, Hold())
            other.in_flight, other.until = other.in_flight + hold.in_flight, max(other.until, hold.until)
            other.lanes += hold.lanes
        for lane in self._closed_rooms.pop(recipient).lanes if recipient in self._closed_rooms else ():
            lane.ring.append(lane)
        self._go_on_soon()

    def pause(self, reason: str = "") -> None:
        """Keep the queue until `resume`. Call it when the connection is lost, after failing the unconfirmed parts."""
        self._ready, self.absence = False, Wait(f"{self.network} is not connected", self._now(), reason)
        cancel_timers(self._timer)
        self._timer = None

    def wait_of(self, id: int) -> Wait | None:
        """Return what a message waits for, apart from a room; None if it isn't in the outbox."""
        if (entry := self._entries.get(id)) is None:
            return None
        hold, now = self._holds.get(entry.message.recipient), self._reactor.seconds()
        pause = max(self._paused_until, entry.not_before, hold.until if hold is not None else 0.0) - now
        if self._ready and pause > 0:
            return Wait(f"{self.network} has asked for a pause", again_at=self._now() + pause)
        usual = Wait(f"{len(self)} messages wait, which are sent at the pace of {self.network}")
        return self._connections.wait_of(entry, usual) if self._ready else self.absence

    def close(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue, and messages that are added to it, for up to `grace` seconds; then refuse new messages. The
        rate limit applies, and reconnections are waited for, but not rooms that the bot is shut out of, if messages are
        stored. The rest fails with OutboxClosed. A later process sends messages that are stored; others are logged."""
        if not len(self) or not grace:
            self._give_up()
            return succeed(None)
        if self._drained is None:
            text = "{network}: sending {count} queued messages before disconnecting, for at most {grace:.1f} s"
            self.log.info(text, network=self.network, count=len(self), grace=grace)
            self._drained = Deferred()
            self._too_late = self._reactor.callLater(grace, self._give_up)
            self._go_on_soon()
        return self._drained

    # Parts are settled.

    def _end_if_drained(self) -> None:
        waiting = (entry.message.recipient in self._closed_rooms for entry in self._entries.values())
        is_idle = self._is_durable and not self._in_flight
        if not len(self) or (is_idle and all(waiting) and all(map(self._unavailable, self._closed_rooms))):
            self._give_up()

    @property
    def _is_durable(self) -> bool:
        return self._store is not None and self._store.durable

    def _settle(self, result: Any, entry: Entry[P], index: int) -> None:
        self._in_flight -= 1
        if self._holds:
            self._release(entry.message.recipient)
        if result and isinstance(result, str):
            entry.ids = entry.ids or {}
            entry.ids[index] = result
        error = result.value if isinstance(result, Failure) else None
        is_waiting = self._entries.get(entry.message.id) is entry
        if isinstance(error, RetryLater):
            self._pause(entry, index, error)
        elif isinstance(error, NotConfirmed):
            # Also if the message is over: nothing may be sent until the next connection.
            self._ready = False
            if is_waiting:
                self._repeat(entry, index, result)
            self._report_broken(error)
        elif error is not None and self._unavailable(entry.message.recipient) is not None:
            # The bot was removed from the room before the network got the part.
            self._postpone(entry, index)
        elif is_waiting:
            self._confirm(entry, index) if error is None else self._reject(entry, result)
        elif self._closed:
            # It was settled after `close`, and the next start must not send it again.
            entry.unconfirmed.discard(index)
            if error is None:
                entry.refs = entry.addresses()
            else:
                self._log_rejection(entry, result)
            self._store_progress(entry, error is not None, None if error is None else result)
        self._go_on_soon()

    def _confirm(self, entry: Entry[P], index: int) -> None:
        entry.unconfirmed.discard(index)
        entry.attempts = 0
        if index + 1 >= entry.suspect:
            entry.breaks = 0
        if entry.is_transmitted and not entry.unconfirmed:
            self._finish(entry, None)
        else:
            self._store_progress(entry)

    def _store_progress(
        self, entry: Entry[P], is_over: bool = False, failure: Failure | None = None, dropped: str = ""
    ) -> None:
        """Store how much of a message the network has confirmed, or that nothing is left to be sent, and why."""
        if entry.message.id < 0 or self._store is None:
            return
        if is_over or (entry.is_transmitted and not entry.unconfirmed):
            self._store.end(entry.record(failure, dropped, self._now()), entry.refs)
        else:
            assert entry.parts is not None
            self._store.advance(entry.message.id, entry.confirmed / len(entry.parts))

    def _repeat(self, entry: Entry[P], index: int, failure: Failure) -> None:
        entry.unconfirmed.discard(index)
        self._connections.broke(entry, index, self._in_flight + 1)
        if entry.attempts >= self._limits.attempts:
            reason = f"the connection broke {entry.attempts} times while it was sent"
            self._drop([entry], reason, failure)
            return
        entry.lane.rewind(entry, index)
        if self._connections.must_be_isolated(entry):
            self._isolate(entry)

    # Messages end.

    def _reject(self, entry: Entry[P], failure: Failure) -> None:
        self._log_rejection(entry, failure)
        self._finish(entry, failure)
        if not failure.check(Unsupported):
            message = entry.message
            self._report_undelivered(message.recipient, {message.origin: 1}, failure.getErrorMessage(), False)

    def _log_rejection(self, entry: Entry[P], failure: Failure) -> None:
        line = "{network}: the message to {recipient} could not be sent ({reason}): {text}"
        to, reason = truncated(entry.message.recipient, SHOWN), failure.getErrorMessage()
        self.log.warn(line, network=self.network, recipient=to, reason=reason, text=entry.shown)

    def _drop(self, entries: Sequence[Entry[P]], reason: str, failure: Failure) -> None:
        text = "{network}: {count} messages were dropped, since {reason}:"
        self.log.error(text, network=self.network, count=len(entries), reason=reason)
        self._log_losses(entries)
        for entry in entries:
            self._finish(entry, failure, reason)
        self._report_dropped(len(entries), reason)

    def _log_losses(self, lost: Sequence[Entry[P]]) -> None:
        losses = [entry.loss for entry in lost]
        lines = losses[:SINGLE]
        lines += [" | ".join(losses[start : start + SHARED]) for start in range(SINGLE, len(losses), SHARED)]
        for line in lines:
            self.log.warn("{network}: {losses}", network=self.network, losses=line)

    def _finish(self, entry: Entry[P], failure: Failure | None, dropped: str = "") -> None:
        """Remove a message that was sent, rejected, or dropped for a reason, and fire its Deferred with the result."""
        self._sent += failure is None and not dropped
        del self._entries[entry.message.id]
        if self._named.get(entry.names) is entry:
            del self._named[entry.names]
        if failure is None and (entry.ids or entry.message.wanted):
            entry.refs = entry.addresses()
        elif failure is not None and entry.of == entry.names:
            # The message hasn't changed.
            entry.refs = entry.after.refs if entry.after is not None else entry.known or ()
        if entry.refs or entry.names in self._recent:
            self._recent.pop(entry.names, None)
            self._recent[entry.names] = entry.refs
            if len(self._recent) > RECENT:
                del self._recent[next(iter(self._recent))]
        self._remove_from_lane(entry)
        self._bounds.give_back(entry.load)
        self._store_progress(entry, True, failure, dropped)
        entry.settle(failure)
        if not len(self) and self._drained is not None and not self._is_going_on:
            self._give_up()

    def _give_up(self) -> None:
        """Refuse new messages, and fail the remaining ones. Those that are stored stay so."""
        cancel_timers(self._timer, self._watch, self._too_late)
        self._timer = self._watch = self._too_late = None
        self._closed = True
        self._bounds.close()
        left = list(self._entries.values())
        self._entries.clear()
        self._named.clear()
        self._clear_lanes()
        kept = [entry for entry in left if self._is_durable and entry.message.id > 0]
        lost = [entry for entry in left if not (self._is_durable and entry.message.id > 0)]
        if kept:
            text = "{network}: {count} messages were not sent yet; they are sent after the next start"
            self.log.info(text, network=self.network, count=len(kept))
        if lost:
            self.log.warn("{network}: {count} messages were not sent:", network=self.network, count=len(lost))
            self._log_losses(lost)
        reason = f"the bot disconnected from {self.network} before the message was sent"
        later = SentLater(f"{reason}; it is sent after the next start")
        for entry in left:
            self._bounds.give_back(entry.load)
            entry.settle(Failure(later if self._is_durable and entry.message.id > 0 else OutboxClosed(reason)))
        if self._drained is not None and not self._drained.called:
            self._drained.callback(None)

    def _look(self) -> None:
        """Drop messages that are too old, and report those that wait for rooms. Called every second while messages wait."""
        self._watch = None
        latest = self._reactor.seconds() - self._limits.age
        old = [entry for entry in self._entries.values() if entry.since <= latest and not entry.unconfirmed]
        if old:
            reason = f"they waited for {self._limits.age:g} s, which is OUTBOX_MAX_AGE"
            self._drop(old, reason, Failure(OutboxExpired(f"the message was dropped, since {reason}")))
        if self._closed_rooms:
            self._open_rooms()
            self._report_rooms()
            self._go_on_soon()
        if self._entries and self._watch is None:
            self._watch = self._reactor.callLater(1.0, self._look)

    def _report_rooms(self) -> None:
        """Tell administrators, and those who await messages, that these have waited for their room for ROOM_TIMEOUT."""
        waiting: defaultdict[str, list[Entry[P]]] = defaultdict(list)
        for entry in self._entries.values():
            if entry.message.recipient in self._closed_rooms:
                waiting[entry.message.recipient].append(entry)
        # Rounding must not delay what is due.
        latest = self._reactor.seconds() - ROOM_TIMEOUT + 0.01
        for recipient, room in list(self._closed_rooms.items()):
            reason, own = self._unavailable(recipient), waiting[recipient]
            if not own:
                del self._closed_rooms[recipient]
            elif room.since <= latest:
                if reason and not room.is_reported:
                    room.is_reported = True
                    origins = Counter(entry.message.origin for entry in own)
                    self._report_undelivered(recipient, origins, reason, True)
                text = f"the bot is not in {recipient} ({reason or 'it has not joined the room yet'})"
                text += "; the message is sent when it has joined the room"
                for entry in own:
                    if entry.since <= latest:
                        entry.settle(Failure(RoomUnavailable(text)))


def _beside(message: OutgoingMessage, other: OutgoingMessage) -> OutgoingMessage:
    return message._replace(recipient=other.recipient, origin=other.origin, priority=other.priority)
