"""The IRC backend with a real ngircd on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from errklein.chat import Message
from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import IRCBackend
from errklein.networks.irc._lines import WINDOW
from errklein.running.context import assigned, origin
from tests.authority import issue
from tests.networks.irc.listening import Listener, config, logged
from tests.networks.irc.ngircd import Ngircd, Person, join


class RealServer(TestCase):
    """A server, a bot named errklein that joins #ops, and another person."""

    timeout = 120

    def setUp(self) -> None:
        """Start nothing yet."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.listener = Listener()

    def serve(self, **settings: Any) -> Ngircd:
        """Return a started server, which is stopped after the test."""
        self.server = Ngircd(**{"penalties": False, **settings})
        self.addCleanup(self.server.stop)
        self.server.start()
        return self.server

    def bot(self, rooms: Any = ("#ops",), **settings: Any) -> IRCBackend:
        """Return a bot that connects to the server, and disconnects after the test."""
        identity = {"server": "127.0.0.1", "port": self.server.port, **settings.pop("identity", {})}
        backend = IRCBackend(
            NetworkContext(self.reactor, config(rooms=rooms, identity=identity, **settings), chance=lambda: 0.0)
        )
        backend.connect(self.listener)
        self.addCleanup(backend.disconnect)
        return backend

    async def person(self, nick: str = "alice", *rooms: str) -> Person:
        """Return a person in the rooms."""
        person = await join(self.reactor, self.server.port, nick, *rooms)
        self.addCleanup(person.leave)
        return person

    def until(self, condition: Any) -> Deferred[None]:
        """Return a Deferred that fires when the condition holds."""

        async def wait() -> None:
            while not condition():
                await deferLater(self.reactor, 0.01)

        return Deferred.fromCoroutine(wait())


class ConversationTests(RealServer):
    """Messages between people and the bot."""

    async def test_room_and_private_both_ways(self) -> None:
        """Messages in a room and in private arrive in both directions."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        backend = self.bot()
        await joined

        heard, mentioned = self.listener.next("message"), self.listener.next("mention")
        alice.send("PRIVMSG #ops :errklein: grüß dich")
        message = (await heard)[1]
        self.assertEqual(message.body, "errklein: grüß dich")
        self.assertEqual(str(message.to), "#ops")
        self.assertEqual(message.frm.nick, "alice")
        self.assertTrue(message.is_group)
        self.assertEqual((await mentioned)[2][0].partition("!")[0], "#ops/errklein")
        await backend.send_message(backend.build_reply(message, "**hello** to the room"))
        line = await alice.wait_for("PRIVMSG #ops", "hello")
        self.assertEqual(line.nick, "errklein")

        heard = self.listener.next("message")
        alice.send("PRIVMSG errklein :psst")
        message = (await heard)[1]
        self.assertTrue(message.is_direct)
        await backend.send_message(backend.build_reply(message, "what?"))
        await alice.wait_for("PRIVMSG alice :what?")

    async def test_two_webhooks_at_once(self) -> None:
        """The lines of two webhooks that send to a room at once aren't mixed."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        backend = self.bot()
        await joined
        room, sent = backend.query_room("#ops"), []
        for name in "abc":
            with assigned(origin, f"route:Room:{name}"):
                lines = "\n".join(f"{name}{number}" for number in range(3))
                sent.append(backend.send_message(Message(lines, to=room)))
        await DeferredList(sent)
        await alice.wait_for("c2")
        self.assertEqual(alice.texts, [f"{name}{number}" for name in "abc" for number in range(3)])

    async def test_rooms_have_topic_and_occupants(self) -> None:
        """A room has its topic and occupants, and can be joined and left."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#dev")
        joined = self.listener.next("joined")
        backend = self.bot(rooms=())
        await self.listener.next("connected")
        room = backend.query_room("#dev")
        self.assertFalse(room.joined)
        room.join()
        await joined
        await self.until(lambda: len(room.occupants) == 2)
        self.assertEqual(sorted(str(one) for one in room.occupants)[0], "#dev/alice")
        topic = self.listener.next("topic")
        alice.send("TOPIC #dev :all about it")
        self.assertEqual(await topic, ("topic", "#dev", "all about it"))
        left = self.listener.next("left")
        room.leave("bye")
        await left
        self.assertFalse(room.joined)
        self.assertEqual([str(one) for one in backend.rooms()], [])

    async def test_bytes_that_are_not_utf8_survive(self) -> None:
        """Latin-1 from an old client is decoded, and the connection stays open."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        self.bot()
        await joined
        heard = self.listener.next("message")
        alice.send(b"PRIVMSG #ops :caf\xe9")
        self.assertEqual((await heard)[1].body, "café")

    async def test_message_cannot_send_commands(self) -> None:
        """CR, LF and NUL in a message start another message or are removed; none of them sends a command."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        backend = self.bot()
        await joined
        room = backend.query_room("#ops")
        nasty = Message("x\r\nQUIT :gone\x00\nPRIVMSG alice :forged " + "ü" * 400 + "\rJOIN #evil", to=room)
        await backend.send_message(nasty)
        await backend.send_message(Message("still here", to=room))
        await alice.wait_for("still here")
        self.assertEqual(alice.texts[:2], ["x", "QUIT :gone"])
        self.assertTrue(all(len(line.text.encode()) <= 510 for line in alice.lines))
        self.assertIn("ü" * 400, "".join(alice.texts))
        self.assertEqual({line.params[0] for line in alice.lines if line.command == "PRIVMSG"}, {"#ops"})


