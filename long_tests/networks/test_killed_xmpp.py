"""A whole bot on a real Prosody that is killed with SIGKILL and started again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from twisted.internet import reactor as the_reactor
from twisted.internet.task import deferLater

from long_tests.networks import test_killed_bot
from tests.networks.xmpp.people import ROOM, Person, needs_asyncio
from tests.networks.xmpp.prosody import Prosody
from tests.processes import write_config, write_plugin


class KilledOnXMPPTests(test_killed_bot.KilledTests):
    """The bot is killed while commands arrive, and while it sends. Only the client of alice needs this process's reactor."""

    async def setUp(self) -> None:
        """Start a server, and the bot in a room with alice."""
        needs_asyncio(the_reactor)
        self.server = server = Prosody("alice", "err")  # type: ignore[assignment]
        self.addCleanup(server.stop)
        server.start()
        await server.wait_until_up(the_reactor)
        self.person = await Person(the_reactor, "alice", server.port, server.authority).connect()
        self.addCleanup(self.person.leave)
        await self.person.join(ROOM)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_plugin(self.directory / "plugins", "Counts", test_killed_bot.PLUGIN)
        settings = {
            "BACKEND": "XMPP",
            "BOT_IDENTITY": {"username": "err@localhost", "password": "pw-err", "server": ("127.0.0.1", server.port)},
            "BOT_ADMINS": ("alice@localhost",),
            "CHATROOM_PRESENCE": (ROOM,),
            "CHATROOM_FN": "err",
            "XMPP_CA_CERT_FILE": str(server.authority),
            "BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"),
        }
        write_config(self.directory, settings)
        (self.directory / "data").mkdir()
        self.process = None
        self.addCleanup(self.kill)
        self.start()
        await self.alice_runs("!count ready", "counted ready")

    async def alice_runs(self, command: str, answer: str) -> None:
        """Wait until the bot is in the room, and answers."""
        await self.until(lambda: any(one.get("from") == f"{ROOM}/err" for one in self.person.stanzas))
        await self.person.say(ROOM, command)
        await self.heard(answer)

    async def until(self, holds: object) -> None:
        """Wait for something; a restart takes some seconds."""
        assert callable(holds)
        for _ in range(300):
            if holds():
                return
            await deferLater(the_reactor, 0.2)
        self.fail((self.directory / "log").read_text()[-3000:])

    async def heard(self, text: str) -> None:
        """Wait for a message."""
        await self.until(lambda: text in self.person.texts(ROOM))

    async def test_commands(self) -> None:
        """No command runs twice. Those of the time while the bot was away don't run."""
        for number in range(60):
            await self.person.say(ROOM, f"!count {number}")
            await deferLater(the_reactor, 0.05)
            if number in (20, 40):
                self.kill()
            if number in (25, 45):
                self.start()
                await deferLater(the_reactor, 6)
                await self.alice_runs(f"!count again-{number}", f"counted again-{number}")
        await self.heard("counted 59")
        runs = Counter((self.directory / "plugins/counts/runs").read_text().split())
        self.assertEqual([number for number, times in runs.items() if times > 1], [])
        away = {str(number) for number in (*range(20, 27), *range(40, 47))}
        self.assertLessEqual({str(number) for number in range(60)} - runs.keys(), away)

    async def test_lines(self) -> None:
        """100 lines arrive in order, once."""
        await self.person.say(ROOM, "!lines 100")
        await self.heard("line 10")
        self.kill()
        self.start()
        await self.heard("line 99")
        lines = [text for text in self.person.texts(ROOM) if text.startswith("line ")]
        self.assertEqual(lines, [f"line {number}" for number in range(100)])
