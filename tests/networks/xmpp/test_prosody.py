"""A bot's connection to a real Prosody."""

from __future__ import annotations

import atexit
import logging
from base64 import b64encode
from functools import cache
from itertools import count
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from errklein.chat import AWAY, RoomError
from errklein.commands.access import Caller
from errklein.networks.errors import Unusable
from tests.networks.xmpp.people import CLIENT, MUC, Connected, Person, needs_asyncio
from tests.networks.xmpp.prosody import Prosody

_NUMBERS = count(1)


@cache
def shared() -> Prosody:
    """Return a server that most tests share."""
    server = Prosody("alice", "bob", "err")
    server.start()
    atexit.register(server.stop)
    return server


class OnProsody(TestCase):
    """A bot and alice, who is its administrator and has made a room; without tests."""

    timeout = 60

    async def setUp(self) -> None:
        """Start the server, and make the room."""
        needs_asyncio(the_reactor)
        from errklein.networks.xmpp._backend import XMPPBackend

        self.patch(XMPPBackend, "reconnect_after", 0.05)
        self.reactor: Any = the_reactor
        self.server = await self.start_server()
        await self.server.wait_until_up(self.reactor)
        self.room = f"ops{next(_NUMBERS)}@conference.localhost"
        self.alice = await self.person("alice")
        await self.alice.join(self.room)

    async def start_server(self) -> Prosody:
        """Return a server that most tests share."""
        return shared()

    async def person(self, name: str) -> Person:
        """Return somebody who is online."""
        made = await Person(self.reactor, name, self.server.port, self.server.authority).connect()
        self.addCleanup(made.leave)
        return made

    def bot(self, **settings: Any) -> Connected:
        """Return a connection that isn't started."""
        given = {"CHATROOM_PRESENCE": (self.room,), **settings}
        made = Connected(self.reactor, self.server.port, self.server.authority, **given)
        self.addCleanup(lambda: made.stop())
        return made

    async def until(self, check: Any, what: str = "it") -> Any:
        """Wait until the check returns something true."""
        for _ in range(1500):
            if found := check():
                return found
            await deferLater(self.reactor, 0.01)
        raise AssertionError(f"{what} has not happened")


