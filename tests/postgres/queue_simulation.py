"""A simulation of several complete processes: intake, queue and handlers beside the ownership, with the faults of `simulation`.

A source posts to any process, and repeats what got no response. The double of the journal is SQLite's in memory, which all processes
share through their networks, with leases that belong to a process and end with it, as on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from errklein.database import Database, DatabaseError, Run
from errklein.journal import DeliveryQueue, RetryPolicy, SQLiteJournal
from errklein.journal._sqlite import MIGRATIONS
from errklein.journal._writing import End, JournalWriter
from errklein.webhooks.deliveries import (
    DeliveryState,
    Outcome,
    Postponed,
    StoredDelivery,
    StoredRequest,
)
from tests.postgres.lockstep import REACTOR
from tests.postgres.memory import Server, Session
from tests.postgres.simulation import FAULTS_END, TIMEOUT, Bot, Simulation

ATTEMPTS = 5
PLAIN, ANYWHERE, ORDERED = "Plain:hook", "Anywhere:hook", "Ordered:hook"
POLICIES = {
    webhook: RetryPolicy(ATTEMPTS, first=2.0, longest=10.0, ordered=webhook == ORDERED)
    for webhook in (PLAIN, ANYWHERE, ORDERED)
}
"""The webhooks. ANYWHERE runs in any process, the others in the owner. The deliveries of ANYWHERE have a key."""

MESSAGES_END = 80.0
WINDOW = 1_000_000.0
UNFINISHED = (DeliveryState.RECEIVED, DeliveryState.RETRY, DeliveryState.RUNNING)


class SharedDatabase(Database):
    """A database in memory that can be unreachable."""

    is_absent = False

    def transaction(self) -> Any:
        """Begin a transaction."""
        self._look()
        return super().transaction()

    def read(self, *arguments: Any) -> list[Any]:
        """Read."""
        self._look()
        return super().read(*arguments)

    def _look(self) -> None:
        if self.is_absent:
            raise DatabaseError("the database is absent")


class SharedWriter(JournalWriter):
    """Writes for one of several processes: only the one that leases a delivery can end its attempt."""

    def __init__(self, lessees: dict[int, str], session: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lessees = lessees
        self._session = session

    def begin(self, connection: Any) -> None:
        """Let the attempts of other processes go on."""

    def record(self, connection: Any, arguments: Any) -> Any:
        """Note the leases."""
        results = super().record(connection, arguments)
        for (delivery, lease, _), result in zip(arguments, results, strict=True):
            if lease and result is None:
                self._lessees[delivery.id] = self._session
        return results

    def lease(self, *arguments: Any, **options: Any) -> Sequence[StoredDelivery]:
        """Note the leases."""
        leased = super().lease(*arguments, **options)
        self._lessees.update((delivery.id, self._session) for delivery in leased)
        return leased

    def end(self, connection: Any, arguments: Sequence[End]) -> Sequence[None]:
        """End attempts that are still this process's."""
        own = [end for end in arguments if self._lessees.get(end.id) == self._session]
        if own:
            super().end(connection, own)
        for end in own:
            del self._lessees[end.id]
        return [None] * len(arguments)

    def extend(self, connection: Any, ids: Sequence[int], seconds: float) -> None:
        """Extend leases that are still this process's."""
        super().extend(connection, [id for id in ids if self._lessees.get(id) == self._session], seconds)


class SharedJournal(SQLiteJournal):
    """The journal of a process, in a database that others use, too."""

    shared = True

    def __init__(self, tables: SharedTables, session: str, reactor: Any, now: Callable[[], float], run: Run) -> None:
        self._writer_class = lambda *arguments: SharedWriter(tables.lessees, session, *arguments)
        self._use(tables.database, False, reactor, now, None, None, (run, run))
        self.next_id = tables.ids.__next__


class SharedTables:
    """What processes share. `lessees` are the sessions that lease deliveries."""

    def __init__(self) -> None:
        self.database = SharedDatabase(None, MIGRATIONS)
        self.lessees: dict[int, str] = {}
        self.ids = count(1)

    def end_leases(self, session: str) -> None:
        """End the leases of a process that has ended."""
        for number in [number for number, lessee in self.lessees.items() if lessee == session]:
            del self.lessees[number]
            self.database.write("UPDATE deliveries SET due_at = 0 WHERE state = 1 AND id = ?", (number,))

    def call(self, function: Callable[[], Any], is_absent: bool) -> Any:
        """Call a function of a journal, and return what it returns, or a Failure."""
        self.database.is_absent = is_absent
        try:
            results: list[Any] = []
            maybeDeferred(function).addBoth(results.append)
            return results[0]
        finally:
            self.database.is_absent = False

    def states(self) -> dict[int, DeliveryState]:
        """Return the states of all deliveries."""
        rows = self.database.read("SELECT id, state FROM deliveries")
        return {number: tuple(DeliveryState)[state] for number, state in rows}


