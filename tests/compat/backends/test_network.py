"""Third-party backends on a whole bot."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred

from errklein import BotPlugin, botcmd
from errklein.chat import Message, Reaction
from errklein.compat.backends.network import make_network
from errklein.ports.outbox import OutboxClosed
from tests.compat.backends.legacy_network import LegacyNetworkCase
from tests.networks.irc.listening import logged


class Watcher(BotPlugin):
    """A plugin that records its callbacks in order."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.told: list[Any] = []

    def callback_connect(self):
        self.told.append("connect")

    def callback_message(self, message):
        self.told.append(("message", message.body))

    def callback_botmessage(self, message):
        self.told.append(("botmessage", message.body))

    def callback_presence(self, presence):
        self.told.append(("presence", str(presence.identifier), presence.status))

    def callback_mention(self, message, mentioned_people):
        self.told.append(("mention", [str(person) for person in mentioned_people]))

    def callback_room_joined(self, room, identifier=None, invited_by=None):
        self.told.append(("joined", str(room), str(identifier), invited_by))

    def callback_room_topic(self, room):
        self.told.append(("topic", str(room)))

    def callback_reaction(self, reaction):
        self.told.append(("reaction", str(reaction.reactor), reaction.reaction_name, reaction.reactor.network))

    @botcmd
    def hello(self, message, args):
        return f"hello {message.frm.nick}"

    @botcmd
    def long(self, message, args):
        return "\n\n".join(["many words in a row"] * 3)

    @botcmd(admin_only=True)
    def secret(self, message, args):
        return "sesame"


