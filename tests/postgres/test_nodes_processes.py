"""Tests of the ownership with processes that are killed, stopped and cut off, and a PostgreSQL that ends and is replaced.

Whatever happens, at no moment two processes act as the owner, and none writes after another one has taken over.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.postgres.nodes import until
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer
from tests.processes import environment

FACTOR = 3.0 if os.environ.get("CI") else 1.0


def prepare_numbers(url: str) -> None:
    """Make the tables, with one for the numbers that owners write."""
    import psycopg

    from errklein.postgres import create_tables
    from tests.postgres.node_program import TABLE

    create_tables(url)
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path = errklein; " + TABLE)


class Process:
    """A process of `tests.postgres.node_program`."""

    def __init__(self, url: str, directory: Path, name: str) -> None:
        self.name = name
        self._output = directory / f"{name}.out"
        command = [sys.executable, "-m", "tests.postgres.node_program", url]
        with self._output.open("wb") as out, (directory / f"{name}.err").open("wb") as err:
            self._process = subprocess.Popen(command, stdout=out, stderr=err, env=environment())
        self.send = self._process.send_signal
        self.poll = self._process.poll

    def end(self) -> None:
        """Kill it, if it runs."""
        self._process.kill()
        self._process.wait()

    @property
    def events(self) -> Sequence[tuple[float, str]]:
        """What it has done, and when."""
        lines = self._output.read_text().splitlines()
        return [(float(time), event) for time, _, event in (line.partition(" ") for line in lines)]

    def times(self, *kinds: str) -> Sequence[float]:
        """Return when events of these kinds have happened."""
        return [time for time, event in self.events if event.startswith(kinds)]

    @property
    def acting(self) -> bool:
        """Whether it has acted as the owner."""
        return bool(self.times("wrote"))


@cache
def shared_server_on_tcp() -> PostgresServer:
    """Return the server of the tests that don't stop it."""
    return PostgresServer(tcp=True)


class ProcessesCase(TestCase):
    """Of two processes, one owns."""

    timeout = 120

    async def setUp(self) -> None:
        """Start a server, and two processes, of which the first is the owner."""
        self.server = await deferToThread(self.get_server)
        self.database = self.server.new_database(prepare_numbers)
        self.url = self.server.url(self.database, tcp=True)
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.processes: list[Process] = []
        self.proxy = Proxy(self.server.port)
        port = await self.proxy.listen()
        self.addCleanup(self.proxy.close)
        self.cut_off_url = self.url.replace(f"port={self.server.port}", f"port={port}")
        self.first = self.start(self.cut_off_url)
        await until(self, lambda: self.first.acting)
        self.second = self.start(self.url)
        await until(self, lambda: self.second.times("sees"))

    def get_server(self) -> PostgresServer:
        """Return a server that isn't stopped."""
        return shared_server_on_tcp()

    def start(self, url: str) -> Process:
        """Start a process."""
        process = Process(url, self.directory, f"process{len(self.processes) + 1}")
        self.processes.append(process)
        self.addCleanup(process.end)
        return process

    async def pause(self, seconds: float) -> None:
        """Wait for things that must not happen."""
        ends = self.now() + seconds
        await until(self, lambda: self.now() > ends, seconds + 1)

    def now(self) -> float:
        """Return the time of the processes' events."""
        from errklein.postgres._nodes import seconds_since_boot

        return seconds_since_boot()

    async def taken_over(self, since: float, limit: float, by: Process | None = None) -> None:
        """Wait for the second process, and check how long it took."""
        by = by or self.second
        await until(self, lambda: by.acting, limit * FACTOR + 10)
        took = by.times("owned")[0] - since
        self.assertLess(took, limit * FACTOR)

    def check(self) -> None:
        """Check that there never were two owners."""
        import psycopg

        spans = sorted(
            (times[0], times[-1], process.name) for process in self.processes if (times := process.times("acts"))
        )
        for (_, end, name), (begin, _, next_name) in pairwise(spans):
            self.assertLess(end, begin, f"{name} still acts when {next_name} does")
        with psycopg.connect(self.server.url(self.database)) as connection:
            rows = connection.execute("SELECT number, epoch FROM errklein.numbers ORDER BY number").fetchall()
        epochs = [epoch for number, epoch in rows]
        self.assertEqual([number for number, _ in rows], list(range(1, len(rows) + 1)))
        self.assertEqual(sorted(epochs), epochs)


