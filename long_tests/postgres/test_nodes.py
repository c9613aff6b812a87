"""Further tests of the ownership with processes."""

from __future__ import annotations

import contextlib
import signal

from twisted.internet.threads import deferToThread

from tests.postgres.nodes import until
from tests.postgres.server import PostgresServer
from tests.postgres.test_nodes_processes import ProcessesCase
from tests.server_program import free_port


class LongOwnersTests(ProcessesCase):
    """The owner hangs, pauses, or its network is repaired."""

    async def test_short_freeze(self) -> None:
        """An owner that is stopped for 3 s goes on as if nothing had happened."""
        self.first.send(signal.SIGSTOP)
        await self.pause(3.0)
        self.first.send(signal.SIGCONT)
        resumed = self.now()
        await until(self, lambda: self.first.times("wrote")[-1] > resumed + 1.0)
        self.assertFalse(self.second.acting)

    async def test_hanging_owner(self) -> None:
        """An owner whose reactor hangs is replaced, too."""
        self.first.send(signal.SIGUSR2)
        began = self.now()
        await self.taken_over(began, 20.0)
        await until(self, lambda: self.first.times("lost"))
        self.check()

    async def test_repaired_network(self) -> None:
        """A process that isn't the owner comes back when its network is repaired, and can take over then."""
        third = self.start(self.cut_off_url)
        await until(self, lambda: third.times("sees"))
        self.second.end()
        self.proxy.cut()
        await until(self, lambda: self.first.times("lost"))
        await self.pause(3.0)
        self.proxy.repair()
        repaired = self.now()
        await self.taken_over(repaired, 15.0, third)
        self.check()


class FailoverTests(ProcessesCase):
    """A standby takes the place of the server, behind the same address."""

    def get_server(self) -> PostgresServer:
        """Return a server with a standby, which is asynchronous."""
        server = PostgresServer(tcp=True)
        self.addCleanup(server.remove)
        self.standby_port = free_port()
        port, directory = str(self.standby_port), str(server.directory)
        server._run("pg_basebackup", "-h", directory, "-p", str(server.port), "-U", "postgres", "-D", "standby", "-R")
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off"
        options += " -c max_connections=200"
        server._run("pg_ctl", "-D", "standby", "-l", "standby.log", "-s", "-w", "-o", options, "start")
        self.addCleanup(self.stop_standby, server)
        return server

    def stop_standby(self, server: PostgresServer) -> None:
        """Stop the standby."""
        with contextlib.suppress(AssertionError):
            server._run("pg_ctl", "-D", "standby", "-s", "-w", "-m", "immediate", "stop")

    async def test_failover(self) -> None:
        """When the server has ended without any order, one process goes on with the standby, and others use it, too. The
        owner of before doesn't write to the standby beside it."""
        self.second.end()
        third = self.start(self.cut_off_url)
        await until(self, lambda: third.times("sees"))
        await deferToThread(self.server.stop, "immediate")
        await self.pause(2.0)
        self.proxy.target = self.server.port = self.standby_port
        await deferToThread(self.server._run, "pg_ctl", "-D", "standby", "-s", "-w", "promote")
        promoted = self.now()
        await self.taken_over(promoted, 15.0, third)
        await until(self, lambda: self.first.times("lost"))
        after = self.start(self.cut_off_url)
        await until(self, lambda: after.times("sees"))
        self.check()

    async def test_switchover(self) -> None:
        """When the server is stopped in order and nothing is missing, the process that owned gives up all the same: its
        connections may lead to different servers."""
        self.second.end()
        third = self.start(self.cut_off_url)
        await until(self, lambda: third.times("sees"))
        await deferToThread(self.server.stop)
        self.proxy.target = self.server.port = self.standby_port
        await deferToThread(self.server._run, "pg_ctl", "-D", "standby", "-s", "-w", "promote")
        promoted = self.now()
        await self.taken_over(promoted, 15.0, third)
        await until(self, lambda: self.first.times("lost"))
        self.check()
