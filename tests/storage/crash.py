"""A process that assigns values and is killed in the middle of it, and a look at what it left behind."""

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
"""Assignments go round these, so the first ones add values and the later ones replace them."""

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
    """What was found after the kill."""

    returned: int
    """How many assignments had returned."""

    lost: int
    """How many of these are not there."""

    integrity: str
    """SQLite's verdict on the file; "ok" if it is sound."""


def kill_during_assignments(path: Path, assignments: int, kill_after: int) -> Outcome:
    """Let a process make `assignments`, each acknowledged by a byte in a pipe, and SIGKILL it after `kill_after`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(errklein.__file__).parents[1])}
    command = [sys.executable, "-c", CHILD, str(path), str(assignments), str(KEYS)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    returned = 0
    while returned < kill_after and (acknowledged := os.read(child.stdout.fileno(), 64)):
        returned += len(acknowledged)
    child.kill()
    # What it acknowledged between our last look and its death counts as well.
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
    # One assignment may have been made whose acknowledgement was never sent.
    allowed = {str(returned % KEYS): returned}
    return sum(1 for key, number in newest.items() if found.get(key) not in (number, allowed.get(key, number)))


def _integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()
