"""Tests of the connection to Matrix with a double on the loopback interface."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.trial.unittest import TestCase

from errklein.networks import directory
from errklein.networks._connection import Backoff
from errklein.networks.context import NetworkContext
from errklein.networks.errors import NotConfirmed, Unusable
from errklein.networks.matrix import NETWORK, _backend, _rooms
from tests import needs_network
from tests.networks.double import Answer, Fault
from tests.networks.matrix.connection import ConnectionTests
from tests.networks.matrix.server import limited, started


class DoubleTests(ConnectionTests, TestCase):
    """What a real homeserver also does."""

    async def make_server(self) -> None:
        """Start the double."""
        needs_network()
        self.patch(Backoff, "FIRST", 0.02)
        self.server = started(self, the_reactor)
        self.url = self.server.url

    async def test_forged_alias(self) -> None:
        """A room doesn't become the configured one by writing the alias into it."""
        bob = await self.person("bob")
        bot = await self.in_room()
        alias = {"type": "m.room.canonical_alias", "content": {"alias": self.alias}}
        forged = await bob.make_room(self.bot.user, preset="private_chat", initial_state=[alias])
        await self.alice.say(self.room, "!now")
        await bot.events.hear("!now")
        self.assertFalse(bot.backend.membership.is_joined(forged))
        of_alice = await self.alice.make_room(self.bot.user, initial_state=[alias])
        await bot.events.until(lambda: bot.backend.membership.is_joined(of_alice), "joining")
        await self.alice.say(of_alice, "!there")
        message = await bot.events.hear("!there")
        self.assertNotIn(self.alias, message.to.access_names("allow"))
        self.assertIn(self.alias, message.to.access_names("deny"))

    async def test_pause_of_a_room(self) -> None:
        """A room in which the homeserver takes nothing for a while doesn't delay others."""
        bot = await self.in_room()
        other = await self.alice.make_room(self.bot.user)
        await bot.events.until(lambda: bot.backend.membership.is_joined(other), "joining")
        self.server.limits[self.room] = 300
        late = bot.send(self.room, "late")
        await bot.send(other, "first")
        await bot.send(other, "second")
        self.assertFalse(late.called)
        self.server.limits.clear()
        await late
        self.assertEqual(self.server.bodies(self.room), ["late"])

    async def test_pause_of_the_bot(self) -> None:
        """If two rooms must wait at the same time, it's a limit of the bot, and it tries no others meanwhile."""
        bot = await self.in_room()
        rooms = [await self.alice.make_room(self.bot.user) for _ in range(3)]
        for room in rooms:
            await bot.events.until(lambda: bot.backend.membership.is_joined(room), "joining")  # noqa: B023 - at once
        self.server.fail("PUT .*/send/", Fault(limited(300)), times=2)
        waiting = [bot.send(room, "to all") for room in (*rooms, self.room)]
        for each in waiting:
            await each
        self.assertLessEqual(len(self.server.called("PUT .*/send/")), 6)
        self.assertEqual([self.server.bodies(room) for room in rooms], [["to all"]] * 3)

    async def test_lost_answers(self) -> None:
        """A message whose confirmation was lost is sent again, and isn't there twice; the next ones keep their order."""
        bot = await self.in_room()
        self.server.fail("PUT .*/send/", Fault(loses_answer=True))
        sent = [bot.send(self.room, f"line {number}") for number in range(5)]
        for each in sent:
            await each
        self.assertEqual(self.server.bodies(self.room), [f"line {number}" for number in range(5)])

    async def test_restart_of_the_server(self) -> None:
        """While the homeserver is away, lines wait; then all arrive, in order, once."""
        bot = await self.in_room()
        sent = [bot.send(self.room, f"line {number}") for number in range(40)]
        await sent[5]
        await self.server.stop()
        await bot.events.until(lambda: bot.events.named("backend_disconnected"), "the loss")
        sent += [bot.send(self.room, f"line {number}") for number in range(40, 60)]
        self.server.start()
        for each in sent:
            await each
        self.assertEqual(self.server.bodies(self.room), [f"line {number}" for number in range(60)])

    async def test_gap_that_cannot_be_read(self) -> None:
        """While the homeserver doesn't send what was missed in one room, other rooms go on; then that room does, in order."""
        bot = await self.in_room()
        other = await self.alice.make_room(self.bot.user)
        await bot.events.until(lambda: bot.backend.membership.is_joined(other), "joining")
        await bot.stop()
        for number in range(70):
            await self.alice.say(self.room, f"line {number}")
        self.server.fail("GET .*/messages", Fault(hangs=True))
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "the last")
        await self.alice.say(other, "!now")
        await bot.events.hear("!now")
        self.assertEqual(bot.events.texts, ["!now"])
        # The client asks again.
        self.server.drop_connections()
        await bot.events.hear("the last")
        self.assertEqual(bot.events.delayed, [f"line {number}" for number in range(20)])
        self.assertEqual(bot.events.texts, ["!now", *(f"line {number}" for number in range(20, 70)), "the last"])

    async def test_gap_that_takes_too_long(self) -> None:
        """A room whose gap can't be read goes on after a while, and what is missing is reported."""
        self.patch(directory, "LONGEST_WAIT", 0.1)
        bot = await self.in_room()
        await bot.stop()
        for number in range(70):
            await self.alice.say(self.room, f"line {number}")
        self.server.fail("GET .*/messages", Fault(hangs=True))
        bot.make()
        await bot.start()
        await bot.events.hear("line 69")
        [(room, *_)] = bot.events.named("gap_found")
        self.assertEqual((str(room), bot.events.delayed), (self.room, []))

    async def test_proxy_without_a_server(self) -> None:
        """The answers of a proxy whose homeserver is being restarted are a lost connection, and no refusal."""
        bot = await self.in_room()
        for status in (404, 502):
            count = len(bot.events.named("backend_connected"))
            self.server.fail("PUT .*/send/", Fault(Answer(status, b"<html>")))
            await bot.send(self.room, f"after {status}")
            self.assertGreater(len(bot.events.named("backend_connected")), count)
        self.assertEqual(self.server.bodies(self.room), ["after 404", "after 502"])

    async def test_first_private_message_while_the_server_is_away(self) -> None:
        """The room for a private message is made as soon as that is possible."""
        bot = await self.in_room()
        self.server.fail("POST .*/createRoom", Fault(Answer(502, b"<html>")))
        sent = bot.send(self.alice.user, "hello")
        room = await self.alice.invitation()
        await sent
        self.assertEqual(self.server.bodies(room), ["hello"])

    async def test_room_that_is_made_later(self) -> None:
        """A configured room that the bot can't join is tried again; the log has the reason once."""
        self.patch(_rooms, "_AGAIN", 0.05)
        bot = await self.in_room(CHATROOM_PRESENCE=("#later:localhost", self.alias))
        await bot.events.until(lambda: len(self.server.called("POST .*/join/%23later")) > 2, "further attempts")
        room = await self.alice.make_room(room_alias_name="later")
        await bot.events.until(lambda: bot.backend.membership.is_joined(room), "joining")
        self.assertIn("the bot is in", bot.backend.room_status("#later:localhost").state)

    async def test_kick_from_a_room_that_is_not_configured(self) -> None:
        """A room that the bot was told to join, such as that of a webhook, is joined again until the bot is told to leave it."""
        self.patch(_rooms, "_AGAIN", 0.05)
        bot = await self.in_room()
        rid = await self.alice.make_room()
        room = bot.backend.query_room(rid)
        await bot.backend.join(room)
        await self.alice.do(rid, "kick", user_id=self.bot.user)
        await bot.events.until(lambda: bot.events.named("room_left"), "the kick")
        await bot.events.until(lambda: room.joined, "joining again")
        await bot.backend.leave(room)
        await bot.events.until(lambda: not room.joined, "leaving")
        await self.alice.do(self.room, "kick", user_id=self.bot.user)
        await bot.events.until(lambda: bot.events.named("room_left")[2:], "the other kick")
        await bot.events.until(lambda: bot.backend.membership.is_joined(self.room), "joining again")
        self.assertFalse(room.joined)

    async def test_check(self) -> None:
        """The check says who the bot is, or why the homeserver refuses it, and doesn't disturb the running bot."""
        bot = await self.in_room()
        check = NETWORK.check
        assert check is not None
        config: Any = bot.settings
        context = NetworkContext(the_reactor, config, clients=bot.clients)
        [found] = await check(context)
        self.assertEqual((found.text, found.is_problem), (f"the homeserver accepts the bot as {self.bot.user}", False))
        config.BOT_IDENTITY = {**config.BOT_IDENTITY, "password": "wr0ng"}
        with self.assertRaisesRegex(Unusable, "Invalid username or password"):
            await check(NetworkContext(the_reactor, config, clients=bot.clients))
        await bot.send(self.room, "still here")
        await self.server.stop()
        with self.assertRaisesRegex(NotConfirmed, "^127.0.0.1:"):
            await check(NetworkContext(the_reactor, config, clients=bot.clients))

    async def test_half_open_connection(self) -> None:
        """If the homeserver doesn't answer to a poll within 15 seconds of its end, the connection is lost."""
        self.assertLessEqual(_backend.POLL + _backend.PATIENCE, 60)
        self.patch(_backend, "POLL", 0.1)
        self.patch(_backend, "PATIENCE", 0.1)
        bot = await self.in_room()
        self.server.is_silent = True
        await bot.events.until(lambda: bot.events.named("backend_disconnected"), "noticing")
        self.server.is_silent = False
        await bot.events.until(lambda: len(bot.events.named("backend_connected")) == 2, "the connection")

    async def test_position_that_the_server_does_not_know(self) -> None:
        """After the homeserver's database was restored, the bot begins anew instead of trying the same for ever."""
        bot = await self.in_room()
        await bot.stop()
        await bot.context.state.set(
            "sync", {"position": {"user": self.bot.user, "since": "x", "at": bot.now(), "number": 1}, "ids": []}
        )
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "!now")
        await bot.events.hear("!now")

    async def test_nonsense(self) -> None:
        """Whatever others make up in events, the bot goes on."""
        bot = await self.in_room()
        room = self.server.rooms[self.room]
        for kind in ("canonical_alias", "encryption", "member", "name", "topic"):
            for content in ({}, {"topic": 3, "name": [], "alias": {}, "membership": None, "displayname": 7}):
                if kind != "encryption":
                    self.server.add(room, self.alice.user, f"m.room.{kind}", content, "")
        self.server.add(room, self.alice.user, "m.room.member", {"membership": "join", "displayname": ["x"]}, "nobody")
        for content in ({}, {"body": None}, {"msgtype": [], "body": {}}, {"body": "x", "m.relates_to": 3}):
            self.server.add(room, self.alice.user, "m.room.message", content)
        await self.bot.call("PUT", f"/user/{self.bot.user}/account_data/m.direct", {"@x": 3, "@y": [None]})
        await self.alice.say(self.room, "!now")
        await bot.events.hear("!now")
        await bot.send(self.room, "I am here.")
        self.assertEqual(bot.events.named("backend_disconnected"), [])
