"""Lanes: turns, priority, several unconfirmed parts, limits, age and the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import Operation
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage, Wait
from errklein.networks.outbox import NotConfirmed, Outbox, OutboxLimits, outbox_limits
from errklein.ports.outbox import OutboxClosed, OutboxExpired, OutboxFull, RoomUnavailable, SentLater
from errklein.running import TokenBucket
from errklein.running.context import assigned, handled_delivery, origin
from errklein.text import PARTS_CAP
from tests.networks.outbox.test_outbox import NOON, Network, ThreadClock


class KeptMessages:
    """An `OutboxStore` that the test reads."""

    unwritten = False
    durable = True

    def __init__(self) -> None:
        self.kept: dict[int, OutgoingMessage] = {}
        self.ended: list[MessageRecord] = []
        self.refs: dict[str, Sequence[MessageRef]] = {}
        self._last = 0

    def add(self, message: OutgoingMessage) -> OutgoingMessage:
        self._last += 1
        message = self.kept[self._last] = message._replace(id=self._last)
        return message

    def advance(self, id: int, sent: float) -> None:
        self.kept[id] = self.kept[id]._replace(sent=sent)

    def change(self, id: int, body: str | None = None, wanted: str | None = None, recipient: str | None = None) -> None:
        texts = (("body", body), ("wanted", wanted), ("recipient", recipient))
        fields = {name: text for name, text in texts if text is not None}
        self.kept[id] = self.kept[id]._replace(**fields)

    def end(self, record: MessageRecord, refs: Sequence[MessageRef] = ()) -> None:
        del self.kept[record.id]
        if refs:
            self.refs[record.key] = refs
        if record.delivery or record.state is not MessageState.SENT:
            self.ended.append(record._replace(key=""))

    def refs_of(self, handle: Handle) -> Deferred[Sequence[MessageRef]]:
        return succeed(self.refs.get(handle.key, ()))

    def forget_refs(self, network: str, is_meant: Callable[[str], bool]) -> Deferred[int]:
        self.refs.clear()
        return succeed(0)

    def find(self, delivery: int = 0, recipient: str = "") -> Deferred[Sequence[MessageRecord]]:
        return succeed(self.ended)

    def flush(self) -> Deferred[None]:
        return succeed(None)

    def lease(self, without: Any = None) -> Deferred[Sequence[OutgoingMessage]]:
        return succeed(list(self.kept.values()))


class LanesCase(SynchronousTestCase):
    """An outbox that has lanes."""

    def setUp(self) -> None:
        """Create an outbox that isn't ready yet."""
        self.clock = ThreadClock()
        self.dropped: list[tuple[int, str]] = []
        self.undelivered: list[tuple[Any, ...]] = []
        self.closed: dict[str, str] = {}
        self.outbox = self.make()

    def network_for(self, window: int = 1, pace: Any = None) -> Network:
        """Return a new network."""
        return Network(window, pace)

    def make(
        self, store: KeptMessages | None = None, window: int = 1, pace: Any = None, **settings: Any
    ) -> Outbox[str]:
        """Return an outbox for a new network."""
        self.network = self.network_for(window, pace)
        outbox = Outbox(
            self.clock,
            "net",
            self.network,
            OutboxLimits(**settings),
            dropped=lambda count, reason: self.dropped.append((count, reason)),
            undelivered=lambda *undelivered: self.undelivered.append(undelivered),
            unavailable=lambda recipient: self.closed.get(recipient),
            now=lambda: NOON + self.clock.seconds(),
        )
        if store is not None:
            waiting: Any = self.successResultOf(store.lease())
            outbox.use_store(store)
            outbox.take(waiting)
        return outbox

    def send(self, text: str, recipient: str = "#ops", by: str = "", priority: bool = False) -> Deferred[None]:
        """Send a message of an origin."""
        with assigned(origin, by):
            sent = self.outbox.perform(recipient, text, priority=priority)
        assert sent is not None
        return sent

    def confirm_all(self) -> None:
        """Let the network confirm all parts, also those that are sent meanwhile."""
        while self.network.waiting:
            self.network.confirm()
            self.clock.advance(0)


