"""Tables are made and upgraded by a command only, and a process refuses those that it can't use."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError
from errklein.config.databases import find_databases
from errklein.database import DatabaseError
from tests.postgres.server import new_bot_database, new_database, programs, shared_server


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

    def test_moved(self) -> None:
        """Nobody starts on data that was moved elsewhere."""
        url = new_bot_database(self)
        with self.tables.connection_to(url) as connection:
            connection.execute("UPDATE made SET moved_to = '/srv/bot'")
        self.assertIn("the data was moved to /srv/bot", self.refusal(url))

    def test_absent_server(self) -> None:
        """A server that isn't there is an error of one line, without the password."""
        text = self.refusal("postgresql://bot:5ecret@127.0.0.1:1/bot")
        self.assertRegex(text, r"^PostgreSQL 127\.0\.0\.1:1/bot: .*refused")
        self.assertNotIn("5ecret", text)

    def test_unknown_kind(self) -> None:
        """An unknown scheme is an error with the known ones."""
        text = str(self.assertRaises(ConfigError, find_databases, "mysql://bot@db/bot"))
        self.assertEqual(text, "ERRKLEIN_DATABASE: unknown database 'mysql'. Available: postgres, postgresql")
