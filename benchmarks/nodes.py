"""Measure what the processes of a bot on PostgreSQL cost: CPU time, transactions, and bytes of the server's log.

- cpu: the CPU time of errklein's processes per delivery with `ack="now"`, at a fixed rate that 1, 2, 4 or 8 processes share, beside
  one that has the chat; in alternating rounds.
- workers: the deliveries per second whose handlers use 20 ms of CPU time, with one and with two workers.
- costs: the CPU time of each role and of PostgreSQL, transactions and bytes of its log (WAL) per delivery; the same for a
  request that is passed on to the owner, for a message through the shared outbox, and of a process at rest.
- limit: the deliveries per second that PostgreSQL alone records and ends, by the number of them in a transaction.

    python benchmarks/nodes.py [--parts cpu,workers,costs,limit] [--rounds 5] [--seconds 10] [--rate 200]
    python benchmarks/nodes.py --pages     the same; writes the figures into docs/guides/how-far-it-goes.md
    python benchmarks/nodes.py --check     small numbers and no targets: exits with 1 if a delivery or a message is lost

Needs PostgreSQL and ngircd. PostgreSQL synchronizes its log with the disk. Results of rounds are medians. Exits with 1 if
a target is missed: with 2, 4 and 8 processes at most 1.15 of the CPU time of one, and at least 1.6 times as many deliveries
with two workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg
from bots import HERE, arguments, await_idle, cpu_seconds
from how_far import computed_rows, figures_of, limit_rows, measured_rows
from kill_nodes import ROOM, Nodes
from web_report import PAGES, Rows, fill, markdown, text, verdict, verdict_rows

from errklein.journal import Redaction
from errklein.journal._writing import End
from errklein.postgres import create_tables
from errklein.postgres._database import PostgresDatabase
from errklein.postgres._journal import BLOCK, PostgresWriter
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery, StoredRequest
from tests.postgres.server import PostgresServer

SERVER = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "autovacuum_naptime": "1min",
    "track_wal_io_timing": "on",
}
PAGE = HERE.parent / "docs" / "guides" / "how-far-it-goes.md"
COUNTS = (1, 2, 4, 8)
BATCHES = (1, 4, 16, 64)
CLIENTS = 4
CONNECTIONS = 32
"""The number of connections over which requests are sent, to all processes together."""
HANDLER = 0.02
"""The CPU time in seconds of a handler of the part `workers`."""
REQUEST = StoredRequest(
    "POST",
    "/anywhere",
    [
        (b"host", b"bot.example.org"),
        (b"user-agent", b"GitHub-Hookshot/044aadd"),
        (b"content-type", b"application/json"),
        (b"x-id", b"72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        (b"content-length", b"50"),
    ],
    b"x" * 50,
    "192.0.2.1",
    True,
)
LATE = 60.0
"""The seconds for which the end of the deliveries is awaited after the last request."""
numbers = count()
"""The numbers of all deliveries."""


@dataclass
class Load:
    """What a load has cost. CPU times are in µs per request; transactions and bytes are the server's, also per request."""

    requests: int
    seconds: float
    cpu: Mapping[str, float]
    server_cpu: float = 0.0
    transactions: float = 0.0
    syncs: float = 0.0
    wal: float = 0.0
    begins: list[float] = field(default_factory=list)
    """The seconds from the response to the begin of the handler."""
    responses: list[float] = field(default_factory=list)
    """The seconds from the request to its response."""
    heard: list[float] = field(default_factory=list)
    """The seconds from the end of the handler to the line in the room."""

    @property
    def ours(self) -> float:
        """The CPU time of all processes of errklein."""
        return sum(self.cpu.values())


