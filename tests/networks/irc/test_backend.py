"""The IRC backend with a server that is played by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein.chat import AWAY, ONLINE, Message
from errklein.chat.identifiers import RoomError, RoomNotJoinedError
from errklein.chat.operations import Kind, Unsupported, Wanted
from errklein.config import ConfigError
from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import IRCBackend
from errklein.ports.outbox import OutboxFull
from errklein.testing.backend_contract import BackendContract
from tests.networks.irc.listening import Listener, config, logged
from tests.networks.irc.played import PlayedServer


class ContractTests(BackendContract, SynchronousTestCase):
    """The IRC backend passes the contract of backends."""

    invalid_identifiers = ("", "a b", "alice\r\nQUIT", "#", "#a\nb")

    def setUp(self) -> None:
        """Create a server."""
        self.server = PlayedServer()
        self.last: list[str] = []

    def make_backend(self) -> IRCBackend:
        """Return a backend that should join the room."""
        return self.server.backend(rooms=[self.room_text])

    def bring_online(self, backend: Any) -> None:
        """Welcome the bot."""
        self.server.welcome()
        self.server.enter(self.room_text)

    def receive(self, backend: Any, to: str, text: str) -> None:
        """Send a message to the bot."""
        self.server.say(f":{self.person_text}!al@host PRIVMSG {to or 'errklein'} :{text}")

    def sent(self, backend: Any) -> list[tuple[str, str]]:
        """Return the messages of the bot."""
        self.server.clock.let_threads()
        self.server.answer()
        lines = self.server.take()
        self.last = lines[-1:] or self.last
        said = [line.split(" ", 2) for line in lines if line.startswith("PRIVMSG")]
        return [(words[1], words[2][1:]) for words in said]

    def close_connection(self, backend: Any) -> None:
        """Close the connection after QUIT."""
        if self.server.protocol is not None:
            self.assertEqual(self.server.take()[-1:] or self.last, ["QUIT :good-bye"])
            self.server.close()


class PlayedTests(SynchronousTestCase):
    """A backend that connects to a played server."""

    def setUp(self) -> None:
        """Create a server without connections."""
        self.server = PlayedServer()
        self.listener = Listener()

    def connecting(self, **settings: Any) -> IRCBackend:
        """Return a backend that is connecting."""
        self.backend = self.server.backend(**settings)
        self.backend.connect(self.listener)
        return self.backend

    def online(self, **settings: Any) -> IRCBackend:
        """Return a backend in #ops, with alice as another occupant."""
        backend = self.connecting(rooms=["#ops"], **settings)
        self.server.welcome()
        self.server.enter("#ops", "errklein", "@alice")
        # The tokens of the JOIN return.
        self.server.clock.advance(2)
        self.server.take()
        return backend


