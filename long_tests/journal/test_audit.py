"""The audit of 100,000 deliveries, half of them with messages, whose processes are killed, on a disk that is full at times."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein import cli
from errklein.database import Access
from errklein.journal import DATABASE, JournalArchive
from errklein.webhooks.deliveries import Balance
from tests.processes import write_config

DELIVERIES = int(os.environ.get("ERRKLEIN_AUDITED_DELIVERIES", "100000"))
KILLS = 40
WEEK, HOUR = 604800.0, 3600.0


class AuditTests(SynchronousTestCase):
    """One file after the other of killed processes."""

    timeout = 3600

    def setUp(self) -> None:
        """Create a data directory. In memory, what is not synchronized survives a SIGKILL, as it does on a disk."""
        memory = Path("/dev/shm")
        directory = TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = self.directory / DATABASE
        self.random = Random(4711)

    def test_balance(self) -> None:
        """After each kill all is accounted for, also what was removed by size and by age. A row that is deleted by hand is named."""
        accepted = recorded = refused = 0
        for kill in range(KILLS):
            numbers = self.killed(DELIVERIES // KILLS, self.random.choice([-7200.0, 0.0, 7200.0]))
            accepted, recorded, refused = map(sum, zip((accepted, recorded, refused), numbers, strict=True))
            balances = self.assert_balanced()
            self.assertGreaterEqual(balances[0].accepted, recorded, f"after kill {kill}")
        print(f"{accepted} were accepted, {recorded} of them confirmed in time, and {refused} refused by a full disk")
        print(*(f"{one.kind}: {one.accepted} accepted, {one.parts}" for one in balances), sep="\n")
        self.assertGreater(refused, 0)
        self.assertEqual(len(balances[0].kills), KILLS)
        # Most is too old now, and what is left of an hour has a total.
        self.run_process(500, HOUR, 3 * HOUR)
        self.assert_balanced()
        self.assertEqual(self.audit(), (0, []))
        with closing(sqlite3.connect(self.path)) as connection, connection:
            ids = [
                connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] for table in ("deliveries", "outbox")
            ]
            connection.execute("DELETE FROM deliveries WHERE id = ?", ids[:1])
            connection.execute("DELETE FROM outbox WHERE id = ?", ids[1:])
        named = [
            f"errklein: {kind} without their row, of all times: {number}"
            for kind, number in zip(("deliveries", "messages"), ids, strict=True)
        ]
        self.assertEqual(self.audit(), (1, named))

    def killed(self, number: int, offset: float) -> list[int]:
        """Run a process, kill it after about so many deliveries, and return the last numbers that it has printed."""
        child, end = self.start(10 * number, WEEK, offset), self.random.uniform(0.8, 1.2) * number
        assert child.stdout is not None
        numbers = [0, 0, 0]
        while numbers[0] < end:
            numbers = [int(one) for one in child.stdout.readline().split()]
        child.kill()
        # What was confirmed between the last line and the kill counts as well; the last line may be cut.
        whole = child.communicate()[0].rpartition(b"\n")[0]
        return [int(one) for one in whole.splitlines()[-1].split()] if whole else numbers

    def run_process(self, number: int, keep: float, offset: float) -> None:
        """Let a process accept so many deliveries, and end by itself."""
        out, _ = self.start(number, keep, offset).communicate()
        self.assertTrue(out.endswith(b"end\n"), out)

    def start(self, number: int, keep: float, offset: float) -> subprocess.Popen[bytes]:
        """Start a process that accepts so many deliveries."""
        arguments = [str(self.path), str(self.random.random())[2:], str(number), str(offset), str(keep)]
        environment = {**os.environ, "PYTHONPATH": str(Path(errklein.__file__).parents[1])}
        command = [sys.executable, "-m", "tests.journal.accepting", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    def assert_balanced(self) -> Sequence[Balance]:
        """Check that nothing is missing, and return the balances."""
        with closing(JournalArchive(self.path, Access.SHARE)) as archive:
            balances = archive.balances(0.0, time.time() + WEEK)
        for one in balances:
            self.assertEqual((one.difference, one.missing), (0, []), one)
        return balances

    def audit(self) -> tuple[int, list[str]]:
        """Run `errklein audit`, and return its status and the lines that it prints to standard error."""
        write_config(self.directory, {"BACKEND": "Null", "BOT_DATA_DIR": str(self.directory)})
        err = io.StringIO()
        self.patch(sys, "stdout", io.StringIO())
        self.patch(sys, "stderr", err)
        return cli.main(["audit", "--config", str(self.directory / "config.py")]), err.getvalue().splitlines()