class ConnectionTests(OnProsody):
    """What people see."""

    async def test_messages(self) -> None:
        """The bot reads a room and private messages, with JIDs, and answers; Markdown is plain text, with XHTML if it is wanted."""
        bot = await self.bot(XMPP_XHTML_IM=True).start()
        said = await self.alice.say(self.room, "!status")
        message = await bot.events.hear("!status")
        self.assertEqual((str(message.frm), message.frm.person), (f"{self.room}/alice", "alice@localhost"))
        self.assertEqual((message.ref.id, message.delayed, message.is_group), (said, False, True))
        self.assertTrue(Caller.from_message(message, bot.settings).is_admin)
        await bot.send(self.room, "All **well**.")
        [shown, *_] = await self.alice.until(
            lambda: [one for one in self.alice.messages(self.room) if one.findtext(f"{CLIENT}body") == "All well."]
        )
        self.assertEqual(shown.findtext(".//{http://www.w3.org/1999/xhtml}strong"), "well")
        await self.alice.say("err@localhost", "psst")
        private = await bot.events.hear("psst")
        self.assertEqual((str(private.frm), private.is_direct), ("alice@localhost/phone", True))
        await bot.send("alice@localhost", "yes?")
        await self.alice.until(lambda: "yes?" in self.alice.texts("err@localhost"))
        await bot.backend.send_message(bot.backend.build_reply(message, "in private", private=True))
        await self.alice.until(lambda: "in private" in self.alice.texts("err@localhost"))

    async def test_hidden_people(self) -> None:
        """In a room that hides JIDs, nobody is an administrator by a nick, and private messages go through the room."""
        room = f"hidden{self.room}"
        await self.alice.join(room)
        await self.alice.configure(room, whois="moderators")
        bob = await self.person("bob")
        await bob.join(room)
        bot = await self.bot(CHATROOM_PRESENCE=(room,), BOT_ADMINS=("bob@localhost", f"{room}/*")).start()
        await bob.say(room, "!restricted")
        message = await bot.events.hear("!restricted")
        self.assertEqual((message.frm.real_jid, message.frm.aclattr), (None, f"{room}/bob"))
        self.assertFalse(Caller.from_message(message, bot.settings).is_admin)
        self.assertFalse(bot.backend.is_certain(message.frm))
        await bot.backend.send_message(bot.backend.build_reply(message, "who are you?", private=True))
        await bob.until(lambda: "who are you?" in bob.texts(room))
        await bob.say(f"{room}/err", "nobody")
        private = await bot.events.hear("nobody")
        self.assertEqual((str(private.frm), private.is_direct), (f"{room}/bob", True))

    async def test_history(self) -> None:
        """What was said before the bot came reaches nobody; what was said while it was away is delayed, and comes once."""
        await self.alice.say(self.room, "!before")
        bot = await self.bot().start()
        await self.alice.say(self.room, "!live")
        await bot.events.hear("!live")
        await bot.stop()
        await self.alice.say(self.room, "!missed")
        await self.alice.say("err@localhost", "!offline")
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "!again")
        await bot.events.hear("!again")
        await bot.events.until(lambda: len(bot.events.delayed) == 2, "the missed messages")
        self.assertEqual((sorted(bot.events.delayed), bot.events.texts), (["!missed", "!offline"], ["!again"]))
        self.assertTrue(all(message.sent_at > 1e9 for message in bot.events.messages))

    async def test_hundred_lines(self) -> None:
        """100 lines arrive in order, in both directions."""
        bot = await self.bot().start()
        sent = [bot.send(self.room, f"out {number}") for number in range(100)]
        for number in range(100):
            self.alice.stream.send("message", "err@localhost", *self.body(f"in {number}"), type="chat", id=f"n{number}")
        await gatherResults(sent)
        await bot.events.hear("in 99")
        self.assertEqual(bot.events.texts, [f"in {number}" for number in range(100)])
        await self.alice.until(lambda: "out 99" in self.alice.texts(self.room))
        self.assertEqual(self.alice.texts(self.room), [f"out {number}" for number in range(100)])

    def body(self, text: str) -> list[Any]:
        """Return the body of a message."""
        from errklein.networks.xmpp._client import element

        return [element(f"{CLIENT}body", text)]

    async def test_rooms(self) -> None:
        """Administrators let the bot make, describe and destroy rooms, and invite people; the server's refusals are errors."""
        bot = await self.bot().start()
        backend, room = bot.backend, bot.backend.query_room(f"new-{self.room}")
        await backend.create(room)
        await backend.set_topic(room, "Release day")
        self.assertEqual((await backend.topic(room), room.topic), ("Release day", "Release day"))
        await backend.invite(room, "alice@localhost")
        await self.alice.until(
            lambda: [
                one for one in self.alice.messages(str(room)) if one.find(f".//{MUC[:-1]}#user}}invite") is not None
            ]
        )
        await self.alice.join(str(room))
        await self.until(lambda: [str(one) for one in room.occupants] == [f"{room}/alice"], "alice")
        await backend.destroy(room)
        await self.until(lambda: not room.joined, "the end of the room")
        for work in (
            backend.set_topic(backend.query_room(self.room), "no"),
            backend.destroy(backend.query_room(self.room)),
            backend.leave(room),
        ):
            with self.assertRaises(RoomError):
                await work
        await backend.leave(backend.query_room(self.room), "bye")
        self.assertEqual(list(backend.rooms()), [])

    async def test_passwords_and_members(self) -> None:
        """The bot knows the passwords of its rooms, and says why it isn't in others; an administrator's invitation has one, too."""
        secret, members = f"secret-{self.room}", f"members-{self.room}"
        for room in (secret, members):
            await self.alice.join(room)
        await self.alice.configure(secret, passwordprotectedroom="1", roomsecret="s3cret")
        await self.alice.configure(members, membersonly="1")
        bot = await self.bot(CHATROOM_PRESENCE=((secret, "s3cret"), self.room)).start()
        for room, reason in ((members, "only members may join"), (secret, "the password is missing or wrong")):
            await bot.backend.leave(bot.backend.query_room(secret)) if room == secret else None
            with self.assertRaisesRegex(RoomError, reason):
                await bot.backend.join(bot.backend.query_room(room))
        from errklein.networks.xmpp._client import element

        direct = element("{jabber:x:conference}x", jid=secret, password="s3cret")
        await (await self.person("bob")).say("err@localhost", None, direct)
        mediated = element(f"{MUC[:-1]}#user}}x", element(f"{MUC[:-1]}#user}}invite", to="err@localhost"))
        await self.alice.say(members, None, mediated, type="normal")
        await bot.joined(members)
        self.assertFalse(bot.backend.query_room(secret).joined)
        await self.alice.say("err@localhost", None, direct)
        await bot.joined(secret)

    async def test_kicked(self) -> None:
        """The bot comes back after it was kicked, and says meanwhile who has done it. Messages wait."""
        from errklein.networks.xmpp import _client
        from errklein.networks.xmpp._client import element

        self.patch(_client, "_AGAIN", 0.3)
        bot = await self.bot().start()
        kick = element(
            f"{MUC[:-1]}#admin}}item", element(f"{MUC[:-1]}#admin}}reason", "no \x1b[31mbots"), nick="err", role="none"
        )
        await self.alice.stream.request(self.room, element(f"{MUC[:-1]}#admin}}query", kick), type="set")
        [(room, who, by)] = await bot.events.until(lambda: bot.events.named("room_left"), "the kick")
        self.assertEqual((str(room), str(who), str(by)), (self.room, f"{self.room}/err", f"{self.room}/alice"))
        self.assertIn("alice has removed the bot", bot.backend.room_status(self.room).cause)
        await bot.send(self.room, "here again")
        await self.alice.until(lambda: "here again" in self.alice.texts(self.room))

    async def test_nick_that_is_taken(self) -> None:
        """If somebody has the bot's nick, it takes another one, and doesn't take that person for itself."""
        bob = await self.person("bob")
        bob.name = "err"
        await bob.join(self.room)
        bot = await self.bot().start()
        await bob.say(self.room, "I was first")
        message = await bot.events.hear("I was first")
        self.assertFalse(bot.backend.is_from_self(message))
        await bot.send(self.room, "hello")
        await self.alice.until(lambda: "hello" in self.alice.texts(self.room))
        self.assertEqual(self.alice.messages(self.room)[-1].get("from"), f"{self.room}/err_")

    async def test_presence(self) -> None:
        """The bot accepts contacts, shows its presence, and reports theirs."""
        from errklein.networks.xmpp._client import element

        bot = await self.bot().start()
        self.alice.stream.send("presence", "err@localhost", type="subscribe")
        shown = await bot.events.until(lambda: bot.events.named("presence_changed"), "alice's presence")
        self.assertEqual(shown[0][0].identifier.person, "alice@localhost")
        self.alice.stream.send("presence", "", element(f"{CLIENT}show", "away"), element(f"{CLIENT}status", "lunch"))
        await bot.events.until(
            lambda: [one for [one] in bot.events.named("presence_changed") if one.message == "lunch"], "lunch"
        )
        bot.backend.change_presence(AWAY, "deploying")
        await self.alice.until(
            lambda: [one for one in self.alice.stanzas if one.findtext(f"{CLIENT}status") == "deploying"]
        )

    async def test_refused_messages(self) -> None:
        """A message that the server returns is rejected, and later ones arrive."""
        bot = await self.bot().start()
        refused = bot.send("nobody@localhost", "hello?")
        with self.assertRaises(Exception) as raised:
            await refused
        self.assertIn("service unavailable", str(raised.exception).lower())
        await bot.send(self.room, "still here")

    async def test_hostile_text(self) -> None:
        """Characters that XML forbids don't end the stream, and a huge text arrives in parts."""
        bot = await self.bot(XMPP_XHTML_IM=True).start()
        await bot.send(self.room, "a\x00\x08\ufffe\uffffb <x> & ]]> \u202e\ud800")
        await bot.send(self.room, "**x** " * 20_000)
        await bot.send(self.room, "the end")
        await self.alice.until(lambda: "the end" in self.alice.texts(self.room))
        self.assertTrue(self.alice.texts(self.room)[0].startswith("ab <x> & ]]>"), self.alice.texts(self.room)[0])
        self.assertEqual(sum(text.count("x") for text in self.alice.texts(self.room)[1:-1]), 20_000)
        self.assertEqual(len(bot.events.named("backend_connected")), 1)

    async def test_another_bot(self) -> None:
        """If another bot logs in with the account, administrators get a notice, and the bots don't throw each other out again and again."""
        bot, other = await self.bot().start(), await self.bot(CHATROOM_PRESENCE=()).start()
        await self.until(lambda: bot.notices, "the notice")
        self.assertIn("has logged in elsewhere", bot.notices[0])
        self.assertGreater(bot.backend.connection.next_attempt_in, 200)
        self.assertTrue(other.backend.connection.is_connected)

    async def test_check(self) -> None:
        """A check beside the running bot says what the server offers; a certificate of unknown origin is refused."""
        from errklein.networks.xmpp import NETWORK

        bot = await self.bot().start()
        assert NETWORK.check is not None
        with self.assertNoLogs("slixmpp", "ERROR"):
            found = [finding.text for finding in await NETWORK.check(bot.context)]
        self.assertEqual(found[0], "the server accepts the bot as err@localhost")
        self.assertIn("rooms are at conference.localhost", found)
        self.assertTrue(bot.backend.connection.is_connected)
        for settings, reason in (
            ({"XMPP_CA_CERT_FILE": None}, "XMPP_CA_CERT_FILE names a file with other CAs"),
            ({"XMPP_FEATURE_MECHANISMS": {"use_mech": "EXTERNAL"}}, "XMPP_FEATURE_MECHANISMS permits"),
        ):
            with self.assertRaisesRegex((ConnectionError, Unusable), reason):
                await NETWORK.check(self.bot(**settings).context)

    async def test_password_in_logs(self) -> None:
        """The password isn't logged at any level, also if the server only knows PLAIN."""
        with self.assertLogs(level="DEBUG") as logged:
            logging.getLogger("tests").debug("at least one line")
            await self.bot(XMPP_FEATURE_MECHANISMS={"use_mech": "PLAIN"}).start()
        lines = "\n".join(logged.output)
        for secret in (b"pw-err", b64encode(b"\0err\0pw-err")):
            self.assertNotIn(secret.decode(), lines)


