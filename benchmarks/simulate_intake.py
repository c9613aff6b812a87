"""Simulate the recording, running and retrying of webhooks' deliveries, with crashes, full disks and clocks that are set.

Run `python benchmarks/simulate_intake.py [--messages|--nodes] [--first 0] [--count 100000] [--jobs 2]`. Each seed is a world of its own,
described in `tests/journal/simulation.py`; 100,000 of them take about an hour of CPU time. With `--messages`, handlers send
messages to a network, as `tests/journal/outbox_simulation.py` describes; this takes twice as long. With `--nodes`, several processes
share a database, as `tests/postgres/simulation.py` and `queue_simulation.py` describe. After each thousand, a line says with which seed to
continue after an interruption. Exits with 1 at the first seed that violates a guarantee, and prints its events.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bots import arguments

from tests.journal.outbox_simulation import OutboxSimulation
from tests.journal.simulation import Simulation, simulate

CHUNK = 20
REPORT = 1000


def violation(kind: Any, seed: int) -> str:
    """Return how the world of a seed violates a guarantee, or an empty string."""
    try:
        if isinstance(kind, type):
            simulate(seed, kind)
        else:
            kind(seed).run()
    except AssertionError as error:
        return str(error)
    return ""


def main() -> int:
    """Simulate the seeds of a range."""
    options = arguments(__doc__, first=0, count=100_000, jobs=os.cpu_count() or 1, messages=False, nodes=False)
    kind: Any = OutboxSimulation if options.messages else Simulation
    if options.nodes:
        from tests.postgres.queue_simulation import world as kind
    begin = time.monotonic()
    with Pool(options.jobs) as pool:
        seeds = range(options.first, options.first + options.count)
        for seed, found in zip(seeds, pool.imap(partial(violation, kind), seeds, CHUNK), strict=True):
            if found:
                print(found)
                return 1
            done = seed + 1 - options.first
            if done % REPORT == 0 or done == options.count:
                print(f"{done} seeds hold after {time.monotonic() - begin:.0f} s; continue with {seed + 1}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
