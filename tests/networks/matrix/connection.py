"""Tests of the connection to Matrix that a double and a real homeserver pass alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.internet import reactor as the_reactor

from errklein.chat import RoomDoesNotExistError, RoomError
from errklein.networks import directory
from tests.networks.matrix.people import Connected, Person

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _TestCase
else:
    _TestCase = object


class ConnectionTests(_TestCase):
    """A bot and alice on a homeserver. The test case implements `make_server`, which sets `url` and `names`."""

    url: str
    suffix: str = ""
    """What makes names unique on a homeserver that several tests use."""

    async def make_server(self) -> None:
        """Start a homeserver."""
        raise NotImplementedError

    async def setUp(self) -> None:
        """Make the accounts of alice and of the bot, with a room."""
        self.reactor: Any = the_reactor
        await self.make_server()
        self.alice = await self.person("alice")
        self.bot = await self.person("err")
        self.identity: dict[str, Any] = {"user": self.bot.user, "password": f"pw-{self.bot.name}"}
        self.room = await self.alice.make_room(room_alias_name=f"ops{self.suffix}")
        self.alias = f"#ops{self.suffix}:localhost"

    async def person(self, name: str) -> Person:
        """Return a person with an account."""
        return await Person(self.reactor, self.url, name + self.suffix).register()

    def connected(self, **settings: Any) -> Connected:
        """Return a connection that isn't started. `settings` replace those of the configuration."""
        given = {"CHATROOM_PRESENCE": (self.alias,), "BOT_ADMINS": (self.alice.user,), **settings}
        made = Connected(self.reactor, self.url, self.identity, **given)
        self.addCleanup(lambda: made.stop())
        return made

    async def in_room(self, **settings: Any) -> Connected:
        """Return a connection of a bot that is in the room."""
        made = await self.connected(**settings).start()
        await made.events.until(lambda: made.backend.membership.is_joined(self.room), "joining")
        return made

    async def test_messages(self) -> None:
        """The bot joins its room, reads what is said there, and answers."""
        bot = await self.in_room()
        event = await self.alice.say(self.room, "!status")
        message = await bot.events.hear("!status")
        self.assertEqual((str(message.to), message.frm.person), (self.room, self.alice.user))
        self.assertEqual((message.ref.id, message.delayed, message.is_group), (event, False, True))
        await bot.send(self.alias, "I am fine.")
        await self.alice.hears("I am fine.", self.room)
        self.assertEqual(await self.alice.texts(self.room), ["!status", "I am fine."])

    async def test_what_was_said_before(self) -> None:
        """What was said before the bot joined reaches nobody."""
        await self.alice.say(self.room, "!old")
        bot = await self.in_room()
        await self.alice.say(self.room, "!new")
        await bot.events.hear("!new")
        self.assertEqual([message.body for message in bot.events.messages], ["!new"])

    async def test_restart(self) -> None:
        """A bot that is started again runs what was said meanwhile, and nothing a second time."""
        bot = await self.in_room()
        await self.alice.say(self.room, "!first")
        await bot.events.hear("!first")
        await bot.stop()
        await self.alice.say(self.room, "!second")
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "!third")
        await bot.events.hear("!third")
        self.assertEqual(bot.events.texts, ["!second", "!third"])
        # The state is there, too.
        self.assertEqual([one.person for one in bot.backend.query_room(self.room).occupants], [self.alice.user])

    async def test_kill(self) -> None:
        """A process that is killed has stored what it has read before it handles that."""
        bot = await self.in_room()
        await self.alice.say(self.room, "!deploy")
        await bot.events.hear("!deploy")
        # What the killed process would have stored later is missing.
        bot.storage = bot.copy_of_storage()
        await bot.stop()
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "!next")
        await bot.events.hear("!next")
        self.assertEqual(bot.events.texts, ["!next"])

    async def test_deleted_data_directory(self) -> None:
        """Without its data directory, the bot logs in again, and runs nothing that it may have run before."""
        bot = await self.in_room()
        await self.alice.say(self.room, "!deploy")
        await bot.events.hear("!deploy")
        await bot.stop()
        for _ in range(2):
            bot.storage = type(bot.storage)()
            bot.make()
            await bot.start()
            await self.alice.say(self.room, "!hello")
            await bot.events.hear("!hello")
            self.assertEqual(bot.events.texts, ["!hello"])
            await bot.stop()
        bot.make()

    async def test_old_position(self) -> None:
        """A position that is older than a day, as after a backup was restored, is not used."""
        bot = await self.in_room()
        await self.alice.say(self.room, "!deploy")
        await bot.events.hear("!deploy")
        await bot.stop()
        await self.alice.say(self.room, "!late")
        now = bot.now
        bot.now = lambda: now() + 86401
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "!now")
        await bot.events.hear("!now")
        self.assertEqual(bot.events.texts, ["!now"])

    async def test_restored_data_directory(self) -> None:
        """A bot whose data directory is that of an older backup doesn't run again what it has answered since."""
        bot = await self.in_room()
        await self.alice.say(self.room, "!first")
        await bot.events.hear("!first")
        await bot.stop()
        backup = bot.copy_of_storage()
        bot.make()
        await bot.start()
        for number in range(3):
            await self.alice.say(self.room, f"!deploy {number}")
            await bot.events.hear(f"!deploy {number}")
            await bot.send(self.room, f"deployed {number}")
        await self.alice.hears("deployed 2")
        await bot.stop()
        await self.alice.say(self.room, "!while it was away")
        bot.storage = backup
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "!now")
        await bot.events.hear("!now")
        self.assertEqual(bot.events.texts, ["!while it was away", "!now"])

    async def test_gap(self) -> None:
        """Of many missed messages, the latest run, those before are delayed, and what is missing then is reported."""
        self.identity["missed"] = 20
        bot = await self.in_room()
        await self.alice.say(self.room, "begin")
        await bot.events.hear("begin")
        await bot.stop()
        for number in range(100):
            await self.alice.say(self.room, f"line {number}")
        bot.make()
        await bot.start()
        await bot.events.hear("line 99")
        self.assertEqual(bot.events.delayed, [f"line {number}" for number in range(30, 50)])
        self.assertEqual(bot.events.texts, [f"line {number}" for number in range(50, 100)])
        [(room, since, until)] = bot.events.named("gap_found")
        self.assertEqual(str(room), self.room)
        self.assertLess(since, until + 1)
        calls = [call[1].body if call[0] == "message_received" else call[0] for call in bot.events.recorded]
        self.assertLess(calls.index("line 30"), calls.index("line 50"))

    async def test_short_gap(self) -> None:
        """A gap that was read completely isn't reported."""
        bot = await self.in_room()
        await self.alice.say(self.room, "begin")
        await bot.events.hear("begin")
        await bot.stop()
        for number in range(70):
            await self.alice.say(self.room, f"line {number}")
        bot.make()
        await bot.start()
        await bot.events.hear("line 69")
        self.assertEqual(bot.events.delayed, [f"line {number}" for number in range(20)])
        self.assertEqual(bot.events.named("gap_found"), [])

    async def test_private_conversation(self) -> None:
        """The bot makes one room for private messages to a person, and uses it from then on, also without its data directory."""
        bot = await self.connected().start()
        sent = [bot.send(self.alice.user, f"hello {number}") for number in range(3)]
        room = await self.alice.invitation()
        for each in sent:
            await each
        self.assertEqual(await self.alice.texts(room), ["hello 0", "hello 1", "hello 2"])
        await self.alice.say(room, "!help")
        message = await bot.events.hear("!help")
        self.assertTrue(message.is_direct)
        self.assertEqual(message.frm.person, self.alice.user)
        bot.storage = type(bot.storage)()
        await bot.restart()
        await bot.send(self.alice.user, "again")
        self.assertEqual((await self.alice.texts(room))[-1], "again")
        self.assertEqual(len(bot.backend.rooms()), 2)

    async def test_conversation_that_others_have_taken_over(self) -> None:
        """What is meant for a person who has left a private conversation isn't said to who is still there."""
        bob = await self.person("bob")
        bot = await self.connected().start()
        room = await self.alice.make_room(self.bot.user, preset="trusted_private_chat", is_direct=True)
        await bot.events.until(lambda: bot.backend.membership.is_joined(room), "joining")
        await bot.send(self.alice.user, "one")
        self.assertEqual(await self.alice.texts(room), ["one"])
        await self.alice.do(room, "invite", user_id=bob.user)
        await bob.call("POST", f"/join/{quote(room)}")
        await bot.stop()
        await self.alice.do(room, "leave")
        await bob.say(room, "mine")
        bot.make()
        await bot.start()
        sent = bot.send(self.alice.user, "secret")
        other = await self.alice.invitation()
        await sent
        self.assertEqual(await self.alice.texts(other), ["secret"])
        self.assertEqual(await bob.texts(room), ["one", "mine"])

    async def test_conversation_that_a_person_has_left(self) -> None:
        """Whoever has left the private conversation is invited to a new one."""
        bot = await self.connected().start()
        sent = bot.send(self.alice.user, "hello")
        room = await self.alice.invitation()
        await sent
        await self.alice.do(room, "leave")
        await bot.events.until(lambda: bot.events.named("room_left"), "leaving")
        sent = bot.send(self.alice.user, "again")
        other = await self.alice.invitation()
        await sent
        self.assertNotEqual(other, room)
        self.assertEqual(await self.alice.texts(other), ["again"])

    async def test_conversation_that_was_replaced(self) -> None:
        """A private conversation that somebody has upgraded is closed, so that the bot begins another one."""
        bot = await self.connected().start()
        sent = bot.send(self.alice.user, "hello")
        room = await self.alice.invitation()
        await sent
        new = await self.alice.make_room(preset="private_chat")
        await self.alice.state(room, "m.room.tombstone", {"body": "replaced", "replacement_room": new})
        await bot.events.until(lambda: "replaced" in bot.backend.room_status(room).state, "the upgrade")
        sent = bot.send(self.alice.user, "again")
        other = await self.alice.invitation()
        await sent
        self.assertEqual(await self.alice.texts(other), ["again"])

    async def test_conversation_that_is_begun_by_a_person(self) -> None:
        """Anybody may begin a private conversation; what was said before the bot came runs, and replies go there."""
        bob = await self.person("bob")
        bot = await self.connected().start()
        room = await bob.make_room(self.bot.user, preset="trusted_private_chat", is_direct=True)
        await bob.say(room, "!help")
        message = await bot.events.hear("!help")
        self.assertEqual((message.is_direct, message.delayed), (True, False))
        await bot.send(bob.user, "Here is help.")
        await bob.hears("Here is help.", room)

    async def test_invitations(self) -> None:
        """Invitations of administrators are accepted; those of others only to private conversations, and to configured rooms."""
        bob = await self.person("bob")
        bot = await self.in_room(CHATROOM_PRESENCE=(self.alias, f"#secret{self.suffix}:localhost"))
        of_bob = await bob.make_room(self.bot.user)
        of_alice = await self.alice.make_room(self.bot.user, preset="private_chat")
        await bot.events.until(lambda: bot.backend.membership.is_joined(of_alice), "joining the room of alice")
        configured = await bob.make_room(self.bot.user, preset="private_chat", room_alias_name=f"secret{self.suffix}")
        await bot.events.until(lambda: bot.backend.membership.is_joined(configured), "joining the configured room")
        self.assertFalse(bot.backend.membership.is_joined(of_bob))
        joined = {str(room): (str(who), inviter) for room, who, inviter in bot.events.named("room_joined")}
        self.assertEqual(joined[of_alice][1].person, self.alice.user)
        self.assertIn(self.bot.user, joined[of_alice][0])

    async def test_kick_and_ban(self) -> None:
        """Being kicked is reported with the reason; messages wait, and are sent when the bot is back."""
        bot = await self.in_room()
        await self.alice.do(self.room, "ban", user_id=self.bot.user, reason="too loud")
        await bot.events.until(lambda: bot.events.named("room_left"), "leaving")
        [(room, who, by)] = bot.events.named("room_left")
        self.assertEqual((str(room), who.person, by.person), (self.room, self.bot.user, self.alice.user))
        status = bot.backend.room_status(self.alias)
        self.assertIn("too loud", status.cause)
        sent = bot.send(self.alias, "I am back.")
        await self.alice.do(self.room, "unban", user_id=self.bot.user)
        await self.alice.do(self.room, "invite", user_id=self.bot.user)
        await sent
        self.assertEqual(await self.alice.texts(self.room), ["I am back."])

    async def test_aliases_for_access_rules(self) -> None:
        """A message has the aliases of its room that the homeserver confirms, however long ago the bot asked for them."""
        self.patch(directory, "LIFETIME", 0.0)
        self.patch(directory, "ABSENCE", 0.0)
        bot = await self.in_room()
        for text in ("!first", "!second"):
            self.patch(directory, "LIFETIME", 300.0)
            await self.alice.say(self.room, text)
            message = await bot.events.hear(text)
            self.assertIn(self.alias, message.to.access_names("allow"))
        second = f"#second{self.suffix}:localhost"
        await self.alice.call("PUT", f"/directory/room/{quote(second)}", {"room_id": self.room})
        await self.alice.state(self.room, "m.room.canonical_alias", {"alias": self.alias, "alt_aliases": [second]})
        await self.alice.say(self.room, "!third")
        message = await bot.events.hear("!third")
        self.assertIn(second, message.to.access_names("allow"))

    async def test_alias_of_a_room_that_the_bot_is_not_in(self) -> None:
        """Messages to an alias wait until the bot is in its room; those to an alias that doesn't exist are rejected."""
        bot = await self.in_room(CHATROOM_PRESENCE=(f"#none{self.suffix}:localhost", self.alias))
        alias = f"#later{self.suffix}:localhost"
        room = await self.alice.make_room(preset="private_chat", room_alias_name=f"later{self.suffix}")
        sent = bot.send(alias, "hello")
        await bot.send(self.alias, "others first")
        with self.assertRaises(RoomDoesNotExistError) as caught:
            await bot.send(f"#nobody{self.suffix}:localhost", "hello")
        self.assertIn("there is no room #nobody", str(caught.exception))
        self.assertFalse(sent.called)
        await self.alice.do(room, "invite", user_id=self.bot.user)
        await sent
        self.assertEqual(await self.alice.texts(room), ["hello"])
        self.assertIn("not found", bot.backend.room_status(f"#none{self.suffix}:localhost").cause)

    async def test_rooms(self) -> None:
        """What administrators do with rooms, and the homeserver's words if it refuses."""
        bot = await self.in_room()
        backend = bot.backend
        ops, new = backend.query_room(self.alias), backend.query_room(f"#new{self.suffix}:localhost")
        self.assertEqual([one.person for one in await backend.members(ops)], [self.alice.user])
        error = await self.assertFailure(backend.set_topic(ops, "Release day"), RoomError)
        self.assertIn("permission", str(error))
        self.assertEqual(await backend.topic(ops), "")
        await self.alice.state(self.room, "m.room.topic", {"topic": "Hands off"})
        await bot.events.until(lambda: bot.events.named("room_topic_changed"), "the topic")
        self.assertEqual(await backend.topic(ops), "Hands off")
        error = await self.assertFailure(backend.join(new), RoomDoesNotExistError)
        self.assertIn("not found", str(error))
        await backend.create(new)
        await backend.set_topic(new, "Release day")
        await backend.invite(new, self.alice.user)
        room = await self.alice.invitation()
        self.assertEqual(room, new.id)
        self.assertEqual([one.person for one in await backend.members(new)], [self.alice.user])
        await backend.destroy(new)
        await bot.events.until(lambda: not backend.membership.is_joined(room), "leaving")
        await self.assertFailure(backend.join(new), RoomError)
        await backend.leave(ops, "good-bye")
        await bot.events.until(lambda: not backend.membership.is_joined(self.room), "leaving")
        await backend.join(ops)
        self.assertTrue(backend.membership.is_joined(self.room))
        secret = await self.alice.make_room(preset="private_chat")
        error = await self.assertFailure(backend.join(backend.query_room(secret)), RoomError)
        self.assertIn("not invited", str(error))

    async def test_upgraded_room(self) -> None:
        """The bot follows to the room that replaces another one if both rooms say so, and what is for the old one goes there."""
        bot = await self.in_room()
        before = {"predecessor": {"room_id": self.room, "event_id": "$tombstone"}}
        new = await self.alice.make_room(creation_content=before)
        other = await self.alice.make_room()
        dev = await self.alice.make_room(self.bot.user)
        await bot.events.until(lambda: bot.backend.membership.is_joined(dev), "joining")
        closed = {"body": "This room has been replaced"}
        await self.alice.state(dev, "m.room.tombstone", {**closed, "replacement_room": other})
        await self.alice.state(self.room, "m.room.tombstone", {**closed, "replacement_room": new})
        membership = bot.backend.membership
        await bot.events.until(lambda: {new, other} <= membership.states.keys(), "following")
        await bot.send(self.alias, "one")
        await bot.send(self.room, "two")
        await bot.send(dev, "three")
        self.assertEqual(str(bot.backend.build_identifier(self.room)), new)
        await bot.restart()
        await bot.events.until(lambda: bot.backend.membership.is_joined(self.room), "joining")
        await bot.send(self.room, "four")
        self.assertEqual(await self.alice.texts(new), ["one", "two", "four"])
        self.assertEqual(await self.alice.texts(dev), ["three"])
        self.assertEqual({str(room) for room in bot.backend.rooms()}, {new, dev, other})

    async def test_upgraded_room_that_is_closed(self) -> None:
        """What is for a room waits while the bot isn't admitted to the one that replaces it."""
        bot = await self.in_room(BOT_ADMINS=("@nobody:localhost",))
        before = {"predecessor": {"room_id": self.room, "event_id": "$tombstone"}}
        new = await self.alice.make_room(preset="private_chat", creation_content=before)
        await self.alice.state(self.room, "m.room.tombstone", {"body": "replaced", "replacement_room": new})

        def status() -> str:
            found = bot.backend.room_status(self.alias)
            return f"{found.state}: {found.cause}"

        expected = f"{self.alias} was replaced by {new}, and the bot is not there: You are not invited to this room."
        await bot.events.until(lambda: status() == expected, "the reason")
        sent = bot.send(self.room, "waits")
        await self.alice.do(new, "invite", user_id=self.bot.user)
        await sent
        self.assertEqual(await self.alice.texts(new), ["waits"])

    async def test_people_who_come_and_go(self) -> None:
        """Who joins and leaves is reported, and people are in a room from when they join until they leave."""
        bob = await self.person("bob")
        bot = await self.in_room()
        await bob.call("POST", f"/join/{quote(self.room)}")
        await bot.events.until(lambda: len(bot.events.named("room_joined")) > 1, "the join of bob")
        names = [one.person for one in bot.backend.query_room(self.room).occupants]
        self.assertIn(bob.user, names)
        await self.alice.do(self.room, "kick", user_id=bob.user)
        [(room, who, by)] = await bot.events.until(lambda: bot.events.named("room_left"), "the kick")
        self.assertEqual((str(room), who.person, by.person), (self.room, bob.user, self.alice.user))
        self.assertNotIn(bob.user, [one.person for one in bot.backend.query_room(self.room).occupants])

    async def test_names(self) -> None:
        """People have their display names, with the id if several in the room have the same."""
        bob = await self.person("bob")
        bot = await self.in_room()
        await bob.call("POST", f"/join/{quote(self.room)}")
        await self.alice.say(self.room, "!one")
        self.assertEqual((await bot.events.hear("!one")).frm.nick, self.alice.name)
        await bob.call("PUT", f"/profile/{quote(bob.user)}/displayname", {"displayname": self.alice.name})
        room = bot.backend.query_room(self.alias)
        # Homeservers change the name in rooms some time later.
        await bot.events.until(lambda: bob.name not in [one.nick for one in room.occupants], "the other name")
        await self.alice.say(self.room, "!three")
        self.assertEqual((await bot.events.hear("!three")).frm.nick, f"{self.alice.name} ({self.alice.user})")
        members = await bot.backend.members(room)
        self.assertEqual(
            {one.nick for one in members}, {f"{self.alice.name} ({one.user})" for one in (self.alice, bob)}
        )
        self.assertEqual(len(bot.events.named("room_joined")), 2)

    async def test_encrypted_room(self) -> None:
        """The inviter of an encrypted room is told that the bot can't read it; nothing is sent there, and it is in the status."""
        encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        bot = await self.in_room()
        room = await self.alice.make_room(self.bot.user, preset="private_chat", initial_state=[encryption])
        conversation = await self.alice.invitation()
        _, event = await self.alice.hears(
            "The conversation is encrypted, so that I can neither read nor write there. "
            "Write to me here, or in a room without encryption.",
            conversation,
        )
        self.assertEqual(event["sender"], self.bot.user)
        self.assertIn("encrypted", bot.backend.room_status(room).state)
        self.assertEqual(list(bot.backend.unreadable), [room])
        sent = bot.send(room, "secret")
        await bot.send(self.room, "public")
        self.assertFalse(sent.called)
        self.assertEqual(await self.alice.texts(room), [])

    async def test_token_of_the_configuration(self) -> None:
        """The bot uses the access token of the configuration; if it is revoked, administrators are told once."""
        self.identity = {"token": self.bot.token}
        bot = await self.in_room()
        self.assertEqual(bot.backend.client.user, self.bot.user)
        await self.bot.call("POST", "/logout")
        # What the homeserver still answers.
        await self.alice.say(self.room, "!last")
        await bot.events.until(lambda: bot.notices, "the notice")
        self.assertIn("BOT_IDENTITY['token']", bot.notices[0])
        self.assertFalse(bot.backend.connection.is_connected)
        self.assertGreater(bot.backend.connection.next_attempt_in, 200)

    async def test_revoked_token(self) -> None:
        """A bot with a password logs in again when its token is revoked, as the same device."""
        bot = await self.in_room()
        device = (await bot.backend.client.call("GET", "/account/whoami"))["device_id"]
        await bot.backend.client.call("POST", "/logout", {})
        await self.alice.say(self.room, "!last")
        await bot.events.until(lambda: len(bot.events.named("backend_connected")) > 1, "the second login")
        self.assertEqual((await bot.backend.client.call("GET", "/account/whoami"))["device_id"], device)
        self.assertEqual(bot.notices, [])

    async def test_wrong_password(self) -> None:
        """A wrong password is told once, and isn't tried again soon."""
        self.identity["password"] = "wr0ng"
        bot = self.connected()
        bot.backend.connect(bot.events)
        await bot.events.until(lambda: bot.notices, "the notice")
        self.assertIn("Invalid username or password", bot.notices[0])
        self.assertNotIn("wr0ng", bot.notices[0])
        self.assertGreater(bot.backend.connection.next_attempt_in, 200)

    async def test_login_is_kept(self) -> None:
        """A bot that is started again is the same device, with the same token."""
        bot = await self.connected().start()
        token = await bot.context.state.get("login")
        await bot.restart()
        self.assertEqual(await bot.context.state.get("login"), token)
