"""The simulation with outbox and network: it finds defects that break the guarantees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.handles import MessageRef
from errklein.chat.outgoing import MessageRecord, OutgoingMessage
from errklein.journal import SQLiteJournal
from errklein.networks.outbox import Outbox
from errklein.networks.outbox._lanes import TOGETHER, Entry, MessageLane
from tests.journal.outbox_simulation import OutboxSimulation
from tests.journal.simulated_network import Part
from tests.journal.simulation import has_violation

SEEDS = 120


class MessagesAfterOutcome(SQLiteJournal):
    """Defect: a delivery becomes done before its messages are stored."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._end_attempt = self._writer.end


class ForgottenRemoval(SQLiteJournal):
    """Defect: that a message was sent is forgotten if its transaction is undone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        store, undone = self.outbox, self.outbox.undone

        def forget() -> None:
            store._writing.removed.clear()
            undone()

        store.undone = forget  # type: ignore[method-assign]


class ForgottenAddition(SQLiteJournal):
    """Defect: new messages are forgotten if their transaction is undone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outbox.undone = self.outbox.committed  # type: ignore[method-assign]


class RemovalWhileWriting(SQLiteJournal):
    """Defect: a message that is sent while a transaction inserts it isn't removed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        store, end = self.outbox, self.outbox.end

        def forget(record: MessageRecord, refs: Sequence[MessageRef] = ()) -> None:
            if record.id not in store._writing.added:
                end(record, refs)

        store.end = forget  # type: ignore[method-assign]


class EarlyFlush(SQLiteJournal):
    """Defect: whoever waits until messages are on disk waits for nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outbox.flush = lambda: succeed(None)  # type: ignore[method-assign]


class Forgetful(Outbox[Part]):
    """Defect: a part that is unconfirmed when the connection breaks is taken for confirmed."""

    def _repeat(self, entry: Entry[Part], place: int, failure: Failure) -> None:
        self._ready = False
        self._confirm(entry, place)


class WrongOrder(Outbox[Part]):
    """Defect: after a break of the connection, messages are sent in another order."""

    def _repeat(self, entry: Entry[Part], place: int, failure: Failure) -> None:
        """Move the entry to the end of its lane."""
        super()._repeat(entry, place, failure)
        if entry in entry.lane.entries:
            entry.lane.entries.remove(entry)
            entry.lane.entries.append(entry)


class NewestFirst(Outbox[Part]):
    """Defect: after a restart, messages are sent in another order."""

    def take(self, messages: Iterable[OutgoingMessage]) -> None:
        """Reverse the order."""
        super().take(list(messages)[::-1])


class WholeMessages(Outbox[Part]):
    """Defect: a process sends restored messages from their first part on."""

    def take(self, messages: Iterable[OutgoingMessage]) -> None:
        """Forget what was sent."""
        super().take([message._replace(sent=0) for message in messages])


class RemovedAtStop(Outbox[Part]):
    """Defect: messages that aren't sent within the grace period are removed from the store."""

    def _give_up(self) -> None:
        if self._store is not None:
            for entry in self._entries.values():
                self._store.end(entry.record(None, "", 0.0))
        super()._give_up()


class LateConfirmation(Outbox[Part]):
    """Defect: what the network confirms after `close` is not stored as sent."""

    def _settle(self, result: Any, entry: Entry[Part], place: int) -> None:
        if not self._closed:
            super()._settle(result, entry, place)


class FinalRejection(Outbox[Part]):
    """Defect: what is rejected since the bot was removed from the room is given up."""

    def _postpone(self, entry: Entry[Part], place: int) -> None:
        entry.unconfirmed.discard(place)
        if entry.message.id in self._entries:
            self._reject(entry, Failure(ValueError("not in the room")))


class ClosedRooms(Outbox[Part]):
    """Defect: messages are sent to rooms that the bot is outside of."""

    def _next_entry(self, lane: MessageLane[Part]) -> Entry[Part] | None:
        entry = lane.head
        lane.is_queued = entry is not None
        return entry


class Alternating(Outbox[Part]):
    """Defect: messages of several origins to one recipient take turns part by part."""

    def _next_entry(self, lane: MessageLane[Part]) -> Entry[Part] | None:
        lane.recipient.together = TOGETHER
        entry = super()._next_entry(lane)
        return entry and (lane.head or entry)


