"""Tests of the PostgreSQL server that other tests use."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.postgres.server import PostgresServer, new_database


def prepare(url: str) -> None:
    """Create a table."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE numbers (number integer)")


def count(url: str) -> int:
    """Insert a row, and return how many there were."""
    import psycopg

    with psycopg.connect(url) as connection:
        (row,) = connection.execute("INSERT INTO numbers VALUES (1) RETURNING (SELECT count(*) FROM numbers)")
        return row[0]


class PostgresServerTests(SynchronousTestCase):
    def test_each_test_has_a_database_of_its_own(self) -> None:
        """Rows of one test aren't in the database of another, which has the same tables."""
        first, second = new_database(self, prepare), new_database(self, prepare)
        self.assertEqual([count(first), count(first), count(second)], [0, 1, 0])

    def test_restart_keeps_the_rows(self) -> None:
        """A server that was stopped, in order or as in a crash, starts again with what it had."""
        server = PostgresServer(tcp=True)
        self.addCleanup(server.remove)
        url = server.url(server.new_database(prepare), tcp=True)
        count(url)
        for mode in ("fast", "immediate"):
            server.stop(mode)
            server.start()
        self.assertEqual(count(url), 1)

    def test_removed_server_leaves_nothing(self) -> None:
        """The directory of a server is removed with it."""
        server = PostgresServer()
        server.remove()
        self.assertFalse(server.directory.exists())
