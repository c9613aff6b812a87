"""Kill a process with SIGKILL during 10,000 assignments to its storage, 20 times, and count the lost ones.

Run `python benchmarks/kill9.py [--trials N] [--assignments N] [--seed N]`. Exits with 1 if an assignment was lost.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bots import arguments

from errklein.storage import SQLiteStorage
from tests.storage.crash import kill_during_assignments


def milliseconds_per_assignment(path: Path, assignments: int) -> float:
    """Return the average time of an assignment of a small dict."""
    storage = SQLiteStorage(path)
    store = storage.open("Greeter")
    begin = time.perf_counter()
    for number in range(assignments):
        store.set(str(number % 2000), {"number": number, "text": "hello"})
    seconds = time.perf_counter() - begin
    storage.close()
    return seconds / assignments * 1000


def main() -> int:
    """Print a line for each trial and the sums; return 1 if an assignment was lost or a file is damaged."""
    options = arguments(__doc__, trials=20, assignments=10_000, seed=random.randrange(1_000_000), dir=Path)
    chance = random.Random(options.seed)
    lost = damaged = 0
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        print(f"{milliseconds_per_assignment(Path(directory, 'speed.db'), options.assignments):.3f} ms per assignment")
        print(f"seed {options.seed}\ntrial  returned  lost  file")
        for trial in range(1, options.trials + 1):
            path = Path(directory, f"{trial}.db")
            outcome = kill_during_assignments(path, options.assignments, chance.randrange(1, options.assignments))
            print(f"{trial:5}  {outcome.returned:8}  {outcome.lost:4}  {outcome.integrity}", flush=True)
            lost += outcome.lost
            damaged += outcome.integrity != "ok"
    print(f"{options.trials} trials, {lost} lost" + (f", {damaged} damaged" if damaged else ""))
    return 1 if lost or damaged else 0


if __name__ == "__main__":
    sys.exit(main())