class Overtaking(Outbox[Part]):
    """Defect: after a break of the connection, others overtake each message that was unconfirmed."""

    def _repeat(self, entry: Entry[Part], place: int, failure: Failure) -> None:
        super()._repeat(entry, place, failure)
        if entry.message.id in self._entries and not entry.is_isolated:
            self._isolate(entry)


class SilentDrop(Outbox[Part]):
    """Defect: messages are dropped without a report."""

    def _drop(self, entries: Sequence[Entry[Part]], reason: str, failure: Failure) -> None:
        for entry in entries:
            self._finish(entry, failure)


class Miscounted(Outbox[Part]):
    """Defect: after a break of the connection, the outbox has counted one part too few that is unconfirmed."""

    def pause(self) -> None:
        """Count one less."""
        self._in_flight -= 1
        super().pause()


class Boundless(Outbox[Part]):
    """Defect: the outbox has no limits."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bounds.take = lambda load, timeout=0.0: self._bounds.exceed(load)  # type: ignore[method-assign]


class OutboxSimulationTests(SynchronousTestCase):
    """The guarantees of messages in worlds from many seeds."""

    def assert_found(self, **parts: Any) -> None:
        """Check that a world with defective parts violates a guarantee."""
        self.assertTrue(has_violation(range(SEEDS), OutboxSimulation, **parts), "the defect was not found")

    def test_messages_after_outcome_are_found(self) -> None:
        """The simulation finds that a message is lost whose delivery is done."""
        self.assert_found(journal_class=MessagesAfterOutcome)

    def test_forgotten_removal_is_found(self) -> None:
        """The simulation finds that a message is sent again whose removal wasn't stored."""
        self.assert_found(journal_class=ForgottenRemoval)

    def test_forgotten_addition_is_found(self) -> None:
        """The simulation finds that a message is lost that was in an undone transaction."""
        self.assert_found(journal_class=ForgottenAddition)

    def test_removal_while_writing_is_found(self) -> None:
        """The simulation finds that a message is sent again that was sent while it was written."""
        self.assert_found(journal_class=RemovalWhileWriting)

    def test_forgotten_part_is_found(self) -> None:
        """The simulation finds that a part is lost that was unconfirmed when the connection broke."""
        self.assert_found(outbox_class=Forgetful)

    def test_wrong_order_is_found(self) -> None:
        """The simulation finds that messages change their order when a connection breaks."""
        self.assert_found(outbox_class=WrongOrder)

    def test_newest_first_is_found(self) -> None:
        """The simulation finds that messages change their order at a restart."""
        self.assert_found(outbox_class=NewestFirst)

    def test_whole_messages_are_found(self) -> None:
        """The simulation finds that parts are sent again that were stored as sent."""
        self.assert_found(outbox_class=WholeMessages)

    def test_removal_at_stop_is_found(self) -> None:
        """The simulation finds that messages are lost that a stop has interrupted."""
        self.assert_found(outbox_class=RemovedAtStop)

    def test_silent_drop_is_found(self) -> None:
        """The simulation finds that a message is dropped without a report."""
        self.assert_found(outbox_class=SilentDrop)

    def test_miscounted_parts_are_found(self) -> None:
        """The simulation finds that more parts are unconfirmed than the network allows."""
        self.assert_found(outbox_class=Miscounted)

    def test_early_flush_is_found(self) -> None:
        """The simulation finds that a message is lost after the response to its request."""
        self.assert_found(journal_class=EarlyFlush)

    def test_late_confirmation_is_found(self) -> None:
        """The simulation finds that a message is sent again that was confirmed while the bot disconnected."""
        self.assert_found(outbox_class=LateConfirmation)

    def test_final_rejection_is_found(self) -> None:
        """The simulation finds that a message is lost that was on its way when the bot was removed from the room."""
        self.assert_found(outbox_class=FinalRejection)

    def test_messages_to_closed_rooms_are_found(self) -> None:
        """The simulation finds that messages are sent to rooms that the bot is outside of."""
        self.assert_found(outbox_class=ClosedRooms)

    def test_alternating_origins_are_found(self) -> None:
        """The simulation finds that the parts of messages to one recipient are mixed."""
        self.assert_found(outbox_class=Alternating)

    def test_overtaking_is_found(self) -> None:
        """The simulation finds that messages are overtaken which didn't break a connection alone."""
        self.assert_found(outbox_class=Overtaking)

    def test_missing_bounds_are_found(self) -> None:
        """The simulation finds that more messages wait than the limits allow."""
        self.assert_found(outbox_class=Boundless)
