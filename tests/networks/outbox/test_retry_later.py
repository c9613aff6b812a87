"""Networks that take one message of a recipient at a time, and that ask for pauses."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from errklein.chat.handles import Handle
from errklein.chat.operations import Kind, Wanted
from errklein.chat.outgoing import Wait
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.outbox._network import Scope
from tests.networks.outbox.test_lanes import KeptMessages, LanesCase
from tests.networks.outbox.test_outbox import NOON


class PausesCase(LanesCase):
    """A serial network with a window of ten parts, whose parts are confirmed or put off by name."""

    def setUp(self) -> None:
        """Let the network remember which part is which."""
        super().setUp()
        self.store = KeptMessages()
        self.outbox = self.make(self.store, window=10)
        self.network.serial = True
        self.outbox.resume()
        self.sent: dict[str, list[Deferred[None]]] = {}
        transmit = self.network.transmit

        def noted(parts: Sequence[str], keys: Sequence[str]) -> list[Deferred[None]]:
            results = transmit(parts, keys)
            for part, result in zip(parts, results, strict=True):
                self.sent.setdefault(part, []).append(result)
            return results

        self.network.transmit = noted  # type: ignore[method-assign]

    def accept(self, *parts: str) -> None:
        """Let the network confirm parts."""
        for part in parts:
            self.sent[part].pop(0).callback(None)
            self.clock.advance(0)

    def put_off(self, part: str, seconds: float, scope: Scope) -> None:
        """Let the network ask for a pause."""
        self.sent[part].pop(0).errback(RetryLater(seconds, scope))
        self.clock.advance(0)

    def got_since(self, count: int) -> list[str]:
        """Return the parts that the network got after the first ones."""
        return self.network.got[count:]


class SerialTests(PausesCase):
    """One part of a recipient is on its way at a time."""

    def test_one_at_a_time(self) -> None:
        """A part waits for the one before to the same recipient, also with priority; others don't."""
        self.send("a b", "#ops")
        self.send("c", "#ops", by="route:x")
        self.send("alert", "#ops", priority=True)
        self.send("d e", "#dev")
        self.assertEqual(self.network.got, ["a"])
        self.clock.advance(0)
        self.assertEqual(self.network.got, ["a", "d"])
        self.accept("d", "a")
        self.assertEqual(self.network.got, ["a", "d", "e", "alert"])
        self.accept("alert", "b", "c", "e")
        self.assertEqual(self.network.got, ["a", "d", "e", "alert", "b", "c"])
        self.assertEqual(len(self.outbox), 0)

    def test_rejection(self) -> None:
        """After a rejected part the next message to the recipient is sent."""
        sent = self.send("a b")
        self.send("c")
        self.sent["a"].pop().errback(ValueError("no"))
        self.clock.advance(0)
        self.failureResultOf(sent, ValueError)
        self.accept("c")
        self.assertEqual(self.network.got, ["a", "c"])

    def test_break(self) -> None:
        """After a break everything that was on its way is sent again, in order."""
        self.send("a b", "#ops")
        self.send("c d", "#dev")
        self.clock.advance(0)
        self.network.disconnect()
        self.outbox.pause()
        self.outbox.resume()
        self.confirm_all()
        for room in ("ab", "cd"):
            self.assertEqual([part for part in self.got_since(2) if part in room], list(room))
        self.assertEqual(len(self.outbox), 0)


class RenamedTests(PausesCase):
    """A recipient has another name from now on, as when it is known which room an alias means."""

    def test_order(self) -> None:
        """What waits for the alias, and what is on its way there, comes before what is sent to the room later."""
        for text in ("a b", "c"):
            self.send(text, "#alias", by="route:x")
        self.outbox.rename("#alias", "!room")
        # A later process keeps this order.
        self.assertEqual({message.recipient for message in self.store.kept.values()}, {"!room"})
        self.send("d", "!room", by="route:x")
        self.clock.advance(0)
        self.assertEqual(self.network.got, ["a"])
        self.accept("a", "b", "c", "d")
        self.assertEqual(self.network.got, ["a", "b", "c", "d"])
        self.assertEqual((self.outbox._recipients, self.store.kept), ({}, {}))

    def test_pause(self) -> None:
        """A pause of the alias is one of the room; others aren't affected."""
        self.send("a", "#alias")
        self.put_off("a", 5.0, "recipient")
        self.outbox.rename("#alias", "!room")
        self.send("b", "!room", priority=True)
        self.send("c", "#other")
        self.clock.advance(4.9)
        self.accept("c")
        self.assertEqual(self.network.got, ["a", "c"])
        self.clock.advance(0.1)
        self.accept("b", "a")
        self.assertEqual(self.network.got, ["a", "c", "b", "a"])

    def test_break(self) -> None:
        """After a break, what was on its way to the alias is sent to the room."""
        self.send("a b", "#alias")
        self.outbox.rename("#alias", "!room")
        self.network.disconnect()
        self.outbox.pause()
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["a", "a", "b"])

    def test_isolated_message(self) -> None:
        """An edit stays behind a message that has left its lane."""
        sent = self.send("bad", "#alias")
        self.outbox.perform("", "new", Wanted(Kind.EDIT, Handle(sent)))
        for _ in range(2):
            self.network.disconnect()
            self.outbox.pause()
            self.outbox.resume()
        self.outbox.rename("#alias", "!room")
        self.clock.advance(1.0)
        self.clock.advance(31.0)
        self.confirm_all()
        self.assertEqual(self.network.got, ["bad", "bad", "bad", "(corrected)", "new"])

    def test_closed_room(self) -> None:
        """What waits for an alias of a closed room waits for the room, and no longer."""
        self.closed = {"#alias": "kicked", "!room": "kicked"}
        self.send("a", "#alias")
        self.outbox.rename("#alias", "!room")
        self.clock.advance(1.0)
        self.closed.clear()
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["a"])


