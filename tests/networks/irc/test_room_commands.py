"""The commands `!room …` of a whole bot on a real ngircd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from errklein.config import load_config
from errklein.wiring import wire
from tests.networks.irc.ngircd import Ngircd, Person, join


class RoomCommandTests(TestCase):
    """An administrator gives commands about rooms whose operator is another person."""

    timeout = 120

    async def setUp(self) -> None:
        """Start the server, the bot, and two people in #ops and #dev, whose operator is alice."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.server = Ngircd(penalties=False)
        self.addCleanup(self.server.stop)
        self.server.start()
        await self.server.wait_until_up(reactor)
        self.alice = await self.person("alice", "#ops", "#dev")
        data = Path(self.mktemp()).absolute()
        data.mkdir()
        settings = {
            "BACKEND": "IRC",
            "BOT_IDENTITY": {"nickname": "errklein", "server": "127.0.0.1", "port": self.server.port},
            "BOT_ADMINS": ("boss!*@*",),
            "CHATROOM_PRESENCE": ("#ops",),
            "BOT_DATA_DIR": str(data),
            "STORAGE": "Memory",
        }
        _, make_bot = wire(reactor, load_config(None, settings), ended=lambda: None)
        bot = make_bot()
        await bot.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(bot.stop(0)))
        await self.alice.wait_for("errklein!", "JOIN", "#ops")
        self.boss = await self.person("boss")

    async def person(self, nick: str, *rooms: str) -> Person:
        """Return a person in the rooms."""
        person = await join(self.reactor, self.server.port, nick, *rooms)
        self.addCleanup(person.leave)
        return person

    async def command(self, text: str) -> str:
        """Return the reply to the command."""
        self.boss.send(f"PRIVMSG errklein :!room {text}")
        return (await self.boss.wait_for("errklein!", "PRIVMSG boss", seen=False)).params[1]

    async def test_joins(self) -> None:
        """The reply to `!room join` says whether the server has let the bot in, and why not."""
        self.alice.send("MODE #dev +k s3cret")
        await self.alice.wait_for("MODE #dev")
        refused = await self.command("join #dev")
        self.assertTrue(refused.startswith("The command failed: the room has another password ("), refused)
        self.assertEqual(await self.command("join #dev s3cret"), "Joined the room #dev.")
        self.assertEqual(await self.command("join #dev"), "Joined the room #dev.")

    async def test_topics(self) -> None:
        """The reply to `!room topic` says whether the server has changed the topic, and why not."""
        self.alice.send("MODE #ops +t")
        await self.alice.wait_for("MODE #ops")
        self.assertIn("failed: the bot is not an operator of the room", await self.command("topic #ops news"))
        self.alice.send("MODE #ops +o errklein")
        await self.alice.wait_for("+o errklein")
        self.assertEqual(await self.command("topic #ops news"), "Topic for #ops set.")
        self.assertIn("failed: there is no such room", await self.command("topic #nowhere news"))

    async def test_invitations(self) -> None:
        """The reply to `!room invite` says who can't be invited, and why not."""
        self.assertEqual(await self.command("invite #ops boss"), "Invited boss to the room #ops.")
        self.assertIn(
            "failed: nobody: there is no person with that nick", await self.command("invite #ops boss nobody")
        )
        self.assertIn("failed: alice: the person is in the room already", await self.command("invite #ops alice"))