@dataclass(eq=False)
class Send:
    """One request of the source."""

    number: int
    webhook: str
    key: str
    id: int = 0
    acknowledged: bool = False
    succeeded: bool = False


@dataclass(eq=False)
class Handler:
    """A handler that runs."""

    bot: QueueBot
    delivery: StoredDelivery
    ended: Deferred[Any] = field(default_factory=Deferred)


class LeasingServer(Server):
    """A server that ends the leases of a node that is removed."""

    left: Callable[[str], None]

    def _remove(self, id: int) -> None:
        session = self.tables.rows[id].session
        super()._remove(id)
        self.left(session)


class QueueBot(Bot):
    """A complete process."""

    queue: DeliveryQueue | None = None
    _connection: Session | None = None

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call a function of the journal on the server, as its thread does."""
        done: Deferred[Any] = Deferred()
        world: QueueSimulation = self._world  # type: ignore[assignment]
        fence = self._journal.fence
        session = self._connection
        if session is None or not session.alive:
            session = self._connection = None
            if world.state == "up" and not self.network.is_cut:
                session = self._connection = world.server.connect(self.session, lambda: None)

        def reply(result: Any) -> None:
            if not done.called:
                done.callback(result)

        def absent() -> None:
            reply(world.tables.call(function, is_absent=True))

        def execute() -> None:
            assert session is not None
            if not session.alive:
                self.network.send(lambda: self.callFromThread(absent))
                return
            is_fenced = fence is not None and fence != world.server.tables.epoch
            result = world.tables.call(function, is_absent=is_fenced)
            if world.random.random() < 0.005:
                # It doesn't know yet what has changed.
                world.pause(self)
            self.network.send(lambda: self.callFromThread(reply, result))

        self.callLater(TIMEOUT if session else 0.5, absent)
        if session:
            self.network.send(execute)
        return done

    def _start(self) -> None:
        super()._start()
        if self.nodes is not None:
            self.callFromThread(self._open)

    def _open(self) -> None:
        world: QueueSimulation = self._world  # type: ignore[assignment]
        self.journal = SharedJournal(world.tables, self.session, self, world.server.now, self.run)
        self.queue = DeliveryQueue(
            self,  # type: ignore[arg-type]
            self.journal,
            lambda delivery: world.begin_handler(self, delivery),
            POLICIES.__getitem__,
            lambda *_: None,
            capacity=world.random.choice([2, 4, 16]),
            now=world.server.now,
            may_run=self._may_run,
            chance=world.random.random,
        )
        self.nodes.when_changed("deliveries", self.queue.changed)
        self.queue.start()
        self._look_again()

    def _look_again(self) -> None:
        self.queue.changed()
        self.callLater(15.0, self._look_again)

    def _may_run(self, webhook: str) -> bool:
        return webhook == ANYWHERE or (self.nodes.owns and self._journal.fence is not None)

    def _owned(self) -> None:
        super()._owned()
        if self.queue is not None:
            self.queue.changed()

    def _lost(self, reason: str) -> None:
        if self.queue is not None:
            self.queue.stop()
        super()._lost(reason)

    def stop(self) -> None:
        """Stop in order: what runs may end before."""
        self.is_ending = True
        if self.queue is not None:
            self.queue.stop()
        self.callLater(3.0, super().stop)

    def receive(self, send: Send) -> Deferred[int]:
        """Handle a request, and return its status."""
        world: QueueSimulation = self._world  # type: ignore[assignment]
        response: Deferred[int] = Deferred()
        send.id = self.journal.next_id()
        request = StoredRequest("POST", "/hook", (), str(send.number).encode())
        delivery = StoredDelivery(
            send.id, send.webhook, DeliveryState.RECEIVED, world.server.now(), ack="now", key=send.key, request=request
        )

        def recorded(result: StoredDelivery | Failure | None) -> None:
            response.callback(503 if isinstance(result, Failure) else 202)
            if result is None and not self._may_run(send.webhook):
                self.nodes.changed("deliveries")

        self.queue.accept(delivery, WINDOW if send.key else 0.0).addBoth(recorded)
        return response

    def kill(self) -> None:
        """End everything."""
        if self.queue is not None:
            self.queue.close()
        super().kill()


class QueueSimulation(Simulation):
    """A world from a seed."""

    bot_class = QueueBot
    server_class = LeasingServer
    # A lease is longer than these.
    steps = (-8.0, 8.0)
    # What is lost with the last changes of a server is lost.
    lags = (0.0,)
    ends = 400.0

    def __init__(self, seed: int) -> None:
        self.tables = SharedTables()
        self._sends: list[Send] = []
        self._handlers: list[Handler] = []
        super().__init__(seed)
        self.server.left = self.tables.end_leases  # type: ignore[attr-defined]
        self._faults.remove(self._restore)
        at, message = 4.0, 0
        while at < MESSAGES_END:
            webhook = self.random.choice([PLAIN, ANYWHERE, ORDERED])
            self.clock.callLater(at, self._send, message, webhook, 4)
            at, message = at + self.random.choice([0.01, 0.3, 3.0]), message + 1
        self.clock.callLater(FAULTS_END + 30.0, self._look_for_end)

    # The source.

    def _send(self, message: int, webhook: str, tries: int) -> None:
        ready = [process for process in self._processes.values() if process.alive and process.queue is not None]
        responses: list[int] = []
        send = Send(len(self._sends), webhook, f"key {message}" if webhook == ANYWHERE else "")
        self._sends.append(send)
        if ready:
            process = self.random.choice(ready)
            process.callLater(0.0, lambda: process.receive(send).addCallback(responses.append))
        self.clock.callLater(5.0, self._look_at_response, message, send, responses, tries)

    def _look_at_response(self, message: int, send: Send, responses: list[int], tries: int) -> None:
        send.acknowledged = responses == [202]
        if tries and not (send.acknowledged and self.random.random() < 0.9):
            self.clock.callLater(self.random.random() * 5, self._send, message, send.webhook, tries - 1)

    # The handlers.

    def begin_handler(self, bot: QueueBot, delivery: StoredDelivery) -> Deferred[Outcome | Postponed]:
        """Begin an attempt."""
        assert delivery.request is not None
        assert delivery.request.body is not None
        send = self._sends[int(delivery.request.body)]
        self.note("attempt {} of {} ({}) begins in {}", delivery.attempt, delivery.id, delivery.webhook, bot.name)
        self._handlers = [one for one in self._handlers if one.bot.alive and not one.ended.called]
        self._check_begin(bot, delivery)
        handler = Handler(bot, delivery)
        self._handlers.append(handler)
        seconds, outcome = self.random.choice([0.0, 0.1, 0.1, 2.0, 12.0]), self.random.choices([200, 500], [4, 1])[0]
        if self.clock.seconds() > FAULTS_END:
            seconds, outcome = 0.1, 200

        def end() -> None:
            send.succeeded = send.succeeded or outcome == 200
            handler.ended.callback(Outcome(outcome))

        bot.later(REACTOR, seconds, end)
        return handler.ended

    def _check_begin(self, bot: QueueBot, delivery: StoredDelivery) -> None:
        states = self.tables.states()
        state, number = states.get(delivery.id), delivery.id
        self.require(state is not DeliveryState.DONE, "{} runs again in {}, although it is done", number, bot.name)
        for other in self._handlers:
            same = other.delivery.id == number and self.tables.lessees.get(number) == other.bot.session
            self.require(not same, "{} runs twice at the same time", number)
        if delivery.webhook == ORDERED and self.tables.lessees.get(number) == bot.session:
            earlier = [
                id for id, state in states.items() if id < number and state in UNFINISHED and self._is_ordered(id)
            ]
            self.require(not earlier, "{} runs before {}", number, earlier)

    def _is_ordered(self, number: int) -> bool:
        return any(send.id == number and send.webhook == ORDERED for send in self._sends)

    # The end.

    def _look_for_end(self) -> None:
        if any(state in UNFINISHED for state in self.tables.states().values()):
            self.clock.callLater(5.0, self._look_for_end)
        else:
            self.ends = self.clock.seconds() + 1.0

    def _check_end(self) -> None:
        super()._check_end()
        states = self.tables.states()
        for send in self._sends:
            same = [one for one in self._sends if one is send or (send.key and one.key == send.key)]
            found = [
                states[one.id] for one in same if one.id in states and states[one.id] is not DeliveryState.DUPLICATE
            ]
            if send.acknowledged:
                self.require(found, "request {} was acknowledged, and is lost", send.number)
            self.require(not any(state in UNFINISHED for state in found), "request {} is {}", send.number, found)
            if DeliveryState.DONE in found:
                self.require(any(one.succeeded for one in same), "request {} is done without a success", send.number)


def world(seed: int) -> Simulation:
    """Return the world of a seed: every second one has complete processes."""
    return (QueueSimulation if seed % 2 else Simulation)(seed)
