"""Measure webhooks that are acknowledged when they are recorded, and the cost of the log of deliveries.

Each bot is a process of its own on loopback, without TLS. wrk posts 50 bytes of JSON with GitHub's signature and a new id over 32
connections. The parts, of which `--parts` chooses some:

- rate: `ack="now"` with verification and deduplication, beside Klein alone, in rounds, over 32 and 256 connections. "run" are the
  deliveries that have run, by the time until the last one had. The disk's limit is what a loop of writing and fdatasync reaches with
  records of 1 kB, and as many of them at once as the bot has recorded in one transaction: at most half of the connections have a
  request in it, and the others wait for the next one.
- latency: until 202, while handlers of another plugin block all threads, and while the hook's own handlers wait
- log: requests per second of an unmodified hook with each value of WEBHOOK_LOG, in rounds, and the cost compared with "off"
- memory: the resident memory during 200,000 deliveries, of an unmodified hook and of `ack="now"`

    python benchmarks/intake.py                              all parts: 10 minutes; exits with 1 if a target is missed
    python benchmarks/intake.py --pages                      the same; writes the figures into the pages
    python benchmarks/intake.py --parts log --rounds 9       some parts
    python benchmarks/intake.py --before CHECKOUT --rounds 10
                                                             only `ack="now"`, beside the errklein of another checkout: exits
                                                             with 1 if the median of the ratios of rounds is below 0.95
    python benchmarks/intake.py --check                      small numbers and no targets: exits with 1 if a request fails

Needs wrk. Results of rounds are medians.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from bots import HERE, arguments, await_idle, cpu_seconds, free_port, resident, serving
from intake_bot import IntakeBot, signature
from web_peers import Setup, peers
from web_report import Rows, fill, markdown, text, verdict, verdict_rows
from webhooks import SMALL

CONNECTIONS = 32
MANY = 256
THREADS = 20
"""WEBHOOK_POOLSIZE."""
RECORD = b"x" * 1000
LEVELS = ("off", "heads", "bodies")
KINDS = ("async", "plain")
COSTS = {"heads": 0.1, "bodies": 0.3}
"""The targets of the log's cost, as a part of the requests per second without it."""
MOST_GROWTH = 10.0
"""The growth in MB up to which memory is flat, after a quarter of the deliveries."""

runs = count(1)
Verdict = dict[str, Any]


@dataclass
class Numbers:
    """The sizes of the measurements."""

    rounds: int
    seconds: int
    blocked: int = 60
    deliveries: int = 200_000


@dataclass
class Server:
    """A running server."""

    port: int
    pid: int
    bot: IntakeBot | None = None
    connections: int = CONNECTIONS
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def post(self, path: str, seconds: float, directory: Path) -> dict[str, float]:
        """Post with wrk, and return the figures. Raises RuntimeError if a request fails."""
        body = directory / "body"
        body.write_text(SMALL, encoding="utf-8")
        command = f"wrk -t1 -c{self.connections} -d{seconds}s --timeout 60s -s {HERE}/post.lua".split()
        command += [f"http://127.0.0.1:{self.port}/{path}", "--", str(body), "application/json"]
        command += [signature(SMALL.encode()), f"{os.getpid()}-{next(runs)}-"]
        before, begun = cpu_seconds(self.pid), time.monotonic()
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 120).stdout
        wrk = json.loads(output.strip().splitlines()[-1])
        if wrk["errors"] or not wrk["requests"]:
            raise RuntimeError(f"/{path}: {wrk}")
        if self.bot is not None:
            self.bot.await_empty()
        requests = wrk["requests"]
        figures = {
            "rate": requests / (wrk["duration"] / 1e6),
            "run": requests / (time.monotonic() - begun),
            "cpu_us": (cpu_seconds(self.pid) - before) / requests * 1e6,
            "p50_ms": wrk["p50"] / 1000,
            "p99_ms": wrk["p99"] / 1000,
            "max_ms": wrk["max"] / 1000,
            "requests": requests,
        }
        self.rounds.setdefault(path, []).append(figures)
        return figures

    def median(self, path: str, figure: str) -> float:
        """Return the median of a figure, without the first round, which warms the server up."""
        rounds = self.rounds[path]
        return median(each[figure] for each in rounds[1:] or rounds)


