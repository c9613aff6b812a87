"""Kill a bot with SIGKILL while it receives webhooks with `ack="now"`, and compare what was acknowledged, recorded and run.

A client process sends signed deliveries over 32 connections, as fast as the bot runs them, and sends each one again until it gets 202.
One in a hundred handlers is slow, and another one raises at its first attempt. The bot is killed at random moments and started
again on the same data directory. Afterwards, some ids are sent five times each, and the bot is killed between these times.

    python benchmarks/kill_intake.py [--deliveries 50000] [--kills 20] [--repeated 1000] [--seed N]
    python benchmarks/kill_intake.py --check                2,000 deliveries, 3 kills, 100 repeated ids

Exits with 1 if one of these expectations fails:

- Every delivery that got 202 has run to its end.
- No delivery that the journal's file had as done when the bot was killed has run again.
- A delivery doesn't run while it runs, and not again in the same process if it has succeeded.
- The ids that were sent five times have run once each.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bots import ENVIRONMENT, arguments, free_port, report, serving
from intake_bot import LIMIT, UNFINISHED, IntakeBot, signature
from web_report import text

from errklein.journal import DATABASE, JournalArchive
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState

CONNECTIONS = 32
MOST_WAITING = 500
"""The number of acknowledged deliveries without a successful run above which the client waits."""
FIRST_REPEATED = 1_000_000
TIMES = 5
Run = tuple[str, int, int]


def kind(number: int) -> str:
    """Return what the handler of a delivery does."""
    return "quick" if number >= FIRST_REPEATED else {1: "slow", 2: "raises"}.get(number % 100, "quick")


def request(number: int) -> bytes:
    """Return the signed request of a delivery, for one of the two handlers."""
    body = json.dumps({"id": number, "kind": kind(number), "text": "x" * 200}).encode()
    head = (
        f"POST /{'job' if number % 2 else 'job_async'} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-GitHub-Delivery: {number}",
        f"X-Hub-Signature-256: {signature(body)}",
    )
    return "\r\n".join([*head, "", ""]).encode() + body


class RunFile:
    """The file to which handlers append. Counts the runs that have succeeded."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("rb")
        self._count = 0

    def count(self) -> int:
        """Return the number of runs that have succeeded."""
        self._count += self._file.read().count(b"ended")
        return self._count


class Client:
    """Sends deliveries until each has got 202."""

    def __init__(self, port: int, runs: Path, numbers: Iterable[int], most_waiting: int) -> None:
        self._port = port
        self._most_waiting = most_waiting
        self._runs = RunFile(runs)
        self._before = self._runs.count()
        self._numbers = deque(numbers)
        self._acknowledged = 0
        self.statuses: Counter[str] = Counter()

    async def run(self) -> None:
        """Send all deliveries."""
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))

    async def _connection(self) -> None:
        streams = None
        while self._numbers:
            if self._acknowledged - (self._runs.count() - self._before) > self._most_waiting:
                await asyncio.sleep(0.02)
                continue
            number = self._numbers.popleft()
            try:
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", self._port)
                status = await self._send(streams, number)
            except (OSError, EOFError) as error:
                status, streams = "refused" if isinstance(error, ConnectionRefusedError) else "no response", None
                await asyncio.sleep(0.05)
            if status != "refused":
                self.statuses[status] += 1
            if status == "202":
                self._acknowledged += 1
            else:
                self._numbers.append(number)
        if streams is not None:
            streams[1].close()

    async def _send(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], number: int) -> str:
        reader, writer = streams
        writer.write(request(number))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return head.split()[1].decode()


def client() -> None:
    """Send the deliveries that standard input names, and print the numbers of statuses, as JSON."""
    given = json.load(sys.stdin)
    # Repeated deliveries are acknowledged and don't run, so nothing is known about those that wait.
    most_waiting = len(given["numbers"]) if given["numbers"][0] >= FIRST_REPEATED else MOST_WAITING
    sending = Client(given["port"], Path(given["runs"]), given["numbers"], most_waiting)
    begun = time.monotonic()
    asyncio.run(sending.run())
    print(json.dumps({"statuses": sending.statuses, "seconds": time.monotonic() - begun}))