class LanesTests(LanesCase):
    """Messages of several origins to several recipients."""

    def test_origins_take_turns(self) -> None:
        """A short message is sent soon, although others with many parts to the same room were sent before."""
        for person in "abc":
            self.send(" ".join(f"{person}{number}" for number in range(5)), by=f"person:net/{person}")
        self.outbox.resume()
        self.network.confirm()
        self.send("alert", by="route:CI:build")
        self.confirm_all()
        # Three lines of the others come first, after the one that was sent already.
        self.assertEqual(self.network.got.index("alert"), 5)
        for person in "abc":
            of_person = [part for part in self.network.got if part.startswith(person) and part != "alert"]
            self.assertEqual(of_person, [f"{person}{number}" for number in range(5)])

    def test_recipients_take_turns(self) -> None:
        """A message to another room isn't delayed by many messages to one."""
        for number in range(50):
            self.send(str(number))
        self.send("other", "#other")
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got[1], "other")

    def test_priority_goes_first(self) -> None:
        """A message with priority is sent before all others, also of the same origin."""
        self.send("a b c")
        self.send("d", "#dev")
        self.outbox.resume()
        self.send("first", priority=True)
        self.confirm_all()
        self.assertEqual(self.network.got[:2], ["a", "first"])

    def test_window(self) -> None:
        """As many parts are unconfirmed as the network allows, and they are passed together."""
        self.outbox = self.make(window=3)
        self.send("a b c d e")
        self.outbox.resume()
        self.assertEqual(self.network.batches, [["a", "b", "c"]])
        self.network.confirm()
        self.network.confirm()
        self.assertEqual(self.network.batches, [["a", "b", "c"]])
        self.clock.advance(0)
        self.assertEqual(self.network.batches, [["a", "b", "c"], ["d", "e"]])

    def test_messages_of_one_turn_are_passed_together(self) -> None:
        """While a part is unconfirmed, the messages of one turn of the reactor are one batch."""
        self.outbox = self.make(window=10)
        self.outbox.resume()
        for text in "abc":
            self.send(text)
        self.clock.advance(0)
        self.assertEqual(self.network.batches, [["a"], ["b", "c"]])

    def test_broken_window_is_sent_again_in_order(self) -> None:
        """After the connection broke, all unconfirmed parts are sent again; the first one alone, since it may be the cause."""
        self.outbox = self.make(window=3)
        self.send("a b c d")
        self.outbox.resume()
        self.network.confirm()
        self.network.disconnect()
        self.outbox.pause()
        self.outbox.resume()
        self.assertEqual(self.network.batches[-1], ["b"])
        self.confirm_all()
        self.assertEqual(self.network.got, ["a", "b", "c", "b", "c", "d"])

    def test_break_after_a_rejection(self) -> None:
        """Nothing is sent on a broken connection if it only had parts of a message that was rejected."""
        self.outbox = self.make(window=3)
        self.send("a b c")
        self.send("d")
        self.outbox.resume()
        self.network.fail(ValueError("no such room"))
        self.network.disconnect()
        self.outbox.pause()
        self.assertEqual(self.network.got, ["a", "b", "c"])
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["a", "b", "c", "d"])

    def reconnect(self) -> None:
        """Break the connection, and begin another one."""
        self.network.disconnect()
        self.outbox.pause()
        self.outbox.resume()

    def test_parts_of_a_broken_window_are_sent_alone(self) -> None:
        """After the connection broke, each part that was unconfirmed is sent alone, and as many of the others as before."""
        self.outbox = self.make(window=3)
        self.send("a b c d e f")
        self.outbox.resume()
        self.reconnect()
        self.confirm_all()
        self.assertEqual(self.network.batches[1:], [["a"], ["b"], ["c"], ["d", "e", "f"]])

    def test_others_are_sent_before_a_broken_window(self) -> None:
        """Messages of other lanes are sent before those that may have broken the connection, and an alert before all."""
        self.outbox = self.make(window=3)
        for text in ("a", "b", "c"):
            self.send(text, f"#{text}")
        self.outbox.resume()
        for text in ("d", "e"):
            self.send(text, f"#{text}")
        self.outbox.perform("#ops", "alert", priority=True)
        self.reconnect()
        self.confirm_all()
        self.assertEqual(self.network.batches[1:], [["alert", "d", "e"], ["a"], ["b"], ["c"]])

    def test_broken_window_of_a_closed_room(self) -> None:
        """Parts that may have broken the connection don't slow others down while they wait for their room."""
        self.outbox = self.make(window=4)
        for text in ("a", "b", "c", "d"):
            self.send(text, f"#{text}")
        self.outbox.resume()
        self.closed = dict.fromkeys(("#a", "#b", "#c", "#d"), "kicked")
        self.reconnect()
        self.clock.advance(20)
        self.send(" ".join("efghijkl"))
        self.clock.advance(0)
        for _ in range(4):
            self.network.confirm()
            self.clock.advance(0)
        self.assertEqual(max(map(len, self.network.batches[1:])), 4)
        self.assertEqual(len(self.network.waiting), 4)

    def test_work_for_many_closed_rooms(self) -> None:
        """A message with many parts costs a few looks at each of 2,000 closed rooms, not one for each part."""
        self.outbox = self.make(window=16)
        looks: list[str] = []
        self.closed = {f"#{number}": "kicked" for number in range(2000)}
        for room in self.closed:
            self.send("a", room)
        self.send(" ".join(str(part) for part in range(100)))
        self.patch(self.outbox, "_unavailable", lambda recipient: looks.append(recipient) or self.closed.get(recipient))
        self.outbox.resume()
        self.assertEqual(len(self.network.got), 16)
        self.assertLess(len(looks), 5000)

    def test_close_does_not_wait_for_closed_rooms(self) -> None:
        """The bot doesn't use the grace period for messages that only wait for rooms; the next start sends them."""
        store = KeptMessages()
        self.outbox = self.make(store)
        self.closed["#ops"] = "it is for invited people only"
        self.outbox.resume()
        self.send("later")
        self.send("now", "#dev")
        closed = self.outbox.close(10)
        self.assertNoResult(closed)
        self.confirm_all()
        self.successResultOf(closed)
        self.assertEqual((self.network.got, [message.body for message in store.kept.values()]), (["now"], ["later"]))

    def test_close_waits_for_rooms_that_are_about_to_be_joined(self) -> None:
        """Messages to a room that the bot is joining are sent within the grace period, and those of a closed one if nothing stores them."""
        for store, reason in ((KeptMessages(), ""), (None, "it is for invited people only")):
            self.outbox = self.make(store)
            self.closed["#ops"] = reason
            self.outbox.resume()
            self.send("soon")
            closed = self.outbox.close(10)
            self.clock.advance(1)
            self.assertNoResult(closed)
            self.closed.clear()
            self.outbox.resume()
            self.confirm_all()
            self.successResultOf(closed)
            self.assertEqual(self.network.got, ["soon"])

    def test_confirmation_after_the_end_of_a_rate_limit(self) -> None:
        """A part may be confirmed after `close` although another one waited for the rate limit."""
        store = KeptMessages()
        self.outbox = self.make(store, window=3, pace=TokenBucket(self.clock.seconds, 5.0, 2))
        for text in ("a", "b", "c"):
            self.send(text)
        self.outbox.resume()
        self.assertEqual(self.network.got, ["a", "b"])
        result = self.network.waiting[0]
        self.outbox.close()
        self.network.confirm()
        self.successResultOf(result)
        self.assertEqual([message.body for message in store.kept.values()], ["b", "c"])

    def test_late_message_without_text(self) -> None:
        """Nothing is sent for an empty message, also if it is late."""
        self.send("")
        self.clock.advance(400)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual((self.network.got, len(self.outbox)), ([], 0))

    def test_alert_in_a_broken_window(self) -> None:
        """A message with priority that may have broken the connection is sent alone, before all others."""
        self.outbox = self.make(window=3)
        self.send("a", "#a")
        self.outbox.perform("#ops", "alert", priority=True)
        self.outbox.resume()
        self.send("b", "#b")
        self.send("c", "#c")
        self.reconnect()
        self.confirm_all()
        self.assertEqual(self.network.batches, [["alert", "a"], ["alert"], ["b", "c"], ["a"]])

    def test_suspects_wait_for_the_pace_of_others(self) -> None:
        """In the first ten seconds, parts that may have broken the connection are sent after others that wait for the rate limit."""
        self.outbox = self.make(window=2)
        self.send("a", "#suspect")
        self.outbox.resume()
        self.send("b c", "#others")
        waits = {"#others": 5.0}
        self.network.take_turn = lambda recipient: waits.get(recipient, 0.0)  # type: ignore[method-assign]
        self.reconnect()
        self.assertEqual(self.network.got, ["a"])
        waits.clear()
        self.clock.advance(5)
        self.assertEqual(self.network.batches[1:], [["b", "c"]])
        self.network.confirm()
        self.clock.advance(0)
        self.assertEqual(len(self.network.batches), 2)
        self.network.confirm()
        self.clock.advance(0)
        self.assertEqual(self.network.batches[2:], [["a"]])

    def test_suspect_alert_waits_for_what_is_unconfirmed(self) -> None:
        """An alert that may have broken the connection is sent alone, when parts that were sent meanwhile are confirmed."""
        self.outbox = self.make(window=3)
        self.outbox.perform("#ops", "alert", priority=True)
        self.outbox.resume()
        waits = {"#ops": 5.0}
        self.network.take_turn = lambda recipient: waits.get(recipient, 0.0)  # type: ignore[method-assign]
        self.send("b", "#b")
        self.reconnect()
        self.assertEqual(self.network.batches[1:], [["b"]])
        waits.clear()
        self.clock.advance(5)
        self.assertEqual(self.network.batches[1:], [["b"]])
        self.network.confirm()
        self.clock.advance(0)
        self.assertEqual(self.network.batches[2:], [["alert"]])

    def test_isolated_alert_is_sent_after_others(self) -> None:
        """An alert at which connections broke again and again is sent after all others."""
        self.outbox = self.make(window=3)
        self.outbox.perform("#ops", "alert", priority=True)
        self.outbox.resume()
        self.reconnect()
        self.send("b c d", "#b")
        self.reconnect()
        self.assertEqual(self.network.batches[2:], [["b", "c", "d"]])
        self.confirm_all()
        self.assertEqual(len(self.network.batches), 3)
        self.clock.advance(31)
        self.assertEqual(self.network.batches[3:], [["alert"]])

    def test_broken_window_takes_turns_with_a_stream_of_others(self) -> None:
        """Messages that may have broken the connection are sent although others always wait."""
        self.outbox = self.make(window=2)
        self.send("a b", "#first")
        self.outbox.resume()
        for _ in range(2):
            self.send(" ".join("cdefghijklm"), "#others")
        self.reconnect()
        for _ in range(10):
            self.clock.advance(2)
            self.network.confirm()
            if self.network.batches[-1][0] in "ab":
                self.assertLessEqual(len(self.network.waiting), 1)
        self.assertEqual([part for batch in self.network.batches[1:] for part in batch if part in "ab"], ["a", "b"])
        self.assertIn(["a"], self.network.batches)
        self.assertLess(len(self.network.got), 24)
        between = self.network.got[self.network.got.index("a", 2) + 1 : self.network.got.index("b", 2)]
        self.assertGreater(len(between), 0)

    def test_message_that_breaks_the_connection(self) -> None:
        """Of 20 messages in a lane, the 19 others arrive after two more breaks; the cause is dropped after five that it broke alone."""
        self.outbox = self.make(window=16)
        for number in range(20):
            self.send("poison" if number == 3 else f"m{number}")
        self.outbox.resume()
        arrived: dict[str, float] = {}
        for _ in range(200):
            while self.network.waiting:
                in_flight = self.network.got[-len(self.network.waiting) :]
                if "poison" in in_flight:
                    self.reconnect()
                else:
                    arrived[in_flight[0]] = self.clock.seconds()
                    self.network.confirm()
                self.clock.advance(0)
            self.clock.advance(1)
        self.assertEqual(arrived, {f"m{number}": 0.0 for number in range(20) if number != 3})
        self.assertEqual(self.network.got.count("poison"), 6)
        self.assertEqual(self.dropped, [(1, "the connection broke 5 times while it was sent")])

    def test_slow_rooms_do_not_delay_people(self) -> None:
        """A recipient without a token doesn't delay others."""
        self.outbox = self.make()
        waits = {"#ops": 5.0}
        self.network.take_turn = lambda recipient: waits.get(recipient, 0.0)  # type: ignore[method-assign]
        self.send("a")
        self.send("b", "alice")
        self.outbox.resume()
        self.assertEqual(self.network.got, ["b"])
        self.network.confirm()
        waits.clear()
        self.clock.advance(5)
        self.assertEqual(self.network.got, ["b", "a"])

    def test_lane_has_half_of_the_room(self) -> None:
        """A flood to one room is refused when it has half of the parts; others still have room."""
        self.outbox = self.make(parts=10)
        self.send("a b c")
        error = self.assertRaises(OutboxFull, self.send, "d e f")
        self.assertIn("half of OUTBOX_LIMIT", str(error))
        self.send("d e f", "#dev")
        self.send("g h", "#other")
        self.assertRaises(OutboxFull, self.send, "i j k", "#more")

    def test_size_is_limited(self) -> None:
        """The characters of the messages are limited as well, for a lane and in total."""
        self.outbox = self.make(size=100)
        self.send("a" * 40)
        self.assertIn("OUTBOX_SIZE", str(self.assertRaises(OutboxFull, self.send, "b" * 40)))
        self.send("b" * 40, "#dev")
        self.assertRaises(OutboxFull, self.send, "c" * 40, "#other")

    def test_details_count(self) -> None:
        """Details count as characters, since a plugin may put anything into the extras of a message."""
        self.outbox = self.make(size=100)
        self.outbox.perform("#ops", "a", details="x" * 40)
        with self.assertRaises(OutboxFull):
            self.outbox.perform("#ops", "b", details="x" * 40)

    def test_single_message_always_has_room(self) -> None:
        """A message that exceeds the limit by itself is accepted into an empty outbox."""
        self.outbox = self.make(parts=2, size=10)
        self.send("a b c d e f g h i j k l m")

        self.outbox.resume()
        self.confirm_all()
        self.send("a b c d e f g h i j k l m")

    def test_limit_of_characters_is_included(self) -> None:
        """A lane may have exactly half of the characters."""
        self.outbox = self.make(size=100)
        for letter in "ab":
            self.send(letter * 25)
        self.assertRaises(OutboxFull, self.send, "c")

    def test_limits_of_the_configuration(self) -> None:
        """The limits are settings; a text may be twice as long as the parts that it becomes."""
        config = SimpleNamespace(OUTBOX_LIMIT=1, OUTBOX_SIZE=2, OUTBOX_MAX_AGE=3.0)
        self.assertEqual(outbox_limits(config, 10), OutboxLimits(1, 2, 2 * PARTS_CAP * 10, 3.0))

    def test_lanes_that_were_sent_delay_nothing(self) -> None:
        """After messages to very many people, the next one is sent at once."""
        self.outbox.resume()
        for number in range(500):
            self.send("a", f"person{number}")
        while self.network.waiting:
            self.network.confirm()
            self.clock.advance(1)
        self.send("next")
        self.assertEqual(self.network.got[-1], "next")
        self.network.confirm()
        self.assertEqual(self.outbox._recipients, {})

    def test_sent_messages_make_room(self) -> None:
        """What was sent no longer counts."""
        self.outbox = self.make(parts=4)
        self.outbox.resume()
        for _ in range(10):
            self.send("a b")
            self.confirm_all()
        self.assertEqual(self.outbox.status, (0, 0, 0, 0.0, 10))

    def test_rejected_messages_were_not_sent(self) -> None:
        """A message that the network rejects isn't counted as sent."""
        self.outbox.resume()
        rejected = self.send("a")
        self.network.fail(ValueError("no such room"))
        self.failureResultOf(rejected, ValueError)
        self.send("b")
        self.confirm_all()
        self.assertEqual(self.outbox.status.sent, 1)

    def test_status(self) -> None:
        """The status has the messages, parts and characters, and the time of the oldest."""
        self.clock.advance(5)
        self.send("a b")
        self.clock.advance(5)
        self.send("c", "#dev")
        self.assertEqual(self.outbox.status, (2, 3, 4, NOON + 5, 0))

    def test_long_text_is_cut(self) -> None:
        """What the network wouldn't accept of a text isn't kept in memory."""
        self.outbox = self.make(length=5)
        self.send("a b c d e f")
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["a", "b", "c"])

    def test_old_messages_are_dropped_and_reported(self) -> None:
        """A message that could not be sent in time is dropped; its Deferred fails, and administrators learn of it."""
        store = KeptMessages()
        self.outbox = self.make(store, age=60.0)
        old = self.send("old")
        self.clock.advance(30)
        self.send("new")
        self.clock.advance(31)
        self.failureResultOf(old, OutboxExpired)
        self.assertEqual([count for count, _ in self.dropped], [1])
        self.assertIn("OUTBOX_MAX_AGE", self.dropped[0][1])
        self.assertEqual([message.body for message in store.kept.values()], ["new"])
        self.outbox.resume()
        self.assertEqual(self.network.got, ["new"])

    def test_dropped_by_an_administrator(self) -> None:
        """What waits for one recipient is dropped and reported, but not what the network may have."""
        self.outbox.perform("#ops", "sent")
        self.outbox.resume()
        self.clock.advance(1.0)
        results: list[Any] = [self.outbox.perform("#ops", f"lost{number}") for number in range(2)]
        self.outbox.perform("#dev", "kept")
        expected = [("#ops", 3, NOON), ("#dev", 1, NOON + 1)]
        self.assertEqual(list(map(tuple, self.outbox.recipients())), expected)
        self.assertEqual((self.outbox.drop("#ops", "of a flood"), self.outbox.drop("#no", "")), (2, 0))
        for result in results:
            self.failureResultOf(result, OutboxExpired)
        self.assertEqual(self.dropped, [(2, "of a flood")])
        self.network.confirm()
        self.assertEqual(self.network.got, ["sent", "kept"])

    def test_old_messages_of_an_earlier_process(self) -> None:
        """The age of a message counts from when an earlier process accepted it; one from the future is as old as the process."""
        store = KeptMessages()
        for age in (50, -1000):
            store.add(OutgoingMessage(0, "net", "#ops", str(age), accepted_at=NOON - age))
        self.outbox = self.make(store, age=60.0)
        self.clock.advance(9)
        self.assertEqual(self.dropped, [])
        self.clock.advance(2)
        self.assertEqual([message.body for message in store.kept.values()], ["-1000"])
        self.clock.advance(50)
        self.assertEqual(store.kept, {})

    def test_old_message_that_may_have_been_sent(self) -> None:
        """An unconfirmed message isn't dropped, since it may have been sent."""
        self.outbox = self.make(age=60.0)
        self.outbox.resume()
        sent = self.send("a")
        self.clock.advance(61)
        self.network.confirm()
        self.successResultOf(sent)
        self.assertEqual(self.dropped, [])

    def test_more_messages_of_an_earlier_process_than_the_limit(self) -> None:
        """What an earlier process accepted is sent, also if the limits were lowered."""
        store = KeptMessages()
        for body in "abcd":
            store.add(OutgoingMessage(0, "net", "#ops", body, accepted_at=NOON))
        self.outbox = self.make(store, parts=2)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual("".join(self.network.got), "abcd")

    def test_parts_are_not_stored(self) -> None:
        """Parts that aren't messages, such as function calls, are not stored."""
        store = KeptMessages()
        self.outbox = self.make(store)
        self.outbox.put(["a", "b"])
        self.assertEqual(store.kept, {})
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["a", "b"])

    def test_store_in_memory(self) -> None:
        """Messages in a store that isn't durable are lost at the end, which their Deferreds state."""
        store = KeptMessages()
        store.durable = False
        self.outbox = self.make(store)
        sent = self.send("a")
        self.outbox.close()
        self.assertIs(self.failureResultOf(sent).type, OutboxClosed)

    def test_stored_until_confirmed(self) -> None:
        """A message is in the store until the network has all of it."""
        store = KeptMessages()
        self.outbox = self.make(store)
        self.send("a b")
        self.outbox.resume()
        self.network.confirm()
        self.assertEqual([(message.body, message.sent) for message in store.kept.values()], [("a b", 0.5)])
        self.network.confirm()
        self.assertEqual(store.kept, {})

    def test_confirmed_after_the_end(self) -> None:
        """What the network confirms after the grace period is not sent again by the next process."""
        store = KeptMessages()
        self.outbox = self.make(store, window=3)
        self.send("a")
        self.send("b c d")
        self.outbox.resume()
        self.successResultOf(self.outbox.close())
        self.network.confirm()
        self.network.confirm()
        self.assertEqual([(message.body, message.sent) for message in store.kept.values()], [("b c d", 1 / 3)])

    def test_beginning_confirmed_after_the_end(self) -> None:
        """Of a message whose first part is confirmed after the grace period, the next process sends the others."""
        store = KeptMessages()
        self.outbox = self.make(store)
        self.send("a b c")
        self.outbox.resume()
        self.successResultOf(self.outbox.close())
        self.network.confirm()
        self.outbox = self.make(store)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["b", "c"])

    def test_whole_message_of_an_earlier_process(self) -> None:
        """A stored message whose parts were all confirmed is not sent again."""
        store = KeptMessages()
        store.add(OutgoingMessage(0, "net", "#ops", "a b", accepted_at=NOON, sent=2))
        self.outbox = self.make(store)
        self.outbox.resume()
        self.assertEqual((self.network.got, store.kept), ([], {}))

    def test_rejected_messages_are_not_stored(self) -> None:
        """A message that the network rejects is removed from the store."""
        store = KeptMessages()
        self.outbox = self.make(store)
        self.send("a")
        self.outbox.resume()
        self.network.fail(ValueError("no such room"))
        self.assertEqual(store.kept, {})

    def test_rest_is_sent_after_the_restart(self) -> None:
        """What a stop has left is sent by the next outbox, in order and without the parts that were confirmed."""
        store = KeptMessages()
        self.outbox = self.make(store, pace=TokenBucket(self.clock.seconds, 2.0, 1))
        self.outbox.resume()
        sent = [self.send(text) for text in ("a b c", "d", "e")]
        closed = self.outbox.close(3)
        self.network.confirm()
        self.clock.advance(2)
        self.network.confirm()
        self.clock.advance(1)
        self.successResultOf(closed)
        for delivery in sent:
            self.failureResultOf(delivery, SentLater)
        self.assertEqual(self.network.got, ["a", "b"])
        self.outbox = self.make(store)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["c", "d", "e"])
        self.assertEqual(store.kept, {})

    def test_recipient_that_no_network_knows(self) -> None:
        """A message is rejected if the network fails to look at its recipient. The others are sent."""
        store = KeptMessages()
        self.outbox = self.make(store)
        usual = self.network.take_turn
        self.network.take_turn = lambda recipient: usual(recipient[0])  # type: ignore[method-assign]
        self.send("lost", "")
        self.send("a", "#ops")
        self.outbox.resume()
        self.assertEqual(self.network.got, ["a"])
        self.assertEqual([message.body for message in store.kept.values()], ["a"])

    def test_what_has_become_of_messages(self) -> None:
        """The store gets the end of each message of a delivery, and the reason for which any other one was not sent."""
        store = KeptMessages()
        self.outbox = self.make(store, age=60.0)
        with assigned(handled_delivery, ("route:CI:build", 7)):
            self.send("a", by="route:CI:build")
            self.send("poller", by="plugin:CI")
        self.send("b")
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(
            store.ended, [MessageRecord(1, "net", "#ops", 7, MessageState.SENT, NOON + self.clock.seconds())]
        )
        self.send("c", "#bad")
        self.network.waiting.pop().errback(ValueError("no such room"))
        self.closed["#ops"] = "+i"
        self.send("d")
        for _ in range(62):
            self.clock.advance(1)
        self.assertEqual(
            [(record.recipient, str(record.state), record.reason) for record in store.ended[1:]],
            [
                ("#bad", "rejected", "no such room"),
                ("#ops", "dropped", "they waited for 60 s, which is OUTBOX_MAX_AGE"),
            ],
        )
        self.assertEqual(store.kept, {})

    def test_waits(self) -> None:
        """A message says what it waits for: the network, with the reason, its confirmation, or the pace."""
        store = KeptMessages()
        self.outbox = self.make(store)
        self.send("a")
        self.assertEqual(self.outbox.wait_of(1), Wait("net is not connected", NOON))
        self.outbox.resume()
        self.assertEqual(self.outbox.wait_of(1), Wait("the network has not confirmed it yet"))
        self.send("b")
        self.assertEqual(self.outbox.wait_of(2), Wait("2 messages wait, which are sent at the pace of net"))
        self.clock.advance(5)
        self.outbox.pause("Ping timeout")
        self.assertEqual(self.outbox.wait_of(2), Wait("net is not connected", NOON + 5, "Ping timeout"))
        self.assertIsNone(self.outbox.wait_of(3))

    def test_message_that_waits_for_a_stable_connection(self) -> None:
        """A message at which connections broke says so."""
        self.outbox = self.make(KeptMessages())
        self.send("a")
        for _ in range(2):
            self.outbox.resume()
            self.network.waiting.pop().errback(NotConfirmed())
            self.outbox.pause()
        self.outbox.resume()
        cause = "the connection broke 2 times while it was sent, so it is sent alone"
        self.assertEqual(self.outbox.wait_of(1), Wait("it needs a stable connection", cause=cause))

    def test_text_that_is_no_string(self) -> None:
        """A message whose text isn't a string is refused, as it couldn't be stored."""
        store = KeptMessages()
        self.outbox = self.make(store)
        for text in (["a"], ("a",), b"a", None):
            with self.assertRaises(TypeError):
                self.outbox.perform("#ops", text)  # type: ignore[arg-type]
        self.assertEqual((store.kept, len(self.outbox)), ({}, 0))

    def test_priority_that_is_no_bool(self) -> None:
        """A plugin may pass any value as the priority; the store gets True or False, as it can store nothing else."""
        store = KeptMessages()
        self.outbox = self.make(store)
        for priority in (None, "yes", object()):
            self.outbox.perform("#ops", "a", priority=priority)  # type: ignore[arg-type]
        self.assertEqual([message.priority for message in store.kept.values()], [False, True, True])

    def test_work_while_others_wait(self) -> None:
        """While 500 people's messages wait for the rate limit, a part to somebody else costs a few looks at recipients."""
        looks: list[str] = []

        def wait_for(recipient: str) -> float:
            looks.append(recipient)
            return 60.0 if recipient.startswith("slow") else 0.0

        self.network.take_turn = wait_for  # type: ignore[method-assign]
        self.outbox.resume()
        for number in range(500):
            self.send("a", f"slow{number}")
        looks.clear()
        for part in range(20):
            self.send(str(part), "#ops")
        self.confirm_all()
        self.assertEqual(len(self.network.got), 20)
        self.assertLess(len(looks), 100)
        self.network.take_turn = lambda recipient: 0.0  # type: ignore[method-assign]
        self.clock.advance(60)
        self.confirm_all()
        self.assertEqual(len(self.network.got), 520)

    def test_those_who_wait_keep_their_order(self) -> None:
        """People whose messages wait for the rate limit get them in their order, also after confirmations of others."""
        self.outbox = self.make(window=4, pace=TokenBucket(self.clock.seconds, 1.0, 2))
        self.outbox.resume()
        for text in "xyabc":
            self.send(text, f"#{text}")
        self.confirm_all()
        for _ in range(3):
            self.clock.advance(1)
            self.confirm_all()
        self.assertEqual(self.network.got, list("xyabc"))

    def test_turns_at_the_pace_of_the_network(self) -> None:
        """While the rate limit applies, lanes take turns, too."""
        self.outbox = self.make(window=4, pace=TokenBucket(self.clock.seconds, 1.0, 1))
        for text in ("a0 a1 a2", "b0 b1 b2"):
            self.send(text, f"#{text}")
        self.outbox.resume()
        for _ in range(6):
            self.confirm_all()
            self.clock.advance(1)
        self.assertEqual(self.network.got, ["a0", "b0", "a1", "b1", "a2", "b2"])

    def test_rooms_are_reported_once(self) -> None:
        """A room is reported when messages have waited for 10 s, with their origins, and again only after it was joined."""
        self.outbox.resume()
        self.closed["#ops"] = "it is for invited people only"
        for number in range(3):
            self.send(str(number), by=f"person:{number % 2}")
        self.clock.pump([1.0] * 9)
        self.assertEqual(self.undelivered, [])
        self.clock.pump([1.0] * 20)
        report = ("#ops", {"person:0": 2, "person:1": 1}, "it is for invited people only", True)
        self.assertEqual(self.undelivered, [report])
        del self.closed["#ops"]
        self.clock.advance(1)
        self.confirm_all()
        self.assertEqual((self.network.got, self.outbox.status.messages), (["0", "1", "2"], 0))
        self.closed["#ops"] = "banned"
        sent = self.send("3")
        self.clock.pump([1.0] * 9)
        self.assertNoResult(sent)
        self.clock.pump([1.0] * 2)
        self.failureResultOf(sent, RoomUnavailable)
        self.assertEqual(len(self.undelivered), 2)

    def test_room_without_messages_is_forgotten(self) -> None:
        """If messages to a room get too old, a later one to it is reported after 10 s of its own."""
        self.outbox = self.make(age=15.0)
        self.outbox.resume()
        self.closed["#ops"] = "banned"
        self.send("old")
        self.clock.pump([1.0] * 20)
        self.assertEqual((len(self.dropped), len(self.undelivered)), (1, 1))
        self.send("new")
        self.clock.pump([1.0] * 9)
        self.assertEqual(len(self.undelivered), 1)
        self.clock.pump([1.0] * 2)
        self.assertEqual(len(self.undelivered), 2)

    def test_network_that_has_caught_up(self) -> None:
        """If the network allows parts earlier than it has said, they are sent at its next confirmation."""
        self.outbox = self.make(window=2)
        self.network.take_turn = lambda recipient: 5.0 if recipient == "slow" else 0.0  # type: ignore[method-assign]
        self.outbox.resume()
        self.send("a", "quick")
        self.send("b", "slow")
        self.send("c", "slow")
        self.clock.advance(0)
        self.network.take_turn = lambda recipient: 0.0  # type: ignore[method-assign]
        self.network.confirm()
        self.clock.advance(0)
        self.assertEqual(self.network.got, ["a", "b", "c"])

    def test_work_for_many_lanes(self) -> None:
        """While the rate limit applies, 2,000 messages to different people cost a few looks at each, and are not split."""
        self.outbox = self.make(window=16, pace=TokenBucket(self.clock.seconds, 0.5, 1))
        looks: list[str] = []
        splits: list[str] = []
        usual_wait, usual_split = self.network.take_turn, self.network.parts

        def wait_for(recipient: str) -> float:
            looks.append(recipient)
            return usual_wait(recipient)

        def split(operation: Operation, message: OutgoingMessage, original: Any) -> list[str]:
            splits.append(message.recipient)
            return usual_split(operation, message, original)

        self.network.take_turn, self.network.parts = wait_for, split  # type: ignore[method-assign]
        self.outbox.resume()
        self.send("a", "#ops")
        self.network.confirm()
        for number in range(2_000):
            self.send("a", f"person{number}")
        self.clock.pump([0.25] * 4)
        self.assertEqual(len(self.network.got), len(splits))
        self.assertGreater(len(splits), 2)
        self.assertLess(len(looks), 40_000)

    def test_message_that_is_split_differently_after_the_restart(self) -> None:
        """If a message has another number of parts than before the restart, all are sent, rather than some of them lost."""
        store = KeptMessages()
        store.add(OutgoingMessage(0, "net", "#ops", "a b c d", sent=0.5))
        store.add(OutgoingMessage(0, "net", "#ops", "e f g h", sent=0.7))
        self.outbox = self.make(store)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["c", "d", "e", "f", "g", "h"])

    def test_rejection_while_disconnecting(self) -> None:
        """A message that the network rejects after `close` isn't sent by the next process, and the log has it."""
        store = KeptMessages()
        self.outbox = self.make(store)
        self.send("rejected")
        self.send("kept")
        self.outbox.resume()
        self.successResultOf(self.outbox.close())
        self.network.fail(ValueError("no such room"))
        self.assertEqual([message.body for message in store.kept.values()], ["kept"])

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("send"), st.integers(0, 3), st.integers(0, 2), st.booleans()),
                st.tuples(st.sampled_from(["confirm", "reject", "break", "restart", "kill", "turn"])),
            ),
            max_size=60,
        ),
        st.integers(1, 5),
    )
    def test_accepted_messages_are_sent_in_order(self, history: list[Any], window: int) -> None:
        """After any events each accepted message is sent or rejected, and each lane keeps its order."""
        store = KeptMessages()
        self.clock = ThreadClock()
        self.outbox = self.make(store, window=window, attempts=1000, isolates=False)
        self.outbox.resume()
        accepted: list[tuple[int, bool, str]] = []
        got: list[str] = []
        rejected: set[str] = set()
        for what, *details in history:
            if what == "send":
                size, lane, priority = details
                texts = [f"{len(accepted)}.{part}" for part in range(size)]
                self.send(" ".join(texts), f"#{lane}", priority=priority)
                accepted.extend((lane, priority, text) for text in texts)
                accepted.append((lane, priority, ""))
            elif what == "confirm" and self.network.waiting:
                self.network.confirm()
            elif what == "reject" and self.network.waiting:
                rejected.add(self.network.got[len(self.network.got) - len(self.network.waiting)].split(".")[0])
                self.network.fail(ValueError("no"))
            elif what == "break":
                self.network.disconnect()
                self.outbox.pause()
                self.outbox.resume()
            elif what in ("restart", "kill"):
                got += self.network.got
                if what == "restart":
                    self.outbox.close()
                self.clock = ThreadClock()
                self.outbox = self.make(store, window=window, attempts=1000, isolates=False)
                self.outbox.resume()
            else:
                self.clock.advance(0)
        self.confirm_all()
        got += self.network.got
        first_seen = list(dict.fromkeys(got))
        for place in {(lane, priority) for lane, priority, _ in accepted}:
            expected = [
                text for *key, text in accepted if tuple(key) == place and text and text.split(".")[0] not in rejected
            ]
            self.assertEqual([text for text in first_seen if text in expected], expected)
        self.assertEqual(store.kept, {})