class OutageTests(OnProsody):
    """A server that is stopped, killed and suspended."""

    async def start_server(self) -> Prosody:
        """Start a server of the test's own."""
        server = Prosody("alice", "bob", "err")
        server.start()
        self.addCleanup(server.stop)
        return server

    async def back(self, bot: Connected, times: int = 2) -> None:
        """Let the bot connect again soon, and wait for it."""
        await bot.events.until(lambda: len(bot.events.named("backend_connected")) >= times, "the connection")
        await bot.joined(self.room)

    async def test_killed_amid_messages(self) -> None:
        """If the server is killed amid 100 messages, all are in the room afterwards, once and in order."""
        bot = await self.bot().start()
        sent = [bot.send(self.room, f"line {number}") for number in range(100)]
        await self.alice.until(lambda: "line 30" in self.alice.texts(self.room))
        self.server.kill()
        await bot.events.until(lambda: bot.events.named("backend_disconnected"), "the loss")
        self.server.start()
        await self.back(bot)
        await gatherResults(sent)
        reader = await self.person("bob")
        await reader.join(self.room, maxstanzas="500")
        self.assertEqual(reader.texts(self.room), [f"line {number}" for number in range(100)])

    async def test_absent_server(self) -> None:
        """The bot waits for a server that isn't there, and then sends what was accepted meanwhile."""
        from errklein.networks.xmpp import NETWORK

        self.server.kill()
        bot = self.bot()
        assert NETWORK.check is not None
        with self.assertRaisesRegex(ConnectionError, f"can't connect to 127.0.0.1:{self.server.port} "):
            await NETWORK.check(bot.context)
        bot.backend.connect(bot.events)
        sent = bot.send(self.room, "at last")
        await self.until(lambda: bot.backend.connection.next_attempt_in, "the first failure")
        self.assertEqual(bot.notices, [])
        self.server.start()
        await sent
        await self.back(bot, 1)

    async def test_suspended_server(self) -> None:
        """A server that doesn't answer any more is noticed, and messages arrive once it is back."""
        from errklein.networks.xmpp import _client

        self.patch(_client, "TIMEOUT", 0.3)
        bot = await self.bot(XMPP_KEEPALIVE_INTERVAL=0.2).start()
        self.server.freeze()
        sent = bot.send(self.room, "later")
        [(reason,)] = await bot.events.until(lambda: bot.events.named("backend_disconnected"), "the loss")
        self.assertIn("no response of localhost within 0.3 s", reason)
        self.patch(_client, "TIMEOUT", 10.0)
        self.server.freeze(False)
        await sent

    async def test_wrong_password(self) -> None:
        """A password that is refused is one notice, also if it was right before; the bot doesn't try again soon."""
        bot = await self.bot().start()
        self.server.kill()
        self.server.set_password("err", "another one")
        self.server.start()
        await self.until(lambda: bot.notices, "the notice")
        [notice] = bot.notices
        self.assertIn("the server refuses the password of err@localhost (not-authorized)", notice)
        self.assertNotIn("pw-err", notice)
        self.assertGreater(bot.backend.connection.next_attempt_in, 200)
