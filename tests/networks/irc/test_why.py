"""`!why` of a whole bot on real IRC servers: an administrator sees from the chat why a room doesn't get a message."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from errklein import BotPlugin, webhook
from errklein.config import load_config
from errklein.testing import WebhookClient
from errklein.wiring import wire
from tests.networks.irc.inspircd import Inspircd
from tests.networks.irc.ngircd import Ngircd, Person, join
from tests.server_program import ServerProgram


class Reporter(BotPlugin):
    """Has a webhook that sends a message to a room."""

    @webhook("/report", ack="now")
    def report(self, payload: Any) -> None:
        self.send(self.build_identifier("#ops"), "report")


class RoomTests(TestCase):
    """A room whose operator alice lets the bot in, or not."""

    timeout = 120

    async def serve(self, server: ServerProgram, *modes: str) -> None:
        """Start the server, alice in #ops with these modes, the bot, and its administrator boss."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.server = server
        self.addCleanup(server.stop)
        server.start()
        await server.wait_until_up(reactor)
        self.alice = await self.person("alice", "#ops")
        for mode in modes:
            self.alice.send(f"MODE #ops {mode}")
            await self.alice.wait_for("MODE #ops")
        data = Path(self.mktemp()).absolute()
        data.mkdir()
        settings = {
            "BACKEND": "IRC",
            "BOT_IDENTITY": {"nickname": "errklein", "server": "127.0.0.1", "port": server.port},
            "BOT_ADMINS": ("boss!*@*",),
            "CHATROOM_PRESENCE": ("#ops",),
            "BOT_DATA_DIR": str(data),
        }
        web, make_bot = wire(reactor, load_config(None, settings), ended=lambda: None, plugin_classes=[Reporter])
        self.bot = make_bot()
        await self.bot.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.bot.stop(0)))
        while self.bot.events.states["irc"].connected_at is None:
            await deferLater(self.reactor, 0.02)
        self.client = WebhookClient(web)
        self.boss = await self.person("boss")

    async def person(self, nick: str, *rooms: str) -> Person:
        """Return a person in the rooms."""
        person = await join(self.reactor, self.server.port, nick, *rooms)
        self.addCleanup(person.leave)
        return person

    async def why(self, subject: str, *expected: str) -> str:
        """Ask until the reply contains these texts, and return it."""
        while True:
            self.boss.send(f"PRIVMSG errklein :!why {subject}")
            reply = (await self.boss.wait_for("errklein!", "PRIVMSG boss", seen=False)).params[1]
            if all(text in reply for text in expected):
                return reply
            await deferLater(self.reactor, 0.05)

    async def post(self) -> None:
        """Send a request."""
        response = await self.client.post("/report", json={})
        self.assertEqual(response.status, http.client.ACCEPTED)

    async def test_closed_room(self) -> None:
        """On ngircd, the reply has the mode of the room that keeps the bot out; later it says that the message was sent."""
        await self.serve(Ngircd(penalties=False), "+i")
        await self.why("#ops", "the bot isn't in #ops since ", "(+i)", "next attempt ")
        await self.post()
        reply = await self.why("1", "message to #ops on irc: accepted ", "waits: the bot isn't in #ops since ", "(+i)")
        self.assertTrue(reply.startswith("delivery 1 of Reporter:report: accepted "), reply)
        self.alice.send("INVITE errklein #ops")
        await self.alice.wait_for("errklein!", "PRIVMSG #ops", "report")
        await self.why("1", "message to #ops on irc: sent ")
        await self.why("#ops", "the bot is in #ops since ", "no message waits")

    async def test_moderated_room(self) -> None:
        """On InspIRCd, the reply has the server's reason for which it has rejected the message."""
        await self.serve(Inspircd(), "+m")
        await self.why("#ops", "the bot is in #ops since ")
        await self.post()
        await self.why("1", "message to #ops on irc: rejected ", "+m")
        await self.why("#ops", "no message waits", "message of 1 to #ops on irc: rejected ")

    async def test_full_disk(self) -> None:
        """If the disk is full, the reply explains the request that got 503; when there is space again, the next one is sent."""
        await self.serve(Ngircd(penalties=False))
        await self.why("/report", "Reporter:report: active, no request is recorded")
        self.limit_file(1)
        refused = await self.client.post("/report", json={"text": "x" * 200_000})
        self.assertEqual(refused.status, http.client.SERVICE_UNAVAILABLE)
        reply = await self.why(
            "refused", "delivery 1 of Reporter:report: refused ", "(503: the request could not be recorded: "
        )
        self.assertIn("journal.sqlite: the disk is full, and nothing was changed; free some space", reply)
        self.limit_file(2**30)
        await self.post()
        await self.why("2", "message to #ops on irc: sent ")

    def limit_file(self, pages: int) -> None:
        """Let the file of the journal have at most this number of pages, or as many as it has."""
        journal: Any = self.bot.journal
        with journal._database.transaction() as connection:
            connection.execute(f"PRAGMA max_page_count = {pages}")
