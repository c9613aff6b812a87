"""The commands for the data of a bot whose data is in a database."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from errklein.compat.storages import make_storage
from errklein.config import load_config
from errklein.config.databases import find_databases
from errklein.database import DatabaseError
from errklein.storage import rows_of
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery, StoredRequest
from errklein.webhooks.exported import shown_time
from errklein.wiring import open_archive
from tests.cli.test_data import DataCase
from tests.journal.inline import INLINE, InlineReactor
from tests.postgres.server import new_bot_database, new_database
from tests.processes import write_config

NODE = "INSERT INTO nodes (session, name, version, roles, address, began_at, seen_at) VALUES ('errklein no session', %s, '', '', '', 0, %s)"


class CommandsTests(DataCase):
    def setUp(self) -> None:
        """Let the configuration name a new database."""
        super().setUp()
        self.use(new_bot_database(self))

    def use(self, url: str) -> None:
        self.url = url
        write_config(self.directory, {"ERRKLEIN_DATABASE": url, "BOT_DATA_DIR": str(self.data)})

    def store(self, namespace: str, **values: Any) -> None:
        """Store values as the bot does."""
        with closing(make_storage(load_config(self.directory / "config.py"))) as storage:
            for key, value in values.items():
                storage.open(namespace).set(key, value)

    def stored(self) -> dict[tuple[str, str], Any]:
        """Return the values in the database."""
        with closing(make_storage(load_config(self.directory / "config.py"))) as storage:
            rows = rows_of(storage)
            return {(namespace, key): storage.open(namespace).get(key) for namespace, key, _ in rows}

    def test_tables(self) -> None:
        """Without tables, commands name the one that makes them. It needs a database."""
        self.use(new_database(self))
        self.assertIn("make them with `errklein storage init`", self.refused("storage", "get", "Shop"))
        self.assertEqual(self.run_command("storage", "init"), 0)
        self.assertIn("tables of version", self.out.getvalue())
        self.assertEqual(self.run_command("storage", "get", "Shop", "--missing-ok"), 0)
        write_config(self.directory, {})
        self.assertIn("ERRKLEIN_DATABASE isn't set", self.refused("storage", "init"))

    def test_values(self) -> None:
        """Values are printed and changed in the database, and files aren't made."""
        self.assertEqual(self.run_command("storage", "set", "Shop", stdin="{'open': True}"), 0)
        self.assertEqual(self.run_command("storage", "merge", "Shop", stdin="{'count': 2}"), 0)
        self.assertEqual(self.stored(), {("Shop", "open"): True, ("Shop", "count"): 2})
        self.assertEqual(self.run_command("storage", "get", "Shop"), 0)
        self.assertIn("'count': 2", self.out.getvalue())
        self.assertEqual({path.name for path in self.data.iterdir()} - {"errklein.lock"}, set())

    def test_backup(self) -> None:
        """A backup has the values, and names the program that copies the rest. It is restored into an empty database only."""
        self.store("Shop", open=True)
        # `--with-secrets` has the file of this one.
        self.store("secrets of room webhooks", pushes=b"5ecret")
        (self.data / "journal.sqlite").write_text("of an earlier bot")
        self.assertEqual(self.run_command("backup"), 0)
        self.assertIn("backup.jsonl: 1 value\n", self.out.getvalue())
        self.assertIn("pg_dump", self.out.getvalue())
        self.assertFalse((self.data / "backup.journal.sqlite").exists())
        self.assertIn("use an empty ERRKLEIN_DATABASE, or replace", self.refused("restore"))
        self.use(new_bot_database(self))
        self.assertIn("pg_restore", self.refused("restore", "--with-deliveries"))
        self.assertEqual(self.run_command("restore"), 0)
        self.assertEqual(self.stored(), {("Shop", "open"): True})

    def test_backup_before_the_first_start(self) -> None:
        """A backup needs no process of the bot that has run on this machine."""
        self.data.rmdir()
        self.assertEqual(self.run_command("backup"), 0)
        self.assertTrue((self.data / "backup.jsonl").exists())

    def test_errbot(self) -> None:
        """Values of errbot are imported, and exported again."""
        self.write_shelf("Shop", open=True)
        self.assertEqual(self.run_command("import-errbot"), 0)
        self.assertTrue(self.stored()["Shop", "open"])
        self.store("Shop", open=False)
        self.assertEqual(self.run_command("export-errbot", "--directory", str(self.directory / "shelves")), 0)
        self.assertIn("Shop: 1 value exported", self.out.getvalue())

    def test_running_bot(self) -> None:
        """While a process of the bot runs, on any machine, commands that change something are refused, with its name."""
        from errklein.postgres._tables import connection_to

        with connection_to(self.url) as connection:
            connection.execute(NODE, ["b.example.net:4711", time.time()])
            connection.execute(NODE, ["killed.example.net:1", time.time() - 60])
        text = self.refused("storage", "set", "Shop", stdin="{}")
        self.assertIn("processes of the bot use it (b.example.net:4711); stop them first", text)
        self.assertEqual(self.run_command("storage", "get", "Shop", "--missing-ok"), 0)

    def test_no_bot_starts_meanwhile(self) -> None:
        """A process can't add itself while such a command works."""
        from errklein.postgres._shared import PostgresShared
        from errklein.postgres._tables import connection_to

        def add() -> None:
            with connection_to(self.url) as connection:
                connection.execute("SET lock_timeout = '20ms'")
                connection.execute(NODE, ["b.example.net:4711", 0])

        with PostgresShared(self.url).alone():
            self.assertIn("lock timeout", str(self.assertRaises(DatabaseError, add)))
        add()

    def receive(self, *webhooks: str) -> list[int]:
        """Record a delivery of each webhook that has failed, and return their ids."""
        shared = find_databases(self.url).open_database(self.url)
        journal = shared.journal(InlineReactor(), time.time, runs=INLINE)
        numbers = []
        for webhook in webhooks:
            numbers.append(journal.next_id())
            request = StoredRequest("POST", "/shop", [], b"{}")
            delivery = StoredDelivery(
                numbers[-1], webhook, DeliveryState.RECEIVED, time.time(), request=request, ack="now"
            )
            self.successResultOf(journal.record(delivery, lease=60))
            self.successResultOf(journal.bury(numbers[-1], Outcome(500, "no room")))
        self.successResultOf(journal.close())
        return numbers

    def test_deliveries(self) -> None:
        """Deliveries are listed, explained, counted and run again, without a bot on this machine."""
        (first,) = self.receive("Shop:order")
        self.assertEqual(self.run_command("delivery", "list"), 0)
        self.assertEqual(self.run_command("why", str(first)), 0)
        self.assertEqual(self.run_command("audit"), 0)
        self.assertIn("1 deliveries accepted since", self.out.getvalue())
        self.assertEqual(self.out.getvalue().count("no room"), 2)
        self.assertEqual(self.run_command("delivery", "replay", str(first)), 0)
        self.assertIn(f"no bot is running; after its next start, it runs {first}", self.out.getvalue())
        self.assertEqual(self.run_command("webhook", "pause", "Shop"), 0)
        with closing(open_archive(load_config(self.directory / "config.py"))) as archive:
            self.assertEqual(archive.paused(), ["Shop:order"])
            self.assertEqual(archive.depth().waiting, 1)
            self.assertEqual([one.operation for one in archive.actions()], ["webhook_pause", "delivery_replay"])

    def test_killed_processes(self) -> None:
        """Those that were killed are one line, with the time when the last one was started, not that of another process."""
        from errklein.postgres._tables import connection_to

        with connection_to(self.url) as connection:
            for node, began, ended in ((7, 100, None), (8, 200, None), (9, 300, 400)):
                connection.execute("INSERT INTO runs (node, began, ended) VALUES (%s, %s, %s)", [node, began, ended])
        self.assertEqual(self.run_command("audit"), 0)
        [line] = [line for line in self.out.getvalue().splitlines() if "killed" in line]
        self.assertIn(f"killed processes: 2, of which the last one started at {shown_time(200)}: what was only", line)

    def test_processes_elsewhere(self) -> None:
        """Processes on other machines learn of changes by the database, and `replay` waits for what they do."""
        from errklein.postgres._tables import connection_to

        (first,) = self.receive("Shop:order")
        with connection_to(self.url) as connection:
            connection.execute(NODE, ["b.example.net:4711", time.time()])
        with connection_to(self.url) as connection:
            connection.execute("LISTEN errklein")
            connection.commit()
            self.assertEqual(self.run_command("delivery", "replay", str(first), "--wait", "0.01"), 1)
            self.assertEqual(self.run_command("webhook", "pause", "Shop"), 0)
            told = [one.payload for one in connection.notifies(timeout=0.1)]
        self.assertEqual(told, ["deliveries -"] * 2)
        self.assertIn(f"not finished after 0.01 s: {first}", self.err.getvalue())
        self.assertTrue(self.out.getvalue().endswith("paused Shop:order\n"))
