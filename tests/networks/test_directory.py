"""Tests for the names of networks with ids, and for the order of events during lookups."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.chat.identifiers import LookupFailed
from errklein.networks.directory import (
    ABSENCE,
    LIFETIME,
    LONGEST_WAIT,
    MOST,
    AliasedRoom,
    Directory,
    RoomOrder,
)
from errklein.running import register_reactor_thread
from tests.networks.irc.listening import logged


class ChatRoom(AliasedRoom):
    """A room of some network."""

    claimed = ("#claimed",)


class DirectoryCase(SynchronousTestCase):
    """A directory whose lookups the test answers."""

    def setUp(self) -> None:
        """Make a directory."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.asked: list[tuple[str, Deferred[str | None]]] = []
        self.directory = Directory[str](self.clock, self.look_up)

    async def look_up(self, name: str) -> str | None:
        """Ask the test."""
        answer: Deferred[str | None] = Deferred()
        self.asked.append((name, answer))
        return await answer

    def names_asked(self) -> list[str]:
        """Return the names that were looked up."""
        return [name for name, _ in self.asked]

    def answer(self, result: Any, index: int = -1) -> None:
        """Answer a lookup."""
        self.asked[index][1].callback(result)


class DirectoryTests(DirectoryCase):
    """What names mean."""

    def test_one_request_for_many(self) -> None:
        """Those who ask for a name at the same time wait for one lookup, and later ones don't wait."""
        found = [self.directory.find("#ops") for _ in range(3)]
        self.assertIsNone(self.directory.known("#ops"))
        self.answer("!1")
        self.assertEqual([self.successResultOf(one) for one in found], ["!1"] * 3)
        self.assertEqual(self.successResultOf(self.directory.find("#ops")), "!1")
        self.assertEqual(self.names_asked(), ["#ops"])

    def test_lifetimes(self) -> None:
        """A meaning is known for five minutes, and the lack of one for a minute."""
        for meaning, lifetime in (("!1", LIFETIME), (None, ABSENCE)):
            self.directory.put("#ops", meaning)
            self.clock.advance(lifetime - 1)
            self.assertEqual(self.successResultOf(self.directory.find("#ops")), meaning)
            self.clock.advance(2)
            self.assertIsNone(self.directory.known("#ops"))
            self.assertEqual(self.directory.names_of("!1"), [])
            self.assertNoResult(self.directory.find("#ops"))
            self.answer("!2")

    def test_failures(self) -> None:
        """All who wait get the reason of a failure, and the next one asks again."""
        found = [self.directory.find("#ops") for _ in range(2)]
        self.asked[0][1].errback(LookupFailed("no time"))
        for one in found:
            self.assertEqual(str(self.failureResultOf(one, LookupFailed).value), "no time")
        self.directory.find("#ops")
        self.assertEqual(self.names_asked(), ["#ops", "#ops"])

    def test_events_are_newer(self) -> None:
        """An event during a lookup answers it, and the response doesn't replace what the event says."""
        found = self.directory.find("#ops")
        self.directory.put("#ops", "!new")
        self.assertEqual(self.successResultOf(found), "!new")
        self.answer("!old")
        self.assertEqual(self.directory.known("#ops"), "!new")
        self.assertEqual((self.directory.names_of("!new"), self.directory.names_of("!old")), (["#ops"], []))

    def test_cancelled(self) -> None:
        """Who doesn't want to wait any more doesn't end the lookup of others."""
        first, second = self.directory.find("#ops"), self.directory.find("#ops")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.answer("!1")
        self.assertEqual(self.successResultOf(second), "!1")

    def test_bounds(self) -> None:
        """The oldest names are forgotten beyond a number."""
        for number in range(MOST + 1):
            self.directory.put(f"#{number}", "!1")
        self.assertIsNone(self.directory.known("#0"))
        self.assertEqual(self.directory.known("#1"), "!1")
        self.assertEqual(len(self.directory.names_of("!1")), MOST)

    def test_asked_on_the_reactor(self) -> None:
        """The reactor doesn't wait for a lookup that it begins; a failure is in the log."""
        register_reactor_thread(self.clock)
        lines = logged(self, "looked up")
        self.directory.ask("#ops")
        self.answer("!1")
        self.directory.ask("#ops")
        self.assertEqual((self.directory.known("#ops"), self.names_asked()), ("!1", ["#ops"]))
        self.directory.ask("#dev")
        self.asked[-1][1].errback(LookupFailed("the server is down"))
        self.assertIn("#dev could not be looked up: the server is down", lines[0])

    def test_in_a_lookup(self) -> None:
        """Who asks for the same name as soon as a result is there gets it, too."""
        found: list[str | None] = []
        self.directory.find("#ops").addCallback(lambda _: self.directory.find("#ops").addCallback(found.append))
        self.answer("!1")
        self.assertEqual(found, ["!1"])