@dataclass
class Experiment:
    """A bot that is killed, and what was recorded about it."""

    directory: Path
    choose: random.Random
    port: int = field(default_factory=free_port)
    rows: list[list[str]] = field(default_factory=list)
    done: list[tuple[int, set[int]]] = field(default_factory=list)
    """For each kill: the number of bytes of the file with the runs, and the deliveries that the journal had as done."""

    def __post_init__(self) -> None:
        self._bot = IntakeBot(self.directory / "bot", self.port)
        self._command = self._bot.setup()
        self.runs = self._bot.runs

    def starts(self, kill_at: Sequence[int], numbers: Sequence[int]) -> dict[str, Any]:
        """Send deliveries, and kill the bot each time that as many of them have run. Return the client's figures."""
        counted = RunFile(self.runs)
        before = counted.count()
        with sending(self.port, self.runs, numbers) as process:
            for run in kill_at:
                with self._serving() as pid:
                    while process.poll() is None and counted.count() - before < run:
                        time.sleep(0.005)
                    time.sleep(self.choose.random() * 0.05)
                    os.kill(pid, signal.SIGKILL)
                self._note_kill()
            with self._serving():
                output, _ = process.communicate(timeout=LIMIT)
                self._bot.await_empty()
        figures: dict[str, Any] = json.loads(output)
        return figures

    def repeat(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Send each delivery five times in random order, with a kill after each fifth of them. Return the sums of statuses."""
        sent = [*numbers] * TIMES
        self.choose.shuffle(sent)
        statuses: Counter[str] = Counter()
        for place in range(TIMES):
            with self._serving() as pid, sending(self.port, self.runs, sent[place::TIMES]) as process:
                output, _ = process.communicate(timeout=LIMIT)
                self._bot.await_empty()
                os.kill(pid, signal.SIGKILL)
            statuses.update(json.loads(output)["statuses"])
        return {"statuses": statuses}

    @contextmanager
    def _serving(self) -> Iterator[int]:
        with serving(self._command, self.port, self.directory / "log") as pid:
            yield pid

    def states(self) -> dict[DeliveryState, set[int]]:
        """Return the ids of the deliveries in the journal's file, by state."""
        # A copy, since opening the file would already repair what the kill has left.
        copy = self.directory / "copy"
        copy.mkdir()
        for file in self._bot.journal.parent.glob(f"{DATABASE}*"):
            shutil.copy(file, copy)
        archive = JournalArchive(copy / DATABASE)
        found: dict[DeliveryState, set[int]] = {state: set() for state in DeliveryState}
        for delivery in archive.find(DeliveryQuery(limit=10**9)):
            found[delivery.state].add(int(delivery.key))
        archive.close()
        shutil.rmtree(copy)
        return found

    def _note_kill(self) -> None:
        size = self.runs.stat().st_size
        found = self.states()
        self.done.append((size, found[DeliveryState.DONE]))
        self.rows.append(
            [str(len(self.done)), *(f"{len(found[state]):,}" for state in (DeliveryState.DONE, *UNFINISHED))]
        )

    def problems(self, acknowledged: Iterable[int], repeated: Iterable[int]) -> list[str]:
        """Return a line for each failed expectation."""
        data = self.runs.read_bytes()
        lines = data.splitlines(keepends=True)
        runs: list[Run] = [(event.decode(), int(number), int(pid)) for event, number, pid in map(bytes.split, lines)]
        ended = Counter(number for event, number, _ in runs if event == "ended")
        found = [f"delivery {number} got 202 and has not run" for number in acknowledged if not ended[number]]
        found += [f"delivery {number} has run {ended[number]} times" for number in repeated if ended[number] != 1]
        for size, done in self.done:
            later = runs[data[:size].count(b"\n") :]
            found += [f"delivery {number} was done and ran again" for _, number, _ in later if number in done]
        last: dict[int, tuple[str, int]] = {}
        for event, number, pid in runs:
            before, process = last.get(number, ("raised", 0))
            if event == "began" and process == pid and before != "raised":
                found.append(f"delivery {number} began after it had {before} in the same process")
            last[number] = (event, pid)
        twice = sum(1 for count in ended.values() if count > 1)
        print(
            f"{len(ended):,} deliveries have run, {twice} of them twice: they had ended, but weren't recorded, at a kill"
        )
        return found


@contextmanager
def sending(port: int, runs: Path, numbers: Sequence[int]) -> Iterator[subprocess.Popen[str]]:
    """Run the client in a process of its own."""
    command = [sys.executable, __file__, "--client"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT) as process:
        assert process.stdin is not None
        json.dump({"port": port, "runs": str(runs), "numbers": numbers}, process.stdin)
        process.stdin.close()
        process.stdin = None
        try:
            yield process
        finally:
            process.kill()


def main() -> int:
    """Print a line for each kill, the figures, and the failed expectations."""
    if sys.argv[1:] == ["--client"]:
        client()
        return 0
    seed = random.randrange(1_000_000)
    options = arguments(__doc__, deliveries=50_000, kills=20, repeated=1000, seed=seed, check=False)
    if options.check:
        options.deliveries, options.kills, options.repeated = 2000, 3, 100
    print(f"seed {options.seed}")
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        experiment = Experiment(Path(directory), choose)
        numbers = range(options.deliveries)
        part = options.deliveries * 0.98 / options.kills
        kill_at = [int(part * (number + choose.random())) for number in range(options.kills)]
        figures = experiment.starts(kill_at, list(numbers))
        print(text([["kill", "done", *(str(state) for state in UNFINISHED)], *experiment.rows]))
        rate = options.deliveries / figures["seconds"]
        print(f"{options.deliveries:,} deliveries, {rate:,.0f} per second with the restarts: {figures['statuses']}")
        repeated = range(FIRST_REPEATED, FIRST_REPEATED + options.repeated)
        figures = experiment.repeat(repeated)
        print(f"{options.repeated:,} ids sent {TIMES} times each: {dict(figures['statuses'])}")
        problems = experiment.problems([*numbers, *repeated], repeated)
        states = {str(state): len(ids) for state, ids in experiment.states().items() if ids}
        print(f"the journal: {states}")
        if dead := states.get("dead"):
            problems.append(f"{dead} deliveries were given up")
    return report(problems)


if __name__ == "__main__":
    sys.exit(main())