class Fleet(Nodes):
    """The processes of a bot, of which `intakes` get the requests."""

    def __init__(self, directory: Path, roles: dict[str, str], database: PostgresServer) -> None:
        directory.mkdir()
        super().__init__(directory, roles, database)
        self.intakes: Collection[str] = [*self.ports]
        """The processes that get requests."""
        self._read_until = 0
        self.lines: dict[tuple[str, int], float] = {}
        self.heard_times: dict[str, float] = {}

    def _hear(self, now: float, target: str, text: str) -> None:
        super()._hear(now, target, text)
        self.heard_times[text] = time.time()

    async def start(self) -> None:
        """Start all, and wait until the processes are idle."""
        await super().start()
        for name in self.ports:
            await self._until_ready(name)
        await asyncio.to_thread(await_idle, {process.pid for process in self.processes.values()})

    async def _until_ready(self, name: str) -> None:
        deadline = time.monotonic() + LATE
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[name])
                status = await exchange(
                    reader, writer, "/compute", {"kind": "ready", "number": next(numbers), "seconds": 0}
                )
                writer.close()
                if status == 202:
                    return
            except (OSError, EOFError):
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} doesn't accept deliveries: {status}")
            await asyncio.sleep(0.2)

    def read_lines(self) -> None:
        """Read what the handlers have appended since."""
        with self.runs.open("rb") as file:
            file.seek(self._read_until)
            complete = file.read().rpartition(b"\n")[0]
        if complete:
            self._read_until += len(complete) + 1
        for line in complete.decode().splitlines():
            what, _, number, _, at = line.split()
            self.lines.setdefault((what, int(number)), float(at))

    def cpu(self) -> dict[str, float]:
        """Return the CPU time of each process in seconds."""
        return {name: cpu_seconds(process.pid) for name, process in self.processes.items()}

    def server(self) -> Sequence[float]:
        """Return the CPU time of PostgreSQL, and its transactions, synchronizations and bytes of its log."""
        ((*found,),) = self.read(
            "SELECT (SELECT sum(xact_commit) FROM pg_stat_database), wal_sync, wal_bytes FROM pg_stat_wal"
        )
        return [cpu_seconds(self.database.pid), *map(float, found)]

    async def load(
        self,
        path: str,
        rate: float,
        seconds: float,
        payload: Mapping[str, object],
        *,
        status: int = 202,
        runs: bool = True,
        waits: bool = True,
    ) -> Load:
        """Post at a rate, wait until all has run, and return what it has cost. Raises RuntimeError if something is lost."""
        tasks, acknowledged = [], {}
        responses: list[float] = []
        # They are open in the same number for all, since an idle one isn't kept for ever.
        free: dict[str, asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}
        for name in self.intakes:
            free[name] = asyncio.Queue()
            for _ in range(CONNECTIONS // len(self.intakes)):
                free[name].put_nowait(await asyncio.open_connection("127.0.0.1", self.ports[name]))
        first = next(numbers)
        last = first + int(rate * seconds)
        while next(numbers) < last:
            pass

        async def post(number: int, name: str) -> None:
            reader, writer = await free[name].get()
            began = time.monotonic()
            got = await exchange(reader, writer, path, {"kind": path[1:], "number": number, **payload})
            free[name].put_nowait((reader, writer))
            acknowledged[number] = time.time()
            responses.append(time.monotonic() - began)
            if got != status:
                raise RuntimeError(f"{path}: {got}")

        cpu, server, began = self.cpu(), self.server(), time.monotonic()
        for number in range(first, last):
            await asyncio.sleep(max(0.0, began + (number - first) / rate - time.monotonic()))
            tasks.append(asyncio.create_task(post(number, [*free][number % len(free)])))
        await asyncio.gather(*tasks)
        for idle in free.values():
            while not idle.empty():
                idle.get_nowait()[1].close()
        room = bool(payload.get("room"))
        if waits and (runs or room):
            await self._settle_load(range(first, last), path[1:], room)
        # The last transactions, and those that the statistics don't have yet.
        await asyncio.sleep(1.2)
        passed, total = time.monotonic() - began, last - first
        self.read_lines()
        used = [after - before for after, before in zip(self.server(), server, strict=True)]
        result = Load(
            total,
            passed,
            {name: (after - cpu[name]) / total * 1e6 for name, after in self.cpu().items()},
            used[0] / total * 1e6,
            *(each / total for each in used[1:]),
            responses=responses,
        )
        if runs:
            ends = {number: self.lines.get(("begin", number)) for number in range(first, last)}
            result.begins = [at - acknowledged[number] for number, at in ends.items() if at is not None]
        if room:
            texts = {number: f"{path[1:]} {number}" for number in range(first, last)}
            result.heard = [self.heard_times[texts[n]] - self.lines["begin", n] for n in texts]
        return result

    async def _settle_load(self, expected: range, kind: str, room: bool) -> None:
        deadline = time.monotonic() + LATE + 2 * HANDLER * len(expected)
        while True:
            self.read_lines()
            lost = [number for number in expected if ("end", number) not in self.lines]
            if room:
                lost += [number for number in expected if f"{kind} {number}" not in self.heard_times]
            if not lost:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(lost)} of {len(expected)} deliveries or messages are missing: {lost[:5]}")
            await asyncio.sleep(0.1)

    async def commands(self, rate: float, seconds: float) -> float:
        """Give commands in the room, and return the CPU time of all processes for each in µs."""
        texts = [f"command {next(numbers)}" for _ in range(int(rate * seconds))]
        before, began = sum(self.cpu().values()), time.monotonic()
        for place, each in enumerate(texts):
            await asyncio.sleep(max(0.0, began + place / rate - time.monotonic()))
            self.person.send(f"PRIVMSG {ROOM} :!repeat {each}")
        deadline = time.monotonic() + LATE
        while missing := {*texts} - {one.strip("\x02\x03\x0f") for one in self.heard}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(missing)} replies are missing")
            await asyncio.sleep(0.1)
        return (sum(self.cpu().values()) - before) / len(texts) * 1e6

    def stop(self) -> None:
        """Stop the processes, but not the database."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        if hasattr(self, "person"):
            self.person.leave()
        self.irc.stop()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, payload: Mapping[str, object]
) -> int:
    """Post on a connection that stays open, and return the status."""
    body = json.dumps(payload).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Id: {payload['number']}\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if lengths:
        await reader.readexactly(int(lengths[0]))
    elif b"chunked" in answer.lower():
        await reader.readuntil(b"0\r\n\r\n")
    return int(answer.split(b" ", 2)[1])


class Benchmark:
    """The parts. Each prints a table, and returns its targets."""

    def __init__(self, directory: Path, options: Any) -> None:
        self._directory, self._options = directory, options
        self._started = count()
        self.tables: dict[str, Rows] = {}
        self.figures: dict[str, float] = {}

    def show(self, title: str, rows: Rows) -> None:
        """Print and keep a table."""
        self.tables[title] = rows
        print(f"{title}\n{text(rows)}\n", flush=True)

    @contextmanager
    def _server(self) -> Iterator[PostgresServer]:
        server = PostgresServer(settings=SERVER)
        try:
            yield server
        finally:
            server.remove()

    async def _fleet(self, stack: ExitStack, server: PostgresServer, roles: dict[str, str]) -> Fleet:
        fleet = Fleet(self._directory / f"fleet-{next(self._started)}", roles, server)
        stack.callback(fleet.stop)
        try:
            await fleet.start()
        except BaseException:
            for log in fleet.directory.glob("*.log"):
                print(f"--- {log.name}", log.read_text(errors="replace")[-2000:], sep="\n", file=sys.stderr)
            raise
        return fleet

    async def cpu(self) -> list[Mapping[str, Any]]:
        """Compare the CPU time per delivery of several processes with that of one."""
        options = self._options
        found: dict[int, list[Load]] = {number: [] for number in COUNTS}
        idle: dict[int, float] = {}
        with self._server() as server, ExitStack() as stack:
            fleets = {}
            for number in COUNTS:
                names = [f"process {one}" for one in range(1, number + 1)]
                roles = {"chat": "chat", **dict.fromkeys(names, "intake,worker")}
                fleets[number] = await self._fleet(stack, server, roles)
                await fleets[number].load("/compute", options.rate, 2, {"seconds": 0})
            before, began = {number: sum(one.cpu().values()) for number, one in fleets.items()}, time.monotonic()
            await asyncio.sleep(options.seconds)
            for number, fleet in fleets.items():
                idle[number] = (sum(fleet.cpu().values()) - before[number]) / (time.monotonic() - began)
            for _ in range(options.rounds):
                for number, fleet in fleets.items():
                    found[number].append(await fleet.load("/compute", options.rate, options.seconds, {"seconds": 0}))
        rows = [["processes", "CPU µs per delivery", "of one", "at rest, ms/s", "CPU µs without rest", "of one"]]
        verdicts = []
        all_of = {number: median(one.ours for one in loads) for number, loads in found.items()}
        without = {
            number: median(one.ours - idle[number] * one.seconds / one.requests * 1e6 for one in loads)
            for number, loads in found.items()
        }
        for number in COUNTS:
            ratio = all_of[number] / all_of[COUNTS[0]]
            rows.append(
                [
                    str(number),
                    f"{all_of[number]:,.0f}",
                    f"{ratio:.2f}",
                    f"{idle[number] * 1000:.1f}",
                    f"{without[number]:,.0f}",
                    f"{without[number] / without[COUNTS[0]]:.2f}",
                ]
            )
            if number > 1:
                verdicts.append(verdict(f"CPU per delivery, {number} processes / one", ratio, 1.15, at_most=True))
        self.figures |= {"one": without[COUNTS[0]], "many": without[COUNTS[-1]]}
        self.figures["rest"] = idle[COUNTS[-1]] * 1000 / (COUNTS[-1] + 1)
        self.show(f"CPU time at {options.rate:g} deliveries a second", rows)
        return verdicts

    async def workers(self) -> list[Mapping[str, Any]]:
        """Compare two workers with one."""
        options, done = self._options, {}
        rate, rounds = 2 * 0.9 / HANDLER, max(1, options.rounds // 2)
        found: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for number in found:
                with self._server() as server, ExitStack() as stack:
                    workers = {f"worker {one}": "worker" for one in range(1, number + 1)}
                    fleet = await self._fleet(stack, server, {"chat": "chat", "intake": "intake", **workers})
                    began = time.time()
                    await fleet.load("/compute", rate, options.seconds + 2, {"seconds": HANDLER})
                    ends = [at for (what, _), at in fleet.lines.items() if what == "end"]
                    found[number].append(
                        sum(began + 2 < at < began + 2 + options.seconds for at in ends) / options.seconds
                    )
        done = {number: median(each) for number, each in found.items()}
        rows = [["workers", "deliveries/s", "of one"]]
        rows += [[str(number), f"{each:.1f}", f"{each / done[1]:.2f}"] for number, each in done.items()]
        self.show(f"Handlers of {HANDLER * 1000:g} ms CPU time, {rate:g} deliveries a second arrive", rows)
        return [verdict("deliveries, two workers / one", done[2] / done[1], 1.6, at_most=False)]

    async def costs(self) -> list[Mapping[str, Any]]:
        """Measure what each kind of work costs."""
        options = self._options
        rate, seconds = options.rate / 2, options.seconds
        roles = {"intake": "intake", "worker": "worker", "owner": "intake,chat"}
        loads: dict[str, Load] = {}
        with self._server() as server, ExitStack() as stack:
            fleet = await self._fleet(stack, server, roles)
            before, used, began = fleet.cpu(), fleet.server(), time.monotonic()
            await asyncio.sleep(seconds)
            passed = time.monotonic() - began
            rest = {name: (after - before[name]) / passed * 1000 for name, after in fleet.cpu().items()}
            resting = [(after - first) / passed for after, first in zip(fleet.server(), used, strict=True)]
            for kind, intake, path, payload, extra in (
                ("delivery", "intake", "/anywhere", {"seconds": 0.0}, {}),
                ("and a message", "intake", "/anywhere", {"seconds": 0.0, "room": ROOM}, {}),
                ("passed on", "intake", "/alive", {}, {"status": 200, "runs": False}),
                ("to the owner itself", "owner", "/alive", {}, {"status": 200, "runs": False}),
            ):
                fleet.intakes = [intake]
                await fleet.load(path, rate, 1, payload, **extra)
                loads[kind] = await fleet.load(path, rate, seconds, payload, **extra)
            command = await fleet.commands(rate / 2, seconds) - sum(rest.values()) * 1000 / (rate / 2)
        rows = [
            [
                f"per request, at {rate:g} a second",
                *(f"{name}, CPU µs" for name in roles),
                *("PostgreSQL, CPU µs", "transactions", "synchronizations", "WAL, bytes"),
            ]
        ]
        for kind, load in loads.items():
            # What a second at rest costs isn't that of the requests.
            share = load.seconds / load.requests
            cells = [f"{load.cpu[name] - rest[name] * share * 1000:,.0f}" for name in roles]
            server_cpu, *others = [
                one - each * share * scale
                for one, each, scale in zip(
                    (load.server_cpu, load.transactions, load.syncs, load.wal), resting, (1e6, 1, 1, 1), strict=True
                )
            ]
            rows.append(
                [kind, *cells, f"{server_cpu:,.0f}", f"{others[0]:.2f}", f"{others[1]:.2f}", f"{others[2]:,.0f}"]
            )
        cells = [f"{rest[name] * 1000:,.0f}" for name in roles]
        rows.append(
            [
                "at rest, per second",
                *cells,
                f"{resting[0] * 1e6:,.0f}",
                *(f"{one:.1f}" for one in resting[1:3]),
                f"{resting[3]:,.0f}",
            ]
        )
        message, delivery, passed = (loads[kind] for kind in ("and a message", "delivery", "passed on"))
        share = delivery.seconds / delivery.requests
        self.figures |= {
            "pair": delivery.server_cpu - resting[0] * share * 1e6,
            "wal": delivery.wal - resting[3] * share,
            "command": command,
            "message": message.cpu["owner"] - delivery.cpu["owner"],
            "passed": passed.ours - sum(rest.values()) * 1000 * passed.seconds / passed.requests,
        }
        self.show("Costs", rows)
        times = [["ms", "p50", "p99"]]
        for name, values in (
            ("request to 202", loads["delivery"].responses),
            ("202 to the begin of the handler in another process", loads["delivery"].begins),
            ("begin of the handler to the line in the room", loads["and a message"].heard),
            ("request to response, passed on to the owner", loads["passed on"].responses),
            ("request to response, at the owner itself", loads["to the owner itself"].responses),
        ):
            parts = quantiles(values, n=100)
            times.append([name, f"{parts[49] * 1000:.1f}", f"{parts[98] * 1000:.1f}"])
        self.show("Times", times)
        return []

    async def limit(self) -> list[Mapping[str, Any]]:
        """Measure what PostgreSQL records and ends, without web servers and handlers."""
        options = self._options
        rows = [
            [
                *("deliveries in a transaction", "deliveries/s", "transactions/s", "transactions per synchronization"),
                *("PostgreSQL, CPU µs", "clients, CPU µs", "WAL, bytes"),
            ]
        ]
        for batch in BATCHES:
            with self._server() as server:
                total, passed, own, used = await asyncio.to_thread(write_journals, server, batch, options.seconds)
            names = {1: ("server", "alone"), 16: ("grouped", "together")}.get(batch, ("", ""))
            self.figures |= {names[0]: used[0] / total * 1e6, names[1]: total / passed}
            cells = [
                str(batch),
                f"{total / passed:,.0f}",
                f"{used[1] / passed:,.0f}",
                f"{used[1] / max(1, used[2]):.2f}",
            ]
            rows.append([*cells, *(f"{one / total:,.0f}" for one in (used[0] * 1e6, own * 1e6, used[3]))])
        self.show(f"PostgreSQL alone, {CLIENTS} clients", rows)
        return []


def write_journals(server: PostgresServer, batch: int, seconds: float) -> tuple[int, float, float, list[float]]:
    """Record and end deliveries in several processes. Return how many, the seconds, their CPU time, and what the server has used."""
    url = server.url(server.new_database())
    create_tables(url)
    command = [sys.executable, __file__, "--journal", url, "--batch", str(batch), "--seconds", str(seconds)]
    before = [cpu_seconds(server.pid), *stats(url)]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)]
    outputs = [json.loads(one.communicate()[0]) for one in clients]
    # Statistics are late by up to a second.
    time.sleep(1.2)
    used = [after - first for after, first in zip([cpu_seconds(server.pid), *stats(url)], before, strict=True)]
    total = sum(one["deliveries"] for one in outputs)
    return total, max(one["seconds"] for one in outputs), sum(one["cpu"] for one in outputs), used


def stats(url: str) -> list[float]:
    """Return the server's transactions, synchronizations and bytes of its log."""
    query = "SELECT (SELECT sum(xact_commit) FROM pg_stat_database), wal_sync, wal_bytes FROM pg_stat_wal"
    with psycopg.connect(url) as connection:
        found = connection.execute(query).fetchone()
    assert found is not None
    return [*map(float, found)]


