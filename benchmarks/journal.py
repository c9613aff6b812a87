"""The journal of webhooks: lists and removal with a million deliveries, and memory.

    python benchmarks/journal.py [--only lists|memory] [--rows 1000000] [--deliveries 200000] [--dir DIR] [--check]
    python benchmarks/journal.py --against CHECKOUT [--rounds 20]

- lists: the time of a page by webhook, plugin, state, time and id, then the removal of all deliveries, each with the longest
  pause of the reactor, and the longest `record` during the removal.
- memory: the resident memory after each tenth of the deliveries.

- record: microseconds of processor time, and of waiting, of a call of `record`: alone and for each of 16 at once, without and with
  keys. --against compares them with those of another checkout: the median of the ratios of alternating rounds.

--check uses few deliveries, and exits with 1 if a page takes 100 ms or the reactor
pauses for 20 ms.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ.get("CHECKOUT", str(Path(__file__).resolve().parents[1])))

from bots import arguments, resident
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from errklein.database import Database
from errklein.journal import Redaction, Retention, SQLiteJournal
from errklein.journal._sqlite import MIGRATIONS
from errklein.journal._writing import JournalWriter
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome, StoredDelivery, StoredRequest

DAY = 24 * 3600.0
OK = Outcome(200, "", 0.01)
HEADERS = [
    (b"host", b"bot.example.org"),
    (b"user-agent", b"GitHub-Hookshot/044aadd"),
    (b"content-type", b"application/json"),
    (b"x-github-event", b"push"),
    (b"x-github-delivery", b"72d3162e-cc78-11e3-81ab-4c9367dc0958"),
    (b"x-hub-signature-256", b"sha256=" + b"a" * 64),
    (b"content-length", b"1500"),
]
STATES = [
    *[DeliveryState.DONE] * 90,
    *[DeliveryState.FAILED] * 4,
    *[DeliveryState.DUPLICATE] * 2,
    *[DeliveryState.REFUSED] * 2,
    DeliveryState.DEAD,
    DeliveryState.RETRY,
]
WEBHOOKS = [f"Plugin{plugin}:hook{hook}" for plugin in range(10) for hook in range(5)]


def new_delivery(number: int, body: int = 1500, **fields: Any) -> StoredDelivery:
    """Return a delivery as a sender such as GitHub makes it."""
    request = StoredRequest("POST", "/github?source=1", HEADERS, b"x" * body, "192.0.2.1", True)
    fields = {
        "webhook": WEBHOOKS[0],
        "state": DeliveryState.RECEIVED,
        "received_at": time.time(),
        "ack": "now",
        **fields,
    }
    return StoredDelivery(number, request_id=f"r{number}", request=request, **fields)


def opened(path: Path, **options: Any) -> SQLiteJournal:
    """Return the journal of a file."""
    return SQLiteJournal(path, reactor, time.time, **options)


class Pauses:
    """Measures the longest time for which the reactor calls nothing."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._again()

    def _again(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last - 0.001)
        self._last = now
        self._call = reactor.callLater(0.001, self._again)

    def stop(self) -> float:
        """Return the longest pause in milliseconds."""
        self._call.cancel()
        return self.longest * 1000