class ThreadTests(TestCase):
    """Threads that want to know what a name means."""

    timeout = 30

    async def test_waits(self) -> None:
        """A thread waits for the lookup, while the reactor goes on."""
        from twisted.internet import reactor

        answers: list[Deferred[str | None]] = []

        async def look_up(name: str) -> str | None:
            answers.append(Deferred())
            return await answers[-1]

        directory = Directory[str](reactor, look_up)

        def use() -> tuple[str | None, str]:
            room = ChatRoom("#ops", "net", "", directory)
            directory.ask("#ops")
            return directory.known("#ops"), str(room)

        used = deferToThread(use)
        while not answers:
            await deferLater(reactor, 0)
        self.assertNoResult(used)
        answers[0].callback("!1")
        self.assertEqual(await used, ("!1", "!1"))


class AliasedRoomTests(DirectoryCase):
    """Rooms with an id and aliases."""

    def room(self, text: str) -> ChatRoom:
        """Return the room of an id or alias on the network."""
        return ChatRoom(text, "net", text if text.startswith("!") else "", self.directory)

    def test_resolved_later(self) -> None:
        """A room that was built from an alias equals the resolved one later, with the same hash, in dicts, too."""
        early, other = self.room("#ops"), self.room("#dev")
        hashed, told = hash(early), {early: "ops", other: "dev"}
        late = self.room("!1")
        self.assertNotEqual(early, late)
        self.assertEqual(str(early), "#ops")
        self.directory.put("#ops", "!1")
        self.assertEqual(early, late)
        self.assertEqual((hash(early), hash(late)), (hashed, hashed))
        self.assertEqual((told[late], str(early)), ("ops", "!1"))
        self.assertNotIn(self.room("!2"), told)

    def test_the_same_for_good(self) -> None:
        """An id that is known stays, although the alias means another room later."""
        self.directory.put("#ops", "!1")
        room = self.room("#ops")
        self.assertEqual(room, self.room("!1"))
        self.directory.put("#ops", "!2")
        self.assertEqual((str(room), str(self.room("#ops"))), ("!1", "!2"))
        self.assertNotEqual(room, self.room("#ops"))

    def test_stored(self) -> None:
        """A stored room is found by the room of an event, whether its id was known when it was stored or not."""
        stored = {self.room("#ops"): "by alias"}
        self.directory.put("#dev", "!2")
        stored[self.room("#dev")] = "by id"
        loaded = pickle.loads(pickle.dumps(stored))
        self.directory.put("#ops", "!1")
        self.directory.put("#dev", "!9")
        self.assertEqual((loaded[self.room("!1")], loaded[self.room("!2")]), ("by alias", "by id"))
        self.assertNotIn(self.room("!9"), loaded)
        self.assertEqual(loaded[self.room("#ops")], "by alias")

    def test_networks(self) -> None:
        """Rooms of different networks differ."""
        self.assertNotEqual(self.room("#ops"), ChatRoom("#ops", "other"))

    def test_access(self) -> None:
        """The id and aliases that the server has resolved open something; the others only close."""
        room = self.room("#ops")
        self.assertEqual(room.access_names("allow"), ())
        self.assertEqual(room.access_names("deny"), ("#ops", "#claimed"))
        self.directory.put("#ops", "!1")
        self.directory.put("#more", "!1")
        self.assertEqual(room.access_names("allow"), ("!1", "#ops", "#more"))
        self.directory.put("#ops", "!2")
        self.assertEqual(room.access_names("allow"), ("!1", "#more"))
        self.assertEqual(set(room.access_names("deny")), {"!1", "#more", "#ops", "#claimed"})

    def test_shown(self) -> None:
        """People see the aliases beside an id, which means nothing to them."""
        room = self.room("#ops")
        self.assertEqual(room.shown, "#ops")
        self.directory.put("#ops", "!1")
        self.assertEqual(room.shown, "!1 (#ops, #claimed)")

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["!1", "!2", None])), max_size=6))
    def test_equality(self, events: list[tuple[str, str | None]]) -> None:
        """Equal rooms have equal hashes at any time, and two with ids are equal exactly if the ids are."""
        rooms = [self.room(name) for name in ("a", "b", "!1", "!2")]
        hashes = [hash(room) for room in rooms]
        for name, meaning in events:
            self.directory.put(name, meaning)
            rooms.append(self.room(name))
            hashes.append(hash(rooms[-1]))
            for one in rooms:
                for other in rooms:
                    self.assertEqual(one == other, other == one)
                    if one.id and other.id:
                        self.assertEqual(one == other, one.id == other.id)
                    self.assertTrue(one != other or hash(one) == hash(other))
        self.assertEqual([hash(room) for room in rooms], hashes)


