"""Commands that only read, run by another user than the bot's, in each state that the bot's files may be in."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import tests
from errklein.storage import MIGRATIONS, SQLiteStorage
from tests.processes import ERRKLEIN, LIMIT, ROOT, Program, run, write_config, write_plugin

COMMANDS = (
    ("check",),
    ("config", "check"),
    ("config", "show"),
    ("config", "template"),
    ("network", "list"),
    ("network", "check"),
    ("storage", "get", "Keeper"),
    ("delivery", "list"),
    ("delivery", "show", "1"),
    ("audit",),
    ("--storage-get", "Keeper"),
    ("--list",),
)
"""The commands that only read. `delivery export` and `sign` write to a place that the user names, or read one file."""

BOT, OTHER = 54321, 54322
"""The ids of users without a name."""

PLUGIN = """
from errbot import BotPlugin, webhook

class Keeper(BotPlugin):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

    def activate(self):
        super().activate()
        self["n"] = 1
"""

WRITER = """
import sys
from pathlib import Path
from errklein.journal import SQLiteJournal
from errklein.storage import SQLiteStorage
from tests.journal.contract import JournalCase
from tests.journal.inline import INLINE, InlineReactor
directory = Path(sys.argv[1])
values = SQLiteStorage(directory / "errklein.sqlite")
values.open("Keeper").set("n", 1)
journal = SQLiteJournal(directory / "journal.sqlite", InlineReactor(), lambda: 1000.0, runs=INLINE)
journal.record(JournalCase.delivery(type("Case", (), {"time": 1000.0, "journal": journal})()))
print("written", flush=True)
if sys.stdin.read():
    journal.close()
    values.close()
"""


class ReadingTests(SynchronousTestCase):
    """Nothing that a command which only reads does is visible in a file."""

    def setUp(self) -> None:
        """Write a configuration and a plugin."""
        self.directory = Path(self.mktemp()).absolute()
        self.data = self.directory / "data"
        self.data.mkdir(parents=True)
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        write_plugin(self.directory, "Keeper", PLUGIN)

    def start_bot(self) -> Program:
        """Store a value and a delivery in a process that keeps the files open, as a bot does."""
        writer = Program([sys.executable, "-c", WRITER], str(self.data), cwd=ROOT, stdin=subprocess.PIPE)
        self.addCleanup(writer.kill)
        writer.wait_for("written")
        return writer

    def files(self) -> Mapping[str, tuple[object, ...]]:
        """Return owner, mode, modification time and digest of each file and directory."""
        found = {}
        for path in [self.directory, *sorted(self.directory.rglob("*"))]:
            status = path.stat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = status.st_uid, status.st_mode, status.st_mtime_ns, digest
        return found

    def give(self, user: int) -> None:
        """Give all files to a user, if root runs the tests."""
        if os.geteuid() == 0:
            for path in [self.directory, *self.directory.rglob("*")]:
                os.chown(path, user, user)

    def assert_reads(self, *, status: int = 0, missing: str = "") -> None:
        """Run the commands, and fail if one can't read, or if a file is changed, created or removed."""
        self.give(BOT)
        before = self.files()
        for command in COMMANDS:
            done = run(ERRKLEIN, *command, cwd=self.directory, limit=60)
            self.assertEqual(self.files(), before, command)
            self.assertNotIn("Traceback", done.stdout + done.stderr)
            self.assertEqual(done.returncode, status if missing and command[0] == missing else 0, (command, done))
            if command[0] != "check" and "Keeper" in command:
                self.assertEqual(done.stdout, "{'n': 1}\n", command)

    def test_beside_a_running_bot(self) -> None:
        """A running bot's files are read as they are."""
        self.start_bot()
        self.assert_reads()

    def test_of_a_stopped_bot(self) -> None:
        """No side file of a database appears, which the bot's user couldn't write."""
        bot = self.start_bot()
        bot.process.communicate(b"stop", timeout=LIMIT)
        self.assertEqual({path.name for path in self.data.iterdir()}, {"errklein.sqlite", "journal.sqlite"})
        self.assert_reads()

    def test_of_a_killed_bot(self) -> None:
        """What the bot has written last is read from the write-ahead log, which stays."""
        self.start_bot().kill()
        self.assertTrue((self.data / "errklein.sqlite-wal").stat().st_size)
        self.assert_reads()

    def test_of_an_older_bot(self) -> None:
        """Values in an older format are read; the check says that the start will convert them, and nothing is converted."""
        bot = self.start_bot()
        bot.process.communicate(b"stop", timeout=LIMIT)
        (self.data / "errklein.sqlite").unlink()
        with closing(sqlite3.connect(self.data / "errklein.sqlite")) as connection:
            connection.executescript(f"PRAGMA journal_mode = WAL; {MIGRATIONS[0]} PRAGMA user_version = 1")
            connection.execute(
                "INSERT INTO stored (namespace, key, value) VALUES (?, ?, ?)", (b"Keeper", b"n", b"I1\n.")
            )
            connection.commit()
        self.assert_reads()
        said = run(ERRKLEIN, "check", cwd=self.directory).stdout
        self.assertIn(
            "errklein.sqlite will be converted at the start, from schema 1 to 2; errklein.sqlite.before-2", said
        )

    def test_killed_command(self) -> None:
        """A check that is killed leaves nothing behind."""
        self.start_bot().kill()
        slow = self.directory / "keeper" / "keeper.py"
        slow.write_text(f"import sys, time\nprint('loading', flush=True)\ntime.sleep(60)\n{PLUGIN}")
        self.give(BOT)
        before = self.files()
        check = Program(ERRKLEIN, "check", cwd=self.directory)
        self.addCleanup(check.kill)
        check.wait_for("loading")
        check.kill()
        self.assertEqual(self.files(), before)


