"""All data of a bot moves from SQLite files to PostgreSQL and back, and no bot starts on what is left behind."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

from errklein.chat.outgoing import OutgoingMessage
from errklein.compat.storages import make_storage
from errklein.config import load_config
from errklein.config.databases import find_databases
from errklein.database import Database, DatabaseError
from errklein.journal import MIGRATIONS, SQLiteJournal
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery, StoredRequest
from tests.cli.test_data import DataCase
from tests.journal.inline import INLINE, InlineReactor
from tests.postgres.server import new_database, programs
from tests.processes import write_config

TEXTS = ("", "a", "ünï\ncödé\\N\t", "'quoted'")
BYTES = (b"", b"\x00\\x\xff", "\ud800".encode("utf-8", "surrogatepass"))


def fill(path: Path, rows: int = 3) -> None:
    """Write rows with unusual values to all tables of a journal."""
    with closing(Database(path, MIGRATIONS)) as database, database.transaction() as connection:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('outbox_ids', 'removed_ids')"
        for (table,) in connection.execute(names).fetchall():
            columns = connection.execute(f"SELECT name, type FROM pragma_table_info('{table}')").fetchall()
            for number in range(1, rows + 1):
                row = [_value(table, name, kind, number) for name, kind in columns]
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        connection.execute("UPDATE outbox_ids SET next = 4711")
        connection.execute("UPDATE removed_ids SET last = 20")


def _value(table: str, name: str, kind: str, number: int) -> Any:
    if name in ("id", "at", "minute", "number", "route"):
        return number
    if kind == "TEXT":
        return f"{name} {number} {TEXTS[number % len(TEXTS)]}"
    if kind == "BLOB":
        return b"%d %s" % (number, BYTES[number % len(BYTES)])
    if name == "state":
        return number % 3 if table == "deliveries" else number
    return number % 2 if kind == "INTEGER" else number + 0.1


def contents(path: Path) -> dict[str, list[Any]]:
    """Return all rows of a file, by table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}