class RoomOrderTests(SynchronousTestCase):
    """The order of events."""

    def setUp(self) -> None:
        """Make an order, and a list of what was handled."""
        self.clock = Clock()
        self.order = RoomOrder(self.clock)
        self.handled: list[str] = []

    def do(self, text: str, needed: Deferred[Any] | None = None, room: str = "#ops") -> None:
        """Let an event be handled."""
        self.order.do(room, needed, lambda: self.handled.append(text))

    def test_without_lookups(self) -> None:
        """Events that need nothing are handled at once."""
        self.do("a")
        self.do("b")
        self.assertEqual(self.handled, ["a", "b"])

    def test_behind_a_lookup(self) -> None:
        """Events of a room wait behind its lookups, also if later ones end earlier; those of other rooms don't wait."""
        first, second = Deferred[None](), Deferred[None]()
        self.do("a", first)
        self.do("b")
        self.do("c", second)
        self.do("d", room="#dev")
        second.callback(None)
        self.assertEqual(self.handled, ["d"])
        first.callback(None)
        self.assertEqual(self.handled, ["d", "a", "b", "c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failed_lookups(self) -> None:
        """Without a result, an event is handled after the failure, and after half a minute at the latest."""
        failing = Deferred[None]()
        self.do("a", failing)
        failing.errback(LookupFailed("no"))
        self.do("b", Deferred())
        self.do("c")
        self.clock.advance(LONGEST_WAIT - 1)
        self.assertEqual(self.handled, ["a"])
        self.clock.advance(1)
        self.assertEqual(self.handled, ["a", "b", "c"])

    def test_errors(self) -> None:
        """An event that can't be handled doesn't stop the next ones."""
        waiting = Deferred[None]()
        self.order.do("#ops", waiting, lambda: 1 // 0)
        self.do("b")
        waiting.callback(None)
        self.assertEqual(self.handled, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_events_of_events(self) -> None:
        """An event that comes while another one is handled is handled after those that wait."""
        waiting = Deferred[None]()
        self.order.do("#ops", waiting, lambda: self.do("c"))
        self.do("b")
        waiting.callback(None)
        self.assertEqual(self.handled, ["b", "c"])

    def test_bound(self) -> None:
        """If too many events wait in a room, they are handled without the result."""
        self.do("0", Deferred())
        for number in range(1, 1000):
            self.do(str(number))
        self.assertEqual(self.handled, [])
        self.do("1000")
        self.assertEqual(self.handled, [str(number) for number in range(1001)])
        self.clock.advance(LONGEST_WAIT)
        self.do("last")
        self.assertEqual(self.handled[1001:], ["last"])