class LoginTests(PlayedTests):
    """Registration with the server."""

    def test_login(self) -> None:
        """Password, nick, user name and real name are those of BOT_IDENTITY."""
        identity = {"password": "hunter2 x", "username": "err", "realname": "A bot", "nickserv_password": "s3cret"}
        self.connecting(identity=identity, rooms=["#ops"])
        self.server.accept()
        self.assertEqual(self.server.take(), ["CAP LS 302", "PASS :hunter2 x", "NICK errklein", "USER err 0 * :A bot"])
        self.server.say(":irc.example 001 errklein :Welcome")
        self.assertEqual(self.server.take(), ["PRIVMSG NickServ :IDENTIFY s3cret"])
        self.server.say(":NickServ!services@services NOTICE errklein :You are now identified")
        self.assertEqual(self.server.take(), ["JOIN #ops"])

    def test_nickserv_keeps_silent(self) -> None:
        """Rooms are joined after 3 s if NickServ doesn't reply."""
        self.connecting(identity={"nickserv_password": "s3cret"}, rooms=["#ops"])
        self.server.welcome()
        self.server.take()
        self.server.clock.advance(3)
        self.assertEqual(self.server.take(), ["JOIN #ops"])

    def test_sasl(self) -> None:
        """With `sasl_password` the bot authenticates before it is welcomed and joins rooms."""
        self.connecting(identity={"sasl_password": "s3cret", "sasl_account": "acc"}, rooms=["#ops"])
        self.server.accept()
        self.assertEqual(self.server.take(), ["CAP LS 302", "NICK errklein", "USER errklein 0 * :errklein"])
        self.server.say(":irc.example CAP * LS * :batch sasl=PLAIN,EXTERNAL", ":irc.example CAP * LS :server-time sts")
        self.assertEqual(self.server.take(), ["CAP REQ :batch", "CAP REQ :server-time", "CAP REQ :sasl"])
        self.server.say(":irc.example CAP * ACK :batch", ":irc.example CAP * NAK :server-time")
        self.assertEqual(self.server.take(), [])
        self.server.say(":irc.example CAP * ACK :sasl")
        self.assertEqual(self.server.take(), ["AUTHENTICATE PLAIN"])
        self.server.say("AUTHENTICATE +")
        self.assertEqual(self.server.take(), ["AUTHENTICATE YWNjAGFjYwBzM2NyZXQ="])
        self.server.say(":irc.example 903 errklein :SASL authentication successful")
        self.assertEqual(self.server.take(), ["CAP END"])
        self.server.say(":irc.example 001 errklein :Welcome")
        self.assertEqual(self.server.take(), ["JOIN #ops"])

    def test_sasl_that_fails(self) -> None:
        """A server that rejects the account or lacks SASL is left with the reason, without logging the password."""
        offered = ":irc.example CAP * LS :sasl"
        failed = ":irc.example 904 errklein :SASL authentication failed"
        for said in (
            [offered, ":irc.example CAP * ACK :sasl", "AUTHENTICATE +", failed],
            [offered, ":irc.example CAP * NAK :sasl"],
            [":irc.example CAP * LS :batch", ":irc.example CAP * ACK :batch"],
            [":irc.example CAP * LS :"],
            [":irc.example 421 * CAP :Unknown command", ":irc.example 001 errklein :Welcome"],
        ):
            backend = self.connecting(identity={"sasl_password": "s3cret"}, rooms=["#ops"])
            self.server.accept()
            self.server.say(*said)
            self.assertIsNone(backend.bot_identifier)
            self.assertFalse(self.server.transport.connected)
            lines = self.server.take()
            self.assertNotIn("JOIN #ops", lines)
            self.assertEqual(lines[-1], "QUIT")
            self.successResultOf(backend.disconnect())

    def test_number_without_parameters_before_the_welcome(self) -> None:
        """A rejection without parameters doesn't break the connection while the bot authenticates."""
        self.connecting(identity={"sasl_password": "s3cret"})
        self.server.accept()
        self.server.say(":irc.example 904")
        self.assertTrue(self.server.transport.connected)

    def test_numbers_without_parameters(self) -> None:
        """Errors without parameters are ignored while a room command waits for its reply."""
        backend = self.connecting()
        self.server.welcome()
        answer = backend.set_topic(backend.query_room("#ops"), "news")
        self.server.say(":irc.example 482", ":irc.example 482 errklein #ops :no")
        error = self.failureResultOf(answer, RoomError).value
        self.assertEqual(str(error), "the bot is not an operator of the room (no)")

    def test_reason_of_sasl(self) -> None:
        """The log has the reason why SASL failed: the server's text, or its mechanisms, listed before or afterwards."""
        lines = logged(self, "not connected")
        acknowledged = ":irc.example CAP * ACK :sasl"
        listed = ":irc.example 908 errklein EXTERNAL,SCRAM-SHA-256 :are available SASL mechanisms"
        failed = ":irc.example 904 errklein :SASL authentication failed"
        for said in (
            [":irc.example CAP * LS :sasl=EXTERNAL,SCRAM-SHA-256", acknowledged],
            [":irc.example CAP * LS :sasl", acknowledged, listed, failed],
            [":irc.example CAP * LS :sasl", acknowledged, listed.replace("EXTERNAL", "PLAIN"), failed],
        ):
            backend = self.connecting(identity={"sasl_password": "s3cret"})
            self.server.accept()
            self.server.say(*said)
            self.assertEqual(self.server.take()[-1], "QUIT")
            self.successResultOf(backend.disconnect())
        self.assertIn("the server doesn't support SASL PLAIN, only EXTERNAL, SCRAM-SHA-256", lines[0])
        self.assertIn("the server doesn't support SASL PLAIN, only EXTERNAL, SCRAM-SHA-256", lines[1])
        self.assertIn("the server rejects the SASL account errklein (SASL authentication failed)", lines[2])
        self.assertEqual(len(lines), 3)

    def test_bot_mode(self) -> None:
        """The bot sets the mode that marks bots if the server has one, and marks messages of other bots."""
        self.online()
        self.server.say(":irc.example 005 errklein BOT=B NICKLEN=30 :are supported by this server")
        self.assertEqual(self.server.take(), ["MODE errklein +B"])
        self.server.say("@bot;msgid=1 :robo!r@host PRIVMSG errklein :hi", "@+bot :robo!r@host PRIVMSG errklein :hi")
        self.assertEqual([message.extras for message in self.listener.messages], [{"bot": True}, {}])

    def test_capabilities(self) -> None:
        """Without SASL the bot requests capabilities for replayed messages, and then ends the negotiation."""
        for said, requested in (
            ([":irc.example CAP * LS :multi-prefix"], []),
            ([":irc.example CAP * LS :"], []),
            ([":irc.example CAP * LS * :batch", ":irc.example CAP * LS :sasl server-time"], ["batch", "server-time"]),
        ):
            backend = self.connecting()
            self.server.accept()
            self.server.take()
            self.server.say(*said)
            for name in requested:
                self.assertEqual(self.server.take()[-1:], [f"CAP REQ :{requested[-1]}"][: name == requested[0]])
                self.server.say(f":irc.example CAP * ACK :{name}")
            self.assertEqual(self.server.take(), ["CAP END"])
            self.server.say(":irc.example 001 errklein :Welcome")
            self.assertIsNotNone(backend.bot_identifier)
            backend.disconnect()
            self.server.close()

    def test_capabilities_that_come_later(self) -> None:
        """A capability that the server offers later is requested, without a second end of the negotiation."""
        self.connecting()
        self.server.welcome()
        self.server.say(":irc.example CAP errklein LS :")
        self.server.take()
        self.server.say(":irc.example CAP errklein NEW :batch sasl=PLAIN")
        self.assertEqual(self.server.take(), ["CAP REQ :batch"])
        self.server.say(":irc.example CAP errklein ACK :batch", ":irc.example CAP errklein DEL :batch")
        self.assertEqual(self.server.take(), [])
        self.server.say(":irc.example CAP errklein NEW :batch")
        self.assertEqual(self.server.take(), ["CAP REQ :batch"])

    def test_passwords_do_not_show(self) -> None:
        """The repr of the settings shows no password."""
        identity = {"password": "hunter2", "nickserv_password": "hunter2", "sasl_password": "hunter2"}
        shown = repr(self.connecting(identity=identity, rooms=[("#a", "hunter2")]).settings)
        self.assertNotIn("hunter2", shown)

    def test_nick_taken(self) -> None:
        """Further nicks are tried while the server rejects them, the last ones with nine characters."""
        self.connecting()
        self.server.accept()
        self.server.say(":irc.example 433 * errklein :Nickname already in use")
        self.server.say(":irc.example 433 * errklein_ :Nickname already in use")
        self.server.say(":irc.example 432 * errklein__ :Erroneous nickname")
        self.assertEqual(
            [line for line in self.server.take() if line.startswith("NICK")],
            ["NICK errklein", "NICK errklein_", "NICK errklein__", "NICK errklein_"],
        )

    def test_second_welcome(self) -> None:
        """A second welcome has no effect: the bot keeps its nick and joins no room again."""
        self.connecting(rooms=["#ops"])
        self.server.welcome("errklein_")
        self.server.take()
        self.server.say(":irc.example 001 somebody :Welcome")
        self.assertEqual(self.server.take(), [])
        self.assertEqual(str(self.backend.bot_identifier), "errklein_")

    def test_nick_regained(self) -> None:
        """The bot requests its nick each minute, and at once when its holder leaves."""
        self.connecting(rooms=["#ops"])
        self.server.welcome("errklein_")
        self.server.enter("#ops", "errklein_", "errklein")
        self.server.take()
        self.server.pass_time(60)
        self.assertEqual(self.server.take(), ["NICK errklein"])
        self.server.say(":irc.example 433 errklein_ errklein :Nickname already in use")
        self.assertEqual(self.server.take(), [])
        self.server.say(":errklein!x@y QUIT :bye")
        self.assertEqual(self.server.take(), ["NICK errklein"])
        self.server.say(":errklein_!~e@host NICK :errklein")
        self.assertEqual(str(self.backend.bot_identifier), "errklein!~e@host")
        self.server.pass_time(300)
        self.assertEqual(self.server.take(), [])

    def test_rooms_before_messages(self) -> None:
        """Queued messages to a room are sent as soon as the bot has joined it. Those to people don't wait."""
        backend = self.connecting(rooms=["#a", ("#b", "key")])
        for to in (backend.query_room("#b"), backend.query_room("#A"), backend.build_identifier("alice")):
            backend.send_message(Message("hello", to=to))
        self.server.welcome()
        self.assertEqual(self.server.take()[-2:], ["JOIN #b,#a key", "PRIVMSG alice :hello"])
        self.server.enter("#a")
        self.server.answer()
        self.assertEqual(self.server.take(), ["PRIVMSG #A :hello"])
        self.server.enter("#b")
        self.server.answer()
        self.assertEqual(self.server.take(), ["PRIVMSG #b :hello"])

    def test_importing_leaves_the_reactor_open(self) -> None:
        """Importing the backend installs no reactor, so that `twistd --reactor` works."""
        program = "import sys, errklein.networks.irc; sys.exit('twisted.internet.reactor' in sys.modules)"
        home = str(Path(errklein.__file__).parent.parent)
        done = subprocess.run([sys.executable, "-c", program], check=False, env={**os.environ, "PYTHONPATH": home})
        self.assertEqual(done.returncode, 0)


