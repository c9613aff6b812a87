"""A process that records and finishes deliveries and is killed meanwhile, and the inspection of its journal."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import errklein

CHILD = """
import os, sys, time
from pathlib import Path
from twisted.internet import reactor
from errklein.journal import SQLiteJournal
from errklein.webhooks.deliveries import *

journal = SQLiteJournal(Path(sys.argv[1]), reactor, time.time)

def say(result, text):
    os.write(1, text.encode())

def record(number):
    request = StoredRequest("POST", f"/{number}", [(b"authorization", b"5ecre7")], b"x" * (number * 37 % 3000))
    delivery = StoredDelivery(journal.next_id(), "A:a", DeliveryState.RECEIVED, time.time(), ack="now", request=request)
    done = journal.record(delivery, lease=60.0)
    done.addCallback(say, f"recorded {delivery.id}\\n")
    if number % 3:
        end = journal.finish if number % 3 == 1 else journal.bury
        done.addCallback(lambda _: end(delivery.id, Outcome(200 if number % 3 == 1 else 500)))
        done.addCallback(say, f"ended {delivery.id}\\n")
    done.addCallback(lambda _: record(number + 20))

for number in range(20):
    reactor.callWhenRunning(record, number)
reactor.run()
"""


@dataclass
class Acknowledged:
    """The deliveries that the process has recorded and ended, as it was told by the journal."""

    recorded: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    integrity: str = ""
    """The result of SQLite's integrity check; "ok" if the file is intact."""


def kill_during_deliveries(path: Path, kill_after: int) -> Acknowledged:
    """Start a process, and send it SIGKILL when `kill_after` deliveries are recorded and ended."""
    environment = {**os.environ, "PYTHONPATH": str(Path(errklein.__file__).parents[1])}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    output = b""
    while output.count(b"\n") < kill_after and (more := os.read(child.stdout.fileno(), 4096)):
        output += more
    child.kill()
    # What was acknowledged between the last read and the kill counts as well.
    output += child.stdout.read()
    child.stdout.close()
    child.wait()
    acknowledged = Acknowledged()
    for line in output.decode().splitlines():
        what, number = line.split()
        (acknowledged.recorded if what == "recorded" else acknowledged.ended).add(int(number))
    with closing(sqlite3.connect(path)) as connection:
        acknowledged.integrity = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    return acknowledged
