"""Tables are made and upgraded by a command only, and a process refuses those that it can't use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError
from errklein.config.databases import find_databases
from errklein.database import DatabaseError
from errklein.ports.nodes import ROLES, Node
from tests.postgres.server import new_bot_database, new_database, programs, shared_server


class Upgrade(Thread):
    """An upgrade in a thread, with the lines that it reports."""

    def __init__(self, create_tables: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._create_tables = create_tables
        self.lines: Sequence[str] = ()

    def run(self) -> None:
        """Upgrade the tables."""
        self.lines = self._create_tables()


class TablesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Import the module, which needs psycopg."""
        programs()
        from errklein.postgres import _tables

        self.tables = _tables

    def refusal(self, url: str) -> str:
        """Return the error of an attempt to open the database."""
        return str(self.assertRaises(DatabaseError, find_databases(url).open_database, url))

    def set_version(self, url: str, version: int) -> None:
        with self.tables.connection_to(url) as connection:
            connection.execute("UPDATE made SET version = %s", [version])

    def test_missing(self) -> None:
        """The error names the command that makes the tables."""
        self.assertIn(
            "the tables are missing; make them with `errklein storage init`", self.refusal(new_database(self))
        )

    def test_made(self) -> None:
        """Each step is reported, and there are none the second time."""
        url = new_database(self)
        lines = self.tables.create_tables(url)
        self.assertRegex(
            "\n".join(lines), r"^PostgreSQL \S+: PGMQ [\d.]+ in the schema pgmq\n.*: tables of version \d+ in "
        )
        self.assertRegex(
            "\n".join(self.tables.create_tables(url)), r"^PostgreSQL \S+: the tables have version \d+ already$"
        )
        find_databases(url).open_database(url)

    def test_user_with_few_rights(self) -> None:
        """A user who isn't a superuser makes the tables in a database of its own, and uses them. Another user is refused."""
        server = shared_server()
        url = new_database(self)
        name = url.partition("///")[2].partition("?")[0]
        server.execute(f"CREATE ROLE owner_{name} LOGIN", f"ALTER DATABASE {name} OWNER TO owner_{name}")
        server.execute(f"CREATE ROLE other_{name} LOGIN")
        self.addCleanup(server.execute, f"DROP ROLE other_{name}")
        own, others = (server.url(name, f"{kind}_{name}") for kind in ("owner", "other"))
        self.assertIn("may not do this", str(self.assertRaises(DatabaseError, self.tables.create_tables, others)))
        self.assertEqual(len(self.tables.create_tables(own)), 2)
        with closing(find_databases(own).open_database(own).storage()) as storage:
            storage.open("Shop").set("open", True)
        self.assertIn("may not do this", self.refusal(others))

    def test_unsuitable_database(self) -> None:
        """A database that can't have all texts is refused, and so is the schema of another PGMQ."""
        server = shared_server()
        server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        self.addCleanup(server.execute, "DROP DATABASE latin WITH (FORCE)")
        error = str(self.assertRaises(DatabaseError, self.tables.create_tables, server.url("latin")))
        self.assertIn("has the encoding LATIN1; create it with the encoding UTF8", error)
        url = new_database(self)
        with self.tables.connection_to(url) as connection:
            connection.execute("CREATE SCHEMA pgmq")
        self.assertIn("another version of PGMQ", str(self.assertRaises(DatabaseError, self.tables.create_tables, url)))

    def test_other_versions(self) -> None:
        """The versions before and after are used, others refused. An upgrade is one transaction."""
        url = new_bot_database(self)
        known = len(self.tables.MIGRATIONS)
        self.set_version(url, known + 1)
        find_databases(url).open_database(url)
        self.set_version(url, known + 2)
        self.assertIn(f"supports up to {known + 1}; install the newer errklein", self.refusal(url))
        self.assertRaises(DatabaseError, self.tables.create_tables, url)
        self.set_version(url, known)
        steps = [Path(self.mktemp()) for _ in range(2)]
        steps[0].write_text("ALTER TABLE stored ADD COLUMN more text")
        steps[1].write_text("ALTER TABLE no_such_table ADD COLUMN more text")
        self.patch(self.tables, "MIGRATIONS", [*self.tables.MIGRATIONS, *steps])
        self.assertIn(f"needs at least {known + 1}; upgrade them with `errklein storage init`", self.refusal(url))
        self.assertRaises(DatabaseError, self.tables.create_tables, url)
        steps[1].write_text("ALTER TABLE stored DROP COLUMN more")
        self.assertIn(f"tables of version {known + 2}, before {known}", self.tables.create_tables(url)[0])

    def add_steps(self, *steps: str) -> None:
        """Be a later errklein, whose tables need these further steps."""
        paths = [Path(self.mktemp()) for _ in steps]
        for path, text in zip(paths, steps, strict=True):
            path.write_text(text)
        self.patch(self.tables, "MIGRATIONS", [*self.tables.MIGRATIONS, *paths])

    def test_running_processes(self) -> None:
        """While processes of the bot run, the tables are upgraded by one version only, which these can use."""
        url, table = new_bot_database(self), "ALTER TABLE stored ADD COLUMN "
        self.add_steps(table + "one text", table + "two text")
        with self.tables.connection_to(url) as connection:
            node = "INSERT INTO nodes (session, name, version, roles, address, began_at, seen_at) "
            node += "VALUES ('', 'bot1:812', '', '', '', 0, extract(epoch FROM clock_timestamp()))"
            connection.execute(node)
        error = self.assertRaises(DatabaseError, self.tables.create_tables, url)
        self.assertIn("processes of the bot use it (bot1:812); stop them first", str(error))
        all_steps = list(self.tables.MIGRATIONS)
        for number in (-1, None):
            self.patch(self.tables, "MIGRATIONS", all_steps[:number])
            self.assertIn("tables of version", self.tables.create_tables(url)[0])

    def test_busy_tables(self) -> None:
        """An upgrade lets transactions of the bot go on that wait behind it, and is tried again when it has waited for others."""
        url = new_bot_database(self)
        self.add_steps("ALTER TABLE stored ADD COLUMN more text")
        with self.tables.connection_to(url) as first, self.tables.connection_to(url) as second:
            first.execute("LOCK TABLE stored IN ROW EXCLUSIVE MODE")
            waits = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'errklein.stored'::regclass "
                "AND mode = 'AccessExclusiveLock'"
            )
            upgrade = Upgrade(lambda: self.tables.create_tables(url))
            upgrade.start()
            while not self.tables.value_of(second, waits):
                pass
            began = time.monotonic()
            second.execute("LOCK TABLE stored IN ROW EXCLUSIVE MODE")
            self.assertLess(time.monotonic() - began, 5)
        upgrade.join()
        self.assertIn("tables of version", upgrade.lines[0])

    def test_moved(self) -> None:
        """Nobody starts on data that was moved elsewhere."""
        url = new_bot_database(self)
        with self.tables.connection_to(url) as connection:
            connection.execute("UPDATE made SET moved_to = '/srv/bot'")
        self.assertIn("the data was moved to /srv/bot", self.refusal(url))

    def test_moved_meanwhile(self) -> None:
        """A process that has begun before a move, or was suspended during one, can't use the data after it."""
        from errklein.postgres._database import PostgresDatabase
        from errklein.postgres._membership import Membership
        from errklein.postgres._tables import lock_nodes

        url = new_bot_database(self)
        member, database = Membership(url, "errklein 0123456789abcdef"), PostgresDatabase(url)
        self.addCleanup(database.close)
        self.addCleanup(member.close)
        member.connect()
        node = Node(0, "a:1", "1", ROLES, "", 0.0, 0.0)
        node = member.add(node)
        database.read("SELECT 1")
        with self.tables.connection_to(url) as connection:
            connection.execute("UPDATE nodes SET seen_at = 0")
            refused = self.assertRaises(DatabaseError, lock_nodes, connection, "here")
            self.assertEqual(str(refused), "here: processes of the bot use it (a:1); stop them first")
            connection.execute("UPDATE made SET moved_to = '/srv/bot'")
            ended = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'errklein'"
            connection.execute(ended)
        for use in (lambda: member.add(node), lambda: database.read("SELECT 1")):
            self.assertIn("was moved to /srv/bot", str(self.assertRaises(DatabaseError, use)))
        with self.tables.connection_to(url) as connection:
            self.assertEqual(self.tables.value_of(connection, "SELECT count(*) FROM nodes"), 1)

    def test_absent_server(self) -> None:
        """A server that isn't there is an error of one line, without the password."""
        text = self.refusal("postgresql://bot:5ecret@127.0.0.1:1/bot")
        self.assertRegex(text, r"^PostgreSQL 127\.0\.0\.1:1/bot: .*refused")
        self.assertNotIn("5ecret", text)

    def test_unknown_kind(self) -> None:
        """An unknown scheme is an error with the known ones."""
        text = str(self.assertRaises(ConfigError, find_databases, "mysql://bot@db/bot"))
        self.assertEqual(text, "ERRKLEIN_DATABASE: unknown database 'mysql'. Available: postgres, postgresql")