def ids_of(database: PostgresDatabase) -> Iterator[int]:
    """Yield ids of blocks that belong to this process."""
    while True:
        ((first,),) = database.read("SELECT nextval('delivery_ids')")
        yield from range(first, first + BLOCK)


def write_journal(url: str, batch: int, seconds: float) -> None:
    """Record and end deliveries, `batch` of each in a transaction, and print how many. This is a process of its own."""
    database = PostgresDatabase(url, f"errklein {time.time()}")
    writer = PostgresWriter(time.time, Redaction(), 0.0)
    ids, ended, total = ids_of(database), [], 0
    began, used = time.monotonic(), time.process_time()
    while time.monotonic() < began + seconds:
        new = [
            StoredDelivery(
                next(ids),
                "Counter:anywhere",
                DeliveryState.RECEIVED,
                time.time(),
                ack="now",
                request_id="r" * 12,
                key=f"{os.getpid()}-{total}-{place}",
                request=REQUEST,
            )
            for place in range(batch)
        ]
        with database.transaction() as connection:
            writer.record(connection, [(one, 60.0, 86400.0) for one in new])
            if ended:
                writer.end(connection, [End(one, DeliveryState.DONE, Outcome(200, "", 0.01)) for one in ended])
        ended = [one.id for one in new]
        total += batch
    figures = {"deliveries": total, "seconds": time.monotonic() - began, "cpu": time.process_time() - used}
    print(json.dumps(figures))