class ServeOnceTests(LegacyNetworkCase):
    """A backend whose `serve_once` blocks."""

    plugins = (Watcher,)

    def say(self, text: str, frm: str = "bob", to: str = "") -> None:
        self.legacy.wire.put((to, frm, text))

    def sent_after(self, text: str, frm: str = "bob", to: str = "", count: int = 1) -> list[tuple[str, str]]:
        before = len(self.legacy.sent)
        self.say(text, frm, to)
        self.until(lambda: len(self.legacy.sent) >= before + count, f"an answer to {text}")
        return self.legacy.sent[before:]

    def test_in_a_room(self) -> None:
        """A command in a room gets its reply in the room."""
        self.assertEqual(self.sent_after("!hello", to="#ops"), [("#ops", "hello bob")])

    def test_access(self) -> None:
        """Administrators are identified by the backend's `aclattr`."""
        self.assertEqual(self.sent_after("!secret", frm="alice"), [("alice", "sesame")])
        [(to, text)] = self.sent_after("!secret")
        self.assertEqual(to, "bob")
        self.assertIn("admin", text)

    def test_certain(self) -> None:
        """Nobody is certain for the console: whether others can take a name isn't known."""
        self.assertFalse(self.network.is_certain(self.network.build_identifier("alice")))

    def test_what_plugins_are_told(self) -> None:
        """Callbacks are called in the order of events, and `callback_botmessage` once for a message in parts."""
        watcher = self.plugin(Watcher)
        # One call follows the activation, the other the connection.
        self.until(lambda: watcher.told.count("connect") == 2)
        watcher.told.clear()
        self.say("no command")
        self.legacy.wire.put(lambda legacy: legacy.come_online("carol"))
        self.legacy.wire.put(lambda legacy: legacy.callback_mention(Message("x"), [legacy.build_identifier("dave")]))
        self.legacy.wire.put(lambda legacy: legacy.query_room("#ops").join())
        self.legacy.wire.put(lambda legacy: legacy.callback_room_topic(legacy.query_room("#ops")))
        self.until(lambda: ("topic", "#ops") in watcher.told)
        self.assertEqual(
            watcher.told,
            [
                ("message", "no command"),
                ("presence", "carol", "online"),
                ("mention", ["dave"]),
                ("joined", "#ops", "bot", None),
                ("topic", "#ops"),
            ],
        )
        watcher.told.clear()
        self.sent_after("!long", count=2)
        self.until(lambda: len(watcher.told) > 1)
        self.assertEqual([what for what, *_ in watcher.told], ["botmessage", "message"])

    def test_what_it_says_by_itself(self) -> None:
        """Plugins get `callback_botmessage` for messages that the backend sends itself."""
        self.legacy.wire.put(
            lambda legacy: legacy.send_message(Message("by itself", to=legacy.build_identifier("bob")))
        )
        watcher = self.plugin(Watcher)
        self.until(lambda: ("botmessage", "by itself") in watcher.told)

    def test_down_for_weeks(self) -> None:
        """The delay before a reconnection is at most ten minutes, after any number of attempts."""
        waited: list[float] = []
        self.legacy._here.pause = waited.append
        for _ in range(100):
            self.legacy._delay_reconnect()
        self.assertLess(600, waited[-1])
        self.assertLess(max(waited), 610)

    def test_admins_are_told_when_it_is_connected(self) -> None:
        """A warning to administrators waits for the connection, and blocks nothing."""
        told_in: list[threading.Thread] = []
        build = self.legacy.build_identifier

        def ask(text: str) -> Any:
            told_in.append(threading.current_thread())
            return build(text)

        self.legacy.build_identifier = ask
        self.bot.warn_admins("beware")
        self.assertEqual(told_in, [])
        self.until(lambda: self.legacy.sent)
        self.assertEqual(self.legacy.sent, [("alice", "beware")])
        self.assertNotIn(threading.current_thread(), told_in)

    def test_notice_before_a_stop(self) -> None:
        """A warning that the bot couldn't send before its stop is kept for the administrator."""
        self.patch(self.bot.storage, "close", lambda: None)
        get = self.bot.plugin_manager.get
        self.bot.warn_admins("beware")
        self.stop()
        self.assertIn("beware", str(get("missed_notices")))

    def test_notices_go_first(self) -> None:
        """Messages of others that wait for a slow backend don't delay a warning to administrators."""
        self.until(lambda: self.legacy.connections)
        self.legacy.may_send = threading.Event()
        for number in range(10):
            self.bot.send(self.bot.build_identifier(f"person{number}"), "hello")
        self.bot.warn_admins("beware")
        self.legacy.may_send.set()
        self.until(lambda: len(self.legacy.sent) == 11)
        # One message is being sent, and another one while the name is looked up.
        self.assertIn(("alice", "beware"), self.legacy.sent[:3])

    def test_missed_notices(self) -> None:
        """A warning that the backend could not send is sent when the administrator comes online."""
        send, refused = self.legacy.send_message, []

        def refuse(message: Any) -> None:
            refused.append(message.body)
            raise ValueError("no such user")

        self.legacy.send_message = refuse
        self.bot.warn_admins("beware")
        self.until(lambda: self.bot.plugin_manager.get("missed_notices"))
        self.legacy.send_message = send
        self.legacy.wire.put(lambda legacy: legacy.come_online("alice"))
        self.until(lambda: len(self.legacy.sent) == 2)
        self.assertEqual(refused, ["beware"])
        self.assertEqual(self.legacy.sent[0], ("alice", "Notices that you may have missed:"))
        self.assertTrue(self.legacy.sent[1][1].endswith(": beware"), self.legacy.sent)

    def test_reactions_and_streams(self) -> None:
        """Reactions are sent in order with messages; files are sent by the backend itself."""
        self.until(lambda: self.legacy.connections)
        bob = self.bot.build_identifier("bob")
        message = Message("m", to=bob)
        self.bot.add_reaction(message, "thumbsup")
        self.until(lambda: self.legacy.done)
        self.assertEqual(self.legacy.done, [("reaction", "m", "thumbsup")])
        # The backend doesn't implement remove_reaction.
        self.assertRaises(NotImplementedError, self.bot.remove_reaction, message, "thumbsup")
        plugin: Any = self.plugin(Watcher)
        message.frm = bob
        plugin.react(message, "wave")
        self.until(lambda: self.legacy.done[1:])
        self.assertEqual(self.legacy.done[1:], [("reaction", "m", "wave")])
        self.bot.send_stream_request(bob, BytesIO(b"bytes"), name="file")
        self.assertEqual(self.legacy.done[-1], ("stream", "bob", b"bytes", "file"))

    def test_what_others_do(self) -> None:
        """Events of rooms and reactions have identifiers of the network."""
        watcher = self.plugin(Watcher)

        def happen(legacy: Any) -> None:
            carol = legacy.build_identifier("carol")
            legacy.callback_room_joined(legacy.query_room("#ops"), carol, legacy.bot_identifier)
            legacy.callback_reaction(Reaction(reactor=carol, reaction_name="wave"))

        self.legacy.wire.put(happen)
        self.until(lambda: ("reaction", "carol", "wave", "once") in watcher.told)
        self.assertIn("carol", [told[2] for told in watcher.told if told[0] == "joined"])

    def test_rooms(self) -> None:
        """Rooms are those of the backend, whose `rooms` is a method."""
        room = self.bot.query_room("#ops")
        room.join()
        self.assertEqual(self.bot.rooms(), [room])
        self.assertEqual(room.network, self.network.network)

    def test_lookups_that_wait(self) -> None:
        """A coroutine may look people and rooms up, and join rooms: the backend looks up in its thread."""
        called_in: list[threading.Thread] = []
        build = self.legacy.build_identifier

        def recorded(text: str) -> Any:
            called_in.append(threading.current_thread())
            return build(text)

        self.legacy.build_identifier = recorded
        plugin = self.plugin(Watcher)
        found: dict[str, Any] = {}
        asked = {"person": plugin.resolve("bob"), "room": plugin.join_room("#ops"), "nobody": plugin.resolve(" ")}
        for name, waiting in asked.items():
            waiting.addBoth(lambda result, name=name: found.update({name: result}))
        self.until(lambda: len(found) == 3)
        self.assertEqual((str(found["person"]), found["person"].network), ("bob", "once"))
        self.assertTrue(self.bot.query_room("#ops").joined)
        self.assertIsInstance(found["nobody"].value, ValueError)
        self.assertNotIn(threading.current_thread(), called_in)

    def test_identifiers_belong_to_the_network(self) -> None:
        """The network is recorded in all identifiers of the backend."""
        person = self.bot.build_identifier("bob")
        self.assertEqual(person.network, "once")
        occupant: Any = self.bot.build_identifier("#ops/bob")
        self.assertEqual((occupant.network, occupant.room.network), ("once", "once"))
        self.assertRaises(ValueError, self.bot.build_identifier, " ")

    def test_a_slow_network_holds_nobody_up(self) -> None:
        """While the backend blocks, the bot works on, and the order of messages is kept."""
        self.until(lambda: self.legacy.connections)
        self.legacy.may_send = threading.Event()
        bob = self.bot.build_identifier("bob")
        self.bot.send(bob, "one")
        self.bot.send(bob, "two")
        self.network.change_presence("away", "lunch")
        watcher = self.plugin(Watcher)
        self.say("meanwhile")
        self.until(lambda: ("message", "meanwhile") in watcher.told)
        self.assertEqual((self.legacy.sent, self.legacy.done), ([], []))
        self.legacy.may_send.set()
        self.until(lambda: self.legacy.done and len(self.legacy.sent) == 2)
        self.assertEqual(self.legacy.sent, [("bob", "one"), ("bob", "two")])
        self.assertEqual(self.legacy.done, [("presence", "away", "lunch")])

    def test_a_message_that_cannot_be_sent(self) -> None:
        """If the network rejects a message, later messages are sent."""
        self.until(lambda: self.legacy.connections)
        broken: Any = Message("x", to=self.bot.build_identifier("bob"))
        self.patch(self.legacy, "prefix_groupchat_reply", None)
        send = self.legacy.send_message

        def refuse(message: Message) -> None:
            if message.body == "x":
                raise ValueError("not allowed")
            send(message)

        self.legacy.send_message = refuse
        lost: Any = self.network.send_message(broken)
        kept: Any = self.network.send_message(Message("y", to=self.bot.build_identifier("bob")))
        self.until(lambda: kept.called)
        self.failureResultOf(lost, ValueError)
        self.assertEqual(self.legacy.sent, [("bob", "y")])

    def test_stopping_is_ctrl_c(self) -> None:
        """When the bot stops, `serve_once` gets KeyboardInterrupt, and `shutdown` is called."""
        self.until(lambda: self.legacy.connections)
        self.stop()
        self.assertEqual(self.legacy.done, ["interrupted", "shutdown"])
        self.assertRaises(OutboxClosed, self.network.send_message, Message("late", to=self.legacy.bot_identifier))
        self.assertEqual(self.ended, [])

    def test_stopping_sends_what_is_queued(self) -> None:
        """When the bot stops, all queued messages are sent before the backend's code ends."""
        self.until(lambda: self.legacy.connections)
        self.legacy.may_send = threading.Event()
        bob = self.bot.build_identifier("bob")
        for number in range(3):
            self.bot.send(bob, str(number))
        stopped: list[Any] = []
        Deferred.fromCoroutine(self.bot.stop(10)).addBoth(stopped.append)
        self.reactor.advance(5)
        self.assertEqual((stopped, self.legacy.done), ([], []))
        self.legacy.may_send.set()
        self.until(lambda: stopped, "the bot to stop")
        self.bot.storage = None
        self.assertEqual(self.legacy.sent, [("bob", "0"), ("bob", "1"), ("bob", "2")])
        self.assertEqual(self.legacy.done, ["interrupted", "shutdown"])

    def test_what_cannot_be_sent_is_named(self) -> None:
        """If the backend doesn't send its messages in time, they are logged."""
        # Messages are sent after the second call, which is later than the count of connections.
        self.until(lambda: self.plugin(Watcher).told.count("connect") == 2)
        self.legacy.may_send = threading.Event()
        self.addCleanup(self.legacy.may_send.set)
        for number in range(2):
            self.bot.send(self.bot.build_identifier("bob"), f"alert {number}")
        lines = logged(self, " to bob: ")
        stopped: list[Any] = []
        Deferred.fromCoroutine(self.bot.stop(10)).addBoth(stopped.append)
        self.reactor.advance(10)
        self.reactor.advance(self.network.HURRY)
        self.until(lambda: stopped, "the bot to stop")
        self.bot.storage = None
        self.assertEqual(lines, ["once: sent but not confirmed, to bob: alert 0", "once: not sent, to bob: alert 1"])

    def test_stopping_while_everything_hangs(self) -> None:
        """If the backend's code and the sending of a message hang, the bot has stopped before the process is ended."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.until(lambda: self.legacy.connections)
        self.legacy.may_send = gate
        self.bot.send(self.bot.build_identifier("bob"), "alert")
        hangs = threading.Event()
        self.legacy.wire.put(lambda legacy: (hangs.set(), gate.wait(10)))
        self.assertTrue(hangs.wait(3))
        stopped: list[Any] = []
        Deferred.fromCoroutine(self.bot.stop(10)).addBoth(stopped.append)
        self.reactor.advance(10)
        for _ in range(4):
            self.reactor.advance(0.1)
        self.until(lambda: stopped, "the bot to stop")
        self.bot.storage = None

    def test_the_end_of_the_network(self) -> None:
        """If `serve_once` returns True and there is no other network, the bot ends."""
        done = type(self.legacy).serve_once.__globals__["DONE"]
        self.legacy.wire.put(done)
        self.until(lambda: self.ended, "the bot to end")
        self.assertEqual(self.legacy.done, ["shutdown"])


class ReconnectionTests(LegacyNetworkCase):
    """Lost connections."""

    plugins = (Watcher,)

    def mark(self, name: str) -> object:
        return type(self.legacy).serve_once.__globals__[name]

    def breaks(self, how: object) -> float:
        """Return the seconds until the bot reconnects after this kind of failure."""
        before = self.legacy.connections
        self.legacy.wire.put(how)
        self.until(self.waits, "a wait for the next connection")
        [seconds] = self.waits()
        self.reactor.advance(seconds)
        self.until(lambda: self.legacy.connections > before, "another connection")
        self.flushLoggedErrors(OSError)
        return seconds

    def test_broken_connection_is_reopened(self) -> None:
        """After an error or a false result, the backend is connected again, and plugins stay active."""
        watcher = self.plugin(Watcher)
        self.until(lambda: self.legacy.connections)
        for how in (OSError("gone"), self.mark("HANG_UP"), OSError("gone again")):
            # The fixture resets the reconnection count each time, so that the delay is minimal.
            self.assertTrue(1 <= self.breaks(how) <= 4)
        self.until(lambda: watcher.told.count("connect") >= 4)
        self.assertTrue(watcher.is_activated)

    def test_waits_grow(self) -> None:
        """Each failure in a row increases the delay by the factor 1.75, up to ten minutes, plus up to 3 s at random."""
        self.until(lambda: self.legacy.connections)
        self.legacy.reset_reconnection_count = lambda: None
        waits = [self.breaks(OSError("gone")) for _ in range(14)]
        for count, wait in enumerate(waits):
            least = min(600, 1.75**count)
            self.assertTrue(least <= wait <= least + 3, (count, wait))

    def test_what_is_said_meanwhile(self) -> None:
        """Messages wait for the next connection."""
        self.until(lambda: self.legacy.connections)
        self.legacy.wire.put(OSError("gone"))
        self.until(self.waits)
        sent: Any = self.network.send_message(Message("wait for me", to=self.bot.build_identifier("bob")))
        self.assertEqual(self.legacy.sent, [])
        self.flushLoggedErrors(OSError)
        self.reactor.advance(4)
        self.until(lambda: sent.called)
        self.assertEqual(self.legacy.sent, [("bob", "wait for me")])

    def test_stopping_meanwhile(self) -> None:
        """A bot that stops doesn't wait for the next connection."""
        self.until(lambda: self.legacy.connections)
        self.legacy.wire.put(OSError("gone"))
        self.until(self.waits)
        self.flushLoggedErrors(OSError)
        self.stop()
        self.assertEqual(self.legacy.connections, 1)


