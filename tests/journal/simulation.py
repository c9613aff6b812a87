"""A simulation of sources, the queue and handlers, on a virtual clock and a disk that fails, from a seed.

A source repeats what got no response. The process crashes at any write, and the next one begins with SQLite's files as they were
at that moment. The wall clock is set, the disk is full at times, and handlers fail, hang, and end after their time limit.
`Simulation.run` raises Violation if a guarantee doesn't hold. The message has the events of the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from errklein.journal import DeliveryQueue, JournalArchive, RetryPolicy, SQLiteJournal
from errklein.ports.journal import JournalError
from errklein.webhooks.deliveries import (
    Balance,
    DeliveryQuery,
    DeliveryState,
    Outcome,
    Postponed,
    StoredDelivery,
    StoredRequest,
)
from tests.journal.crashing_disk import CrashingDisk

ATTEMPTS = 3
PLAIN, UNIQUE, ORDERED = "Plain:hook", "Unique:hook", "Ordered:hook"
POLICIES = {webhook: RetryPolicy(ATTEMPTS, ordered=webhook == ORDERED) for webhook in (PLAIN, UNIQUE, ORDERED)}
"""The webhooks. The deliveries of UNIQUE have a key."""

MESSAGES_END = 100.0
FAULTS_END = 300.0
"""The times after which no message is new, and after which nothing fails any more, so that everything comes to its end."""

END = 30_000.0

WINDOW = 1_000_000.0
"""The window of keys. It is longer than all steps of the clock together."""


class Violation(AssertionError):
    """A guarantee doesn't hold."""


@dataclass(eq=False)
class Send:
    """One request of the source, and what the source and the handler know of its delivery.

    :param acknowledged: The response was 202.
    :param recorded: It was, and the request was not a duplicate.
    :param attempt: The number of the last attempt, also of one during which the process ended before it called the handler.
    :param running: The handler is running.
    :param succeeded: The last attempt has succeeded.
    :param ended: It has, or there must be no further attempt.
    :param replayed: A replay was requested.
    :param done: The queue knows that the success is stored.
    :param deaths: How often the delivery was reported as dead since the last replay was requested.
    :param reports: How often at most it may still be reported as dead. A report may follow the request of a replay.
    """

    number: int
    webhook: str
    key: str
    id: int = 0
    acknowledged: bool = False
    recorded: bool = False
    attempt: int = 0
    running: bool = False
    succeeded: bool = False
    ended: bool = False
    replayed: bool = False
    done: bool = False
    deaths: int = 0
    reports: int = 1

    @property
    def may_be_over(self) -> bool:
        """Whether there may be no further attempt, since the last one has ended so, or was ended by a crash."""
        return self.ended or (self.attempt >= ATTEMPTS and not self.running)

    @property
    def may_be_dead(self) -> bool:
        """Whether the delivery may have been given up."""
        return self.may_be_over and not self.succeeded