async def in_parallel(jobs: Iterable[Callable[[], Deferred[Any]]], width: int) -> None:
    """Run the jobs, `width` of them at once."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    await DeferredList([Deferred.fromCoroutine(work()) for _ in range(width)], fireOnOneErrback=True)


def fill(path: Path, rows: int, webhooks: Sequence[str] = WEBHOOKS, body: int = 100) -> None:
    """Create a file with deliveries of the last week, as the journal writes them."""
    database = Database(path, MIGRATIONS)
    now = time.time()
    writer = JournalWriter(time.time, Redaction(), Retention().unverified_bytes)
    for start in range(1, rows + 1, 5000):
        deliveries = [
            new_delivery(
                number,
                body,
                webhook=webhooks[(number * 7919 >> 4) % len(webhooks)],
                state=STATES[number % len(STATES)],
                received_at=now - 6 * DAY * (1 - number / rows),
                outcome=OK,
                due_at=now + DAY if STATES[number % len(STATES)] is DeliveryState.RETRY else 0.0,
            )
            for number in range(start, min(start + 5000, rows + 1))
        ]
        with database.transaction() as connection:
            writer.log(connection, [deliveries])
    database.close()


def queries(rows: int) -> Iterator[tuple[str, DeliveryQuery]]:
    """Yield pages with their names."""
    now = time.time()
    yield "newest", DeliveryQuery()
    yield "id", DeliveryQuery(before=rows // 2)
    yield "webhook", DeliveryQuery(webhook=WEBHOOKS[1])
    yield "webhook, old", DeliveryQuery(webhook=WEBHOOKS[4], before=rows // 100)
    yield "plugin", DeliveryQuery(webhook="Plugin3")
    for state in DeliveryState:
        yield state, DeliveryQuery(states=[state])
    yield "all states", DeliveryQuery(states=list(DeliveryState))
    yield (
        "failed or dead of a plugin",
        DeliveryQuery(webhook="Plugin3", states=[DeliveryState.FAILED, DeliveryState.DEAD], limit=100),
    )
    yield "time", DeliveryQuery(since=now - 4 * DAY, until=now - 3 * DAY)
    yield "failed, by time", DeliveryQuery(states=[DeliveryState.FAILED], since=now - 4 * DAY, until=now - 3 * DAY)
    yield "webhook, by time", DeliveryQuery(webhook=WEBHOOKS[1], until=now - 5 * DAY)


async def measure_lists(directory: Path, rows: int) -> bool:
    """Print the time of pages and of the removal of all deliveries, and return whether they are short."""
    path = directory / "lists.sqlite"
    began = time.perf_counter()
    fill(path, rows)
    print(f"{rows:,} deliveries, {path.stat().st_size / 1e6:,.0f} MB, created in {time.perf_counter() - began:.0f} s")
    journal = opened(path, retention=Retention(max_bytes=10**12, refused_bytes=10**12))
    slowest = 0.0
    pauses = Pauses()
    await deferLater(reactor, 5)
    print(f"without work, the reactor paused for {pauses.stop():.1f} ms: other programs use the processor")
    pauses = Pauses()
    for name, query in queries(rows):
        times = []
        for _ in range(3):
            began = time.perf_counter()
            found = await journal.find(query)
            times.append((time.perf_counter() - began) * 1000)
        print(f"  {name:28} {len(found):4} deliveries  {min(times):6.1f} ms, at first {times[0]:6.1f} ms")
        slowest = max(slowest, *times)
    for name, call in (("delivery", lambda: journal.get(rows // 2)), ("depth", journal.depth)):
        began = time.perf_counter()
        await call()
        print(f"  {name:28} {'':15}  {(time.perf_counter() - began) * 1000:6.1f} ms")
    longest = pauses.stop()
    print(f"slowest page {slowest:.1f} ms; the reactor paused for {longest:.1f} ms")
    await journal.close()
    return await measure_removal(path, rows) and slowest < 100 and longest < 20


async def measure_removal(path: Path, rows: int) -> bool:
    """Remove all finished deliveries, and return whether the reactor had no long pause."""
    journal = opened(path, retention=Retention(seconds=0.0))
    pauses = Pauses()
    began = time.perf_counter()
    slowest = 0.0
    recorded = 0
    while (await journal.find(DeliveryQuery(states=[DeliveryState.DONE], limit=1, before=rows)))[:1]:
        delivery = new_delivery(journal.next_id())
        start = time.perf_counter()
        await journal.record(delivery)
        slowest = max(slowest, time.perf_counter() - start)
        recorded += 1
        await deferLater(reactor, 0.005)
    longest = pauses.stop()
    seconds = time.perf_counter() - began
    print(
        f"removed in {seconds:.0f} s; the reactor paused for {longest:.1f} ms; "
        f"the slowest of {recorded} records took {slowest * 1000:.1f} ms"
    )
    await journal.close()
    return longest < 20


async def measure_memory(directory: Path, deliveries: int) -> bool:
    """Print the resident memory during many deliveries."""
    journal = opened(directory / "memory.sqlite", retention=Retention(max_bytes=100_000_000))

    def run() -> Deferred[Any]:
        delivery = new_delivery(journal.next_id(), key=str(time.perf_counter()))
        recorded = journal.record(delivery, lease=60.0, window=3600.0)
        journal.log(new_delivery(journal.next_id(), state=DeliveryState.DONE, ack="after", outcome=OK))
        return recorded.addCallback(lambda _: journal.finish(delivery.id, OK))

    sizes = []
    for _ in range(10):
        began = time.perf_counter()
        await in_parallel((run for _ in range(deliveries // 10)), 64)
        sizes.append(resident(os.getpid()))
        rate = deliveries / 10 / (time.perf_counter() - began)
        print(
            f"  {sizes[-1]:.1f} MB after {deliveries // 10 * len(sizes):,} deliveries, {rate:,.0f} per second",
            flush=True,
        )
    size = (directory / "memory.sqlite").stat().st_size
    print(f"the file has {size / 1e6:.0f} MB, with a limit of 100 MB")
    await journal.close()
    return True


async def measure_record(directory: Path, calls: int) -> bool:
    """Print the time of `record`, with a file that has some deliveries already."""
    path = directory / "record.sqlite"
    if not path.exists():
        fill(path, 20_000)
    journal = opened(path)
    for width, window in ((1, 0.0), (1, 3600.0), (16, 0.0), (16, 3600.0)):
        batches = [[journal.next_id() for _ in range(width)] for _ in range(calls // width)]
        times = []
        gc.collect()
        for batch in batches:
            key = "72d3162e-cc78-11e3-81ab-{:012}" if window else ""
            deliveries = [new_delivery(number, key=key.format(number)) for number in batch]
            waited, used = time.perf_counter(), time.process_time()
            await DeferredList([journal.record(one, lease=60.0, window=window) for one in deliveries])
            times.append((time.process_time() - used, time.perf_counter() - waited))
        used, waited = (statistics.median(some) * 1e6 / width for some in zip(*times, strict=True))
        print(f"{width} at once, {'with' if window else 'without'} keys: {used:.1f} {waited:.1f}", flush=True)
    await journal.close()
    return True


def compare_record(other: Path, rounds: int, directory: Path) -> None:
    """Print the medians of `record` in both checkouts, and of the ratios of rounds."""
    found: dict[str, list[list[list[float]]]] = {}
    for number in range(rounds):
        for place in (0, 1) if number % 2 else (1, 0):
            files = directory / str(place)
            files.mkdir(exist_ok=True)
            checkout = other if place == 0 else Path(__file__).resolve().parents[1]
            environment = {**os.environ, "CHECKOUT": str(checkout)}
            command = [sys.executable, __file__, "--only", "record", "--dir", str(files)]
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            for line in output.splitlines():
                name, colon, values = line.partition(": ")
                if colon:
                    found.setdefault(name, [[], []])[place].append([float(value) for value in values.split()])
    for name, (before, after) in found.items():
        for what, values in zip(
            ("processor", "waiting"), zip(*map(zip_columns, (before, after)), strict=True), strict=True
        ):
            ratio = statistics.median(new / old for old, new in zip(*values, strict=True))
            middles = [statistics.median(some) for some in values]
            print(f"{name}, {what}: {middles[0]:.1f} and {middles[1]:.1f} µs, {ratio - 1:+.1%}")


def zip_columns(rows: Iterable[Iterable[float]]) -> list[tuple[float, ...]]:
    """Return the columns of a table."""
    return list(zip(*rows, strict=True))


async def measure(options: Any) -> int:
    """Run the measurements that were chosen, and return the exit status."""
    scale = 50 if options.check else 1
    measurements = {
        "lists": (measure_lists, options.rows // scale),
        "memory": (measure_memory, options.deliveries // scale),
        "record": (measure_record, 1600 // scale),
    }
    results = []
    for name in [options.only] if options.only else measurements:
        function, count = measurements[name]
        if name == "record" and options.dir:
            # The file is used again.
            results.append(await function(options.dir, count))
            continue
        with tempfile.TemporaryDirectory(dir=options.dir) as directory:
            results.append(await function(Path(directory), count))
    print("all within the limits" if all(results) else "a limit is exceeded")
    return 1 if options.check and not all(results) else 0


def main() -> int:
    """Run the reactor until everything is measured."""
    options = arguments(
        __doc__, only="", rows=1_000_000, deliveries=200_000, dir=Path, check=False, against=Path, rounds=20
    )
    if options.against:
        with tempfile.TemporaryDirectory(dir=options.dir) as directory:
            compare_record(options.against.resolve(), options.rounds, Path(directory))
        return 0
    # As in a running bot.
    sys.setswitchinterval(0.0005)
    status: list[int] = []

    def ended(result: Any) -> None:
        if isinstance(result, int):
            status.append(result)
        else:
            result.printTraceback(sys.stderr)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(measure(options)).addBoth(ended))
    reactor.run()
    return status[0] if status else 1


if __name__ == "__main__":
    sys.exit(main())
