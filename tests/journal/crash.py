"""Processes that record deliveries, or store messages, and are killed meanwhile, and the inspection of their journal."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
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


MESSAGES = """
import os, sys, time
from pathlib import Path
from twisted.internet import reactor
from errklein.chat.handles import MessageRef
from errklein.chat.outgoing import *
from errklein.journal import SQLiteJournal

store = SQLiteJournal(Path(sys.argv[1]), reactor, time.time).outbox

def say(result, text):
    os.write(1, text.encode())

def send(number):
    fields = {"key": f"k{number}", "file": b"%d" % number * (number * 37 % 3000)}
    message = store.add(OutgoingMessage(0, "Net", "#ops", "before", **fields))
    store.flush().addCallback(say, f"stored {number}\\n").addCallback(lambda _: change(message, number))

def change(message, number):
    if number % 2:
        store.change(message.id, "after")
        store.flush().addCallback(say, f"changed {number}\\n").addCallback(lambda _: send(number + 20))
    else:
        record = waiting_record(message)._replace(state=MessageState.SENT)
        store.end(record, [MessageRef("Net", "#ops", f"m{number}")])
        store.flush().addCallback(say, f"sent {number}\\n").addCallback(lambda _: send(number + 20))

for number in range(20):
    reactor.callWhenRunning(send, number)
reactor.run()
"""


def kill_during_messages(path: Path, kill_after: int) -> dict[str, set[int]]:
    """Start a process, and send it SIGKILL. Return the numbers of messages that were stored, changed and sent, as it was told."""
    said = defaultdict[str, set[int]](set)
    for line in _killed(MESSAGES, path, kill_after):
        what, number = line.split()
        said[what].add(int(number))
    return said


@dataclass
class Acknowledged:
    """The deliveries that the process has recorded and ended, as it was told by the journal."""

    recorded: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    integrity: str = ""
    """The result of SQLite's integrity check; "ok" if the file is intact."""


def kill_during_deliveries(path: Path, kill_after: int) -> Acknowledged:
    """Start a process, and send it SIGKILL when `kill_after` deliveries are recorded and ended."""
    acknowledged = Acknowledged()
    for line in _killed(CHILD, path, kill_after):
        what, number = line.split()
        (acknowledged.recorded if what == "recorded" else acknowledged.ended).add(int(number))
    with closing(sqlite3.connect(path)) as connection:
        acknowledged.integrity = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    return acknowledged


def _killed(code: str, path: Path, kill_after: int) -> list[str]:
    """Return the lines of a process that gets SIGKILL after so many of them."""
    environment = {**os.environ, "PYTHONPATH": str(Path(errklein.__file__).parents[1])}
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    output = b""
    while output.count(b"\n") < kill_after and (more := os.read(child.stdout.fileno(), 4096)):
        output += more
    child.kill()
    # What was acknowledged between the last read and the kill counts as well.
    output += child.stdout.read()
    child.stdout.close()
    child.wait()
    return output.decode().splitlines()
