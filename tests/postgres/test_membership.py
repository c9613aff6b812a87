"""Connections of nodes that fail, and what their errors say about the server."""

from __future__ import annotations

import re
from functools import cache
from unittest import mock

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.database import DatabaseError
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer, new_bot_database, programs

ADDRESS = '127.0.0.1", port PORT'
REFUSED = (
    f'connection failed: connection to server at "{ADDRESS} failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?"
)
BY_NAME = 'connection failed: connection to server at "db.example" (127.0.0.1), port PORT failed: Connection refused'
STARTING = f'connection failed: connection to server at "{ADDRESS} failed: FATAL:  the database system is starting up'
NO_SOCKET = 'connection is bad: connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory'
ELSEWHERE = 'connection failed: connection to server at "db.example" (127.0.0.2), port PORT failed: Connection refused'
CLOSED = f'connection failed: connection to server at "{ADDRESS} failed: server closed the connection unexpectedly'
NO_ROUTE = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: No route to host'
NO_NAME = "connection failed: could not translate host name"


@cache
def server_on_tcp() -> PostgresServer:
    """Return a server that no test stops."""
    return PostgresServer(tcp=True)


class RefusedTests(TestCase):
    """Errors of connections after a session on the server."""

    async def kind_of(self, *failures: str, tcp: bool = True, proxy: bool = False) -> str:
        """Return the name of the exception for errors of the addresses. PORT is that of the last session."""
        import psycopg

        from errklein.postgres import create_tables
        from errklein.postgres._membership import Membership

        programs()
        server = await deferToThread(server_on_tcp)
        url, port = server.url(server.new_database(create_tables), tcp=tcp), server.port
        if proxy:
            forwarding = Proxy(port)
            port = await forwarding.listen()
            url = url.replace(f"port={server.port}", f"port={port}")
        members = Membership(url, "errklein 0123456789abcdef")
        await deferToThread(members.connect)
        members.close()
        if proxy:
            await forwarding.close()
        text = failures[-1]
        if len(failures) > 1:
            lines = [f"- host: 'a', port: '5432', hostaddr: None: {failure}" for failure in failures]
            text = "\n".join([text, "Multiple connection attempts failed. All failures were:", *lines])
        text = text.replace("PORT", str(port)).replace("5432", str(port))

        def connect(**_: object) -> None:
            raise psycopg.OperationalError(text)

        with mock.patch.object(psycopg, "connect", connect):
            error = self.assertRaises(DatabaseError, members.connect)
        self.assertFalse(members.connected)
        return type(error).__name__

    async def test_server_that_refuses(self) -> None:
        """An owner goes on while the server itself says that nobody can use it."""
        for failure in (REFUSED, STARTING, BY_NAME):
            self.assertEqual(await self.kind_of(failure), "ServerRefused")
        self.assertEqual(await self.kind_of(REFUSED, STARTING), "ServerRefused")
        self.assertEqual(await self.kind_of(ELSEWHERE, REFUSED), "ServerRefused")
        self.assertEqual(await self.kind_of(NO_SOCKET, tcp=False), "ServerRefused")

    async def test_server_that_others_may_reach(self) -> None:
        """An owner stops if another process may reach the server, or one of several servers."""
        for failure in (CLOSED, NO_ROUTE, NO_NAME, "connection timeout expired"):
            self.assertEqual(await self.kind_of(failure), "DatabaseError")
            self.assertEqual(await self.kind_of(REFUSED, failure), "DatabaseError")
            self.assertEqual(await self.kind_of(failure, REFUSED), "DatabaseError")

    async def test_refusal_of_another_address(self) -> None:
        """An owner stops if only an address refuses that isn't the server's own: that of a proxy, or one that a name has now."""
        self.assertEqual(await self.kind_of(REFUSED, proxy=True), "DatabaseError")
        for failure in (ELSEWHERE, NO_SOCKET):
            self.assertEqual(await self.kind_of(failure), "DatabaseError")


class PoolerTests(TestCase):
    async def test_pooler_is_refused(self) -> None:
        """A pooler, which has numbers of its own for sessions, can't be used: others would get this process's locks."""
        from errklein.postgres._membership import Membership

        programs()
        server = await deferToThread(server_on_tcp)
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