class ProcessClock:
    """The reactor's clock of one process. Its calls end with the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: list[Any] = []
        self._ended = False

    def seconds(self) -> float:
        """Return the time."""
        return self._clock.seconds()

    def callFromThread(self, function: Callable[..., Any], *args: object) -> None:
        """Call the function soon."""
        self.callLater(0.0, function, *args)

    def callLater(self, delay: float, function: Callable[..., Any], *args: object, **options: object) -> Any:
        """Call the function later, unless the process has ended."""
        call = self._clock.callLater(0.0 if self._ended else delay, function, *args, **options)
        if self._ended:
            call.cancel()
        if len(self._calls) > 50:
            self._calls = self.getDelayedCalls()
        self._calls.append(call)
        return call

    def getDelayedCalls(self) -> list[Any]:
        """Return the pending calls."""
        return [call for call in self._calls if call.active()]

    def end(self) -> None:
        """End the process."""
        self._ended = True
        for call in self.getDelayedCalls():
            call.cancel()


class SimulatedThreads:
    """The threads of a journal: what they run takes time, and so does the way of its result to the reactor.

    While `inline` is true, they run everything at once.
    """

    def __init__(self, clock: ProcessClock, random: Random) -> None:
        self.inline = True
        self.write = partial(self._run, SerialTimes(clock, random))
        self.runs = (self.write, partial(self._run, SerialTimes(clock, random)))

    def _run(self, times: SerialTimes, function: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        if self.inline:
            return maybeDeferred(function)

        def run() -> None:
            times.call_later(maybeDeferred(function).chainDeferred, done)

        times.call_later(run)
        return done


class SerialTimes:
    """Delays functions by random times without changing their order."""

    def __init__(self, clock: ProcessClock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._last = 0.0
        self._delays = random.choice([[0.0, 0.001], [0.0, 0.001, 0.03, 0.5]])

    def call_later(self, function: Callable[..., Any], *args: object) -> None:
        """Call the function later, after those before."""
        self._last = max(self._last, self._clock.seconds() + self._random.choice(self._delays))
        self._clock.callLater(self._last - self._clock.seconds(), function, *args)


class Process:
    """One process of the bot: a journal on the disk, a queue, and the code that responds to requests."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.clock = ProcessClock(simulation.clock)
        self.alive = True
        self.paused = set(simulation.paused)
        self._pausing: set[str] = set()
        self.queue: DeliveryQueue | None = None

    def start(self, path: Path) -> None:
        """Open the journal and start the queue. The process may crash meanwhile."""
        simulation = self._simulation
        self.threads = SimulatedThreads(self.clock, simulation.random)
        self.journal = simulation.journal_class(path, self.clock, simulation.now, runs=self.threads.runs)
        self._finish, self.journal.finish = self.journal.finish, self._finish_and_note  # type: ignore[method-assign]
        self._path = path
        self.check_balance()
        simulation.check_stored(self.stored())
        self.queue = simulation.queue_class(
            self.clock,  # type: ignore[arg-type]
            self.journal,
            self._run,
            POLICIES.__getitem__,
            self._dead,
            capacity=simulation.random.choice([2, 4, 16]),
            now=simulation.now,
            chance=simulation.random.random,
        )
        self.begin()

    def begin(self) -> None:
        """Run what the journal has. Called at the end of `start`."""
        self.queue.start()

    def receive(self, send: Send) -> Deferred[int]:
        """Handle a request, and return its status. The Deferred doesn't fire if the process ends before."""
        response: Deferred[int] = Deferred()
        now = self._simulation.now()
        send.id = self.journal.next_id()
        delivery = StoredDelivery(
            send.id,
            send.webhook,
            DeliveryState.RECEIVED,
            now,
            ack="now",
            key=send.key,
            request=StoredRequest("POST", "/hook", (), str(send.number).encode()),
        )

        def respond(result: StoredDelivery | Failure | None) -> None:
            if self.alive:
                send.recorded = result is None
                send.acknowledged = not isinstance(result, Failure)
                response.callback(202 if send.acknowledged else 503)

        self.queue.accept(delivery, WINDOW if send.key else 0.0).addBoth(respond)
        return response

    def _finish_and_note(self, number: int, outcome: Outcome) -> Deferred[None]:
        def note(_: None) -> None:
            if self.alive:
                self._simulation.note_done(number)

        return self._finish(number, outcome).addCallback(note)

    def maintain(self) -> None:
        """Prune the journal, as the thread does regularly."""
        self.threads.write(self.journal.maintain)

    def replay(self, number: int) -> None:
        """Run a delivery once more, if it has ended."""
        self.journal.replay([number]).addErrback(lambda failure: failure.trap(JournalError))
        self.queue.look()

    def pause(self, webhook: str) -> None:
        """Pause a webhook. From the next process on, nothing of it runs."""
        self._pausing.add(webhook)

        def note(_: None) -> None:
            # A resume that was requested meanwhile is the last word.
            if self.alive and webhook in self._pausing:
                self._simulation.paused.add(webhook)

        self.queue.set_paused(webhook, True).addCallbacks(note, lambda failure: failure.trap(JournalError))

    def resume(self, webhook: str) -> None:
        """Resume a webhook."""
        self._pausing.discard(webhook)
        self.paused.discard(webhook)
        self._simulation.paused.discard(webhook)
        self.queue.set_paused(webhook, False).addErrback(lambda failure: failure.trap(JournalError))

    def stored(self) -> dict[int, StoredDelivery]:
        """Return all deliveries by id. No time passes."""
        found: list[StoredDelivery] = []
        self.threads.inline = True
        self.journal.find(DeliveryQuery(limit=10_000)).addCallback(found.extend)
        self.threads.inline = False
        return {one.id: one for one in found}

    def check_balance(self) -> None:
        """Check that the audit finds all that was accepted."""
        with closing(JournalArchive(self._path)) as archive:
            for balance in archive.balances(0.0, 1e12):
                self._simulation.check_balance(balance)

    def end(self) -> None:
        """End at this moment: whatever the code still does has no effect."""
        self.alive = False
        if self.queue is not None:
            # Otherwise its coroutines would use the clock when they are collected.
            self.queue.close()
        self.clock.end()
        self._simulation.forget_running()

    def _run(self, delivery: StoredDelivery) -> Deferred[Outcome | Postponed]:
        return self._simulation.run_handler(self, delivery) if self.alive else Deferred()

    def _dead(self, delivery: StoredDelivery, outcome: Outcome) -> None:
        if self.alive:
            self._simulation.note_dead(delivery.id)


