"""A simulation of several processes that share a journal on a real server. Sources send again until they have an answer.
Processes are killed and stopped for minutes, and the answers of the server are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from errklein.chat.outgoing import OutgoingMessage
from errklein.database import DatabaseError
from errklein.journal import DeliveryQueue, RetryPolicy
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery
from tests.journal.inline import INLINE, InlineReactor
from tests.postgres.journals import clocked_database, session_name

WEBHOOKS = ("A:ordered", "A:any", "B:any")
PROCESSES, WINDOW = 3, 1e6
_NODE = "INSERT INTO nodes (session, name, version, roles, address, began_at, seen_at) VALUES (?, '', '', '', '', 0, 0)"


class Violated(AssertionError):
    """A guarantee doesn't hold."""


class Process:
    """A process with a queue, whose clock stands still while it is stopped."""

    def __init__(self, world: World) -> None:
        from errklein.postgres._journal import PostgresJournal

        self.world, self.reactor, self.session = world, InlineReactor(), session_name()
        self.is_killed, self.stopped_until = False, 0.0
        self.reactor.advance(world.time)
        self.database: Any = clocked_database(world.url, lambda: world.time, self.session)
        begin = self.database.transaction
        self.journal = PostgresJournal(self.database, self.reactor, world.now, runs=INLINE)
        self.database.write(_NODE, (self.session,))
        self.database.transaction = lambda: self.unreliable(begin)
        self.queue = DeliveryQueue(
            self.reactor,
            self.journal,
            self.run,
            world.policy,
            lambda *_: None,
            capacity=8,
            now=world.now,
            chance=world.random.random,
        )
        self.queue.start()

    @contextmanager
    def unreliable(self, begin: Callable[[], Any]) -> Iterator[Any]:
        """Run a transaction that fails at times: before, at its end, or after it has taken effect."""
        fault = self.world.random.random() * (1.0 if self.world.is_faulty else 1e9)
        if fault < 0.02:
            raise DatabaseError("the server can't be reached")
        with begin() as connection:
            yield connection
            if fault < 0.04:
                raise DatabaseError("the transaction was undone")
        if fault < 0.06:
            raise DatabaseError("the answer was lost")

    @property
    def is_running(self) -> bool:
        """Whether it neither was killed nor is stopped."""
        return not self.is_killed and self.world.time >= self.stopped_until

    def run(self, delivery: StoredDelivery) -> Deferred[Outcome]:
        """Run a delivery for some time, and send a message."""
        world, done = self.world, Deferred[Outcome]()
        world.begun(self, delivery)
        self.journal.outbox.give(
            OutgoingMessage(0, "IRC", "#a", delivery.key, accepted_at=world.time, delivery=delivery.id)
        )
        outcome = Outcome(500, "no") if world.random.random() < 0.2 else Outcome(200)
        self.reactor.callLater(world.random.choice((0.0, 0.5, 5.0, 40.0)), done.callback, outcome)
        return done

    def kill(self) -> None:
        """End without leaving anything in order. The other processes remove it."""
        self.is_killed = True
        self.queue.close()
        self.database.close()
        for call in self.reactor.getDelayedCalls():
            call.cancel()

    def close(self) -> None:
        """End in order."""
        self.queue.close()
        self.journal.close()
        self.kill()


