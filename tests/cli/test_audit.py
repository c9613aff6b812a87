"""Tests for `errklein audit`."""

from __future__ import annotations

import io
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.journal import DATABASE, SQLiteJournal
from errklein.service import DataDirectory
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery
from errklein.webhooks.exported import shown_time
from tests.journal.inline import INLINE, InlineReactor
from tests.processes import write_config


class AuditTests(SynchronousTestCase):
    """The command beside the journal of a bot that a test plays."""

    def setUp(self) -> None:
        """Create the data directory and a journal with some deliveries."""
        self.directory = Path(self.mktemp()).absolute()
        (data := self.directory / "data").mkdir(parents=True)
        write_config(self.directory, {"BACKEND": "Null", "BOT_DATA_DIR": str(data)})
        self.path = data / DATABASE
        self.running = True
        self.patch(DataDirectory, "is_used", lambda _: self.running)
        self.hour = time.time() // 3600 * 3600
        self.journal = SQLiteJournal(self.path, reactor := InlineReactor(), lambda: self.hour, runs=INLINE)
        self.addCleanup(self.journal.close)
        for state in (DeliveryState.DONE, DeliveryState.FAILED, DeliveryState.DEAD, DeliveryState.RECEIVED):
            self.add(state, Outcome(500, "ValueError"))
        self.add(DeliveryState.DEAD, Outcome(410, "the webhook was removed"))
        self.add(DeliveryState.REFUSED, Outcome(401, "no"))
        self.add(DeliveryState.DUPLICATE, None)
        self.journal.count("Github:notification")
        reactor.advance(1)

    def add(self, state: DeliveryState, outcome: Outcome | None) -> None:
        """Store a delivery."""
        self.journal.log(
            StoredDelivery(self.journal.next_id(), "Github:notification", state, self.hour, outcome=outcome)
        )

    def audit(self, *words: str) -> tuple[int | str | None, str, str]:
        """Run the command, and return its exit status, and what it prints to standard output and to standard error."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        try:
            status: int | str | None = cli.main(["audit", "--config", str(self.directory / "config.py"), *words])
        except SystemExit as error:
            status = error.code
        return status, out.getvalue(), err.getvalue()

    def change(self, statement: str) -> None:
        """Change the file by hand."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)

    def test_balanced(self) -> None:
        """Everything that was accepted is accounted for, by what has become of it. The bot may run."""
        status, out, err = self.audit()
        deliveries, messages = out.splitlines()
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(
            deliveries,
            f"6 deliveries accepted since {shown_time(self.hour)}: 1 done, 1 only counted, 1 failed, 1 dead, 1 cancelled, "
            "1 waiting, 0 removed by age, 0 removed by size; difference 0",
        )
        self.assertRegex(
            messages, "^0 messages accepted since .*: 0 sent, 0 dropped, 0 rejected, 0 waiting; difference 0$"
        )

    def test_removed_by_hand(self) -> None:
        """A row that was deleted by hand is a difference and is named; so is a row of a message."""
        self.change("DELETE FROM deliveries WHERE id IN (2, 3)")
        self.change("INSERT INTO message_ledger VALUES (77)")
        self.change(f"INSERT INTO message_totals (at, accepted) VALUES ({self.hour}, 1)")
        status, out, err = self.audit()
        self.assertEqual((status, out.count("difference 2"), out.count("difference 1")), (1, 1, 1))
        self.assertEqual(
            err.splitlines(),
            [
                "errklein: deliveries without their row, of all times: 2 3",
                "errklein: messages without their row, of all times: 77",
            ],
        )

    def test_period(self) -> None:
        """A period has whole hours. What is missing is named nevertheless, and what isn't kept any more doesn't count."""
        self.change(f"UPDATE deliveries SET received_at = {self.hour - 7200} WHERE id < 3")
        self.assertIn("difference 2", self.audit()[1])
        self.change(f"INSERT INTO totals (at, route, accepted) VALUES ({self.hour - 7200}, 1, 2)")
        for words, accepted in (
            ([], 8),
            (["until", shown_time(self.hour)], 2),
            (["until", shown_time(self.hour - 3600), "since", shown_time(self.hour - 7000)], 2),
            (["since", shown_time(self.hour - 3600), "until", shown_time(self.hour - 1)], 0),
            (["since", shown_time(self.hour + 5)], 6),
        ):
            self.assertEqual(self.audit(*words)[1].partition(" ")[0], str(accepted), words)
        self.change("DELETE FROM deliveries WHERE id = 1")
        status, _, err = self.audit("since", shown_time(self.hour))
        self.assertEqual((status, err), (1, "errklein: deliveries without their row, of all times: 1\n"))

    def test_kills(self) -> None:
        """After a kill, the report says that deliveries of the last second may not have been counted."""
        self.change("DELETE FROM runs")
        self.running = False
        for began, ended in ((-7000, "NULL"), (-6000, -5000), (-60, "NULL")):
            self.change(
                f"INSERT INTO runs (began, ended) VALUES ({self.hour + began}, {self.hour + ended if ended != 'NULL' else ended})"
            )
        text = "a bot was killed {}: what was only counted in its last second isn't in these numbers"
        early, last = text.format(f"before {shown_time(self.hour - 6000)}"), text.format("and not started again")
        self.assertEqual([line.strip() for line in self.audit()[1].splitlines()[1:-1]], [early, last])
        self.running = True
        self.assertEqual(self.audit()[1].count("killed"), 1)
        self.assertNotIn(early, self.audit("since", shown_time(self.hour))[1])

    def test_refused(self) -> None:
        """Other words, a missing file and a journal in memory are errors of one line."""
        self.assertEqual(self.audit("failed")[0], 2)
        self.assertIn("invalid time", str(self.audit("since", "never")[0]))
        self.journal.close()
        self.path.unlink()
        self.assertIn("doesn't exist", str(self.audit()[0]))
        write_config(self.directory, {"BACKEND": "Null", "BOT_DATA_DIR": str(self.path.parent), "STORAGE": "Memory"})
        self.assertIn("STORAGE is 'Memory'", str(self.audit()[0]))
