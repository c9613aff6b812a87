"""Tests for names of rooms on a whole bot: webhooks of rooms, access rules, lookups of plugins, and notices to administrators."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from errklein.chat import RoomDoesNotExistError, RoomError
from errklein.config import load_config
from errklein.wiring import wire
from tests import needs_network
from tests.networks.matrix.people import Person
from tests.networks.matrix.server import started


class NameTests(TestCase):
    """alice is the administrator; bob is in #ops:localhost, whose id is `self.ops`; so is the bot."""

    timeout = 60

    async def setUp(self) -> None:
        """Start the homeserver and the bot."""
        from twisted.internet import reactor

        needs_network()
        self.reactor: Any = reactor
        self.server = started(self, reactor)
        self.alice, self.bob, self.err = [await self.person(name) for name in ("alice", "bob", "err")]
        alias = {"type": "m.room.canonical_alias", "content": {"alias": "#ops:localhost"}}
        self.ops = await self.bob.make_room(room_alias_name="ops", initial_state=[alias])
        self.dev = await self.bob.make_room(room_alias_name="dev")
        data = Path(self.mktemp()).absolute()
        data.mkdir()
        settings = {
            "BACKEND": "Matrix",
            "BOT_IDENTITY": {"homeserver": self.server.url, "user": self.err.user, "password": "pw-err"},
            "BOT_ADMINS": (self.alice.user,),
            "CHATROOM_PRESENCE": ("#ops:localhost",),
            "PUBLIC_URL": "https://bot.example.net",
            "ACCESS_CONTROLS": {
                "webhook*": {"allowusers": ("*",), "allowmuc": True},
                "echo": {"allowrooms": ("#ops:localhost",)},
            },
            "BOT_DATA_DIR": str(data),
            "STORAGE": "Memory",
        }
        _, make_bot = wire(reactor, load_config(None, settings), ended=lambda: None)
        self.bot = make_bot()
        await self.bot.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.bot.stop(0)))
        [self.backend] = self.bot.backends.values()
        await self.until(lambda: self.backend.membership.is_joined(self.ops))

    async def person(self, name: str) -> Person:
        """Return a person with an account."""
        return await Person(self.reactor, self.server.url, name).register()

    async def until(self, holds: Any) -> None:
        """Wait until something holds."""
        while not holds():
            await deferLater(self.reactor, 0.01)

    def made(self) -> list[str]:
        """Return the rooms of webhooks."""
        return [one.room for one in self.bot.room_webhooks.all()]

    async def test_webhooks(self) -> None:
        """A webhook belongs to the room with the id: its messages stay there when the alias means another room.

        Replies have the alias.
        """
        network = self.backend.network
        await self.bob.say(self.ops, "!webhook new alertmanager")
        await self.until(self.made)
        self.assertEqual(self.made(), [f"{network}:{self.ops}"])
        await self.heard(self.bob, "for #ops:localhost")
        self.server.aliases["#ops:localhost"] = self.dev
        self.backend.membership.names.put("#ops:localhost", self.dev)
        self.bot._room_messages.announce(self.bot.room_webhooks.all()[0], "down")
        await self.bob.hears("down", self.ops)
        # Somebody outside of a room gets no webhook for it; the members of the new one do.
        private = await self.alice.make_room(room_alias_name="private")
        self.server.aliases["#private:localhost"] = private
        await self.bob.say(self.ops, "!webhook new grafana in #private:localhost")
        await self.heard(self.bob, "You may make webhooks only for rooms that you are in")
        self.assertEqual(len(self.made()), 1)
        await self.bob.do(self.dev, "invite", user_id=self.err.user)
        await self.bot.core_host.rooms.do("join", "#dev:localhost", "")
        await self.bob.say(self.ops, "!webhook move alertmanager #ops:localhost")
        await self.until(lambda: self.made() == [f"{network}:{self.dev}"])

    async def heard(self, person: Person, text: str) -> None:
        """Wait for a message of the bot that contains the text."""
        while True:
            answer = await person.call("GET", "/sync", since=person.since, timeout="3000")
            person.since = answer["next_batch"]
            for joined in answer.get("rooms", {}).get("join", {}).values():
                for event in joined["timeline"]["events"]:
                    if text in event["content"].get("body", "") and event["sender"] == self.err.user:
                        return

    async def test_access(self) -> None:
        """A rule by an alias opens a command in the room that the server knows by it, and not in one that claims it."""
        forged = await self.bob.make_room(self.err.user, name="x")
        await self.bot.core_host.rooms.do("join", forged, "")
        await self.bob.state(forged, "m.room.canonical_alias", {"alias": "#ops:localhost"})
        await self.bob.say(forged, "!echo a")
        await self.heard(self.bob, "You're not allowed to access this command from this room")
        await self.bob.say(self.ops, "!echo b")
        await self.bob.hears("b", self.ops)

    async def test_lookups(self) -> None:
        """Names are the same room before and after the lookup; who doesn't exist is an error; threads wait."""
        early = self.bot.build_identifier("#dev:localhost")
        hashed, stored = hash(early), pickle.dumps({early: "dev"})
        self.assertEqual(str(early), "#dev:localhost")
        late = await self.bot.networks.resolve("#dev:localhost", self.reactor)
        event = self.backend.build_identifier(self.dev)
        self.assertEqual([early, late], [event, event])
        self.assertEqual((hash(early), hash(event), str(early)), (hashed, hashed, self.dev))
        self.assertEqual(pickle.loads(stored)[event], "dev")
        with self.assertRaises(RoomDoesNotExistError):
            await self.bot.networks.resolve("#nowhere:localhost", self.reactor)
        web = await self.bob.make_room(room_alias_name="web")
        self.assertEqual(await deferToThread(lambda: str(self.bot.build_identifier("#web:localhost"))), web)
        secret = await self.alice.make_room(preset="private_chat")
        with self.assertRaisesRegex(RoomError, "not invited|not been invited|forbidden|Forbidden"):
            await self.bot.core_host.rooms.do("join", secret, "")

    async def test_notices(self) -> None:
        """Notices to an administrator by id arrive in order."""
        for text in ("one", "two", "three"):
            self.bot.warn_admins(text)
        room = await self.alice.invitation()
        await self.until(lambda: self.server.bodies(room) == ["one", "two", "three"])