class MovingTests(DataCase):
    def setUp(self) -> None:
        """Start a bot's data: values and a journal."""
        super().setUp()
        programs()
        self.url = new_database(self)
        self.values, self.journal = self.data / "errklein.sqlite", self.data / "journal.sqlite"
        self.mark = self.data / "errklein.moved"
        self.store("Shop", open=True, texts=TEXTS)
        self.store("core", configs={"Shop": {"hours": (9, 17)}})
        fill(self.journal)
        self.before = self.contents()

    def contents(self) -> list[dict[str, list[Any]]]:
        return [contents(self.values), contents(self.journal)]

    def to_database(self) -> None:
        """Move everything to the database, and let the configuration name it."""
        self.assertEqual(self.run_command("storage", "move", self.url), 0)
        self.use_database()

    def use_database(self) -> None:
        write_config(self.directory, {"ERRKLEIN_DATABASE": self.url, "BOT_DATA_DIR": str(self.data)})

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query of the database."""
        from errklein.postgres._tables import connection_to

        with connection_to(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def test_there_and_back(self) -> None:
        """Files that come back have all rows that the first ones had, and values have the marks of their origin."""
        self.to_database()
        self.assertIn("stored: 3, SHA-256 sum ", self.out.getvalue())
        self.assertIn("deliveries: 3, SHA-256 sum ", self.out.getvalue())
        self.assertEqual(self.contents(), self.before)
        with closing(make_storage(load_config(self.directory / "config.py"))) as storage:
            self.assertTrue(storage.open("Shop").get("open"))
        for path in (self.values, self.journal):
            path.rename(path.with_name(f"{path.name}.before"))
        self.assertEqual(self.run_command("storage", "move", "sqlite"), 0)
        self.assertFalse(self.mark.exists())
        after = self.contents()
        ((highest,),) = after[1].pop("removed_ids")
        self.before[1].pop("removed_ids")
        self.assertGreater(highest, 20)
        self.assertEqual(after, self.before)
        self.assertIn("the data was moved to", self.refused("storage", "get", "Shop"))

    def test_unfinished_deliveries(self) -> None:
        """They are in the queue, in their order, and ids go on after all that were used."""
        self.to_database()
        queued = self.rows(
            "SELECT (message->>'id')::int, (message->>'route')::int FROM pgmq.q_errklein ORDER BY msg_id"
        )
        self.assertEqual(queued, [(1, 1), (2, 2), (3, 3)])
        self.assertEqual(
            self.rows("SELECT count(*) FROM deliveries JOIN pgmq.q_errklein ON msg_id = deliveries.message"), [(3,)]
        )
        self.assertGreater(self.rows("SELECT nextval('delivery_ids')")[0][0], 20)
        self.assertEqual(self.rows("INSERT INTO routes (name) VALUES ('a') RETURNING id"), [(4,)])

    def test_all_tables(self) -> None:
        """Both databases have the same tables and columns, but for those that coordinate processes."""
        self.to_database()
        columns = self.rows(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'errklein'"
        )
        of_server = {(table, column) for table, column in columns if table not in ("made", "nodes", "owner")}
        of_files = set()
        for path in (self.values, self.journal):
            with closing(sqlite3.connect(path)) as connection:
                of_files |= {
                    *connection.execute(
                        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
                    )
                }
        self.assertEqual(of_files - of_server, {("removed_ids", "last")})
        self.assertEqual({column for _, column in of_server - of_files}, {"node", "message"})

    def test_marks(self) -> None:
        """No bot and no command uses the files after a move, until the mark is removed."""
        self.to_database()
        write_config(self.directory, {})
        text = self.refused("storage", "get", "Shop")
        self.assertRegex(
            text,
            r"errklein\.moved: `errklein storage move` has moved the data to PostgreSQL \S+; set ERRKLEIN_DATABASE",
        )
        self.assertNotIn("postgres@", text)
        self.mark.unlink()
        self.assertEqual(self.run_command("storage", "get", "Shop"), 0)

    def test_target_with_data(self) -> None:
        """A database or files with data are refused, and nothing changes."""
        self.to_database()
        self.assertIn("exists already, and nothing was moved", self.refused("storage", "move", "sqlite"))
        self.assertEqual(self.contents(), self.before)
        write_config(self.directory, {})
        self.assertIn("has data already, and nothing was moved", self.refused("storage", "move", self.url))
        self.assertEqual(len(self.rows("SELECT * FROM stored")), 3)

    def test_running_bot(self) -> None:
        """A bot that runs isn't moved."""
        from errklein.service import DataDirectory

        data = DataDirectory(self.data)
        data.lock()
        self.assertIn("uses it; stop it first", self.refused("storage", "move", self.url))
        data.unlock()
        self.to_database()
        for path in (self.values, self.journal):
            path.unlink()
        self.rows(
            "INSERT INTO nodes (session, name, version, roles, address, began_at, seen_at) SELECT '', 'b:1', '', '', '', 0, extract(epoch FROM now()) RETURNING id"
        )
        self.assertIn("processes of the bot use it (b:1)", self.refused("storage", "move", "sqlite"))

    def test_invalid(self) -> None:
        """Errors name the argument or the setting. A secret may be in a file."""
        text = self.refused("storage", "move", "mysql://db/bot")
        self.assertIn("TO: unknown database 'mysql'. Available: ", text)
        self.assertIn(
            "expected sqlite, or the address of a database such as postgresql://",
            self.refused("storage", "move", "elsewhere"),
        )
        self.assertIn("ERRKLEIN_DATABASE isn't set", self.refused("storage", "move", "sqlite"))
        secret = self.directory / "address"
        secret.write_text(self.url)
        self.values.rename(self.directory / "away")
        self.assertIn("doesn't exist, so there is nothing to move", self.refused("storage", "move", f"file:{secret}"))
        (self.directory / "away").rename(self.values)
        self.assertEqual(self.run_command("storage", "move", f"file:{secret}"), 0)

    def interrupted(self, name: str, *arguments: str) -> None:
        """Run the command until it calls a function, in place of which it ends as in a crash."""

        class CrashError(BaseException):
            pass

        with mock.patch(name, side_effect=CrashError):
            self.assertRaises(CrashError, self.run_command, *arguments)

    def test_interrupted_way_there(self) -> None:
        """Wherever the command ends, the database has nothing, and the command can be repeated."""
        self.interrupted("errklein.postgres._moving._Table.of_server", "storage", "move", self.url)
        self.interrupted("errklein.cli._moving._mark", "storage", "move", self.url)
        self.assertEqual(self.rows("SELECT to_regclass('errklein.stored')"), [(None,)])
        self.assertFalse(self.mark.exists())
        self.interrupted("errklein.config.secrets.flush_directory", "storage", "move", self.url)
        self.assertEqual(self.rows("SELECT to_regclass('errklein.stored')"), [(None,)])
        self.assertIn("If it has no data, run the command again", self.refused("storage", "get", "Shop"))
        self.to_database()

    def test_damaged_copy(self) -> None:
        """A row that arrives with another value is an error, after which the database has nothing."""
        from errklein.postgres import _moving

        of_server: Callable[..., Any] = _moving._Table.of_server
        self.patch(_moving._Table, "of_server", lambda *given: [[*row[:-1], "other"] for row in of_server(*given)])
        self.assertIn("rows were copied, and differ from the", self.refused("storage", "move", self.url))
        self.assertEqual(self.rows("SELECT to_regclass('errklein.stored')"), [(None,)])

    def test_interrupted_way_back(self) -> None:
        """Until all files are complete, no bot starts on them, and the database stays in use or the command is repeated."""
        self.to_database()
        for path in (self.values, self.journal):
            path.unlink()
        self.interrupted("errklein.postgres._moving._Copied.compared", "storage", "move", "sqlite")
        find_databases(self.url).open_database(self.url)
        write_config(self.directory, {})
        self.assertIn(
            "`errklein storage move sqlite` was interrupted; run it again", self.refused("storage", "get", "Shop")
        )
        self.use_database()
        self.interrupted("errklein.cli._moving.flush_directory", "storage", "move", "sqlite")
        self.assertRaises(DatabaseError, find_databases(self.url).open_database, self.url)
        self.assertEqual(self.run_command("storage", "move", "sqlite"), 0)
        self.before[1].pop("removed_ids")
        after = self.contents()
        after[1].pop("removed_ids")
        self.assertEqual(after, self.before)

    def test_work_goes_on(self) -> None:
        """What waited in the files is run and sent from the database, and the other way round; known keys stay known."""
        self.journal.unlink()
        now = time.time()
        request = StoredRequest("POST", "/shop", [(b"x-a", b"1")], b"{}")
        files = SQLiteJournal(self.journal, InlineReactor(), lambda: now, runs=INLINE)
        for key in ("first", "second"):
            delivery = StoredDelivery(files.next_id(), "Shop:order", DeliveryState.RECEIVED, now, ack="now", key=key)
            self.successResultOf(files.record(delivery._replace(request=request), window=60))
        files.outbox.add(OutgoingMessage(0, "test", "#ops", "It burns.", accepted_at=now))
        self.successResultOf(files.close())
        self.to_database()
        server = find_databases(self.url).open_database(self.url).journal(InlineReactor(), lambda: now, runs=INLINE)
        (first,) = self.successResultOf(server.lease("Shop:order", 1, 60, ordered=True))
        self.assertEqual((first.key, first.request), ("first", request))
        self.successResultOf(server.finish(first.id, Outcome(200)))
        again = StoredDelivery(server.next_id(), "Shop:order", DeliveryState.RECEIVED, now, ack="now", key="first")
        self.assertGreater(again.id, 2)
        self.assertEqual(self.successResultOf(server.record(again._replace(request=request), window=60)).id, first.id)
        (message,) = self.successResultOf(server.outbox.lease())
        self.assertEqual((message.recipient, message.body), ("#ops", "It burns."))
        self.successResultOf(server.close())
        self.values.unlink()
        self.journal.unlink()
        self.assertEqual(self.run_command("storage", "move", "sqlite"), 0)
        back = SQLiteJournal(self.journal, InlineReactor(), lambda: now, runs=INLINE)
        self.assertEqual([one.key for one in self.successResultOf(back.lease("Shop:order", 9, 60))], ["second"])
        self.assertEqual(len(self.successResultOf(back.outbox.lease())), 1)
        self.assertGreater(back.next_id(), again.id)
        self.successResultOf(back.close())