class OtherUserTests(SynchronousTestCase):
    """Commands of a user who may not use the bot's files."""

    CALL = """
import os, sys
import errklein.listening, errklein.networks.null, errklein.networks.text
from errklein import cli
from errklein.cli import _check, _data, _webhooks, errbot_options
user, *arguments = sys.argv[1:]
os.setgroups([])
os.setegid(int(user))
os.seteuid(int(user))
try:
    sys.exit(cli.main(arguments))
finally:
    # What measures coverage writes its file at the end.
    os.seteuid(0)
"""
    """Changes the user after the imports, since the tests may run where another user can't read errklein's files."""

    def setUp(self) -> None:
        """Write a configuration that everybody can read, and data that only the bot can."""
        if os.geteuid() != 0:
            raise SkipTest("only root may become another user")
        tests.needs_network()
        self.directory = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.directory)
        self.directory.chmod(0o755)
        self.data = self.directory / "data"
        self.data.mkdir(mode=0o700)
        write_config(self.directory, {})
        (self.directory / "backup.py").write_text("bot.plugin_manager['configs'] = {}\n")
        SQLiteStorage(self.data / "errklein.sqlite").close()
        SQLiteStorage(self.data / "journal.sqlite").close()
        for path in (self.data, *self.data.iterdir()):
            os.chown(path, BOT, BOT)

    def refused(self, user: int, *command: str) -> str:
        """Run the command as the user, and return the error, which is one line."""
        done = run([sys.executable, "-c", self.CALL], str(user), *command, cwd=self.directory, stdin="{}")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), (command, done))
        return done.stderr

    def test_all_commands(self) -> None:
        """Each command names the bot's user in one line, and doesn't advise to give the data to somebody else."""
        commands = "check, storage get A, storage set A, backup, restore backup.py, import-errbot, delivery list"
        for command in [*commands.split(", "), "delivery show 1", "delivery replay 1", "--storage-get A"]:
            for mode in (0o700, 0o755):
                self.data.chmod(mode)
                error = self.refused(OTHER, *command.split())
                self.assertIn(f"run as {BOT} (the owner of {self.data})", error, command)
                self.assertNotIn("chown", error)

    def test_commands_of_root(self) -> None:
        """Commands that write files, which would be root's, are refused, too, and leave none."""
        before = {path.name for path in self.data.iterdir()}
        for command in ("storage set A", "backup", "restore backup.py", "import-errbot"):
            self.assertIn(f"run as {BOT} (the owner of {self.data})", self.refused(0, *command.split()))
        self.assertEqual({path.name for path in self.data.iterdir()}, before)

    def test_bot_of_root(self) -> None:
        """If the bot runs as root in a directory of another user, as in some containers, root may run the commands."""
        (self.data / "errklein.lock").touch()
        done = run(ERRKLEIN, "storage", "set", "A", cwd=self.directory, stdin="{'a': 1}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