class ServeForeverTests(LegacyNetworkCase):
    """A backend with its own `serve_forever`."""

    backend = "Forever"
    plugins = (Watcher,)

    def test_serve_forever(self) -> None:
        """Commands get replies, `rooms` may be a property, and the bot ends when the loop ends."""
        self.legacy.wire.put(("", "bob", "!hello"))
        self.until(lambda: self.legacy.sent)
        self.assertEqual(self.legacy.sent, [("bob", "hello bob")])
        room = self.bot.query_room("#ops")
        room.join()
        self.assertEqual(self.bot.rooms(), [room])
        self.legacy.wire.put(type(self.legacy).serve_forever.__globals__["DONE"])
        self.until(lambda: self.ended, "the bot to end")

    def test_its_errors(self) -> None:
        """An error in the loop leads to a reconnection."""
        self.until(lambda: self.legacy.connections)
        self.legacy.wire.put(OSError("gone"))
        self.until(self.waits)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.reactor.advance(4)
        self.until(lambda: self.legacy.connections == 2)

    def test_stopping_while_the_network_is_down(self) -> None:
        """If the next attempt to connect is after the grace period, the bot stops at once and logs the queue."""
        self.until(lambda: self.legacy.connections)
        self.legacy.wire.put(OSError("gone"))
        self.until(self.waits)
        self.bot.send(self.bot.build_identifier("bob"), "alert")
        lines = logged(self, " to bob: ")
        self.assertGreater(min(self.waits()), 0.5)
        stopped: list[Any] = []
        Deferred.fromCoroutine(self.bot.stop(0.5)).addBoth(stopped.append)
        self.until(lambda: stopped, "the bot to stop")
        self.bot.storage = None
        # Not every backend reports a lost connection.
        self.assertEqual([line.partition(", ")[2] for line in lines], ["to bob: alert"])
        self.flushLoggedErrors(OSError)