PARTS = ("cpu", "workers", "costs", "limit")


def main() -> int:
    """Measure and print the parts; return 1 if a target is missed."""
    options = arguments(
        __doc__,
        parts=",".join(PARTS),
        rounds=5,
        seconds=10.0,
        rate=200.0,
        json=Path,
        check=False,
        pages=False,
        journal="",
        batch=1,
    )
    if options.journal:
        write_journal(options.journal, options.batch, options.seconds)
        return 0
    if options.check:
        options.rounds, options.seconds, options.rate = 1, 2.0, 50.0
    with tempfile.TemporaryDirectory(prefix="nodes-") as directory:
        benchmark = Benchmark(Path(directory), options)
        verdicts = []
        for part in options.parts.split(","):
            verdicts += asyncio.run(getattr(benchmark, part)())
            if options.json:
                found = {"figures": benchmark.figures, "tables": benchmark.tables, "targets": verdicts}
                options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if options.check:
        print("nothing is lost")
        return 0
    if verdicts:
        benchmark.show("Targets", verdict_rows(verdicts))
    if options.pages:
        shown = [title for title in benchmark.tables if title != "Targets"]
        # What is computed is computed from the figures that the page shows.
        figures = figures_of(measured_rows(benchmark.figures))
        sections = {
            "nodes": markdown(measured_rows(figures)),
            "nodes_computed": markdown(computed_rows(figures)),
            "nodes_limits": markdown(limit_rows(figures)),
            "nodes_all": "\n".join(f"{title}:\n\n{markdown(benchmark.tables[title])}\n" for title in shown),
            "nodes_targets": markdown(verdict_rows(verdicts)),
        }
        fill(sections, (*PAGES, PAGE))
    return int(not all(each["met"] for each in verdicts))


if __name__ == "__main__":
    sys.exit(main())