class Benchmark:
    """The parts, with their servers in a temporary directory. Each part prints a table and returns its targets."""

    def __init__(self, directory: Path, numbers: Numbers) -> None:
        self._directory = directory
        self._numbers = numbers
        self._started = count()
        self.tables: dict[str, Rows] = {}

    def _errklein(self, stack: ExitStack, settings: str = "", checkout: Path = HERE.parent) -> Server:
        bot = IntakeBot(self._directory / f"bot-{next(self._started)}", free_port(), settings, checkout)
        command = bot.setup()
        pid = stack.enter_context(serving(command, bot.port, bot.directory / "log"))
        return Server(bot.port, pid, bot)

    def _klein(self, stack: ExitStack) -> Server:
        peer = next(peer for peer in peers(None, None, None) if peer.name == "Klein")
        directory = self._directory / f"klein-{next(self._started)}"
        directory.mkdir()
        port = free_port()
        pid = stack.enter_context(serving(peer.command(Setup(directory, port)), port, directory / "log"))
        return Server(port, pid)

    def _rounds(self, measured: Sequence[tuple[Server, str]]) -> Iterator[None]:
        await_idle({server.pid for server, _ in measured})
        for _ in range(self._numbers.rounds + 1):
            for server, path in measured:
                server.post(path, self._numbers.seconds, self._directory)
            yield

    def show(self, title: str, rows: Rows) -> None:
        """Print and keep a table."""
        self.tables[title] = rows
        print(f"{title}\n{text(rows)}\n", flush=True)

    def rate(self) -> list[Verdict]:
        """Compare with Klein and the disk."""
        return [self._rate(CONNECTIONS), self._rate(MANY)]

    def _rate(self, connections: int) -> Verdict:
        with ExitStack() as stack:
            ours, klein = self._errklein(stack), self._klein(stack)
            assert ours.bot is not None
            ours.connections = klein.connections = connections
            limits: list[float] = []
            for _ in self._rounds([(ours, "now_async"), (klein, "bench_async")]):
                at_once = records_at_once(ours.bot.journal)
                limits.append(disk_limit(self._directory / "disk", at_once, self._numbers.seconds))
            rows = [["", "req/s", "run/s", "CPU µs", "p50 ms", "p99 ms"]]
            for name, server, path in (('ack="now"', ours, "now_async"), ("Klein", klein, "bench_async")):
                figures = [server.median(path, figure) for figure in ("rate", "run", "cpu_us", "p50_ms", "p99_ms")]
                rows.append(
                    [name, *(f"{figure:,.0f}" for figure in figures[:3]), *(f"{one:.1f}" for one in figures[3:])]
                )
            rows.append([f"disk, {at_once:.0f} records at once", f"{median(limits):,.0f}", *["–"] * 4])
        self.show(f"Rate, {connections} connections", rows)
        ratio = ours.median("now_async", "rate") / klein.median("bench_async", "rate")
        return verdict(f'ack="now" / Klein, {connections} connections', ratio, 1.5, at_most=False)

    def compare(self, checkout: Path) -> list[Verdict]:
        """Compare `ack="now"` with that of another checkout, in alternating rounds."""
        with ExitStack() as stack:
            ours, before = self._errklein(stack), self._errklein(stack, checkout=checkout)
            for _ in self._rounds([(ours, "now_async"), (before, "now_async")]):
                pass
        rows, verdicts = [["", "before", "now", "ratio"]], []
        for name, figure, sign in (("req/s", "rate", 1), ("run/s", "run", 1), ("CPU µs", "cpu_us", -1)):
            pairs = [
                (old[figure], new[figure])
                for old, new in zip(before.rounds["now_async"], ours.rounds["now_async"], strict=True)
            ][1:]
            ratio = median((new / old) ** sign for old, new in pairs)
            rows.append([name, *(f"{median(column):,.0f}" for column in zip(*pairs, strict=True)), f"{ratio:.3f}"])
            verdicts.append(verdict(f"{name} beside before", ratio, 0.95, at_most=False))
        self.show("Before and now", rows)
        return verdicts

    def latency(self) -> list[Verdict]:
        """Measure the time until 202 while other handlers take long."""
        rows = [["p50, p99, max ms", "ack=now async", "ack=now plain"]]
        verdicts = []
        with ExitStack() as stack:
            server = self._errklein(stack, "GRACE_PERIOD = 1\n")
            bot, server.bot = server.bot, None
            await_idle({server.pid})
            situations: dict[str, Callable[[], Any]] = {
                "idle": list,
                "own handlers wait": lambda: server.post("now_slow", self._numbers.seconds, self._directory),
                f"{THREADS} threads blocked": lambda: block(stack, server.port, self._numbers.blocked),
            }
            seconds = max(self._numbers.seconds, self._numbers.blocked // 3)
            for name, begin in situations.items():
                begin()
                cells = []
                for path in ("now_async", "now_plain"):
                    figures = server.post(
                        path, seconds if name.endswith("blocked") else self._numbers.seconds, self._directory
                    )
                    cells.append(", ".join(f"{figures[each]:.1f}" for each in ("p50_ms", "p99_ms", "max_ms")))
                    verdicts.append(verdict(f"p99 ms, {path}, {name}", figures["p99_ms"], 50, at_most=True))
                rows.append([name, *cells])
            assert bot is not None
        self.show("Latency", rows)
        return verdicts

    def log(self) -> list[Verdict]:
        """Measure the cost of the log."""
        verdicts = []
        rows = [["req/s (CPU µs)", *LEVELS]]
        with ExitStack() as stack:
            servers = {
                level: self._errklein(stack, f"WEBHOOK_LOG = {level!r}\nWEBHOOK_LOG_RATE = None\n") for level in LEVELS
            }
            for kind in KINDS:
                path = f"after_{kind}"
                for _ in self._rounds([(server, path) for server in servers.values()]):
                    pass
                rates = {level: server.median(path, "rate") for level, server in servers.items()}
                cells = [f"{rates[level]:,.0f} ({servers[level].median(path, 'cpu_us'):.0f})" for level in LEVELS]
                rows.append([kind, *cells])
                for level, most in COSTS.items():
                    verdicts.append(
                        verdict(f"cost of {level}, {kind}", 1 - rates[level] / rates["off"], most, at_most=True)
                    )
        self.show("Log", rows)
        return verdicts

    def memory(self) -> list[Verdict]:
        """Measure the resident memory after parts of the deliveries."""
        verdicts = []
        rows = [["MB after", *(f"{self._numbers.deliveries * part // 8:,}" for part in range(9))]]
        for path in ("after_async", "now_async"):
            with ExitStack() as stack:
                server = self._errklein(stack)
                await_idle({server.pid})
                sizes, sent = [resident(server.pid)], 0.0
                for part in range(1, 9):
                    while sent < self._numbers.deliveries * part / 8:
                        sent += server.post(path, self._numbers.seconds, self._directory)["requests"]
                    sizes.append(resident(server.pid))
            rows.append([path, *(f"{size:.1f}" for size in sizes)])
            verdicts.append(verdict(f"growth in MB, {path}", max(sizes[3:]) - sizes[2], MOST_GROWTH, at_most=True))
        self.show("Memory", rows)
        return verdicts


def block(stack: ExitStack, port: int, seconds: int) -> None:
    """Let a handler block each thread, and wait until it does."""
    for _ in range(THREADS):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        client.sendall(f"POST /block/{seconds} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
    time.sleep(0.5)


def records_at_once(journal: Path) -> float:
    """Return the average number of new deliveries in a transaction."""
    # The keys of the deliveries that are recorded in one transaction expire at the same time.
    with closing(sqlite3.connect(journal)) as connection:
        ((records, transactions),) = connection.execute("SELECT count(*), count(DISTINCT expires) FROM dedupe")
    return float(records / transactions)


def disk_limit(path: Path, at_once: float, seconds: float) -> float:
    """Return the records per second that are appended to a file and synchronized, with this number at once."""
    records = RECORD * max(1, round(at_once))
    with path.open("wb", buffering=0) as file:
        begun, times = time.monotonic(), 0
        while time.monotonic() < begun + seconds:
            file.write(records)
            os.fdatasync(file.fileno())
            times += 1
        return times * len(records) / len(RECORD) / (time.monotonic() - begun)


PARTS = ("rate", "latency", "log", "memory")


def main() -> int:
    """Measure and print the parts; return 1 if a target is missed."""
    options = arguments(__doc__, parts=",".join(PARTS), rounds=7, seconds=3, check=False, pages=False, before=Path)
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"unknown parts: {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    if shutil.which("wrk") is None:
        sys.exit("wrk isn't installed")
    numbers = Numbers(0, 1, blocked=3, deliveries=2000) if options.check else Numbers(options.rounds, options.seconds)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        benchmark = Benchmark(Path(directory), numbers)
        if options.before:
            verdicts = benchmark.compare(options.before)
        else:
            verdicts = [each for part in parts for each in getattr(benchmark, part)()]
    if options.check:
        print("all requests have succeeded")
        return 0
    shown = "\n".join(f"{title}:\n\n{markdown(rows)}\n" for title, rows in benchmark.tables.items())
    benchmark.show("Targets", verdict_rows(verdicts))
    if options.pages:
        fill({"intake": shown, "intake_targets": markdown(verdict_rows(verdicts))})
    return int(not all(each["met"] for each in verdicts))


if __name__ == "__main__":
    sys.exit(main())
