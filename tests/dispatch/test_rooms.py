"""Tests for rooms on networks that look names up, and answer later: operations, webhooks, relays and notices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from errklein.chat import Identifier, Room, RoomDoesNotExistError, RoomError, RoomOccupant
from errklein.chat.identifiers import LookupFailed
from errklein.networks.test import TestRoom
from tests.doubles import NetworksCase


class LookupCase(NetworksCase):
    """A bot on a network with ids: the alias #ops:hs means !1, and #dev:hs means !2. `waiting` has unanswered lookups."""

    networks = {
        "hs": {"BOT_ADMINS": ("alice",), "CHATROOM_PRESENCE": (), "REVERSE_CHATROOM_RELAY": {"#ops:hs": "carol"}},
        "console": {},
    }
    settings = {
        "ACCESS_CONTROLS": {"webhook*": {"allowusers": ("*",), "allowmuc": True}},
        "PUBLIC_URL": "https://bot.example.net",
    }

    def setUp(self) -> None:
        super().setUp()
        self.hs: Any = self.backends["hs"]
        self.ids = {"#ops:hs": "!1", "#dev:hs": "!2"}
        self.waiting: list[Deferred[None]] | None = None
        self.error: Exception | None = None
        self.build, self.refusals = self.hs.build_identifier, dict[str, str]()
        self.hs.build_identifier, self.hs.resolve = self.identifier_of, self.resolve
        acts = ["leave", "create", "destroy", "topic", "set_topic", "members", "invite"]
        vars(self.hs).update({act: partial(self.act, act) for act in acts}, join=partial(self.act, "join"))

    def identifier_of(self, text: str) -> Identifier:
        """Return the room of an id or alias, or the person."""
        found: Identifier = self.hs.query_room(text) if text[:1] in "#!" else self.build(text)
        return found

    def resolve(self, text: str) -> Deferred[Identifier]:
        """Return the room of an id, after `waiting`."""
        if self.error is not None:
            return fail(self.error)
        if text[:1] == "#" and text not in self.ids:
            return fail(RoomDoesNotExistError(f"nobody knows {text}"))
        answer: Deferred[None] = Deferred()
        if self.waiting is None:
            answer.callback(None)
        else:
            self.waiting.append(answer)
        return answer.addCallback(lambda _: self.identifier_of(self.ids.get(text, text)))

    def act(self, act: str, room: TestRoom, *args: str) -> Deferred[Any]:
        """Implement ManagesRooms."""
        if str(room) in self.refusals:
            return fail(RoomError(self.refusals[str(room)]))
        if act == "topic":
            return maybeDeferred(lambda: room.topic)
        if act == "members":
            members: Sequence[RoomOccupant] = room.occupants
            return succeed(members)
        return maybeDeferred(getattr(room, act), *(args if act == "invite" else ()))

    def made(self) -> list[str]:
        """Return the rooms of webhooks."""
        return [one.room for one in self.bot.room_webhooks.all()]

    def enter(self, room: str, *people: str) -> None:
        """Let the bot and people be in the room."""
        self.hs.query_room(room).join()
        for person in people:
            self.hs.query_room(room).enter(person)


class CommandTests(LookupCase):
    """The commands `!room …`."""

    def test_answers(self) -> None:
        """The commands wait for the network, and reply in its words."""
        self.assertEqual(self.say("!room join #ops:hs", frm="alice", network="hs"), ["Joined the room #ops:hs."])
        self.assertTrue(self.hs.query_room("!1").joined)
        self.assertFalse(self.hs.query_room("#ops:hs").joined)
        self.refusals["!2"] = "you are not invited"
        for command in ("join #dev:hs", "topic #dev:hs", "topic #dev:hs news", "occupants hs:#dev:hs", "leave #dev:hs"):
            self.assertEqual(
                self.say(f"!room {command}", frm="alice", network="hs"), ["The command failed: you are not invited"]
            )
        self.assertEqual(
            self.say("!room invite #dev:hs bob", frm="alice", network="hs"),
            ["The command failed: bob: you are not invited"],
        )
        self.assertEqual(
            self.say("!room join #x:hs", frm="alice", network="hs"), ["The command failed: nobody knows #x:hs"]
        )

    def test_new_rooms(self) -> None:
        """A room that doesn't exist yet is created."""
        self.assertEqual(self.say("!room create #x:hs", frm="alice", network="hs"), ["Created the room #x:hs."])
        self.assertTrue(self.hs.query_room("#x:hs").exists)

    def test_lookup_that_fails(self) -> None:
        """A network that can't be asked is a reason, too."""
        self.error = LookupFailed("the server is down")
        self.assertEqual(
            self.say("!room join #ops:hs", frm="alice", network="hs"), ["The command failed: the server is down"]
        )

    def test_rooms_of_webhooks(self) -> None:
        """The bot joins rooms of webhooks by itself; the log has the reason for which it can't."""
        self.refusals["!2"] = "you are not invited"
        names = ("hs:#dev:hs", "hs:#ops:hs", "hs:#x:hs", "console:#web")
        entered = Deferred.fromCoroutine(self.bot.core_host.rooms.enter((name, None) for name in names))
        self.assertIsNone(self.successResultOf(entered))
        self.assertTrue(self.hs.query_room("!1").joined)
        self.assertTrue(self.backends["console"].query_room("#web").joined)
        log = "\n".join(self.test_bot.log)
        self.assertIn("The room hs:#dev:hs could not be joined: you are not invited", log)
        self.assertIn("The room hs:#x:hs could not be joined: nobody knows #x:hs", log)