class World:
    """Sources, processes, and what must hold."""

    def __init__(self, seed: int, url: str) -> None:
        self.random, self.url, self.time, self.is_faulty = Random(seed), url, 2e9, False
        self.processes = [Process(self) for _ in range(PROCESSES)]
        self.is_faulty = True
        self.answered: dict[str, str] = {}  # the webhooks of the keys that were answered
        self.unanswered: list[tuple[str, str]] = []
        self.ran: Counter[str] = Counter()
        self.keys = 0
        self.violation: Violated | None = None  # a handler can't raise it

    def now(self) -> float:
        """Return the time."""
        return self.time

    def policy(self, webhook: str) -> RetryPolicy:
        """Return the policy of a webhook."""
        return RetryPolicy(attempts=50, longest=60.0, ordered=webhook == WEBHOOKS[0])

    def begun(self, process: Process, delivery: StoredDelivery) -> None:
        """Check a delivery that a process begins to run."""
        self.ran[delivery.key] += 1
        ((state, node, me, message),) = process.database.read(
            "SELECT state, node, current_node(), message FROM deliveries WHERE id = ?", (delivery.id,)
        )
        if state != 1 or node != me:
            self.violation = Violated(f"{delivery.key} runs without a lease: state {state}")
        if delivery.webhook == WEBHOOKS[0]:
            earlier = "SELECT count(*) FROM deliveries WHERE state < 3 AND message < ? AND route = (SELECT id FROM routes WHERE name = ?)"
            # Messages are numbered in the order of receipt.
            if process.database.read(earlier, (message, delivery.webhook))[0][0]:
                self.violation = Violated(f"{delivery.key} runs before an earlier one has ended")

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps."""
        for _ in range(10):
            self.time += seconds / 10
            for process in self.processes:
                if process.is_running:
                    process.reactor.advance(self.time - process.reactor.seconds())
            if self.violation is not None:
                raise self.violation

    def send(self, webhook: str, key: str) -> None:
        """Send a request to a process."""
        running = [process for process in self.processes if process.is_running]
        if not running:
            self.unanswered.append((webhook, key))
            return
        process = self.random.choice(running)
        delivery = StoredDelivery(
            process.journal.next_id(), webhook, DeliveryState.RECEIVED, self.time, "r", ack="now", key=key
        )

        def failed(failure: Failure) -> None:
            self.unanswered.append((webhook, key))

        def recorded(_: object) -> None:
            self.answered[key] = webhook

        process.queue.accept(delivery, WINDOW).addCallbacks(recorded, failed)

    def step(self) -> None:
        """Let something happen."""
        random = self.random
        for _ in range(random.randrange(4)):
            self.keys += 1
            self.send(random.choice(WEBHOOKS), str(self.keys))
        again, self.unanswered = self.unanswered, []
        for request in again:
            self.send(*request)
        chance = random.random()
        process = random.choice(self.processes)
        if chance < 0.1:
            process.kill()
            self.processes.remove(process)
            if random.random() < 0.7:
                self.remove(process)
            self.processes.append(Process(self))
        elif chance < 0.2:
            process.stopped_until = self.time + random.choice((5.0, 100.0, 300.0))
        for process in self.processes:
            if process.is_running:
                process.journal.maintain()
                if random.random() < 0.3:
                    process.queue.changed()
        self.advance(random.choice((0.1, 1.0, 10.0, 30.0)))

    def remove(self, process: Process) -> None:
        """Remove a process that was killed, as other nodes do."""
        is_faulty, self.is_faulty = self.is_faulty, False
        self.processes[0].database.write("DELETE FROM nodes WHERE session = ?", (process.session,))
        self.is_faulty = is_faulty

    def settle(self) -> None:
        """Let all work end without faults, and check it."""
        self.is_faulty = False
        for process in self.processes:
            process.stopped_until = 0.0
        database = self.processes[0].database
        for _ in range(60):
            again, self.unanswered = self.unanswered, []
            for request in again:
                self.send(*request)
            for process in self.processes:
                process.queue.changed()
                process.journal.maintain()
            self.advance(60.0)
            if not self.unanswered and not database.read("SELECT 1 FROM deliveries WHERE state < 3 LIMIT 1"):
                break
        self.check(database)
        for process in self.processes:
            process.close()

    def check(self, database: Any) -> None:
        """Check what is stored at the end."""
        from errklein.postgres._journal import PostgresArchive

        if len(self.answered) != self.keys:
            raise Violated(f"{self.keys - len(self.answered)} requests have no answer")
        states = dict(database.read("SELECT key, state FROM deliveries WHERE state <> 6"))
        for key in self.answered:
            if states.get(key) != 3 or not self.ran[key]:
                raise Violated(f"{key} was answered, has state {states.get(key)}, and ran {self.ran[key]} times")
        if (left := database.read("SELECT message FROM pgmq.q_errklein")) != []:
            raise Violated(f"messages are left: {left}")
        for one in PostgresArchive(database).balances(0.0, 1e10):
            if one.difference or one.missing:
                raise Violated(f"the balance differs: {one}")
        given = Counter(bytes(body).decode() for (body,) in database.read("SELECT body FROM outbox"))
        if missing := self.answered.keys() - given.keys():
            raise Violated(f"messages of {missing} are missing")


def simulate(seed: int, url: str, steps: int = 60) -> Counter[str]:
    """Simulate a world, and return how often what ran. Raises `Violated`."""
    world = World(seed, url)
    for _ in range(steps):
        world.step()
    world.settle()
    return world.ran