class TroubleTests(RealServer):
    """Failures of servers and networks."""

    async def test_taken_nick_is_regained(self) -> None:
        """If its nick is in use, the bot uses nick_, and regains the nick when it is free."""
        await self.serve().wait_until_up(self.reactor)
        thief = await self.person("errklein", "#ops")
        joined = self.listener.next("joined")
        backend = self.bot()
        await joined
        self.assertEqual(backend.bot_identifier.nick, "errklein_")
        await thief.wait_for("JOIN", "#ops", "errklein_")
        await thief.leave()
        await self.until(lambda: backend.bot_identifier.nick == "errklein")

    async def test_server_crash_loses_no_message(self) -> None:
        """After a crash of the server all messages arrive in order, only those of the last batch twice."""
        await self.serve(penalties=True).wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        backend = self.bot()
        await joined
        room = backend.query_room("#ops")
        deliveries = [backend.send_message(Message(f"event {number}", to=room)) for number in range(24)]
        await alice.wait_for("event 8")
        gone = self.listener.next("disconnected")
        self.server.kill()
        await gone
        before = alice.texts
        self.server.start()
        await self.server.wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        for delivery in deliveries:
            await delivery
        await alice.wait_for("event 23")
        events = [f"event {number}" for number in range(24)]
        again = len(before) + len(alice.texts) - len(events)
        self.assertLessEqual(again, WINDOW)
        self.assertEqual((before, alice.texts), (events[: len(before)], events[len(before) - again :]))
        self.assertTrue(room.joined)
        self.assertEqual(self.listener.names().count("connected"), 2)

    async def test_half_open_server_is_left(self) -> None:
        """A server that no longer responds is left, and messages sent meanwhile arrive later."""
        from errklein.networks.irc._protocol import IRCProtocol

        self.patch(IRCProtocol, "PING_AFTER", 0.5)
        self.patch(IRCProtocol, "DEAD_AFTER", 1.0)
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        backend = self.bot()
        await joined
        gone = self.listener.next("disconnected")
        self.server.freeze()
        delivery = backend.send_message(Message("are you there?", to=backend.query_room("#ops")))
        reason = (await gone)[1]
        self.server.freeze(False)
        self.assertIn("1 s", reason)
        await delivery
        await alice.wait_for("are you there?")

    async def test_kicked_comes_back(self) -> None:
        """After a kick the bot joins again after IRC_RECONNECT_ON_KICK seconds."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        self.bot(IRC_RECONNECT_ON_KICK=0.05)
        await joined
        left, joined = self.listener.next("left"), self.listener.next("joined")
        alice.send("KICK #ops errklein :out")
        await left
        await joined
        await alice.wait_for("KICK #ops errklein")

    async def test_wrong_server_password(self) -> None:
        """A wrong password is logged, and the next attempt waits for five minutes."""
        await self.serve(password="right").wait_until_up(self.reactor)
        lines = logged(self, "not connected")
        self.bot(identity={"password": "hunter2"})
        await self.until(lambda: lines)
        self.assertIn("Bad password", lines[0])
        self.assertIn("next try in 300 s", lines[0])
        self.assertNotIn("hunter2", lines[0])

    async def test_room_with_password_and_refused_room(self) -> None:
        """A room that can't be joined is logged, and doesn't delay messages."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice", "#open", "#locked", "#closed")
        alice.send("MODE #locked +k sesame", "MODE #closed +i")
        await alice.wait_for("MODE #closed +i")
        lines = logged(self, "not in #")
        backend = self.bot(rooms=("#closed", ("#locked", "sesame"), "#open"))
        await backend.send_message(Message("hello", to=backend.query_room("#open")))
        self.assertEqual(sorted(str(room) for room in backend.rooms()), ["#locked", "#open"])
        self.assertEqual(len(lines), 1)
        self.assertIn("#closed", lines[0])

    async def test_nobody_there(self) -> None:
        """A message to an unknown person fails with a reason; the next one is sent."""
        await self.serve().wait_until_up(self.reactor)
        alice = await self.person("alice")
        backend = self.bot(rooms=())
        failed = backend.send_message(Message("hello?", to=backend.build_identifier("nobody")))
        await backend.send_message(Message("hello!", to=backend.build_identifier("alice")))
        with self.assertRaises(Exception) as caught:
            await failed
        self.assertIn("nobody", str(caught.exception))
        await alice.wait_for("hello!")