class AsyncioTests(LegacyNetworkCase):
    """A backend that uses asyncio."""

    backend = "Looping"
    plugins = (Watcher,)

    def test_own_asyncio_loop(self) -> None:
        """The backend runs an event loop in its own thread, independent of the bot's loop."""
        import asyncio

        self.until(lambda: self.legacy.loop)
        asyncio.run_coroutine_threadsafe(self.legacy.hear("!hello"), self.legacy.loop).result(10)
        self.until(lambda: self.legacy.sent)
        self.assertEqual(self.legacy.sent, [("alice", "hello alice")])

    def test_before_it_knows_itself(self) -> None:
        """If the backend raises an error for its identifier, the identifier is None."""
        network = make_network(self.reactor, next(iter(self.config.networks.values())))
        network.attach(self.bot)
        self.assertIsNone(network.bot_identifier)
        self.successResultOf(network.disconnect())

    def test_what_it_does_not_know(self) -> None:
        """A missing feature of the backend raises NotImplementedError."""
        alice = self.bot.build_identifier("alice")
        self.assertRaises(NotImplementedError, self.bot.send_stream_request, alice, BytesIO())
        self.assertRaises(NotImplementedError, self.bot.add_reaction, Message("m", to=alice), "wave")

    def test_stopping_wakes_its_loop(self) -> None:
        """Stopping wakes the event loop and cancels its tasks, as Ctrl-C does."""
        self.until(lambda: self.legacy.loop)
        self.stop()
        self.assertEqual(self.legacy.done, ["cancelled", "interrupted"])


class SeveralTests(LegacyNetworkCase):
    """Several networks at once."""

    plugins = (Watcher,)
    settings = {
        "NETWORKS": {
            "here": {"BACKEND": "Once", "BOT_ADMINS": ("alice",)},
            "there": {"BACKEND": "Forever", "BOT_ADMINS": ("bob",), "BOT_PREFIX": "?"},
        }
    }

    def test_answers_find_their_way(self) -> None:
        """Each network sends its own replies, with its own settings."""
        here, there = (network.legacy for network in self.networks.values())
        here.wire.put(("", "bob", "!hello"))
        there.wire.put(("", "carol", "?hello"))
        self.until(lambda: here.sent and there.sent)
        self.assertEqual((here.sent, there.sent), ([("bob", "hello bob")], [("carol", "hello carol")]))
        self.bot.send(self.bot.build_identifier("there:dave"), "over there")
        self.until(lambda: len(there.sent) == 2)
        self.assertEqual(there.sent[1], ("dave", "over there"))
