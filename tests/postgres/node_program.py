"""A process with a node and nothing else: `python -m tests.postgres.node_program URL`.

While it owns, it increments a number in the database about every 20 ms: it reads the number once, when it becomes the owner,
so another writer would be noticed. Each line of its output has the time since the boot, which all processes of a machine
share, and an event: `node ID`,
`sees the owner`, `owned`, `acts` for each moment at which it acts as the owner, `wrote N`, `refused REASON`, `lost REASON`. SIGUSR1 sets its clock
by an hour, SIGUSR2 lets it hang for 15 s, and SIGTERM stops it.
"""

from __future__ import annotations

import secrets
import signal
import sys
import time

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner, textFileLogObserver

from errklein.database import DatabaseError, JobThread
from errklein.ports.nodes import ROLES
from errklein.postgres._database import PostgresDatabase
from errklein.postgres._membership import Membership
from errklein.postgres._nodes import PostgresNodes, seconds_since_boot

TABLE = "CREATE TABLE numbers (number bigint PRIMARY KEY, epoch bigint NOT NULL)"


class Program:
    """The process."""

    def __init__(self, url: str) -> None:
        session = f"errklein {secrets.token_hex(8)}"
        self._database = PostgresDatabase(url, f"{session} numbers")
        self._nodes = PostgresNodes(reactor, Membership(url, session), ROLES, "", [self._database])
        self._thread = JobThread(reactor, "numbers")
        self._number = 0
        self._writing = False

    def start(self) -> None:
        """Start the node."""
        self.note(f"node {self._nodes.me.id}")
        self._looking = LoopingCall(self._look)
        self._looking.start(0.05)
        self._nodes.start(self._owned, self._lost, lambda: self.note("drained"))
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(self._stop))
        signal.signal(signal.SIGUSR1, lambda *_: self._set_clock())
        signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(time.sleep, 15))

    def _look(self) -> None:
        if self._nodes.owner is not None and self._nodes.me.seen_at > self._nodes.me.began_at:
            self.note("sees the owner")
            self._looking.stop()

    def note(self, event: str) -> None:
        """Write an event."""
        print(f"{seconds_since_boot():.3f} {event}", flush=True)

    def _owned(self) -> None:
        self.note("owned")
        self._number = -1
        self._loop = LoopingCall(self._act)
        self._loop.start(0.02)

    def _act(self) -> None:
        # What a network would get.
        if self._nodes.owns:
            self.note("acts")
        if not self._writing:
            self._writing = True
            self._thread.run(self._write).addBoth(self._written)

    def _write(self) -> int:
        if self._number < 0:
            self._number = self._database.read("SELECT coalesce(max(number), 0) FROM numbers")[0][0]
        number = self._number + 1
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO numbers VALUES (?, ?)", (number, self._database.fence))
        return number

    def _written(self, result: object) -> None:
        self._writing = False
        if isinstance(result, int):
            self._number = result
            self.note(f"wrote {result}")
        else:
            # It isn't known whether it was stored.
            self._number = -1
            result.trap(DatabaseError)
            self.note(f"refused {result.getErrorMessage()}")

    def _lost(self, reason: str) -> None:
        self.note(f"lost {reason}")
        reactor.stop()

    def _stop(self) -> None:
        maybeDeferred(self._nodes.stop).addCallback(lambda _: reactor.stop())

    def _set_clock(self) -> None:
        now = time.time
        time.time = lambda: now() + 3600


if __name__ == "__main__":
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    program = Program(sys.argv[1])
    reactor.callWhenRunning(program.start)
    reactor.run(installSignalHandlers=False)