class OwnersEndTests(ProcessesCase):
    """The owner ends, or is cut off."""

    async def test_killed_owner(self) -> None:
        """After SIGKILL, another process takes over within 3 s."""
        self.first.send(signal.SIGKILL)
        await self.taken_over(self.now(), 3.0)
        self.check()

    async def test_stopped_owner(self) -> None:
        """After a stop in order, within 1 s."""
        self.first.send(signal.SIGTERM)
        await self.taken_over(self.now(), 1.0)
        self.check()

    async def test_frozen_owner(self) -> None:
        """After SIGSTOP, within 15 s. When the stopped process goes on, it neither acts nor writes as the owner again."""
        self.first.send(signal.SIGSTOP)
        began = self.now()
        await self.taken_over(began, 15.0)
        self.first.send(signal.SIGCONT)
        resumed = self.now()
        await until(self, lambda: self.first.times("lost"))
        # The end of a transaction from before may have arrived meanwhile; `check` looks at what is stored.
        self.assertEqual([time for time in self.first.times("acts") if time > resumed], [])
        self.check()

    async def test_cut_network(self) -> None:
        """When nothing arrives from the owner's network any more, another process takes over within 15 s, and the owner has stopped to act before."""
        self.proxy.cut()
        began = self.now()
        await self.taken_over(began, 15.0)
        await until(self, lambda: self.first.times("lost"))
        self.assertLess(self.first.times("acts")[-1], self.second.times("owned")[0] - 1.0)
        self.check()

    async def test_stopped_proxy(self) -> None:
        """When the owner's own proxy is stopped, which then refuses connections, the owner stops to act, and another process takes over."""
        await self.proxy.close()
        await self.taken_over(self.now(), 5.0)
        await until(self, lambda: self.first.times("lost"))
        self.check()

    async def test_ended_session(self) -> None:
        """An owner whose sessions an administrator ends, and whose clock is set, connects again and remains the owner."""
        # They don't compare clocks either.
        self.first.send(signal.SIGUSR1)
        with_name = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'errklein%'"
        self.server.execute(with_name)
        ended = self.now()
        await until(self, lambda: self.first.times("wrote")[-1] > ended + 3.0)
        self.assertFalse(self.second.acting)


class ServersEndTests(ProcessesCase):
    """PostgreSQL ends."""

    def get_server(self) -> PostgresServer:
        """Return a server of this test."""
        server = PostgresServer(tcp=True)
        self.addCleanup(server.remove)
        return server

    async def test_restarted_server(self) -> None:
        """While PostgreSQL is stopped, longer than others wait for a heartbeat, the owner goes on acting. It writes again when PostgreSQL is there."""
        # Through the proxy, nobody can tell that the server is stopped.
        self.first.end()
        owner = self.second
        await until(self, lambda: owner.acting)
        third = self.start(self.url)
        await until(self, lambda: third.times("sees"))
        for mode in ("fast", "immediate"):
            await deferToThread(self.server.stop, mode)
            await self.pause(9.0 if mode == "fast" else 2.0)
            acts = owner.times("acts")
            self.assertGreater(acts[-1], self.now() - 0.5)
            await deferToThread(self.server.start)
            started = self.now()
            await until(self, lambda started=started: owner.times("wrote")[-1] > started + 2.0)
        self.assertFalse(third.acting)
        self.assertFalse(owner.times("lost"))
        self.check()

    async def test_restored_database(self) -> None:
        """After the database was replaced by an earlier copy, the owner gives up, and another process goes on. None of the two histories is mixed."""
        copy = self.server.directory / "copy"
        await deferToThread(self.server.stop)
        shutil.copytree(self.server.directory / "data", copy, copy_function=shutil.copy2)
        await deferToThread(self.server.start)
        started = self.now()
        await until(self, lambda: any(one.times("wrote")[-1:] > [started + 0.5] for one in self.processes))
        # On a busy machine, the copying may have taken so long that the other one has taken over.
        owner = max(self.processes, key=lambda one: one.times("wrote")[-1:])
        await deferToThread(self.server.stop)
        shutil.rmtree(self.server.directory / "data")
        copy.rename(self.server.directory / "data")
        subprocess.run(
            ["chown", "-R", f"--reference={self.server.directory}", self.server.directory / "data"], check=True
        )
        subprocess.run(["chmod", "-R", "go=", self.server.directory / "data"], check=True)
        await deferToThread(self.server.start)
        await until(self, lambda: owner.times("lost"))
        restored = self.now()
        others = [one for one in self.processes if not one.times("lost")] or [self.start(self.url)]
        await until(self, lambda: others[0].times("wrote")[-1:] > [restored])
        self.check()