class SettingsTests(SynchronousTestCase):
    """Errors in the configuration."""

    def test_one_line_for_each_mistake(self) -> None:
        """Each error is one line with the setting's name, and shows no password."""
        mistakes: list[tuple[str, dict[str, Any]]] = [
            ("nickname", {"identity": {"nickname": "a b"}}),
            ("username", {"identity": {"username": "a b"}}),
            ("password", {"identity": {"password": "hunter2\r\nQUIT"}}),
            ("ssl_ca", {"identity": {"ssl_ca": "/does/not/exist"}}),
            ("ssl_ca", {"identity": {"ssl_ca": True}}),
            ("ssl_ca", {"identity": {"ssl_ca": "a" * 5000}}),
            ("bind_address", {"identity": {"bind_address": 7}}),
            ("CHATROOM_PRESENCE", {"rooms": ["ops"]}),
            ("CHATROOM_PRESENCE", {"rooms": [("#ops", "hunter2 x")]}),
        ]
        for name, settings in mistakes:
            error = self.assertRaises(ConfigError, PlayedServer().backend, **settings)
            self.assertIn(name, str(error))
            self.assertNotIn("hunter2", str(error))
            self.assertEqual(len(str(error).splitlines()), 1)


class TroubleTests(PlayedTests):
    """Lost connections, bans and netsplits."""

    def test_backoff_doubles_up_to_five_minutes(self) -> None:
        """The delays between attempts are 1, 2, 4 … 300 s."""
        self.connecting()
        delays = []
        for _ in range(11):
            self.server.refuse()
            before, attempts = self.server.clock.seconds(), self.server.attempts
            while self.server.attempts == attempts:
                self.server.clock.advance(1)
            delays.append(self.server.clock.seconds() - before)
        self.assertEqual(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
        self.assertEqual(self.listener.told, [])

    def test_reconnect_on_disconnect(self) -> None:
        """IRC_RECONNECT_ON_DISCONNECT is the first delay; the following ones double, also after zero."""
        for first, expected in ((5.0, [5, 10, 20]), (0.0, [0, 1, 2])):
            server = PlayedServer()
            server.backend(IRC_RECONNECT_ON_DISCONNECT=first).connect(self.listener)
            delays = []
            for _ in range(3):
                server.refuse()
                before, attempts = server.clock.seconds(), server.attempts
                server.clock.advance(0)
                while server.attempts == attempts:
                    server.clock.advance(1)
                delays.append(server.clock.seconds() - before)
            self.assertEqual(delays, expected)

    def test_backoff_has_jitter(self) -> None:
        """Bots that lost the same server don't reconnect at the same moment."""
        backend = IRCBackend(NetworkContext(self.server.clock, config(), chance=lambda: 0.5), self.server)
        backend.connect(self.listener)
        self.server.refuse()
        self.server.clock.advance(1.2)
        self.assertEqual(self.server.attempts, 1)
        self.server.clock.advance(0.05)
        self.assertEqual(self.server.attempts, 2)

    def test_backoff_resets_after_success(self) -> None:
        """The delay is reset after a stable connection, but not after one that is closed at once."""
        self.connecting()
        for _ in range(3):
            self.server.refuse()
            self.server.clock.advance(4)
        self.server.welcome()
        self.server.close()
        self.server.clock.advance(7)
        self.assertEqual(self.server.attempts, 4)
        self.server.clock.advance(1)
        self.server.welcome()
        self.server.clock.advance(40)
        self.server.close()
        self.server.clock.advance(1)
        self.assertEqual(self.server.attempts, 6)

    def test_k_line_waits_five_minutes(self) -> None:
        """After a ban the bot waits for five minutes; the reason is reported once."""
        self.connecting()
        lines = logged(self, "not connected")
        self.server.welcome()
        self.server.say("ERROR :Closing Link: errklein[host] (K-Lined: spam)")
        self.server.close()
        self.assertEqual(self.listener.told[-1], ("disconnected", "Closing Link: errklein[host] (K-Lined: spam)"))
        self.assertIn("next try in 300 s", lines[0])
        self.server.clock.advance(299)
        self.assertEqual(self.server.attempts, 1)
        self.server.clock.advance(1)
        self.assertEqual(self.server.attempts, 2)

    def test_no_ban(self) -> None:
        """A kill, whatever its reason, and late replies about passwords or bans that close nothing, aren't bans."""
        lines = logged(self, "not connected")
        for said in (
            "ERROR :Closing link: (e@host) [Killed (irc.example (Filtered: banned words))]",
            ":irc.example 464 errklein :Password incorrect",
            ":irc.example 465 errklein :You are banned from this server",
        ):
            backend = self.connecting()
            self.server.welcome()
            self.server.say(said)
            self.server.clock.advance(11)
            self.server.close()
            self.successResultOf(backend.disconnect())
        self.assertEqual([line.rpartition("; ")[2] for line in lines], ["next try in 1 s"] * 3)
        self.assertNotIn("password", lines[1])

    def test_ban_later(self) -> None:
        """A ban that is announced later, and followed by the end of the connection, is one."""
        lines = logged(self, "not connected")
        self.connecting()
        self.server.welcome()
        self.server.say(":irc.example 465 errklein :Begone", "ERROR :Closing Link: errklein[host] (spam)")
        self.server.close()
        self.assertIn("next try in 300 s", lines[0])

    def test_half_open_connection_ends_within_a_minute(self) -> None:
        """A silent server gets a PING after 20 s, and the connection is closed within a minute."""
        self.online()
        self.server.clock.pump([1] * 25)
        self.assertEqual(self.server.take(), ["PING :errklein-alive"])
        self.server.clock.pump([1] * 30)
        self.assertIn("disconnected", self.listener.names())
        self.assertIn("nothing was received", self.listener.told[-1][1])
        self.server.clock.advance(1)
        self.assertEqual(self.server.attempts, 2)

    def test_pong_keeps_the_connection(self) -> None:
        """A quiet server that replies to PING stays connected."""
        self.online()
        for _ in range(10):
            self.server.clock.pump([1] * 30)
            self.server.say(":irc.example PONG irc.example :errklein-alive")
        self.assertNotIn("disconnected", self.listener.names())

    def test_flood_limit_slows_sending(self) -> None:
        """After the server closed a connection for flooding, lines are sent at least 2 s apart."""
        backend = self.online()
        self.server.say("ERROR :Closing Link: (Excess Flood)")
        self.server.close()
        self.server.clock.advance(1)
        self.server.welcome()
        self.server.enter("#ops")
        self.server.take()
        self.server.clock.advance(2)
        for number in range(3):
            backend.send_message(Message(str(number), to=backend.query_room("#ops")))
        counts = []
        for _ in range(12):
            self.server.read()
            if self.server.pings:
                self.server.say(f":i PONG i :{self.server.pings.pop(0).partition(':')[2]}")
            counts.append(len(self.server.take()))
            self.server.clock.advance(1)
        self.assertEqual(sum(counts), 3)
        self.assertLessEqual(max(a + b for a, b in pairwise(counts)), 1)

    def test_unconfirmed_line_is_sent_again(self) -> None:
        """Lines without a PONG are sent again after the reconnection, once, before the others."""
        backend = self.online()
        for text in ("one", "two", "three"):
            backend.send_message(Message(text, to=backend.query_room("#ops")))
        self.server.say(":i PONG i :errklein-1")
        self.server.close()
        self.assertEqual(self.server.take(), ["PRIVMSG #ops :one", "PRIVMSG #ops :two", "PRIVMSG #ops :three"])
        backend.send_message(Message("four", to=backend.query_room("#ops")))
        self.server.clock.advance(1)
        self.server.welcome()
        self.server.enter("#ops")
        self.server.answer()
        said = [line for line in self.server.take() if line.startswith("PRIVMSG")]
        self.assertEqual(said, ["PRIVMSG #ops :two", "PRIVMSG #ops :three", "PRIVMSG #ops :four"])

    def test_what_irc_lacks(self) -> None:
        """An edit is a new message, a reply in a thread has a quote, and a file is refused unless it is a short text."""
        backend = self.online()
        room = backend.query_room("#ops")
        sent = backend.send_message(Message("up", to=room))
        self.server.answer()
        self.server.take()
        edit = Wanted(Kind.EDIT, str(self.successResultOf(sent)))
        backend.perform(Message("down", to=room), edit)
        backend.perform(Message("yes", to=room), Wanted(thread="t1", quote="is it up?"))
        backend.perform(Message("", to=room), Wanted(Kind.FILE, file="log.txt"), b"one line")
        deleted = backend.perform(Message("", to=room), Wanted(Kind.DELETE, str(sent)))
        image = backend.perform(Message("", to=room), Wanted(Kind.FILE, file="a.png"), b"\xff\x00")
        said = []
        for _ in range(3):
            self.server.answer()
            said += [line for line in self.server.take() if line.startswith("PRIVMSG")]
            self.server.clock.advance(3)
        self.assertEqual(said[:2], ["PRIVMSG #ops :(corrected) down", "PRIVMSG #ops :> is it up?"])
        self.assertIn("PRIVMSG #ops :one line", said)
        for refused in (deleted, image):
            self.failureResultOf(refused, Unsupported)

    def test_netsplit_updates_rooms(self) -> None:
        """People who are split off leave the rooms, and come back."""
        self.online()
        self.server.say(":alice!al@host QUIT :a.example b.example")
        room = self.backend.query_room("#ops")
        self.assertEqual([one.nick for one in room.occupants], ["errklein"])
        self.assertIn(("presence", "alice!al@host", "offline"), self.listener.told)
        self.server.say(":alice!al@host JOIN #ops")
        self.assertEqual(sorted(one.nick for one in room.occupants), ["alice", "errklein"])

    def test_kick_without_return(self) -> None:
        """With IRC_RECONNECT_ON_KICK = None the bot doesn't join again."""
        self.online(IRC_RECONNECT_ON_KICK=None)
        self.server.say(":alice!al@host KICK #ops errklein :out")
        self.server.clock.pump([1] * 15)
        self.assertEqual(self.server.take(), [])
        self.assertEqual(self.listener.names()[-1], "left")

    def test_kick_from_another_room(self) -> None:
        """A KICK from a room that the bot isn't in has no effect, and isn't logged."""
        lines = logged(self, "kicked the bot")
        self.connecting(rooms=["#ops"])
        self.server.welcome()
        self.server.say(":eve!e@h KICK #other errklein :out")
        self.assertEqual(lines, [])

    def test_who_threw_out(self) -> None:
        """The event of a kick has the person who kicked, or None for a server."""
        self.online(IRC_RECONNECT_ON_KICK=None)
        self.server.say(":bob!b@host JOIN #ops", ":alice!al@host KICK #ops bob :out")
        what, room, kicked, by = self.listener.told[-1]
        self.assertEqual((what, room, kicked.nick, str(by)), ("left", "#ops", "bob", "#ops/alice!al@host"))
        self.server.say(":irc.example KICK #ops errklein :out")
        self.assertEqual([str(it) for it in self.listener.told[-1]], ["left", "#ops", "#ops/errklein!~e@host"])

    def test_who_invited(self) -> None:
        """The event of a JOIN after an invitation has the person who invited."""
        self.online(IRC_RECONNECT_ON_KICK=None)
        self.server.say(":alice!al@host KICK #ops errklein :out", ":alice!al@host INVITE errklein #ops")
        self.server.enter("#ops")
        what, room, who, by = next(told for told in reversed(self.listener.told) if told[0] == "joined")
        self.assertEqual((what, room, who.nick, by.nick), ("joined", "#ops", "errklein", "alice"))

    def test_server_that_never_lets_in(self) -> None:
        """A server that accepts the connection and sends no welcome is left."""
        self.connecting()
        self.server.accept()
        for _ in range(5):
            self.server.clock.pump([1] * 10)
            if self.server.transport is not None and self.server.transport.connected:
                self.server.say("PING :still here")
        self.server.clock.advance(1)
        self.assertEqual(self.server.attempts, 2)


class LeavingTests(PlayedTests):
    """Disconnecting."""

    def test_server_does_not_say_goodbye(self) -> None:
        """A server that doesn't reply to QUIT delays the stop by less than a second."""
        backend = self.online()
        closed = backend.disconnect()
        self.assertEqual(self.server.take(), ["QUIT :good-bye"])
        self.assertNoResult(closed)
        self.server.clock.advance(0.5)
        self.successResultOf(closed)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertNotIn("disconnected", self.listener.names())

    def test_between_two_attempts(self) -> None:
        """Disconnecting between two attempts to connect leaves no timer."""
        backend = self.connecting()
        self.server.refuse()
        self.successResultOf(backend.disconnect())
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_last_words(self) -> None:
        """Lines in flight are sent before QUIT."""
        backend = self.online()
        said = backend.send_message(Message("stopping", to=backend.query_room("#ops")))
        closed = backend.disconnect(10)
        self.server.answer()
        self.successResultOf(said)
        self.assertEqual(self.server.take(), ["PRIVMSG #ops :stopping", "QUIT :good-bye"])
        self.server.clock.advance(0.5)
        self.successResultOf(closed)

    def test_the_queue_is_sent_at_its_pace(self) -> None:
        """During the grace period lines are sent at the configured rate, then QUIT; lost messages are logged."""
        backend = self.online(IRC_CHANNEL_RATE=2)
        room = backend.query_room("#ops")
        for number in range(12):
            backend.send_message(Message(f"post {number}", to=room))
        lines = logged(self, " to #ops: ")
        closed = backend.disconnect(9)
        for _ in range(8):
            self.server.confirm()
            self.server.clock.advance(1)
        self.server.confirm()
        self.assertEqual(self.server.take(), [f"PRIVMSG #ops :post {number}" for number in range(5)])
        self.server.clock.advance(1)
        self.assertEqual(self.server.take(), ["QUIT :good-bye"])
        self.assertEqual(lines, [f"irc: not sent, to #ops: post {number}" for number in range(5, 12)])
        self.server.clock.advance(0.5)
        self.successResultOf(closed)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_reconnects_to_send_the_queue(self) -> None:
        """A connection that breaks during the grace period is reestablished, and the queue is sent."""
        backend = self.online()
        said = backend.send_message(Message("alert", to=backend.query_room("#ops")))
        closed = backend.disconnect(10)
        self.server.transport.loseConnection()
        self.server.clock.advance(2)
        self.server.welcome()
        self.server.enter("#ops")
        self.server.answer()
        self.successResultOf(said)
        self.assertIn("QUIT :good-bye", self.server.take())
        self.server.clock.advance(0.5)
        self.successResultOf(closed)

    def test_no_waiting_for_a_server_that_is_not_tried_in_time(self) -> None:
        """If no attempt to connect starts within the grace period, the bot stops at once and logs the queue."""
        backend = self.connecting()
        self.server.refuse()
        for _ in range(5):
            self.server.clock.advance(60)
            self.server.refuse()
        backend.send_message(Message("alert", to=backend.query_room("#ops")))
        lines = logged(self, " to #ops: ")
        self.successResultOf(backend.disconnect(10))
        self.assertEqual(lines, ["irc: not sent, to #ops: alert"])
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_waits_for_an_attempt_that_begins_in_time(self) -> None:
        """If an attempt to connect starts within the grace period, the queue is sent."""
        backend = self.connecting(rooms=["#ops"])
        self.server.refuse()
        said = backend.send_message(Message("alert", to=backend.query_room("#ops")))
        closed = backend.disconnect(10)
        self.assertNoResult(closed)
        self.server.clock.advance(2)
        self.server.welcome()
        self.server.enter("#ops")
        self.server.answer()
        self.successResultOf(said)
        self.server.clock.advance(0.5)
        self.successResultOf(closed)


class TalkTests(PlayedTests):
    """Sending and receiving messages."""

    def test_notice_and_action_are_marked(self) -> None:
        """Notices and actions are marked in `extras`."""
        self.online()
        self.server.say(":alice!al@host NOTICE #ops :careful", ":alice!al@host PRIVMSG #ops :\x01ACTION waves\x01")
        notice, action = self.listener.messages
        self.assertEqual((notice.body, notice.extras), ("careful", {"notice": True}))
        self.assertEqual((action.body, action.extras), ("waves", {"action": True}))

    def test_nothing_is_answered_by_itself(self) -> None:
        """CTCP requests, including DCC, are neither answered nor reported."""
        self.online()
        for request in ("VERSION", "PING 1", "DCC SEND x 1 2 3", "TIME", "FINGER"):
            self.server.say(f":alice!al@host PRIVMSG errklein :\x01{request}\x01")
        self.assertEqual(self.server.take(), [])
        self.assertEqual(self.listener.messages, [])

    def test_tables(self) -> None:
        """Tables have no borders, unless COMPACT_OUTPUT is False."""
        for settings, first in (({}, "a  b"), ({"COMPACT_OUTPUT": False}, "┏━━━┳━━━┓")):
            self.setUp()
            backend = self.online(**settings)
            backend.send_message(Message("a|b\n-|-\n1|2", to=backend.query_room("#ops")))
            self.assertEqual(self.server.take()[0], f"PRIVMSG #ops :{first}")

    def test_server_notices_are_not_messages(self) -> None:
        """Messages of the server itself are not reported."""
        self.online()
        self.server.say(":irc.example NOTICE errklein :*** hello", "NOTICE AUTH :*** hello")
        self.assertEqual(self.listener.messages, [])

    def test_mentions(self) -> None:
        """Occupants whose nick is in a message are reported as mentioned, in any case."""
        self.online()
        self.server.say(":bob!b@host JOIN #ops", ":alice!al@host PRIVMSG #ops :ERRKLEIN, bob: look at nobody")
        self.assertEqual(self.listener.told[-1][0], "mention")
        self.assertEqual(self.listener.told[-1][2], ["#ops/errklein!~e@host", "#ops/bob!b@host"])

    def test_line_ends_send_no_commands(self) -> None:
        """Any body becomes PRIVMSG lines to the recipient only."""
        backend = self.online()
        backend.send_message(Message("a\r\nQUIT\nb\x00c\x01VERSION\x01\rNICK x", to=backend.query_room("#ops")))
        self.server.answer()
        self.assertEqual(
            self.server.take(),
            ["PRIVMSG #ops :a", "PRIVMSG #ops :QUIT", "PRIVMSG #ops :bcVERSION", "PRIVMSG #ops :NICK x"],
        )

    @given(st.text(alphabet=st.characters(), max_size=600))
    def test_any_body_sends_only_privmsg(self, body: str) -> None:
        """Any body becomes PRIVMSG lines that fit, and the bot stays connected."""
        self.setUp()
        backend = self.online()
        backend.send_message(Message(body, to=backend.query_room("#ops")))
        self.server.answer()
        for line in self.server.take():
            self.assertTrue(line.startswith("PRIVMSG #ops :"))
            self.assertLessEqual(len(line.encode()) + len(f":errklein!~errklein@{'h' * 63} ") + 2, 512)

    @given(st.lists(st.binary(max_size=80), max_size=8))
    def test_any_bytes_from_the_server(self, lines: list[bytes]) -> None:
        """No bytes from a server cause an error."""
        self.setUp()
        self.online()
        for line in lines:
            for command in (b"", b":a!b@c PRIVMSG ", b":a!b@c ", b"@tag ", b":i 353 ", b":errklein NICK ", b"KICK "):
                if self.server.transport is not None and self.server.transport.connected:
                    self.server.protocol.dataReceived(command + line + b"\r\n")
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertTrue(self.server.transport is not None and self.server.transport.connected)

    def test_names_that_leave_no_room(self) -> None:
        """A name that leaves no room for text in a line raises ValueError."""
        backend = self.online()
        for name in ("a" * 1000, "#" + "😀" * 150):
            with self.assertRaisesRegex(ValueError, "too long"):
                backend.send_message(Message("hi", to=backend.build_identifier(name)))
        self.assertEqual(self.server.take(), [])

    def test_markdown_becomes_irc(self) -> None:
        """Bold text has IRC's code for bold."""
        backend = self.online()
        backend.send_message(Message("**now**", to=backend.query_room("#ops")))
        self.assertEqual(self.server.take(), ["PRIVMSG #ops :\x02now\x0f"])

    def test_notice_on_request(self) -> None:
        """extras["notice"] sends a NOTICE."""
        backend = self.online()
        backend.send_message(Message("psst", to=backend.build_identifier("alice"), extras={"notice": True}))
        self.assertEqual(self.server.take(), ["NOTICE alice :psst"])

    def test_refused(self) -> None:
        """A message that the server rejects fails with the server's reason."""
        backend = self.online()
        failed = backend.send_message(Message("hello?", to=backend.build_identifier("nobody")))
        self.server.say(":irc.example 401 errklein nobody :No such nick")
        self.assertIn("nobody: No such nick", self.failureResultOf(failed).getErrorMessage())

    def test_answers_to_something_else(self) -> None:
        """Neither another PONG nor the rejection of another line confirms the line in flight."""
        backend = self.online()
        waiting = backend.send_message(Message("hello", to=backend.build_identifier("alice")))
        self.server.say(":irc.example PONG irc.example :errklein-alive", ":irc.example 401 errklein bob :No such nick")
        self.assertNoResult(waiting)
        self.server.answer()
        self.successResultOf(waiting)

    def test_other_networks_people(self) -> None:
        """A person of another network can't be a recipient."""
        backend = self.online()
        stranger = PlayedServer().backend(network="other").build_identifier("alice")
        self.assertRaises(ValueError, backend.send_message, Message("hello", to=stranger))

    def test_full(self) -> None:
        """Half of OUTBOX_LIMIT may wait for one recipient; one more raises OutboxFull."""
        backend = self.connecting(OUTBOX_LIMIT=4)
        alice = backend.build_identifier("alice")
        backend.send_message(Message("1", to=alice))
        backend.send_message(Message("2", to=alice))
        self.assertRaises(OutboxFull, backend.send_message, Message("3", to=alice))

    def test_rates(self) -> None:
        """IRC_CHANNEL_RATE and IRC_PRIVATE_RATE are the seconds between lines."""
        backend = self.online(IRC_CHANNEL_RATE=5.0, IRC_PRIVATE_RATE=0.0)
        for _ in range(2):
            backend.send_message(Message("room", to=backend.query_room("#ops")))
        self.server.say(":i PONG i :errklein-1")
        self.server.clock.advance(4.9)
        self.assertEqual(self.server.take(), ["PRIVMSG #ops :room"])
        self.server.clock.advance(0.1)
        self.assertEqual(self.server.take(), ["PRIVMSG #ops :room"])

    def test_presence(self) -> None:
        """AWAY is sent with its message, and again after a reconnection."""
        backend = self.online()
        backend.change_presence(AWAY, "back\r\nsoon")
        self.assertEqual(self.server.take(), ["AWAY :back soon"])
        self.server.close()
        self.server.clock.advance(1)
        self.server.welcome()
        self.assertIn("AWAY :back soon", self.server.take())
        backend.change_presence(ONLINE, "")
        self.assertEqual(self.server.take(), ["AWAY"])


class RoomTests(PlayedTests):
    """Rooms in the use of plugins."""

    def test_join_from_a_thread(self) -> None:
        """A room may be used in a thread; lines are written on the reactor."""
        backend = self.online()
        thread = threading.Thread(target=lambda: backend.query_room("#dev").join(password="sesame"))
        thread.start()
        thread.join(10)
        self.assertEqual(self.server.take(), [])
        self.server.clock.let_threads()
        self.assertEqual(self.server.take(), ["JOIN #dev sesame"])

    def test_joined_rooms_are_joined_again(self) -> None:
        """A room that a plugin joined is joined after a reconnection, and one that it left isn't."""
        backend = self.online()
        backend.query_room("#dev").join()
        backend.query_room("#ops").leave("bye\r\nQUIT")
        self.server.clock.let_threads()
        self.assertCountEqual(self.server.take(), ["PART #ops :bye QUIT", "JOIN #dev"])
        self.server.close()
        self.server.clock.advance(1)
        self.server.welcome()
        self.assertEqual(self.server.take()[-1], "JOIN #dev")

    def test_rooms_of_the_configuration_change(self) -> None:
        """Changes of CHATROOM_PRESENCE by plugins apply to the next connection."""
        rooms: list[Any] = ["#ops", "#dev"]
        errors = logged(self, "CHATROOM_PRESENCE")
        backend = self.connecting(rooms=rooms)
        self.server.welcome()
        for room in ("#ops", "#dev"):
            self.server.enter(room, "errklein")
        backend.query_room("#own").join()
        backend.query_room("#dev").leave()
        rooms.remove("#ops")
        rooms.append(("#new", "sesame"))
        self.server.take()
        self.again(1)
        self.assertEqual([line for line in self.server.take() if line.startswith("JOIN")], ["JOIN #new,#own sesame"])
        rooms.append("no room")
        self.again(2)
        self.assertEqual([line for line in self.server.take() if line.startswith("JOIN")], ["JOIN #new,#own sesame"])
        self.assertIn("CHATROOM_PRESENCE: 'no room'", errors[-1])

    def again(self, seconds: float) -> None:
        """Break the connection, and reconnect after so many seconds."""
        self.server.close()
        self.server.clock.advance(seconds)
        self.server.welcome()

    def test_topic_and_invitation(self) -> None:
        """Topics and invitations are single lines."""
        backend = self.online()
        room = backend.query_room("#ops")
        room.topic = "new\r\nQUIT"
        room.invite("bob", backend.build_identifier("carol!c@host"))
        self.assertEqual(self.server.take(), ["TOPIC #ops :new QUIT", "INVITE bob #ops", "INVITE carol #ops"])
        self.assertRaises(ValueError, room.invite, "bob\r\nQUIT")
        self.server.say(":irc.example 332 errklein #ops :the topic")
        self.assertEqual(room.topic, "the topic")

    def test_outside(self) -> None:
        """Topic and occupants of a room that the bot isn't in raise RoomNotJoinedError."""
        room = self.online().query_room("#dev")
        self.assertFalse(room.joined)
        self.assertRaises(RoomNotJoinedError, lambda: room.topic)
        self.assertRaises(RoomNotJoinedError, lambda: room.occupants)
        self.assertRaises(NotImplementedError, room.destroy)

    def test_people_change_nicks(self) -> None:
        """An occupant who changes the nick stays in the room under the new one."""
        self.online()
        self.server.say(":alice!al@host NICK :alicia")
        nicks = sorted(one.nick for one in self.backend.query_room("#ops").occupants)
        self.assertEqual(nicks, ["alicia", "errklein"])

    def test_many_rooms(self) -> None:
        """Many rooms are joined with few lines, none too long, at half the pace of the server."""
        rooms = [f"#room-with-a-long-name-{number}" for number in range(60)]
        self.connecting(rooms=rooms)
        self.server.welcome()
        lines = [line for line in self.server.take() if line.startswith("JOIN")]
        self.assertEqual(len(lines), 1)
        self.server.clock.pump([0.1] * 50)
        lines += self.server.take()
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(len(line) <= 510 for line in lines))
        self.assertEqual(sorted(",".join(line.split()[1] for line in lines).split(",")), sorted(rooms))
