"""Rooms that the bot is outside of: it joins them at the server's pace and again, and messages to them wait."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.networks.irc._backend import IRCBackend
from errklein.ports.outbox import OutboxFull, RoomUnavailable
from errklein.running.context import assigned, origin
from tests.networks.irc.listening import Listener
from tests.networks.irc.played import PlayedServer

INVITE_ONLY = ":irc.example 473 errklein #ops :Cannot join channel (+i)"


class JoinsTests(SynchronousTestCase):
    """A backend that connects to a played server."""

    def setUp(self) -> None:
        """Create a server without connections."""
        self.server = PlayedServer()
        self.listener = Listener()

    def connected(self, **settings: Any) -> IRCBackend:
        """Return a backend that the server has welcomed."""
        backend = self.server.backend(**{"rooms": ["#ops"], "IRC_CHANNEL_RATE": 0, **settings})
        backend.connect(self.listener)
        self.server.welcome()
        self.backend = backend
        return backend

    def online(self, **settings: Any) -> IRCBackend:
        """Return a backend that is in #ops."""
        backend = self.connected(**settings)
        self.server.enter("#ops")
        self.server.clock.advance(2)
        self.server.take()
        return backend

    def send(self, *texts: str, room: str = "#ops", by: str = "") -> Any:
        """Send messages to a room, and return the last one's result."""
        with assigned(origin, by):
            return [self.backend.send_message(Message(text, to=self.backend.query_room(room))) for text in texts][-1]

    def taken(self, start: str) -> list[str]:
        """Return new lines of the bot that begin so."""
        return [line for line in self.server.take() if line.startswith(start)]

    def kick(self, room: str = "#ops") -> None:
        """Kick the bot."""
        self.server.say(f":op!o@host KICK {room} errklein :out")

    def wait(self, seconds: float) -> None:
        """Let time pass, in steps that the bot's replies need."""
        for _ in range(int(seconds * 4)):
            self.server.clock.advance(0.25)
            self.server.confirm()
            self.server.say("PING :alive")

    def test_messages_that_a_kick_has_overtaken(self) -> None:
        """Messages that the server rejects after a kick are sent in order when the bot has joined again, without a notice."""
        self.online()
        for number in range(4):
            self.send(f"m{number}")
        self.wait(0.25)
        self.assertEqual(len(self.taken("PRIVMSG")), 4)
        self.server.pings.clear()
        self.send("m4", "m5", "m6")
        self.server.clock.advance(0)
        self.taken("PRIVMSG")
        self.kick()
        self.server.say(*[":irc.example 404 errklein #ops :Cannot send to channel"] * 3)
        self.send("m7")
        self.wait(6)
        self.assertEqual(self.taken("JOIN"), ["JOIN #ops"])
        self.assertEqual(self.taken("PRIVMSG"), [])
        self.server.enter("#ops")
        self.wait(1)
        self.assertEqual(self.taken("PRIVMSG"), [f"PRIVMSG #ops :m{number}" for number in (4, 5, 6, 7)])
        self.assertNotIn("undelivered", self.listener.names())

    def test_rejection_in_the_room_is_final(self) -> None:
        """A message that the server rejects while the bot is in the room isn't sent again, and reported with its origin."""
        self.online()
        sent = self.send("hello", by="route:CI:build")
        self.server.clock.advance(0)
        self.server.say(":irc.example 404 errklein #ops :Cannot send to channel (+m)")
        self.failureResultOf(sent)
        event = ("undelivered", "#ops", {"route:CI:build": 1}, "#ops: Cannot send to channel (+m)", False)
        self.assertEqual(self.listener.told[-1], event)

    def test_message_to_another_room(self) -> None:
        """A message to a room that the bot needn't be in is sent at once. A rejection says that the bot isn't in the room."""
        self.online()
        sent = self.send("hello", room="#other", by="route:CI:build")
        self.server.clock.advance(0)
        self.assertEqual(self.taken("PRIVMSG"), ["PRIVMSG #other :hello"])
        self.server.say(":irc.example 403 errklein #other :No such channel")
        self.failureResultOf(sent)
        reason = "the bot is not in the room; #other: No such channel"
        self.assertEqual(self.listener.told[-1], ("undelivered", "#other", {"route:CI:build": 1}, reason, False))

    def test_refused_room_is_tried_again(self) -> None:
        """A refused room is tried again after 1, 2, 4 … and at last 300 s, until the bot is in it."""
        self.connected()
        times: list[float] = []
        for _ in range(1300):
            if self.taken("JOIN"):
                times.append(self.server.clock.seconds())
                self.server.say(INVITE_ONLY)
            self.wait(1)
        delays = [round(end - begin) for begin, end in pairwise(times)]
        self.assertEqual(delays[-1], 300)
        self.assertLess(len(delays), 13)
        self.server.enter("#ops")
        self.server.take()
        self.wait(40)
        self.assertEqual(self.taken("JOIN"), [])

    def test_refused_room_keeps_its_messages(self) -> None:
        """Messages to a refused room wait; after 10 s, their senders and administrators know why. They are sent later, in the order of each sender."""
        self.connected()
        self.server.say(INVITE_ONLY)
        first = self.send("m0", by="route:CI:build")
        self.send("m1", by="route:CI:build")
        self.wait(9)
        self.assertNoResult(first)
        self.send("m2", by="plugin:Watch")
        self.wait(1.5)
        error = self.failureResultOf(first, RoomUnavailable)
        self.assertIn("the bot is not in #ops (Cannot join channel (+i))", str(error.value))
        origins = {"route:CI:build": 2, "plugin:Watch": 1}
        events = [event for event in self.listener.told if event[0] == "undelivered"]
        self.assertEqual(events, [("undelivered", "#ops", origins, "Cannot join channel (+i)", True)])
        self.wait(60)
        self.assertEqual(self.backend.outbox.status.messages, 3)
        self.assertEqual(self.listener.names().count("undelivered"), 1)
        self.server.enter("#ops")
        self.wait(1)
        self.assertEqual(self.taken("PRIVMSG"), [f"PRIVMSG #ops :m{number}" for number in (0, 2, 1)])

    def test_late_message_begins_with_its_time(self) -> None:
        """A message that is more than five minutes late begins with the time at which it was sent, with its zone."""
        self.connected()
        self.server.say(INVITE_ONLY)
        self.send("early")
        for _ in range(310):
            self.wait(1)
        self.send("late")
        self.server.enter("#ops")
        self.wait(1)
        early, late = self.taken("PRIVMSG")
        self.assertRegex(early, r"^PRIVMSG #ops :\[\d\d:\d\d \S+\] early$")
        self.assertEqual(late, "PRIVMSG #ops :late")

    def test_rooms_outside_have_a_quarter_of_the_outbox(self) -> None:
        """Messages to rooms that the bot is outside of fill a quarter of the outbox. Those to others still have room."""
        self.connected(rooms=["#ops", "#dev"], OUTBOX_LIMIT=40)
        self.server.say(INVITE_ONLY, INVITE_ONLY.replace("#ops", "#dev"))
        self.send(*"abcdef")
        self.send(*"abcd", room="#dev")
        error = self.assertRaises(OutboxFull, self.send, "x", room="#dev")
        self.assertIn("a quarter of OUTBOX_LIMIT", str(error))
        self.send(*"abcdefghij", room="#other")
        self.assertEqual(self.backend.outbox.status.messages, 20)

    def test_kick_without_return(self) -> None:
        """With IRC_RECONNECT_ON_KICK = None, messages don't wait for the room that the bot was kicked from."""
        self.online(IRC_RECONNECT_ON_KICK=None)
        self.kick()
        self.send("hello")
        self.wait(1)
        self.assertEqual(self.taken("PRIVMSG"), ["PRIVMSG #ops :hello"])

    def test_room_that_the_bot_leaves(self) -> None:
        """Messages don't wait for a room any more that a plugin leaves."""
        self.connected()
        self.server.say(INVITE_ONLY)
        self.send("hello")
        self.backend.query_room("#ops").leave()
        self.send("world")
        self.wait(1)
        self.assertEqual(self.taken("PRIVMSG"), ["PRIVMSG #ops :hello", "PRIVMSG #ops :world"])

    def test_room_that_the_bot_leaves_without_further_messages(self) -> None:
        """The messages that waited for a room are sent soon after a plugin leaves it."""
        self.connected()
        self.server.say(INVITE_ONLY)
        self.send("hello")
        self.backend.query_room("#ops").leave()
        self.wait(2)
        self.assertEqual(self.taken("PRIVMSG"), ["PRIVMSG #ops :hello"])

    def test_forced_part(self) -> None:
        """The bot returns to a room that services have removed it from, later each time if they do so again at once."""
        self.online()
        times: list[float] = []
        for _ in range(80):
            if self.taken("JOIN"):
                times.append(self.server.clock.seconds())
                self.server.enter("#ops")
            self.server.say(":errklein!~e@host PART #ops")
            self.wait(1)
        self.assertLess(len(times), 8)
        self.assertGreater(len(times), 3)

    def test_joining_again_after_a_kick_without_return(self) -> None:
        """Messages wait for a room that the bot was kicked from when a plugin has joined it again, and is refused."""
        self.online(IRC_RECONNECT_ON_KICK=None)
        self.kick()
        self.backend.query_room("#ops").join()
        self.server.clock.let_threads()
        self.server.say(INVITE_ONLY)
        self.send("hello")
        self.wait(1)
        self.assertEqual(self.taken("PRIVMSG"), [])

    def test_joining_again_after_leaving(self) -> None:
        """A plugin that leaves a refused room and joins it later isn't told the old reason, and the attempts begin anew."""
        self.connected()
        for _ in range(40):
            if self.taken("JOIN"):
                self.server.say(INVITE_ONLY)
            self.wait(1)
        room = self.backend.query_room("#ops")
        room.leave()
        room.join()
        self.server.clock.let_threads()
        self.server.read()
        self.assertEqual(self.taken("JOIN"), ["JOIN #ops"])
        sent = self.send("hello")
        self.wait(11)
        self.assertIn("it has not joined the room yet", str(self.failureResultOf(sent, RoomUnavailable).value))
        self.server.say(INVITE_ONLY)
        self.wait(2)
        self.assertEqual(self.taken("JOIN"), ["JOIN #ops"])

    def test_reason_of_a_room_that_is_queued_again(self) -> None:
        """The reason for a refusal is kept while the next attempt waits for those of many other rooms."""
        self.connected(rooms=["#ops", *(f"#a-room-with-a-long-name-{number}" for number in range(1500))])
        self.server.say(INVITE_ONLY)
        sent = self.send("hello")
        self.wait(35)
        self.assertIn("(+i)", str(self.failureResultOf(sent, RoomUnavailable).value))
        sent = self.send("hello")
        self.wait(11)
        self.assertIn("(+i)", str(self.failureResultOf(sent, RoomUnavailable).value))

    def test_rooms_that_are_about_to_be_joined_have_the_whole_outbox(self) -> None:
        """Messages to rooms that the bot is joining for the first time may fill more than a quarter of the outbox."""
        self.connected(rooms=["#ops", "#dev"], OUTBOX_LIMIT=40)
        self.send(*"abcdefghij")
        self.send(*"abcdefghij", room="#dev")
        self.assertEqual(self.backend.outbox.status.messages, 20)

    def test_closed_room_is_not_an_old_message(self) -> None:
        """The age of the oldest message, which decides whether the bot is ready, leaves out what waits for a room."""
        self.connected(rooms=["#ops", "#dev"])
        self.server.enter("#dev")
        self.server.say(INVITE_ONLY)
        self.send("hello")
        self.wait(20)
        status = self.backend.outbox.status
        self.assertEqual((status.messages, status.oldest_at), (1, 0.0))
        self.send("hello", room="#dev")
        self.assertGreater(self.backend.outbox.status.oldest_at, 0.0)

    def test_no_reply_to_join(self) -> None:
        """A room is tried again if the server doesn't reply to JOIN within 30 s."""
        self.connected()
        self.taken("JOIN")
        self.wait(29)
        self.assertEqual(self.taken("JOIN"), [])
        self.wait(3)
        self.assertEqual(self.taken("JOIN"), ["JOIN #ops"])

    def test_maximum_number_of_targets(self) -> None:
        """No JOIN has more rooms than the server allows."""
        self.connected(rooms=[f"#r{number}" for number in range(7)])
        self.server.say(":irc.example 005 errklein TARGMAX=JOIN:3,PRIVMSG:4 :are supported by this server")
        self.server.say(*(f":irc.example 437 errklein #r{number} :unavailable" for number in range(7)))
        self.taken("JOIN")
        self.wait(10)
        self.assertTrue(all(line.count(",") < 3 for line in self.taken("JOIN")))

    def test_case_mapping_that_is_announced_later(self) -> None:
        """All rooms are joined although the server announces its case mapping after the first JOIN."""
        rooms = [f"#room-with-a-long-name[{number}]" for number in range(60)]
        self.connected(rooms=rooms)
        self.server.say(":irc.example 005 errklein CASEMAPPING=ascii :are supported by this server")
        self.wait(10)
        joined = ",".join(line.split()[1] for line in self.taken("JOIN"))
        self.assertEqual(sorted(joined.split(",")), sorted(rooms))

    def test_messages_leave_half_of_the_pace_to_joins(self) -> None:
        """Rooms are joined at the pace of the server while very many messages to others wait for it, too."""
        self.connected(rooms=["#ops", *(f"#room-{number}" for number in range(3000))], IRC_CHANNEL_RATE=None)
        self.server.say(":irc.example 004 errklein irc.example InspIRCd-4 o o")
        self.server.enter("#ops")
        self.send(*(f"m{number}" for number in range(200)))
        self.taken("")
        for _ in range(6000):
            self.server.clock.advance(0.01)
            self.server.confirm()
        lines = self.taken("")
        self.assertGreaterEqual(len([line for line in lines if line.startswith("JOIN")]), 12)
        self.assertGreaterEqual(len([line for line in lines if line.startswith("PRIVMSG")]), 20)

    def test_joins_leave_half_of_the_pace_to_messages(self) -> None:
        """While thousands of rooms are joined, each with its reply, messages to others are sent at half of the pace or faster."""
        rooms = [f"#room-{number}" for number in range(3000)]
        self.connected(rooms=["#ops", *rooms], IRC_CHANNEL_RATE=None)
        self.server.enter("#ops")
        self.send(*(f"m{number}" for number in range(100)))
        self.taken("")
        self.wait(30)
        lines = self.taken("")
        messages = [line for line in lines if line.startswith("PRIVMSG")]
        self.assertGreaterEqual(len(messages), 45)
        self.assertGreaterEqual(len([line for line in lines if line.startswith("JOIN")]), 10)
