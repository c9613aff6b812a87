"""A whole bot on the double of Telegram that is killed with SIGKILL and started again."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from long_tests.networks.test_killed_bot import PLUGIN
from tests import needs_network
from tests.networks.telegram.server import ALICE, GROUP, TOKEN, started
from tests.processes import ERRKLEIN, environment, write_config, write_plugin


class KilledTests(TestCase):
    """The bot is killed while commands arrive, and while it sends."""

    timeout = 300

    async def setUp(self) -> None:
        """Start the double, and the bot in a group with alice."""
        needs_network()
        self.server = started(self, the_reactor, time.time)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_plugin(self.directory / "plugins", "Counts", PLUGIN)
        settings = {
            "BACKEND": "Telegram",
            "BOT_IDENTITY": {"token": TOKEN, "server": self.server.url},
            "BOT_ADMINS": (ALICE,),
            "CHATROOM_PRESENCE": (GROUP,),
            "BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"),
        }
        write_config(self.directory, settings)
        (self.directory / "data").mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.addCleanup(self.kill)
        self.start()
        await self.until(lambda: self.server.called("getUpdates"), "the bot reads")
        self.server.say(GROUP, "!count ready")
        await self.sees("counted ready")

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

    async def until(self, holds: Any, what: str) -> None:
        """Wait until something holds."""
        end = time.monotonic() + 60
        while not holds():
            self.assertLess(time.monotonic(), end, f"{what}; {self.server.texts(GROUP)[-5:]}")
            await deferLater(the_reactor, 0.02)

    async def sees(self, text: str) -> None:
        """Wait for a message of the bot."""
        await self.until(lambda: text in self.server.texts(GROUP), f"{text!r} in the group")

    async def test_commands(self) -> None:
        """Each command runs at most once, and those that are written while the bot is away run afterwards."""
        for round in range(4):
            for number in range(10):
                self.server.say(GROUP, f"!count {round}-{number}")
                await deferLater(the_reactor, 0.01)
            self.kill()
            self.server.say(GROUP, f"!count away {round}")
            self.start()
            await self.sees(f"counted away {round}")
        runs = Counter((self.directory / "plugins/counts/runs").read_text().splitlines())
        self.assertEqual({run: count for run, count in runs.items() if count > 1}, {})
        self.assertEqual([runs[f"away {round}"] for round in range(4)], [1] * 4)

    async def test_lines(self) -> None:
        """All lines arrive in order; those of the last moment may be there twice."""
        self.server.say(GROUP, "!lines 100")
        await self.sees("line 30")
        self.kill()
        self.start()
        await self.sees("line 99")
        lines = [text for text in self.server.texts(GROUP) if text.startswith("line ")]
        self.assertEqual(list(dict.fromkeys(lines)), [f"line {number}" for number in range(100)])
        self.assertLess(len(lines), 125)