class WebhookTests(LookupCase):
    """Webhooks of rooms, whose names have colons."""

    def new(self, room: str, frm: str = "alice") -> list[str]:
        """Make a webhook and return the replies."""
        return self.say(f"!webhook new alertmanager in {room}", frm=frm, network="hs")

    def test_id(self) -> None:
        """A webhook belongs to the room with the id, however the room was named, and its messages go there."""
        for number, room in enumerate(("#ops:hs", "hs:#ops:hs", "!1", "hs:!1")):
            self.enter("!1")
            self.assertTrue(any("https://bot.example.net/hooks/" in text for text in self.new(room)))
            self.assertEqual(self.made(), ["hs:!1"] * (number + 1))
        webhook = self.bot.room_webhooks.all()[0]
        self.forget()
        self.bot.room_webhooks._messages.announce(webhook, "down")
        self.assertEqual(self.sent("hs"), [("!1", "down")])
        self.say(f"!webhook move {webhook.name} #dev:hs", frm="alice", network="hs")
        self.assertEqual(self.made()[0], "hs:!2")

    def test_unknown_room(self) -> None:
        """A room that doesn't exist gets no webhook."""
        [reply] = self.new("#x:hs")
        self.assertIn("is no room: nobody knows #x:hs", reply)
        self.assertEqual(self.made(), [])

    def test_network_that_does_not_reply(self) -> None:
        """If the network can't be asked, or doesn't reply in time, the webhook is for the room as it is named."""
        self.waiting = []
        self.new("#ops:hs")
        self.assertEqual(self.made(), [])
        self.waiting = None
        self.reactor.advance(30)
        self.assertEqual(self.made(), ["hs:#ops:hs"])
        self.error = LookupFailed("the server is down")
        self.new("#dev:hs")
        self.assertEqual(self.made()[1:], ["hs:#dev:hs"])

    def test_people_in_the_room(self) -> None:
        """Others may make webhooks for rooms that the network says they are in; otherwise, and if it can't say, they may not."""
        self.enter("!1", "bob")
        refused = re.compile("You may make webhooks only for rooms that you are in")
        self.assertNotRegex(self.new("#ops:hs", "bob")[0], refused)
        self.assertEqual(self.made(), ["hs:!1"])
        self.assertRegex(self.new("#ops:hs", "carol")[0], refused)
        self.assertRegex(self.new("console:#web", "bob")[0], refused)
        self.refusals["!1"] = "the bot is not in the room"
        self.assertRegex(self.new("#ops:hs", "bob")[0], refused)
        self.refusals.clear()
        self.error = LookupFailed("the server is down")
        self.assertRegex(self.new("#ops:hs", "bob")[0], refused)
        self.assertEqual(self.made(), ["hs:!1"])


class RelayTests(LookupCase):
    """Relayed messages of rooms with aliases."""

    def test_alias(self) -> None:
        """A relay is found by an alias that means the room."""
        room: Any = self.hs.query_room("!1")
        vouched = {"!1": ("!1", "#ops:hs"), "!2": ("!2",)}
        self.patch(TestRoom, "access_names", lambda room, purpose: vouched[room.name] if purpose == "allow" else ())
        assert isinstance(room, Room)
        self.say("hello", to="!1", network="hs")
        self.say("secret", to="!2", network="hs")
        self.assertEqual(self.sent("hs"), [("carol", "[bob] hello")])


class NoticeTests(LookupCase):
    """Notices to administrators whose names must be looked up."""

    networks = {"hs": {"BOT_ADMINS": ("alice",), "BOT_ADMINS_NOTIFICATIONS": ("alice", "#ops:hs")}}

    def test_order(self) -> None:
        """Notices wait for the lookup, and are sent in their order."""
        self.waiting = []
        for text in ("one", "two"):
            self.bot.warn_admins(text)
        self.assertEqual(self.sent("hs"), [])
        for answer in self.waiting:
            answer.callback(None)
        self.assertEqual(self.sent("hs"), [("alice", "one"), ("!1", "one"), ("alice", "two"), ("!1", "two")])

    def test_network_that_can_not_be_asked(self) -> None:
        """The outbox gets a notice nevertheless, to the recipient as it is named."""
        self.error = LookupFailed("the server is down")
        self.bot.warn_admins("careful")
        self.assertEqual(self.sent("hs"), [("alice", "careful"), ("#ops:hs", "careful")])

    def test_unknown(self) -> None:
        """A recipient who doesn't exist is in the log, and others get the notice."""
        del self.ids["#ops:hs"]
        self.bot.warn_admins("careful")
        self.assertEqual(self.sent("hs"), [("alice", "careful")])
        self.assertIn("Could not notify #ops:hs on hs: nobody knows #ops:hs", "\n".join(self.test_bot.log))
