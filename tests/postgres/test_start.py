"""The start of a bot whose data is in a database: errors on the terminal, and the wait after a restart."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import load_config
from errklein.database import DatabaseError
from errklein.service.process_exit import RESTARTED
from errklein.service.startup_checks import check_database
from tests.postgres.server import PostgresServer, new_bot_database, new_database, programs
from tests.processes import ERRKLEIN, run, write_config


class StartTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Choose a directory."""
        programs()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def configure(self, url: str) -> None:
        data = str(self.directory.absolute() / "data")
        write_config(self.directory, {"ERRKLEIN_DATABASE": url, "BOT_DATA_DIR": data})

    def test_refused(self) -> None:
        """A bot doesn't start without a server or without tables. Both are one line, without the password."""
        for url, expected in (
            (new_database(self), "the tables are missing; make them with `errklein storage init`\n"),
            ("postgresql://bot:5ecret@127.0.0.1:1/bot", "refused"),
        ):
            self.configure(url)
            done = run(ERRKLEIN, "run", cwd=self.directory)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertIn(expected, done.stderr)
            self.assertNotIn("5ecret", done.stderr)

    def test_data_directory_is_shared(self) -> None:
        """Processes share the data directory. A bot on SQLite gets it alone."""
        from errklein.service import DataDirectory

        self.configure(new_bot_database(self))
        other = DataDirectory(self.directory / "data", is_shared=True)
        other.prepare()
        other.lock()
        self.addCleanup(other.unlock)
        self.assertEqual(run(ERRKLEIN, "check", cwd=self.directory).returncode, 0)
        write_config(self.directory, {"BOT_DATA_DIR": str(other.path.absolute())})
        self.assertIn("uses it; stop it first", run(ERRKLEIN, "run", cwd=self.directory).stderr)

    def test_wait_after_a_restart(self) -> None:
        """A process that restarts itself waits until the database is there again."""
        server = PostgresServer()
        self.addCleanup(server.remove)
        from errklein.postgres import create_tables

        create_tables(url := server.url())
        self.configure(url)
        config = load_config(self.directory / "config.py")
        server.stop()
        self.assertRaises(DatabaseError, check_database, config)
        self.patch(sys, "stderr", io.StringIO())
        os.environ[RESTARTED] = "1"
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                server.start()

        check_database(config, sleep)
        self.assertEqual(waits, [1.0, 1.0])
        self.assertRegex(sys.stderr.getvalue(), r"^errklein: waiting for the database: PostgreSQL .*\n$")
        self.assertNotIn(RESTARTED, os.environ)
