"""Tests of rooms and names on Slack."""

from __future__ import annotations

from typing import Any

from errklein.chat import RoomDoesNotExistError, RoomError, UserDoesNotExistError
from errklein.networks.slack._backend import AGAIN
from errklein.networks.slack.identifiers import SlackOccupant, SlackPerson, SlackRoom
from tests.networks.slack.server import ALICE, BOB, BOT, DEV, OPS, Channel
from tests.networks.slack.workspace import BASE, BotCase


class RoomTests(BotCase):
    """What administrators do with rooms, and what happens there."""

    def done(self, deferred: Any) -> Any:
        """Return a result after a second."""
        self.clock.advance(1)
        return self.successResultOf(deferred)

    def test_actions(self) -> None:
        """Rooms are joined, left, created, archived; topics are set; people are listed and invited."""
        backend = self.online()
        dev = backend.query_room("#dev")
        self.done(backend.join(dev))
        self.done(backend.set_topic(dev, "Release day"))
        self.assertEqual(self.done(backend.topic(dev)), "Release day")
        self.assertEqual([one.nick for one in self.done(backend.members(dev))], ["alice", "bob"])
        self.done(backend.leave(dev))
        self.assertNotIn(BOT, self.server.channels[DEV].members)
        new = backend.query_room("#new")
        self.done(backend.create(new))
        self.done(backend.invite(new, "@alice"))
        self.done(backend.invite(new, f"<@{BOB}>"))
        [made] = [one for one in self.server.channels.values() if one.name == "new"]
        self.assertEqual((made.members, new.id), ([BOT, ALICE, BOB], made.id))
        self.done(backend.destroy(new))
        self.assertTrue(made.is_archived)
        self.assertEqual([str(room) for room in backend.rooms()], [OPS])
        rooms = [(name, str(call[0])) for name, *call in self.events.recorded if name in ("room_joined", "room_left")]
        expected = [
            ("room_joined", OPS),
            ("room_joined", DEV),
            ("room_left", DEV),
            ("room_joined", made.id),
            ("room_left", made.id),
        ]
        self.assertEqual(rooms, expected)

    def test_nobody_to_invite(self) -> None:
        """Who isn't there can't be invited, and nobody else is: a name without `@` is none."""
        backend = self.online()
        for name, reason in (("malice", "'malice'"), ("@nobody", "nobody called @nobody"), ("", "''")):
            refused = backend.invite(backend.query_room("#ops"), name)
            self.clock.advance(1)
            self.assertIn(reason, str(self.failureResultOf(refused, RoomError).value))
        self.assertEqual(self.server.channels[OPS].members, [ALICE, BOB, BOT])

    def test_refused(self) -> None:
        """The errors have reasons that say what to do."""
        backend = self.online()
        self.server.scopes.remove("channels:join")
        refused = backend.join(backend.query_room("#dev"))
        self.clock.advance(1)
        self.assertIn("lacks the scope channels:join", str(self.failureResultOf(refused, RoomError).value))
        missing = backend.join(backend.query_room("#nowhere"))
        self.clock.advance(1)
        self.failureResultOf(missing, RoomDoesNotExistError)
        taken = backend.create(backend.query_room("#ops"))
        self.clock.advance(1)
        self.failureResultOf(taken, RoomError)

    def test_room_that_refuses(self) -> None:
        """A configured room that can't be joined doesn't keep the bot from others."""
        self.server.channels[OPS].is_archived = True
        self.settings = {"CHATROOM_PRESENCE": ("#ops", "#nowhere", "#dev")}
        backend = self.online()
        self.assertEqual([str(room) for room in backend.rooms()], [DEV])
        self.send(backend, "hello", DEV)
        self.assertEqual(self.posted(DEV), ["hello"])
        self.assertEqual(backend.room_status("#dev").state, "the bot is in #dev")
        self.assertEqual(backend.room_status("#ops").cause, "the room is archived")
        self.server.channels[OPS].is_archived = False
        self.clock.advance(AGAIN)
        self.clock.advance(1)
        self.assertEqual([str(room) for room in backend.rooms()], [DEV, OPS])
        self.successResultOf(backend.disconnect())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_left_for_good(self) -> None:
        """A room that the bot was told to leave, or was removed from, isn't joined again."""
        backend = self.online()
        self.done(backend.join(backend.query_room("#dev")))
        self.done(backend.leave(backend.query_room("#dev")))
        self.server.event({"type": "channel_left", "channel": OPS})
        self.settings = {"CHATROOM_PRESENCE": ()}
        backend.config.CHATROOM_PRESENCE = ()
        self.server.drop_links()
        self.clock.advance(2)
        self.clock.advance(1)
        self.assertEqual(len(self.named("backend_connected")), 2)
        self.assertNotIn(BOT, self.server.channels[DEV].members)

    def test_quiet_room(self) -> None:
        """Of a room where nothing happens, it is known that the bot is there, under its present name."""
        backend = self.online()
        self.done(backend.join(backend.query_room("#dev")))
        self.server.event({"type": "channel_rename", "channel": {"id": OPS, "name": "operations"}})
        for _ in range(40):
            self.clock.advance(10)
        found = [bool(backend.room_status(name)) for name in ("#dev", DEV, "#operations", "#ops", OPS)]
        self.assertEqual(found, [True, True, True, False, True])

    def test_denied_room(self) -> None:
        """While Slack doesn't say the name of a room, rules see the latest one, so that what is denied there stays denied."""
        self.online()
        for _ in range(40):
            self.clock.advance(10)
        answer, headers = {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"}
        url = f"{BASE}/api/conversations.info?channel={OPS}"
        self.http.respond("GET", url, status=429, headers=headers, json=answer)
        self.say("!deploy")
        self.assertEqual(self.events.messages[-1].to.access_names("deny"), (OPS, "#ops"))  # type: ignore[union-attr]

    def test_archived(self) -> None:
        """When somebody archives a channel, the bot isn't there any more; the person hasn't left."""
        backend = self.online()
        self.server.event({"type": "channel_archive", "channel": OPS, "user": ALICE})
        self.clock.advance(0.1)
        self.assertEqual(([who.person for _, who, _ in self.named("room_left")], backend.rooms()), ([BOT], []))

    def test_events(self) -> None:
        """Plugins get who joins and leaves, and topics; the bot notes that it was invited, and removed."""
        backend = self.online()
        self.server.channels["C0PRIVATE"] = Channel("C0PRIVATE", "secret", [ALICE, BOT], is_private=True)
        for event in (
            {"type": "member_joined_channel", "user": BOT, "channel": "C0PRIVATE", "inviter": ALICE},
            {"type": "member_joined_channel", "user": BOB, "channel": OPS, "inviter": ALICE},
            {"type": "member_left_channel", "user": BOB, "channel": OPS},
        ):
            self.server.event(event)
        self.clock.advance(0.1)
        self.assertEqual([str(room) for room in backend.rooms()], [OPS, "C0PRIVATE"])
        *_, (room, who, by), (_, second, _) = self.named("room_joined")
        self.assertEqual((str(room), who.person, by.person, second.person), ("C0PRIVATE", BOT, ALICE, BOB))
        self.server.event({"type": "group_left", "channel": "C0PRIVATE", "actor_id": ALICE})
        self.clock.advance(0.1)
        self.assertEqual([str(room) for room in backend.rooms()], [OPS])
        self.assertEqual([who.person for _, who, _ in self.named("room_left")], [BOB, BOT])
        backend.set_topic(backend.query_room("#ops"), "new")
        self.clock.advance(0.1)
        self.assertEqual([str(room) for (room,) in self.named("room_topic_changed")], [OPS])

    def test_renamed(self) -> None:
        """After a room was renamed, the new name means it, and the old one doesn't."""
        backend = self.online()
        self.assertEqual(backend.query_room(OPS).access_names("allow"), (OPS, "#ops"))
        self.server.channels[OPS].name = "operations"
        self.server.event({"type": "channel_rename", "channel": {"id": OPS, "name": "operations"}})
        self.clock.advance(0.1)
        self.assertEqual(backend.query_room(OPS).access_names("allow"), (OPS, "#operations"))
        self.assertEqual(backend.query_room("#operations"), backend.query_room(OPS))

    def test_names_for_rules(self) -> None:
        """The name of a room is known with each of its messages, also long after the start."""
        self.online()
        self.clock.advance(1000)
        self.clock.advance(1)
        self.say("hello")
        [message] = self.events.messages
        self.assertIn("#ops", message.to.access_names("allow"))  # type: ignore[union-attr]

    def test_without_connection(self) -> None:
        """A room that belongs to no connection says so."""
        self.assertRaises(NotImplementedError, SlackRoom("#ops").join)


class NameTests(BotCase):
    """Persons and rooms by their names."""

    def look_up(self, backend: Any, text: str) -> Any:
        """Return what a text names."""
        found = backend.resolve(text)
        self.clock.advance(1)
        return self.successResultOf(found)

    def test_names(self) -> None:
        """Names, ids and mentions name the same."""
        backend = self.online()
        for text in (ALICE, f"@{ALICE}", "@alice", f"<@{ALICE}>", f"<@{ALICE}|alice>"):
            found = self.look_up(backend, text)
            self.assertEqual((found, found.nick), (backend.build_identifier(ALICE), "alice"), text)
        for text in (OPS, "#ops", f"<#{OPS}|ops>", f"<#{OPS}>"):
            self.assertEqual(self.look_up(backend, text), backend.query_room("#ops"), text)
        member = self.look_up(backend, "#ops/@alice")
        self.assertEqual((str(member), type(member)), (f"{OPS}/{ALICE}", SlackOccupant))
        # Now it is known.
        self.assertEqual(backend.build_identifier("@alice").person, ALICE)

    def test_missing(self) -> None:
        """What doesn't exist is an error; a name of two people, too."""
        backend = self.online()
        self.server.users["U0ALICE02"] = {**self.server.users[ALICE], "id": "U0ALICE02"}
        for text, error in (
            *(
                ("@nobody", UserDoesNotExistError),
                ("@alice", UserDoesNotExistError),
                ("U0NOBODY0", UserDoesNotExistError),
            ),
            *(("#nowhere", RoomDoesNotExistError), ("#nowhere/@bob", RoomDoesNotExistError)),
        ):
            missing = backend.resolve(text)
            self.clock.advance(1)
            self.failureResultOf(missing, error)
        self.assertRaises(ValueError, backend.build_identifier, "@unknown")

    def test_values(self) -> None:
        """Identifiers are equal by id, whatever else is known."""
        profile = {"nick": "Al", "username": "alice"}
        self.assertEqual(SlackPerson(ALICE, "slack", profile), SlackPerson(ALICE, "slack"))
        self.assertNotEqual(SlackPerson(ALICE, "slack"), SlackPerson(BOB, "slack"))
        self.assertEqual(SlackPerson(ALICE).nick, ALICE)
        self.assertRaises(ValueError, SlackPerson, "alice")
        self.assertRaises(ValueError, SlackRoom, "ops")

    def test_private_conversation(self) -> None:
        """A message to a person goes to the conversation, which is opened once."""
        backend = self.online()
        for text in ("one", "two"):
            self.send(backend, text, BOB)
        self.assertEqual(self.posted("D0BOB0000"), ["one", "two"])
        self.assertEqual(len([call for call in self.server.calls if call.path.endswith("conversations.open")]), 1)