class TLSTests(RealServer):
    """The server's certificate is verified."""

    async def start_with_certificate(self, name: str) -> Path:
        """Start a server whose certificate, for `name`, is its own CA; return the path of the certificate."""
        issued = issue(name, authority=True)
        await self.serve(tls=(issued.pem, issued.key_pem)).wait_until_up(self.reactor)
        return self.server.directory / "cert.pem"

    async def test_trusted(self) -> None:
        """With the CA in BOT_IDENTITY the bot connects over TLS."""
        ca = await self.start_with_certificate("localhost")
        alice = await self.person("alice", "#ops")
        identity = {"server": "localhost", "port": self.server.tls_port, "ssl": True, "ssl_ca": str(ca)}
        backend = self.bot(identity=identity)
        await backend.send_message(Message("encrypted", to=backend.query_room("#ops")))
        await alice.wait_for("encrypted")

    async def test_unknown_ca(self) -> None:
        """Without the CA the bot doesn't register, and one log line has the server and the reason."""
        await self.start_with_certificate("localhost")
        lines = logged(self, "not connected")
        self.bot(identity={"server": "localhost", "port": self.server.tls_port, "ssl": True})
        await self.until(lambda: lines)
        self.assertIn(f"localhost:{self.server.tls_port}", lines[0])
        self.assertIn("not trusted", lines[0])
        self.assertEqual(self.listener.told, [])

    async def test_other_name(self) -> None:
        """A trusted certificate for another name is rejected."""
        ca = await self.start_with_certificate("elsewhere.example")
        lines = logged(self, "not connected")
        identity = {"server": "localhost", "port": self.server.tls_port, "ssl": True, "ssl_ca": str(ca)}
        self.bot(identity=identity)
        await self.until(lambda: lines)
        self.assertIn("another name", lines[0])
        self.assertEqual(self.listener.told, [])
