"""Connections of nodes that fail, and what their errors say about the server."""

from __future__ import annotations

import re

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.database import DatabaseError
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer, new_bot_database, programs

REFUSED = (
    'connection failed: connection to server at "127.0.0.1", port 5432 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?"
)
STARTING = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: FATAL:  the database system is starting up'
NO_SOCKET = 'connection is bad: connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory'
CLOSED = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: server closed the connection unexpectedly'
NO_ROUTE = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: No route to host'
NO_NAME = "connection failed: could not translate host name"


class RefusedTests(SynchronousTestCase):
    def kind_of(self, *failures: str) -> str:
        """Return the name of the exception for errors of the addresses."""
        import psycopg

        from errklein.postgres._membership import Membership

        text = failures[-1]
        if len(failures) > 1:
            lines = [f"- host: 'a', port: '5432', hostaddr: None: {failure}" for failure in failures]
            text = "\n".join([text, "Multiple connection attempts failed. All failures were:", *lines])

        def connect(**_: object) -> None:
            raise psycopg.OperationalError(text)

        self.patch(psycopg, "connect", connect)
        members = Membership("postgresql://a/bot", "errklein 0123456789abcdef")
        error = self.assertRaises(DatabaseError, members.connect)
        self.assertFalse(members.connected)
        return type(error).__name__

    def test_server_that_refuses(self) -> None:
        """An owner goes on while the server itself says that nobody can use it."""
        programs()
        for failure in (REFUSED, STARTING, NO_SOCKET):
            self.assertEqual(self.kind_of(failure), "ServerRefused")
        self.assertEqual(self.kind_of(REFUSED, STARTING), "ServerRefused")

    def test_server_that_others_may_reach(self) -> None:
        """An owner stops if another process may reach the server, or one of several servers."""
        programs()
        for failure in (CLOSED, NO_ROUTE, NO_NAME, "connection timeout expired"):
            self.assertEqual(self.kind_of(failure), "DatabaseError")
            self.assertEqual(self.kind_of(REFUSED, failure), "DatabaseError")
            self.assertEqual(self.kind_of(failure, REFUSED), "DatabaseError")


class PoolerTests(TestCase):
    async def test_pooler_is_refused(self) -> None:
        """A pooler, which has numbers of its own for sessions, can't be used: others would get this process's locks."""
        from errklein.postgres._membership import Membership

        programs()
        server = await deferToThread(PostgresServer, tcp=True)
        self.addCleanup(server.remove)
        # BackendKeyData: the number of the session.
        proxy = Proxy(server.port, lambda data: re.sub(rb"(?s)(?<=K\0\0\0\x0c)....", b"pool", data))
        port = await proxy.listen()
        self.addCleanup(proxy.close)
        url = server.url(tcp=True).replace(f"port={server.port}", f"port={port}")
        members = Membership(url, "errklein 0123456789abcdef")
        error = await self.assertFailure(deferToThread(members.connect), DatabaseError)
        self.assertIn("is a connection pooler such as PgBouncer", str(error))
        self.assertFalse(members.connected)


class RestoredTests(SynchronousTestCase):
    def test_id_of_another_process(self) -> None:
        """A process whose id a restored database has given to another one gets a new id, and leaves the other one alone."""
        import psycopg

        from errklein.ports.nodes import Node
        from errklein.postgres._membership import Membership

        url = new_bot_database(self)
        first, second = (Membership(url, f"errklein {number:016x}") for number in (1, 2))
        for members in (first, second):
            members.connect()
            self.addCleanup(members.close)
        node = first.add(Node(0, "a", "1", ["chat"], "", 0.0, 0.0))
        self.assertEqual(first.beat(node, None), (1, False))
        self.assertEqual(second.beat(node, None), (None, False))
        with psycopg.connect(url) as connection:
            connection.execute("SELECT setval(pg_get_serial_sequence('errklein.nodes', 'id'), 1, false)")
        self.assertEqual(second.add(node).id, 2)
        self.assertEqual([(seen.node.id, seen.has_session) for seen in second.nodes()], [(1, True), (2, True)])

    def test_epochs_of_a_copy_differ(self) -> None:
        """Two copies of a database never give the same epoch, so the owner of one can't write to the other."""
        from errklein.ports.nodes import Node
        from errklein.postgres._membership import Membership

        epochs = set()
        for number in range(2):
            members = Membership(new_bot_database(self), f"errklein {number:016x}")
            members.connect()
            self.addCleanup(members.close)
            node = members.add(Node(0, "a", "1", ["chat"], "", 0.0, 0.0))
            epochs.add(members.own(node.id))
            self.assertIsNone(members.own(node.id))
        self.assertEqual(len(epochs), 2)
