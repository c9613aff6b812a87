"""A whole bot on a real Synapse that is killed with SIGKILL and started again."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.networks.matrix.people import Person
from tests.networks.matrix.synapse import Synapse
from tests.processes import ERRKLEIN, environment, write_config, write_plugin

PLUGIN = """\
from pathlib import Path

from errklein import BotPlugin, botcmd

RUNS = Path(__file__).with_name("runs")

class Counts(BotPlugin):
    @botcmd
    async def count(self, msg, args):
        with RUNS.open("a") as file:
            file.write(f"{args}\\n")
        return f"counted {args}"

    @botcmd
    async def lines(self, msg, args):
        for number in range(int(args)):
            self.send(msg.to, f"line {number}")
"""


class KilledTests(TestCase):
    """The bot is killed while commands arrive, and while it sends."""

    timeout = 300

    async def setUp(self) -> None:
        """Start a homeserver, and the bot in a room with alice."""
        self.server = Synapse()
        self.addCleanup(self.server.stop)
        self.server.start()
        await self.server.wait_until_up(the_reactor)
        self.alice = await Person(the_reactor, self.server.url, "alice").register()
        bot = await Person(the_reactor, self.server.url, "err").register()
        self.room = await self.alice.make_room(room_alias_name="ops")
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_plugin(self.directory / "plugins", "Counts", PLUGIN)
        identity = {"homeserver": self.server.url, "user": bot.user, "password": "pw-err"}
        settings = {
            "BACKEND": "Matrix",
            "BOT_IDENTITY": identity,
            "BOT_ADMINS": (self.alice.user,),
            "CHATROOM_PRESENCE": ("#ops:localhost",),
            "BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"),
        }
        write_config(self.directory, settings)
        (self.directory / "data").mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.addCleanup(self.kill)
        self.start()
        await self.alice_runs("!count ready", "counted ready")

    def start(self) -> None:
        """Start the bot."""
        with (self.directory / "log").open("ab") as log:
            command = [*ERRKLEIN, "run", "--config", "config.py"]
            self.process = subprocess.Popen(command, cwd=self.directory, env=environment(), stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill the bot."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def alice_runs(self, command: str, answer: str) -> None:
        """Wait until the bot is in the room, and answers."""
        for _ in range(100):
            members: Any = await self.alice.call("GET", f"/rooms/{self.room}/joined_members")
            if len(members["joined"]) == 2:
                break
            await deferLater(the_reactor, 0.3)
        await self.alice.say(self.room, command)
        await self.heard(answer)

    async def heard(self, text: str) -> None:
        """Wait for a message; a restart takes some seconds."""
        for _ in range(300):
            if text in await self.alice.texts(self.room):
                return
            await deferLater(the_reactor, 0.2)
        self.fail(f"{text!r} has not arrived; {(self.directory / 'log').read_text()[-3000:]}")

    async def test_commands(self) -> None:
        """Commands of the time while the bot was away run; none runs twice, and at most the one at the kill is lost."""
        for number in range(60):
            await self.alice.say(self.room, f"!count {number}")
            await deferLater(the_reactor, 0.05)
            if number in (20, 40):
                self.kill()
            if number in (25, 45):
                self.start()
                await self.heard(f"counted {number}")
        await self.heard("counted 59")
        runs = Counter((self.directory / "plugins/counts/runs").read_text().split())
        self.assertEqual([number for number, times in runs.items() if times > 1], [])
        self.assertLessEqual({str(number) for number in range(60)} - runs.keys() - {"20", "40"}, set())
        answers = [text for text in await self.alice.texts(self.room) if text.startswith("counted")]
        self.assertEqual(len(answers), len(set(answers)))

    async def test_lines(self) -> None:
        """100 lines arrive in order, once."""
        await self.alice.say(self.room, "!lines 100")
        await self.heard("line 10")
        self.kill()
        self.start()
        await self.heard("line 99")
        lines = [text for text in await self.alice.texts(self.room) if text.startswith("line ")]
        self.assertEqual(lines, [f"line {number}" for number in range(100)])
