"""A PostgreSQL database is used as a SQLite file is: reads, writes, transactions, errors, and a server that ends meanwhile."""

from __future__ import annotations

import threading

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import DatabaseError
from tests.postgres.server import PostgresServer, new_database, programs


class TranslationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Import the module, which needs psycopg."""
        programs()
        from errklein.postgres import _database

        self.translated = _database.translated
        self.name_of = _database.name_of
        self.connect_options = _database.connect_options

    def test_placeholders(self) -> None:
        """Placeholders get numbers, one for each name; texts, comments, casts and quoted names stay."""
        self.assertEqual(self.translated("SELECT ?, ?"), (b"SELECT $1, $2", ["", ""]))
        sql = "SELECT :a, :b, :a, '?:a''?', \"?\", 1::text -- ?:a\n, '%'"
        expected = "SELECT $1, $2, $1, '?:a''?', \"?\", 1::text -- ?:a\n, '%'"
        self.assertEqual(self.translated(sql), (expected.encode(), ["a", "b"]))

    def test_hints_and_ids(self) -> None:
        """PostgreSQL has no hints for indexes, and ids are an array."""
        sql = "DELETE FROM a INDEXED BY b WHERE id IN (SELECT value FROM json_each(?)) AND id NOT IN (SELECT value FROM json_each(?))"
        expected = (
            "DELETE FROM a WHERE id = ANY (translate($1, '[]', '{}')::bigint[]) "
            "AND id <> ALL (translate($2, '[]', '{}')::bigint[])"
        )
        self.assertEqual(self.translated(sql)[0].decode(), expected)

    def test_invalid_addresses(self) -> None:
        """An address that isn't valid, such as one whose password isn't encoded, gets an error without any of it."""
        for password in ("5ecret%zz", "5ecret@x", "5ecret/x", "x@5ecret", "x/5ecret@y", "5ecret@[::1"):
            address = f"postgresql://bot:{password}@127.0.0.1/bot"
            for use in (lambda: self.name_of(address), lambda: self.connect_options(address, "errklein")):  # noqa: B023
                raised = self.assertRaises(DatabaseError, use)
                self.assertIn("%25 for %", str(raised))
                self.assertNotIn("5ecret", str(raised))

    def test_name_without_password(self) -> None:
        """The name in messages has no password."""
        self.assertEqual(
            self.name_of("postgresql://bot:5ecret@db.example.net:5433/bot"), "PostgreSQL db.example.net:5433/bot"
        )

    def test_options_of_the_address(self) -> None:
        """Options of the address count; the name has at most 63 bytes, as PostgreSQL shortens longer ones."""
        options = self.connect_options("postgresql://h/d?connect_timeout=9&options=-c%20work_mem%3D8MB", "n" * 99)
        self.assertEqual((options["connect_timeout"], options["application_name"]), ("9", "n" * 63))
        self.assertTrue(options["options"].endswith("-c search_path=errklein -c work_mem=8MB"), options["options"])


class DatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make a database with a table."""
        self.url = new_database(self)
        self.database = self.connected(self.url)
        self.database.write("CREATE SCHEMA errklein")
        self.database.write(
            "CREATE TABLE numbers (id bigint PRIMARY KEY, flag smallint, size double precision, name text, data bytea)"
        )
        self.database.write("CREATE TABLE owner (epoch bigint)")
        self.database.write("INSERT INTO owner VALUES (1)")

    def connected(self, url: str):  # type: ignore[no-untyped-def]
        """Return a database that is closed after the test."""
        from errklein.postgres._database import PostgresDatabase

        database = PostgresDatabase(url)
        self.addCleanup(database.close)
        return database

    def test_values(self) -> None:
        """Values are those of SQLite: bool is 0 or 1, sums of integers are integers, and a text has no NUL."""
        rows = [(1, True, 2, "a\0ä", b"\0\xff"), (2**40, False, 0.5, None, None)]
        with self.database.transaction() as connection:
            self.assertEqual(connection.executemany("INSERT INTO numbers VALUES (?, ?, ?, ?, ?)", rows).rowcount, 2)
        stored = [(1, 1, 2.0, "a\ufffdä", b"\0\xff"), (2**40, 0, 0.5, None, None)]
        self.assertEqual(self.database.read("SELECT * FROM numbers ORDER BY id"), stored)
        self.assertEqual(list(self.database.read_lazily("SELECT * FROM numbers ORDER BY id")), stored)
        ((ids, sizes),) = self.database.read(
            "SELECT sum(id), sum(size::numeric) FROM numbers WHERE flag >= :low", {"low": 0}
        )
        self.assertEqual((ids, type(ids), sizes), (2**40 + 1, int, 2.5))
        self.assertGreater(self.database.size, 0)

    def test_failed_transaction(self) -> None:
        """A failed transaction has changed nothing, and the next one works."""
        for statement in ("INSERT INTO numbers VALUES (1)", "SELECT 1 / 0"):
            with self.assertRaises(DatabaseError) as caught, self.database.transaction() as connection:
                connection.execute("INSERT INTO numbers VALUES (1)")
                connection.execute(statement)
            self.assertEqual(str(caught.exception).count("\n"), 0)
        with self.assertRaises(ZeroDivisionError), self.database.transaction() as connection:
            connection.execute("INSERT INTO numbers VALUES (1)")
            raise ZeroDivisionError
        self.assertEqual(self.database.read("SELECT * FROM numbers"), [])
        self.assertEqual(self.database.write("INSERT INTO numbers VALUES (1)"), 1)

    def test_missing_tables(self) -> None:
        """Missing tables are an error that names the command."""
        with self.assertRaises(DatabaseError) as caught:
            self.database.read("SELECT * FROM nothing")
        self.assertIn("errklein storage init", str(caught.exception))

    def test_fence(self) -> None:
        """Once another process is the owner, the transactions of the former one fail."""
        self.database.fence = 1
        self.database.write("INSERT INTO numbers VALUES (1)")
        self.connected(self.url).write("UPDATE owner SET epoch = 2")
        with self.assertRaises(DatabaseError) as caught:
            self.database.write("INSERT INTO numbers VALUES (2)")
        self.assertIn("another process", str(caught.exception))
        self.assertEqual(self.database.read("SELECT id FROM numbers"), [(1,)])

    def test_takeover_waits_for_transactions(self) -> None:
        """A takeover waits for the transactions of the owner that have begun."""
        self.database.fence = 1
        other = self.connected(self.url)

        def take_over() -> None:
            with other.transaction() as connection:
                connection.execute("SELECT 1 FROM owner FOR UPDATE")
                connection.execute("UPDATE owner SET epoch = 2")

        thread = threading.Thread(target=take_over)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with self.database.transaction() as connection:
            thread.start()
            while not self.database.read(waiting):
                pass
            connection.execute("INSERT INTO numbers VALUES (1)")
        thread.join()
        with self.assertRaises(DatabaseError):
            self.database.write("INSERT INTO numbers VALUES (2)")

    def test_takeover_that_takes_long(self) -> None:
        """While a takeover doesn't end, transactions of the owner fail. If it's given up, they work again."""
        database = self.connected(f"{self.url}&options=-c%20lock_timeout%3D50")
        database.fence = 1
        with self.database.transaction() as connection:
            connection.execute("SELECT 1 FROM owner FOR UPDATE")
            for _ in range(2):
                self.assertRaises(DatabaseError, database.write, "INSERT INTO numbers VALUES (1)")
        self.assertEqual(database.write("INSERT INTO numbers VALUES (1)"), 1)

    def test_ended_session(self) -> None:
        """A session that the server has ended between two uses is replaced, unnoticed by the caller."""
        self.database.read("SELECT 1")
        restored: list[int] = []
        self.database.restored = lambda: restored.append(1)
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        self.connected(self.url).read(ended)
        self.assertEqual(self.database.write("INSERT INTO numbers VALUES (1)"), 1)
        self.assertEqual(self.database.read("SELECT id FROM numbers"), [(1,)])
        self.assertEqual(restored, [1, 1])

    def test_session_that_ends_in_a_transaction(self) -> None:
        """A transaction whose session ends is an error, and has changed nothing."""
        other = self.connected(self.url)
        with self.assertRaises(DatabaseError), self.database.transaction() as connection:
            ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
            connection.execute("INSERT INTO numbers VALUES (1)")
            other.read("SELECT pg_terminate_backend(?::int, 10000)", (pid,))
            connection.execute("INSERT INTO numbers VALUES (2)")
        self.assertEqual(self.database.read("SELECT * FROM numbers"), [])
        self.assertEqual(self.database.write("INSERT INTO numbers VALUES (1)"), 1)

    def test_server_that_is_not_the_primary_any_more(self) -> None:
        """A session that only reads is an error, and replaced, since the address may lead to another server now."""
        self.database.write("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        with self.assertRaises(DatabaseError) as caught:
            self.database.write("INSERT INTO numbers VALUES (1)")
        self.assertIn("connect to the primary", str(caught.exception))
        self.assertEqual(self.database.write("INSERT INTO numbers VALUES (1)"), 1)

    def test_closed(self) -> None:
        """A closed database is an error."""
        self.database.close()
        self.assertRaises(DatabaseError, self.database.read, "SELECT 1")
        self.assertRaises(DatabaseError, self.database.write, "SELECT 1")


class ServerTests(SynchronousTestCase):
    def test_restarted_server(self) -> None:
        """While the server is absent, each use is an error at once; afterwards the same object works."""
        from errklein.postgres import _database

        server = PostgresServer()
        self.addCleanup(server.remove)
        database = _database.PostgresDatabase(server.url())
        self.addCleanup(database.close)
        self.assertEqual(database.read("SELECT 1"), [(1,)])
        server.stop()
        for _ in range(3):
            error = self.assertRaises(DatabaseError, database.read, "SELECT 1")
            # Without libpq's question whether the server runs.
            self.assertTrue(str(error).endswith("No such file or directory"), error)
            self.assertRaises(DatabaseError, database.write, "SELECT 1")
        server.start()
        self.patch(_database, "PAUSE", 0.0)
        self.patch(_database, "monotonic", lambda: 1e9)
        self.assertEqual((database.read("SELECT 1"), database.write("SELECT 1")), ([(1,)], 1))