class Simulation:
    """A world from a seed. Its parts can be replaced by defective ones."""

    process_class = Process
    queue_class = DeliveryQueue
    journal_class = SQLiteJournal
    longest_life = 100
    """The number of writes after which a process that is to crash has crashed."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.events: list[str] = []
        self.paused: set[str] = set()
        self._violations: list[str] = []
        self._seed = seed
        self._wall = 1_800_000_000.0
        self._disk = CrashingDisk(self.random, directory, self._meanwhile)
        self._process = self.process_class(self)
        self._sends: list[Send] = []
        self._has_crashed = False

    def now(self) -> float:
        """Return the Unix time, which is set at times."""
        return self._wall + self.clock.seconds()

    def run(self) -> None:
        """Let everything happen; raise Violation."""
        with self._disk.connections():
            self._start()
            self._plan()
            while self.clock.calls and self.clock.seconds() < END:
                self.clock.advance(max(0.0, self.clock.calls[0].getTime() - self.clock.seconds()))
                self._observe()
                while not self._process.alive:
                    self._start()
                self._raise_violation()
            self._check_end()
            self._raise_violation()

    def _plan(self) -> None:
        random, later = self.random, self.clock.callLater
        for number in range(random.randint(5, 25)):
            webhook = random.choice([PLAIN, UNIQUE, UNIQUE, ORDERED, ORDERED])
            # Bursts, and messages that are far apart.
            at = random.choice([random.random() * MESSAGES_END, random.randint(0, 3) * 10.0])
            later(at, self._send, number, webhook, 5)
        for _ in range(random.randint(0, 3)):
            later(random.random() * FAULTS_END, self._set_clock, random.choice([-1, 1]) * random.choice([2, 100, 5000]))
        for _ in range(random.randint(0, 2)):
            begin = random.choice([0.0, random.random() * FAULTS_END])
            later(begin, self._fill_disk, True)
            later(min(FAULTS_END, begin + random.choice([0.5, 10.0, 90.0])), self._fill_disk, False)
        for _ in range(random.randint(0, 2)):
            later(random.random() * FAULTS_END, self._crash)
        for _ in range(random.randint(0, 1)):
            later(random.random() * FAULTS_END, self._stop)
        for _ in range(random.randint(0, 3)):
            later(random.random() * FAULTS_END, self._replay)
        for _ in range(random.randint(0, 3)):
            later(random.random() * FAULTS_END, self._maintain)
        for webhook in POLICIES:
            if random.random() < 0.2:
                later(random.random() * FAULTS_END, self._pause, webhook)
            later(FAULTS_END - 50.0, self._resume, webhook)
            later(FAULTS_END + 1.0, self._resume, webhook)
        later(FAULTS_END, self._fill_disk, False)
        later(FAULTS_END, self._crash)

    def _observe(self) -> None:
        """Do nothing. Called after each step."""

    def _meanwhile(self) -> None:
        """Do nothing. Called at each write to the disk: what the reactor's thread does at that moment."""

    # The source.

    def _send(self, message: int, webhook: str, tries: int) -> None:
        send = Send(len(self._sends), webhook, f"key {message}" if webhook == UNIQUE else "")
        self._sends.append(send)
        self._note("send {} of message {} to {}", send.number, message, webhook)
        responses: list[int] = []
        self._process.receive(send).addCallback(responses.append)
        self.clock.callLater(5.0, self._look_at_response, message, send, responses, tries)

    def _look_at_response(self, message: int, send: Send, responses: list[int], tries: int) -> None:
        arrived = responses == [202] and self.random.random() < 0.8
        self._note("send {} has {} {}", send.number, responses, "" if arrived else "(lost)")
        if tries and (not arrived or self.random.random() < 0.2):
            self.clock.callLater(self.random.random() * 20, self._send, message, send.webhook, tries - 1)

    # The faults.

    def _start(self) -> None:
        self._note("the process starts")
        may_crash = self.clock.seconds() < FAULTS_END and self.random.random() < 0.7
        process = self._process = self.process_class(self)
        self._disk.full = False
        self._disk.begin_process(self.random.randint(1, self.longest_life) if may_crash else 0, process.end)
        process.start(self._disk.path)

    def _maintain(self) -> None:
        self._process.maintain()

    def _pause(self, webhook: str) -> None:
        self._note("{} is paused", webhook)
        self._process.pause(webhook)

    def _resume(self, webhook: str) -> None:
        self._note("{} is resumed", webhook)
        self._process.resume(webhook)

    def _replay(self) -> None:
        sends = [send for send in self._sends if send.webhook == PLAIN and send.recorded]
        if sends:
            send = self.random.choice(sends)
            self._note("send {} is replayed", send.number)
            send.replayed, send.done, send.deaths = True, False, 0
            send.reports += 1
            self._process.replay(send.id)

    def _stop(self) -> None:
        self._note("the process is stopped")
        process = self._process
        process.queue.stop()
        process.clock.callLater(10.0, process.queue.close)
        process.clock.callLater(10.0, process.end)

    def _crash(self) -> None:
        self._disk.crash()

    def forget_running(self) -> None:
        """Note that the process has ended, and that no handler runs any more."""
        self._note("the process ends")
        self._has_crashed = True
        for send in self._sends:
            send.running = False

    def _set_clock(self, seconds: float) -> None:
        self._note("the clock is set by {} s", seconds)
        self._wall += seconds

    def _fill_disk(self, full: bool) -> None:
        self._note("the disk is full: {}", full)
        self._disk.full = full

    # The handler.

    def run_handler(self, process: Process, delivery: StoredDelivery) -> Deferred[Outcome | Postponed]:
        """Begin an attempt."""
        assert delivery.request is not None
        assert delivery.request.body is not None
        send = self._sends[int(delivery.request.body)]
        self._note("attempt {} of send {} begins", delivery.attempt, send.number)
        self._require(send.id == delivery.id, "send {} has id {}", send.number, delivery.id)
        self._check_begin(send)
        self._require(send.webhook not in process.paused, "send {} runs although its webhook is paused", send.number)
        seconds, result = self._choose_result()
        if isinstance(result, Postponed):
            return succeed(result)
        send.attempt = delivery.attempt
        send.running, send.ended, send.succeeded = True, False, False

        def end() -> Outcome:
            self._note("attempt {} of send {} ends with {}", delivery.attempt, send.number, result.status)
            send.running = False
            send.succeeded = result.succeeded
            send.ended = result.final or delivery.attempt >= ATTEMPTS
            return result

        if not seconds:
            return succeed(end())
        ended: Deferred[Outcome | Postponed] = Deferred()
        process.clock.callLater(seconds, lambda: ended.callback(end()))
        return ended

    def _choose_result(self) -> tuple[float, Outcome | Postponed]:
        random = self.random
        if self.clock.seconds() > FAULTS_END:
            return 0.1, Outcome(200)
        seconds = random.choice([0.0, 0.0, 0.1, 5.0, 130.0])
        results = [Outcome(200), Outcome(500), Outcome(0, "raised"), Outcome(422), Postponed("busy", 3.0)]
        return seconds, random.choices(results, [10, 3, 1, 1, 2])[0]

    def note_done(self, number: int) -> None:
        """Note that the journal has stored a success."""
        send = self._send_of(number)
        # Otherwise the replay may have come after the success, but before the queue knew that it was stored.
        send.done = not send.replayed

    def note_dead(self, number: int) -> None:
        """Note that a delivery is reported as dead."""
        send = self._send_of(number)
        send.deaths += 1
        send.reports -= 1
        self._require(send.reports >= 0, "send {} is reported as dead again", send.number)
        self._require(send.may_be_dead, "send {} is dead before its end", send.number)

    def _send_of(self, number: int) -> Send:
        # An id is used again if it was not stored before a crash.
        return [send for send in self._sends if send.id == number][-1]

    # The guarantees.

    def _check_begin(self, send: Send) -> None:
        self._require(not send.running, "send {} runs twice at the same time", send.number)
        self._require(not send.done, "send {} runs again, although it is done", send.number)
        for other in self._sends:
            if other is send:
                continue
            if send.key and other.key == send.key and other.attempt:
                self._require(other.may_be_dead, "sends {} and {} with the same key run", other.number, send.number)
            if other.webhook == send.webhook == ORDERED:
                self._require(not other.running, "sends {} and {} run at the same time", other.number, send.number)
                earlier = (other.recorded or other.attempt) and other.id < send.id
                self._require(other.may_be_over or not earlier, "send {} runs before {}", send.number, other.number)

    def check_stored(self, stored: dict[int, StoredDelivery]) -> None:
        """Check that the journal has what was promised before a restart."""
        for send in self._sends:
            self._require(send.id in stored or not send.recorded, "send {} is lost", send.number)
            is_done = send.id in stored and stored[send.id].state is DeliveryState.DONE
            self._require(is_done or not send.done, "send {} isn't done", send.number)
        for number, delivery in stored.items():
            send = self._send_of(number)
            send.attempt = delivery.attempt
            if delivery.state is DeliveryState.RETRY:
                # If the handler has succeeded, the journal doesn't know it.
                send.ended = send.succeeded = False

    def check_balance(self, balance: Balance) -> None:
        """Check that what was accepted is somewhere."""
        self._require(not balance.difference and not balance.missing, "the balance is {}", balance)

    def _check_end(self) -> None:
        self._process.check_balance()
        self._require(self.clock.seconds() < END, "the process doesn't come to rest")
        self._require(self._process.queue.running == 0, "a delivery still runs")
        stored = self._process.stored()
        done_keys = set()
        for send in self._sends:
            if send.acknowledged:
                same = [one for one in self._sends if one is send or (send.key and one.key == send.key)]
                self._require(
                    any(one.may_be_over for one in same), "send {} was acknowledged, and not run", send.number
                )
            if not send.recorded:
                continue
            state = stored[send.id].state if send.id in stored else None
            if state is DeliveryState.DONE:
                self._require(send.succeeded, "send {} is done without a success", send.number)
                self._require(send.key == "" or send.key not in done_keys, "key {} is done twice", send.key)
                done_keys.add(send.key)
            else:
                self._require(state is DeliveryState.DEAD, "send {} is {}", send.number, state)
                self._require(send.deaths or self._has_crashed, "the death of send {} is not reported", send.number)

    def _note(self, text: str, *values: object) -> None:
        self.events.append(f"{self.clock.seconds():9.3f} {text.format(*values)}")

    def _require(self, holds: object, text: str, *values: object) -> None:
        if not holds:
            self._note(text, *values)
            self._violations.append(self.events[-1])

    def _raise_violation(self) -> None:
        # Deferreds would catch an exception of `_require`.
        if self._violations:
            raise Violation(f"seed {self._seed}, {self._violations[0].strip()}\n" + "\n".join(self.events))


def has_violation(seeds: Iterable[int], kind: type[Simulation], **parts: Any) -> bool:
    """Return whether one of the worlds with these defective parts violates a guarantee."""
    defective = type("DefectiveSimulation", (kind,), parts)
    for seed in seeds:
        try:
            simulate(seed, defective)
        except Violation:
            return True
    return False


def simulate(seed: int, kind: type[Simulation] = Simulation) -> None:
    """Run the world of a seed, with its files in memory if the system has such a directory; raise Violation."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        kind(seed, Path(directory)).run()
