"""A config.py and a plugin that were written for errbot, with which a bot is checked and started unchanged."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from errklein.compat.stored_classes import STORED_VALUES
from errklein.storage import SQLiteStorage
from tests import needs_network
from tests.processes import ERRKLEIN, run, start, write_plugin

CONFIG = """
import logging

BOT_DATA_DIR = r"{directory}/data"
BOT_EXTRA_PLUGIN_DIR = r"{directory}/plugins"
BOT_EXTRA_BACKEND_DIR = r"{directory}/backends"
BOT_LOG_FILE = r"{directory}/errbot.log"
BOT_LOG_LEVEL = logging.INFO
BOT_LOG_SENTRY = False
BOT_ASYNC = True
BOT_ASYNC_POOLSIZE = 10
AUTOINSTALL_DEPS = True
SUPPRESS_CMD_NOT_FOUND = False
ACCESS_CONTROLS_DEFAULT = {{}}
ACCESS_CONTROLS = {{"status": {{"allowrooms": ("*",)}}}}
DIVERT_TO_PRIVATE = ("help",)
DIVERT_TO_THREAD = ()
CHATROOM_RELAY = {{}}
REVERSE_CHATROOM_RELAY = {{}}
"""
"""The settings of all networks."""

PLUGIN = """
from errbot import BotPlugin, botcmd


class Who(BotPlugin):
    @botcmd
    def who(self, msg, args):
        "Show what the sender is."
        return " ".join(f"{name}={getattr(msg.frm, name, None)}" for name in args.split())

    @botcmd(admin_only=True)
    def secret(self, msg, args):
        "Answer to administrators."
        return f"{self.mode} {self.bot_config.BOT_PREFIX}secret"

    @botcmd
    def greet(self, msg, args):
        "Send to a person who was stored."
        self.send(self["somebody"], "hello")

    @botcmd
    def react(self, msg, args):
        "React to the message, as errbot's documentation shows."
        if self._bot.mode in ("slack", "slackv3"):
            self._bot.add_reaction(msg, "hourglass")
            self._bot.add_reaction(msg, "tada")
            self._bot.remove_reaction(msg, "hourglass")
"""


class ErrbotsConfigCase(TestCase):
    """A test with a bot in a process of its own. `self.directory` has its files."""

    timeout = 120

    def check(self, settings: str) -> str:
        """Write a config.py, and return what `errklein check` says about it."""
        needs_network()
        self.directory = Path(self.mktemp()).absolute()
        for name in ("data", "backends"):
            (self.directory / name).mkdir(parents=True)
        write_plugin(self.directory / "plugins", "Who", PLUGIN)
        (self.directory / "config.py").write_text(CONFIG.format(directory=self.directory) + settings)
        checked = run(ERRKLEIN, "check", "--config", "config.py", cwd=self.directory)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        return checked.stdout

    def store(self, cls: str, state: str) -> None:
        """Store a person for the plugin, as errbot's storage has it, from the class and the attributes in pickle's opcodes."""
        storage = SQLiteStorage(self.directory / "data" / "errklein.sqlite", STORED_VALUES)
        storage.put([("Who", "somebody", f"\x80\x02c{cls}\n)\x81}}({state}ub.".encode("latin-1"))])
        storage.close()

    def start_bot(self, before: str = "") -> None:
        """Start the bot until the end of the test, after the Python code `before`."""
        code = f"import sys; {before}; from errklein.cli import main; sys.exit(main())"
        command = [*ERRKLEIN] if not before else [sys.executable, "-c", code]
        with (self.directory / "out").open("ab") as out:
            options: Any = {"stdin": None, "stdout": out, "stderr": out}
            process = start([*command, "run", "--config", "config.py"], cwd=self.directory, **options)

        def end() -> None:
            process.kill()
            process.wait()

        self.addCleanup(end)

    async def until(self, holds: Callable[[], Any], seen: Callable[[], Any]) -> None:
        """Wait until something holds; say what is seen if it doesn't."""
        end = time.monotonic() + 30
        while not holds():
            if time.monotonic() > end:
                logs = [(self.directory / name).read_text()[-2000:] for name in ("out", "errbot.log")]
                self.fail(f"{seen()}\n{logs}")
            await deferLater(the_reactor, 0.02)
