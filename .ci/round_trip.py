"""Take values from errbot to errklein and back: `round_trip.py ERRBOT`, the command of errbot in an environment of its own.

errbot runs as a black box: 26 plugins store values of all kinds through it, in shelves. errklein imports them, and
exports them again: once as they were imported, and once after its own bot has stored each of them again. Then errbot
compares what it reads with what was stored. Run it with the Python of errklein.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from contextlib import closing
from dbm import dumb
from pathlib import Path
from typing import ClassVar

HERE = Path(__file__).resolve().parent / "round_trip"
PLUGINS = [f"Keeper {number:02}{' é' if number == 7 else ''}" for number in range(26)]
LONGEST = 300
"""The limit in seconds for a bot that starts, compares and ends."""
CONFIG = """
BACKEND = "Text"
BOT_DATA_DIR = {data!r}
BOT_EXTRA_PLUGIN_DIR = {plugins!r}
BOT_LOG_FILE = {log!r}
BOT_LOG_LEVEL = 20
BOT_IDENTITY = {{"username": "@bot"}}
BOT_ADMINS = ("@admin",)
CHATROOM_PRESENCE = ()
CORE_PLUGINS = ("ACLs", "Backup", "Health", "Help", "Plugins", "Webserver")
PHASE = {phase!r}
RESULTS = {results!r}
PEOPLE = ["@ann", "#room", "#room/ann"]
"""


class RoundTripTests(unittest.TestCase):
    """Values go errbot, errklein, errbot."""

    errbot: ClassVar[str]
    work: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """Let errbot store the values, and import them."""
        cls.work = Path(tempfile.mkdtemp(prefix="round-trip-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        for name in ("data", "plugins", "results"):
            (cls.work / name).mkdir()
        shutil.copy(HERE / "helper.py", cls.work / "plugins" / "round_trip_helper.py")
        for number, name in enumerate(PLUGINS):
            plug = f"[Core]\nName = {name}\nModule = keeper{number:02}\n[Python]\nVersion = 3\n"
            (cls.work / "plugins" / f"keeper{number:02}.plug").write_text(plug, "utf-8")
            shutil.copy(HERE / "keeper.py", cls.work / "plugins" / f"keeper{number:02}.py")
        cls.run_bot([cls.errbot], "write", "data")
        cls().check("write")
        shutil.copytree(cls.work / "data", cls.work / "stored")
        cls.run_errklein("import-errbot", "write", "data")

    def test_imported(self) -> None:
        """Values that errklein has imported are exported byte by byte."""
        self.run_errklein("export-errbot", "write", "data", "--directory", str(self.work / "exported"))
        for name in PLUGINS:
            with self.subTest(plugin=name):
                exported, stored = read(self.work / "exported", name), read(self.work / "stored", name)
                # A name that only Python 3.13 has is exported as one that each version has; errbot compares these values.
                renamed = {key for key, value in stored.items() if b"pathlib._local" in value}
                self.assertEqual(exported.keys(), stored.keys())
                self.assertEqual([key for key in stored if key not in renamed and exported[key] != stored[key]], [])
        self.check_on_errbot("exported", "compare")

    def test_rewritten(self) -> None:
        """Values that errklein's bot has stored again are the same on errbot."""
        shutil.copytree(self.work / "data", self.work / "again")
        self.run_bot([sys.executable, "-m", "errklein"], "rewrite", "again")
        self.check("rewrite")
        self.run_errklein("export-errbot", "rewrite", "again", "--force")
        self.check_on_errbot("again", "check")

    def check_on_errbot(self, data: str, phase: str) -> None:
        """Check that errbot reads the same values from the directory."""
        self.run_bot([self.errbot], phase, data)
        self.check(phase)

    def check(self, phase: str) -> None:
        """Check that each plugin has found no difference."""
        for name in PLUGINS:
            with self.subTest(plugin=name):
                self.assertEqual((self.work / "results" / f"{phase} {name}.txt").read_text("utf-8"), "")

    @classmethod
    def config(cls, phase: str, data: str) -> str:
        """Write a configuration, and return its path."""
        path = cls.work / f"config_{phase}_{data}.py"
        names = {name: str(cls.work / name) for name in ("plugins", "results")}
        log = str(cls.work / f"{phase}.log")
        path.write_text(CONFIG.format(data=str(cls.work / data), log=log, phase=phase, **names), "utf-8")
        return str(path)

    @classmethod
    def run_bot(cls, command: list[str], phase: str, data: str) -> None:
        """Run a bot with these values until it has activated its plugins."""
        cls.run_program([*command, "-c", cls.config(phase, data)], "!shutdown --confirm\n")

    @classmethod
    def run_errklein(cls, action: str, phase: str, data: str, *options: str) -> None:
        """Run a command of errklein, which must succeed."""
        config = cls.config(phase, data)
        cls.run_program([sys.executable, "-m", "errklein", action, "--config", config, *options])

    @classmethod
    def run_program(cls, command: list[str], stdin: str = "") -> None:
        """Run a program until it ends with status 0."""
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)} if command[0] == sys.executable else None
        ran = subprocess.run(
            command,
            input=stdin,
            cwd=cls.work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        if ran.returncode:
            # Without the lines of errbot's code in a traceback.
            reasons = [line for line in ran.stderr.splitlines() if line.startswith("errklein: ")]
            raise AssertionError("\n".join([f"{' '.join(command)} ended with status {ran.returncode}", *reasons]))


def read(directory: Path, namespace: str) -> dict[bytes, bytes]:
    """Return the pickles in a shelf by key. From Python 3.13 on, errbot's shelves are SQLite files, which 3.11 can't read."""
    path = directory / f"{namespace}.db"
    if path.exists():
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute("SELECT key, value FROM Dict"))
    with dumb.open(str(path), "r") as shelf:
        return {key: shelf[key] for key in shelf.keys()}  # noqa: SIM118


if __name__ == "__main__":
    RoundTripTests.errbot = str(Path(sys.argv.pop(1)).absolute())
    unittest.main()
