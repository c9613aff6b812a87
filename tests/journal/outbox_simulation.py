"""The simulation of `simulation`, whose handlers send messages: outbox, network and store are part of its world.

Processes stop cleanly, too, and restore what the one before has stored. A handler sends from the reactor or in a thread. While the
journal's thread writes, the network confirms messages and further ones are sent.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.python.failure import Failure

from errklein.bot._sending import restore_outboxes
from errklein.networks.outbox import Outbox, OutboxLimits
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.running.context import assigned, origin
from errklein.webhooks.deliveries import Outcome, Postponed, StoredDelivery
from tests.journal.simulated_network import (
    BREAKING,
    DROPPED,
    INVALID,
    REJECTED,
    SENT,
    Accepted,
    Part,
    SimulatedNetwork,
    SimulatedTransport,
)
from tests.journal.simulation import FAULTS_END, UNIQUE, Process, Simulation

AFTER = "Plain:after"
"""A route whose source gets the response after the handler has run."""

IN_THREADS = UNIQUE
"""The route whose handlers run in threads."""

SLACK = 5.0
"""The seconds within which a change is on disk, on the slowest disk that can be written."""

CALM = 15.0
"""The seconds after the disk was full in which the store may wait for its next attempt."""


class SendingProcess(Process):
    """A process with an outbox. To `restore_outboxes` it is a backend."""

    network = "Network"

    def __init__(self, simulation: OutboxSimulation) -> None:
        super().__init__(simulation)
        self._world = simulation
        self.is_ready = self.is_stopping = False
        self._losses: list[int] = []
        # What was accepted since the process has begun, and isn't known to be on disk.
        self.unpromised: list[Accepted] = []
        self.by_delivery: dict[int, list[Accepted]] = defaultdict(list)

    def begin(self) -> None:
        """Restore the stored messages, then run what the journal has."""
        world = self._world
        self.transport = SimulatedTransport(world.network, self.clock, world.has_faults)
        self.outbox = world.outbox_class(
            self.clock,
            self.network,
            self.transport,
            world.limits,
            dropped=self._dropped,
            unavailable=self.transport.unavailable,
            now=world.now,
            put_timeout=0.0,
        )
        self.outbox.log = Logger(observer=self._log)
        for name in ("retry_at", "bury"):
            setattr(self.journal, name, self._promising(getattr(self.journal, name)))
        backends: Any = [self]
        log = Logger(observer=self._log)
        age = world.limits.age
        restoring = restore_outboxes(self.journal.outbox, backends, self._notify, lambda _: age, world.now, log)
        restored = Deferred.fromCoroutine(restoring)
        restored.addCallback(self._restored).addErrback(world.fail, "restoring fails")

    def _restored(self, _: None) -> None:
        self.is_ready = True
        super().begin()
        self.transport.start(self.outbox.resume, self.outbox.pause)

    def send(self, message: Accepted) -> bool:
        """Send a message, and return whether it was accepted."""
        recipient, source, priority = message.lane
        world, before = self._world, self.outbox.status
        try:
            with assigned(origin, source):
                sent = self.outbox.perform(recipient, message.body, priority=priority)
        except OutboxFull:
            parts, size = before.parts + message.parts, before.size + len(message.body)
            share = 4 if self.transport.unavailable(recipient) else 2
            is_full = parts > world.limits.parts // share or size > world.limits.size // share
            world.network.require(is_full, "message {} has no room beside {}", message.number, before)
            return False
        except OutboxClosed:
            world.network.require(self.is_stopping, "message {} is refused", message.number)
            return False
        after = self.outbox.status
        fits = after.parts <= world.limits.parts and after.size <= world.limits.size
        world.network.require(fits or after.messages <= 1, "message {} exceeds the limits: {}", message.number, after)
        if sent is not None:
            sent.addCallback(lambda _: world.network.require(message.is_over, "message {} isn't sent", message.number))
            sent.addErrback(lambda _: None)
        self.unpromised.append(message)
        return True

    def send_in_thread(self, message: Accepted) -> bool:
        """Send a message in a thread, while nothing else happens."""
        results: list[bool] = []
        thread = Thread(target=lambda: results.append(self.send(message)))
        thread.start()
        thread.join()
        return results[0]

    def promise(self, messages: Iterable[Accepted]) -> None:
        """Note that these messages must arrive."""
        if self.alive:
            for message in messages:
                message.promised = True

    def stop(self, wait: float, grace: float) -> None:
        """Stop cleanly: handlers may end for `wait` seconds, and messages are sent for `grace` seconds."""
        if not self.is_ready or self.is_stopping:
            return
        self.is_stopping = True
        self.queue.stop()
        self.clock.callLater(wait, self._close_outbox, grace)

    def _close_outbox(self, grace: float) -> None:
        self.queue.close()
        # The network may confirm more until it is disconnected.
        seconds = self._world.random.choice([0.0, 1.0])
        closed = self.outbox.close(grace)
        closed.addCallback(lambda _: self.clock.callLater(seconds, self._disconnect))
        require = self._world.network.require
        self.clock.callLater(grace + 0.1, lambda: require(closed.called, "the grace period of {} s isn't kept", grace))

    def _disconnect(self) -> None:
        self.transport.stop()
        self.journal.close().addCallback(self._stopped)

    def _stopped(self, _: None) -> None:
        if self.alive and not self._world.has_trouble:
            self.promise(self.unpromised)
            self._world.network.end_process([], self._world.clock.seconds() + 1.0)
        self.end()

    def end(self) -> None:
        """See `Process.end`."""
        if self.alive and self.is_ready:
            unconfirmed = [each.part for each in self.transport.cut()]
            self._world.network.end_process(unconfirmed, self._world.stored_until)
        super().end()

    def _promising(self, write: Callable[..., Deferred[None]]) -> Callable[..., Deferred[None]]:
        def promise(number: int, *args: Any) -> Deferred[None]:
            messages = list(self.by_delivery[number])
            return write(number, *args).addCallback(lambda _: self.promise(messages))

        return promise

    # What is dropped must be logged and reported.

    def _log(self, event: LogEvent) -> None:
        if "losses" in event:
            self._losses += _numbers(event["losses"])
        elif "is older than" in (text := formatEvent(event)):
            self._losses += _numbers(text)

    def _notify(self, key: object, text: str) -> None:
        first = text.split()[0]
        self._dropped(1 if first == "A" else int(first), text)

    def _dropped(self, count: int, reason: str) -> None:
        losses, self._losses = self._losses, []
        self._world.network.require(len(losses) == count, "{} messages are dropped, and {} are logged", count, losses)
        if self.alive:
            self._world.drop(losses, reason)


class OutboxSimulation(Simulation):
    """A world from a seed, with a network. Its parts can be replaced by defective ones."""

    process_class = SendingProcess
    outbox_class: type[Outbox[Part]] = Outbox
    longest_life = 200
    _process: SendingProcess

    def __init__(self, seed: int, directory: Path) -> None:
        super().__init__(seed, directory)
        random = self.random
        self.network = SimulatedNetwork(random, self.clock.seconds, self._require)
        self.limits = OutboxLimits(
            parts=random.choice([10, 40, 1000]),
            size=random.choice([200, 100_000]),
            age=random.choice([20.0, 120.0, 3600.0, 3600.0, 3600.0]),
        )
        # When the disk was full: from, until.
        self._trouble = (-CALM, -CALM)
        self._clock_was_set = False

    @property
    def has_faults(self) -> bool:
        """Whether things still fail."""
        return self.clock.seconds() < FAULTS_END

    @property
    def has_trouble(self) -> bool:
        """Whether the disk is full, or was so a moment ago."""
        return self._disk.full or self.clock.seconds() < self._trouble[1] + CALM

    @property
    def stored_until(self) -> float:
        """The time before which all changes are on disk."""
        return (self._trouble[0] if self.has_trouble else self.clock.seconds()) - SLACK

    def _plan(self) -> None:
        super()._plan()
        random, later = self.random, self.clock.callLater
        for _ in range(random.randint(0, 5)):
            begin, absence = random.random() * (FAULTS_END - 100.0), random.choice([0.0, 5.0, 60.0])
            later(begin, self._lose_connection, absence)
            if absence and random.random() < 0.5:
                # Messages wait then.
                full = begin + random.random() * absence
                later(full, self._fill_disk, True)
                later(full + 1.0, self._fill_disk, False)
                later(full + random.random() * 30.0, self._crash)
        for _ in range(random.randint(0, 3)):
            begin, room = random.random() * FAULTS_END, random.choice("abc")
            later(begin, self._kick, room)
            later(min(begin + random.choice([0.0, 8.0, 400.0]), FAULTS_END), self._let_in, room)
        for _ in range(random.randint(0, 10)):
            later(random.choice([random.random() * FAULTS_END, 15.0]), self._send_after)
        later(random.random() * FAULTS_END, self._stop)

    def _observe(self) -> None:
        now, process = self.clock.seconds(), self._process
        if self._disk.full:
            self._trouble = (now if not self.has_trouble else self._trouble[0]), now
        if process.alive and process.is_ready and not process.journal.outbox.unwritten:
            process.promise(process.unpromised)
            process.unpromised.clear()

    def _meanwhile(self) -> None:
        process = self._process
        if process.alive and process.is_ready:
            what = self.random.random()
            if what < 0.2 and process.transport.is_connected:
                process.transport.progress()
            elif what < 0.21:
                self._send_after()

    # The handlers.

    def run_handler(self, process: Process, delivery: StoredDelivery) -> Deferred[Outcome | Postponed]:
        """Send messages at the begin and at the end of an attempt."""
        assert isinstance(process, SendingProcess)
        messages = process.by_delivery[delivery.id]

        def end(result: Outcome | Postponed) -> Outcome | Postponed:
            messages.extend(self._send_messages(process, delivery.webhook))
            return result

        messages.extend(self._send_messages(process, delivery.webhook))
        return super().run_handler(process, delivery).addCallback(end)

    def note_done(self, number: int) -> None:
        """See `Simulation.note_done`."""
        super().note_done(number)
        self._process.promise(self._process.by_delivery[number])

    def _send_after(self) -> None:
        """Run the handler of a request whose response waits for it, and for its messages."""
        process = self._process
        if not process.alive or not process.is_ready or process.is_stopping:
            return
        messages, store = self._send_messages(process, AFTER), process.journal.outbox

        def respond(_: None) -> None:
            if not self.has_trouble:
                process.promise(messages)

        (store.flush() if store.unwritten else succeed(None)).addCallback(respond)

    def _send_messages(self, process: SendingProcess, route: str) -> list[Accepted]:
        random = self.random
        messages = []
        for _ in range(random.choices([0, 1, 2, 8], [6, 4, 1, 1])[0]):
            lane = random.choice("abc"), f"route:{route}", random.random() < 0.2
            fate = random.choices([SENT, REJECTED, BREAKING, INVALID], [60, 3, 1, 1])[0]
            message = self.network.expect(lane, random.choice([1, 1, 2, 5, 5, 12]), fate)
            if process.send_in_thread(message) if route == IN_THREADS else process.send(message):
                messages.append(message)
            else:
                self.network.messages.pop()
        if messages:
            self._note("accepted: {}", ", ".join(message.body for message in messages))
        return messages

    # The faults.

    def _lose_connection(self, absence: float) -> None:
        self._note("the network is absent for {} s", absence)
        self.network.absent_until = self.clock.seconds() + absence
        if self._process.is_ready:
            self._process.transport.lose()

    def _kick(self, room: str) -> None:
        self._note("the bot is kicked from {}", room)
        self.network.kick(room)

    def _let_in(self, room: str) -> None:
        self._note("the bot may join {}", room)
        if self._process.alive and self._process.is_ready:
            self._process.transport.let_in(room)
        else:
            self.network.rooms_outside.discard(room)

    def _stop(self) -> None:
        self._note("the process is stopped")
        self._process.stop(self.random.choice([0.0, 1.0, 10.0]), self.random.choice([0.0, 0.5, 5.0]))

    def _set_clock(self, seconds: float) -> None:
        self._clock_was_set = True
        super()._set_clock(seconds)

    # The guarantees.

    def fail(self, failure: Failure, what: str) -> None:
        """Note an error that is not part of the simulation."""
        self._require(False, "{}: {}", what, failure)

    def drop(self, numbers: Sequence[int], reason: str) -> None:
        """Note that messages are dropped and reported."""
        self._note("dropped: {}, since {}", numbers, reason)
        for message in (self.network.messages[number] for number in numbers):
            message.settled = DROPPED
            is_old = self.clock.seconds() - message.at > self.limits.age - 0.01 or self._clock_was_set
            has_failed = self._process.transport.breaks >= self.limits.attempts
            is_right = is_old if "OUTBOX_MAX_AGE" in reason else has_failed
            self._require(is_right, "message {} is dropped without a reason", message.number)

    def _check_end(self) -> None:
        super()._check_end()
        for message in self.network.messages:
            self._require(message.is_over or not message.promised, "message {} is lost", message.number)
        self._require(len(self._process.outbox) == 0, "the outbox isn't empty: {}", self._process.outbox.status)
        with closing(sqlite3.connect(self._disk.path)) as connection:
            left = connection.execute("SELECT body FROM outbox").fetchall()
        self._require(not left, "the table isn't empty: {}", left)


def _numbers(text: str) -> list[int]:
    """Return the numbers of the messages in a log line."""
    return [int(number) for number in re.findall(r": m(\d+) ", text)]
