"""Tests for what plugins ask and want of networks about people and rooms."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from errklein import BotPlugin, botcmd
from errklein.chat import Room, RoomError
from errklein.chat.identifiers import LookupFailed
from errklein.networks.test import TestRoom
from errklein.testing import PluginTestCase
from tests.networks.irc.whole_bot import WholeBotCase


class Visits(BotPlugin):
    """Goes into rooms, in coroutines and in threads."""

    @botcmd
    async def visit(self, msg: Any, args: str) -> str:
        """Join a room, and say what is there."""
        name, _, password = args.partition(" ")
        try:
            await self.join_room(name, password or None)
        except (LookupFailed, NotImplementedError, RoomError, ValueError) as error:
            return f"refused: {error}"
        return f"{await self.topic_of(name)}: {len(await self.members_of(name))}"

    @botcmd
    def visit_blocking(self, msg: Any, args: str) -> str:
        """Do the same in a thread."""
        room = self.resolve(args)
        assert isinstance(room, Room)
        self.join_room(room)
        self.set_topic(room, "news")
        for person in ("bob", msg.frm):
            self.invite_to_room(room, person)
        found = f"{self.topic_of(room)}: {len(self.members_of(room))}"
        self.leave_room(room, "bye")
        return f"{found}, joined: {room.joined}"

    @botcmd
    async def look_up(self, msg: Any, args: str) -> str:
        """Look up a name."""
        try:
            found = await self.resolve(args)
        except (LookupFailed, ValueError) as error:
            return f"failed: {error}"
        return f"{type(found).__name__} {found} on {found.network}"


class OwnNames(BotPlugin):
    """Has attributes whose names the bot uses, too."""

    resolve = "mine"

    @botcmd
    def members_of(self, msg: Any, args: str) -> str:
        """Do something else."""
        return f"{self.resolve} {args}"


class LocalTests(PluginTestCase):
    """A network whose rooms answer at once."""

    plugins = (Visits, OwnNames)

    def test_coroutines(self) -> None:
        """Coroutines await what they want of a room."""
        self.assertEqual(self.command("!visit #ops"), ": 0")
        self.assertTrue(self.bot.backend.query_room("#ops").joined)

    def test_threads(self) -> None:
        """In threads, the calls wait."""
        self.assertEqual(self.command("!visit blocking #ops"), "news: 2, joined: False")

    def test_refusals(self) -> None:
        """The plugin gets the network's reason."""

        def refuse(*_: object, **__: object) -> None:
            raise RoomError("full")

        self.patch(TestRoom, "join", refuse)
        self.assertEqual(self.command("!visit #ops"), "refused: full")

    def test_lookups(self) -> None:
        """A name is looked up on its network, and may not exist."""
        self.assertEqual(self.command("!look up #ops"), "TestRoom #ops on test")
        self.assertEqual(self.command("!look up test:bob"), "TestPerson bob on test")
        self.assertIn("failed: the name of a person or room must not be blank", self.command("!look up  "))

    def test_slow_lookups(self) -> None:
        """A lookup ends with a reason if the network doesn't reply."""
        self.patch(self.bot.backend, "resolve", lambda text: Deferred())
        self.bot.say("!look up #ops")
        self.bot.advance(30)
        self.assertIn("failed: the network hasn't replied within 30 s", self.bot.messages[-1].text)

    def test_own_names(self) -> None:
        """A plugin's own attributes of these names are used."""
        self.assertEqual(self.command("!members of x"), "mine x")


class IRCTests(WholeBotCase):
    """A network that answers later."""

    plugins = (Visits,)

    def test_refused(self) -> None:
        """Who joins a room gets the server's reason."""
        self.assertEqual(self.replies_to(":boss!b@c PRIVMSG errklein :!visit #dev"), [])
        self.assertEqual(
            self.replies_to(":irc.example 475 errklein #dev :Cannot join channel (+k)"),
            ["refused: the room has another password (Cannot join channel (+k))"],
        )

    def test_joined(self) -> None:
        """Who joins a room finds its topic and people when the server has let the bot in."""
        self.assertEqual(self.replies_to(":boss!b@c PRIVMSG errklein :!visit #dev"), [])
        self.assertEqual(self.replies_to(":errklein!e@h JOIN #dev"), [": 1"])

    def test_no_reply(self) -> None:
        """A server that doesn't reply is no reason to wait for ever, and a late reply does no harm."""
        self.replies_to(":boss!b@c PRIVMSG errklein :!visit #dev")
        self.test_bot.reactor.advance(10)
        self.assertEqual(
            self.replies_to(":irc.example 475 errklein #dev :Cannot join"), ["refused: the network hasn't replied yet"]
        )
