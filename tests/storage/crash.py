"""A process that stores values and is killed meanwhile, and the inspection of its file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import errklein
from errklein.storage import SQLiteStorage

KEYS = 2000
"""The number of keys. The first assignments add values, the later ones replace them."""

CHILD = """
import os, sys
from pathlib import Path
from errklein.storage import SQLiteStorage

store = SQLiteStorage(Path(sys.argv[1])).open("Greeter")
for number in range(int(sys.argv[2])):
    store.set(str(number % int(sys.argv[3])), {"number": number, "text": "x" * (number * 37 % 2000)})
    os.write(1, b".")
"""


@dataclass(frozen=True)
class Outcome:
    """The state of the file after the kill."""

    returned: int
    """The number of assignments that had returned."""

    lost: int
    """The number of these whose value is missing."""

    integrity: str
    """The result of SQLite's integrity check; "ok" if the file is intact."""


def kill_during_assignments(path: Path, assignments: int, kill_after: int) -> Outcome:
    """Start a process that makes `assignments`, and send it SIGKILL after `kill_after` of them.

    The process acknowledges each assignment by a byte in a pipe.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(errklein.__file__).parents[1])}
    command = [sys.executable, "-c", CHILD, str(path), str(assignments), str(KEYS)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    returned = 0
    while returned < kill_after and (acknowledged := os.read(child.stdout.fileno(), 64)):
        returned += len(acknowledged)
    child.kill()
    # Assignments that were acknowledged between the last read and the kill count as well.
    returned += len(child.stdout.read())
    child.stdout.close()
    child.wait()
    return Outcome(returned, _count_lost(path, returned), _integrity(path))


def _count_lost(path: Path, returned: int) -> int:
    storage = SQLiteStorage(path)
    store = storage.open("Greeter")
    found = {key: store.get(key)["number"] for key in store.keys()}  # noqa: SIM118 - a Store is no mapping
    storage.close()
    newest = {str(number % KEYS): number for number in range(returned)}
    # The last assignment may have been stored without being acknowledged.
    allowed = {str(returned % KEYS): returned}
    return sum(1 for key, number in newest.items() if found.get(key) not in (number, allowed.get(key, number)))


def _integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()