class RetryLaterTests(PausesCase):
    """Pauses of a part, a recipient and the network."""

    def test_pause_of_a_recipient(self) -> None:
        """While the network asks to wait with a room, others are sent; then the same part is sent again, first."""
        self.send("a b", "#ops")
        self.send("x", "#ops", priority=True)
        self.put_off("a", 30.0, "recipient")
        self.send("c", "#dev")
        self.clock.advance(0)
        self.accept("c")
        self.assertEqual(self.network.got, ["a", "c"])
        self.clock.advance(29.9)
        self.assertEqual(self.got_since(2), [])
        self.clock.advance(0.1)
        self.accept("x", "a", "b")
        self.assertEqual(self.got_since(2), ["x", "a", "b"])
        self.assertEqual((self.undelivered, self.dropped), ([], []))

    def test_part(self) -> None:
        """A pause of a part holds its lane; others to the same recipient are sent."""
        self.send("a b", by="route:x")
        self.send("c", by="route:x")
        self.send("d", by="route:y")
        self.put_off("a", 5.0, "part")
        self.accept("d")
        self.assertEqual(self.network.got, ["a", "d"])
        self.clock.advance(5.0)
        self.accept("a", "b", "c")
        self.assertEqual(self.got_since(2), ["a", "b", "c"])

    def test_network(self) -> None:
        """A pause of the network holds everything, also what has priority or comes later."""
        self.send("a", "#ops")
        self.put_off("a", 60.0, "network")
        self.send("alert", "#dev", priority=True)
        self.send("b", "#dev")
        self.clock.advance(59.0)
        self.assertEqual(self.network.got, ["a"])
        self.clock.advance(1.0)
        self.assertEqual(sorted(self.got_since(1)), ["a", "alert"])
        self.accept("alert", "b", "a")
        self.assertEqual(len(self.outbox), 0)

    def test_network_beside_a_recipient(self) -> None:
        """A pause of the network ends at its time, although a recipient has a longer one."""
        self.send("a", "#ops")
        self.send("b", "#dev")
        self.put_off("a", 3600.0, "recipient")
        self.put_off("b", 1.0, "network")
        self.clock.advance(1.0)
        self.assertEqual(self.got_since(2), ["b"])

    def test_no_attempt_is_counted(self) -> None:
        """A part that is put off a hundred times isn't dropped, and doesn't wait for a stable connection."""
        sent = self.send("a")
        for _ in range(100):
            self.put_off("a", 1.0, "part")
            self.clock.advance(1.0)
        self.accept("a")
        self.successResultOf(sent)
        self.assertEqual(self.network.got, ["a"] * 101)

    def test_bounds_of_a_pause(self) -> None:
        """A pause lasts an hour at most, and a tenth of a second at least, so that nothing is sent in a loop."""
        self.outbox = self.make(window=10, age=1e6)
        self.outbox.resume()
        for seconds, scope in ((1e9, "network"), (1e9, "recipient"), (1e9, "part")):
            self.send("a")
            self.network.fail(RetryLater(seconds, scope))  # type: ignore[arg-type]
            self.clock.advance(3600.0)
            self.confirm_all()
            self.assertEqual(len(self.outbox), 0)
        for seconds in (-1.0, float("nan")):
            self.send("b")
            self.network.fail(RetryLater(seconds, "part"))
            self.clock.advance(0)
            self.assertEqual(self.network.got[-2:], ["a", "b"])
            self.clock.advance(0.1)
            self.assertEqual(self.network.got[-2:], ["b", "b"])
            self.send("a")
            self.confirm_all()

    def test_wait_is_named(self) -> None:
        """What waits for the end of a pause says so, and until when; what doesn't wait for it says something else."""
        self.send("a", "#ops")
        self.send("c", "#dev")
        self.clock.advance(0)
        self.put_off("a", 30.0, "recipient")
        self.send("b", "#ops", by="route:x")
        self.clock.advance(10.0)
        pause = Wait("net has asked for a pause", again_at=NOON + 30.0)
        self.assertEqual([self.outbox.wait_of(number) for number in (1, 3)], [pause, pause])
        self.assertEqual(self.outbox.wait_of(2), Wait("the network has not confirmed it yet"))

    def test_pause_over_a_break(self) -> None:
        """A pause that has begun on an earlier connection still counts."""
        self.send("a", "#ops")
        self.send("c", "#dev")
        self.clock.advance(0)
        self.put_off("a", 30.0, "recipient")
        self.sent["c"].pop(0).errback(NotConfirmed())
        self.outbox.pause()
        self.outbox.resume()
        self.clock.advance(0)
        self.assertEqual(self.got_since(2), ["c"])
        self.accept("c")
        self.clock.advance(30.0)
        self.assertEqual(self.got_since(3), ["a"])

    def test_stop_in_a_pause(self) -> None:
        """The bot stops after the grace period, and the next process sends what waits for the end of a pause."""
        self.send("a")
        self.put_off("a", 600.0, "network")
        closed = self.outbox.close(3.0)
        self.clock.advance(3.0)
        self.successResultOf(closed)
        self.assertEqual(list(self.store.kept), [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
