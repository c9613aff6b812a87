"""A source whose deliveries and messages end in every way, for audits of the journal: in a test, or in a process that is killed.

As a program, it is the process: its arguments are the file, a seed, the number of deliveries, the offset of its clock in seconds,
and the seconds for which ended deliveries are kept. It prints the numbers of deliveries that were accepted, of those of which it
knows that they are on disk, and of those that a full disk has refused; then `end` if it has ended by itself.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from errklein.chat.outgoing import MessageState, OutgoingMessage, waiting_record
from errklein.journal import Retention, SQLiteJournal
from errklein.ports.journal import JournalError
from errklein.webhooks.deliveries import REMOVED_WEBHOOK, DeliveryState, Outcome, StoredDelivery, StoredRequest

SIZE = 24_000_000
"""The bytes that the journal may use, a part of what is recorded: the oldest deliveries are removed."""

_ENDS = (DeliveryState.DONE, DeliveryState.FAILED, DeliveryState.REFUSED)
_MESSAGE_ENDS = (MessageState.SENT, MessageState.SENT, MessageState.DROPPED, MessageState.REJECTED)
_AT_ONCE = 24  # the number of deliveries that the process handles at the same time


class Accepting:
    """Passes deliveries and messages to a journal.

    :param offset: What is added to the clock's time. `set_clock` changes it.
    """

    def __init__(self, random: Random, clock: Callable[[], float], offset: float = 0.0) -> None:
        self.journal: SQLiteJournal
        self.recorded = 0
        """The number of deliveries that are on disk, as the journal has confirmed."""
        self._random = random
        self._clock = clock
        self._offset = offset
        self._ids: list[int] = []

    def now(self) -> float:
        """Return the time, which is set at times."""
        return self._clock() + self._offset

    def set_clock(self) -> None:
        """Set the clock by up to two hours."""
        self._offset = self._random.choice([-7200.0, -3500.0, 0.0, 60.0, 7200.0])

    async def begin(self) -> None:
        """Continue what an earlier process has left: some of it ends."""
        for message in await self.journal.outbox.lease():
            if self._random.random() < 0.5:
                self._end(message)

    async def deliver(self) -> bool:
        """Let the journal accept a delivery, and perhaps messages of it. Return False if the disk is full."""
        random, journal = self._random, self.journal
        webhook = f"Plugin{random.randrange(3)}:hook{random.randrange(3)}"
        delivery = StoredDelivery(
            journal.next_id(),
            webhook,
            DeliveryState.RECEIVED,
            self.now(),
            ack="now",
            key=f"key {random.randrange(900)}" if random.random() < 0.2 else "",
            request=StoredRequest("POST", "/", [(b"x-event", b"push")], b"x" * random.randrange(900)),
            verified=random.random() < 0.8,
        )
        try:
            match random.randrange(10):
                case 0:
                    journal.count(webhook)
                case 1 | 2:
                    state = random.choice(_ENDS)
                    self.send(delivery.id)
                    journal.log(delivery._replace(state=state, ack="after", attempt=1, outcome=Outcome(500)))
                case 3:
                    await journal.record(delivery)
                    for one in await journal.lease(webhook, 3, 60.0):
                        await self._finish(one.id)
                case _:
                    earlier = await journal.record(delivery, lease=60.0, window=600.0 if delivery.key else 0.0)
                    self.recorded += earlier is None
                    if earlier is None:
                        self.send(delivery.id)
                        await self._finish(delivery.id)
            self._ids.append(delivery.id)
            if random.randrange(40) == 0:
                some = random.sample(self._ids[-300:], min(3, len(self._ids)))
                await random.choice((journal.replay, journal.forget))(some)
        except JournalError:
            return False
        return True

    async def _finish(self, number: int) -> None:
        journal = self.journal
        match self._random.randrange(10):
            case 0:
                await journal.bury(number, Outcome(500, "ValueError: no"))
            case 1:
                await journal.bury(number, Outcome(410, REMOVED_WEBHOOK))
            case 2:
                await journal.retry_at(number, self.now() + 60, Outcome(500))
            case 3:
                pass
            case other:
                await journal.finish(number, Outcome(200 if other > 4 else 500))

    def send(self, delivery: int) -> None:
        """Accept messages of half of the deliveries. Some end before they are on disk, and some wait."""
        random, store = self._random, self.journal.outbox
        for _ in range(random.choice([0, 0, 1, 2])):
            message = store.add(
                OutgoingMessage(0, "Net", "#ops", "It is done.", accepted_at=self.now(), delivery=delivery)
            )
            match random.randrange(8):
                case 0:
                    pass
                case 1 | 2 | 3:
                    self._end(message)
                case _:
                    store.flush().addCallback(lambda _, message: self._end(message), message)

    def _end(self, message: OutgoingMessage) -> None:
        state = self._random.choice(_MESSAGE_ENDS)
        self.journal.outbox.end(waiting_record(message)._replace(state=state, at=self.now()))


def fill_disk(path: Path, full: bool) -> None:
    """Let no file of this process grow beyond the size that the journal's log has, or let them grow again."""
    log = path.with_name(f"{path.name}-wal")
    size = log.stat().st_size + 5000 if full and log.exists() else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def main() -> None:
    """Be the process."""
    from twisted.internet import reactor

    path, random = Path(sys.argv[1]), Random(int(sys.argv[2]))
    number, retention = int(sys.argv[3]), Retention(float(sys.argv[5]), SIZE)
    accepting = Accepting(random, time.time, float(sys.argv[4]))
    accepting.journal = SQLiteJournal(path, reactor, accepting.now, retention=retention)
    accepted = refused = running = 0

    async def deliver_all() -> None:
        nonlocal accepted, refused, running
        running += 1
        while accepted < number:
            if await accepting.deliver():
                accepted += 1
            else:
                refused += 1
                await deferLater(reactor, 0.02)
            if random.randrange(700) == 0:
                accepting.set_clock()
            if random.randrange(900) == 0:
                fill_disk(path, True)
                reactor.callLater(0.3, fill_disk, path, False)
            if not accepted % 50:
                os.write(1, f"{accepted} {accepting.recorded} {refused}\n".encode())
        running -= 1
        if not running:
            fill_disk(path, False)
            accepting.journal.close().addCallback(lambda _: os.write(1, b"end\n")).addBoth(lambda _: reactor.stop())

    def begin() -> None:
        Deferred.fromCoroutine(accepting.begin())
        for _ in range(_AT_ONCE):
            Deferred.fromCoroutine(deliver_all())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
