"""A simulation of several processes on one database, on a virtual clock, from a seed.

Processes are killed, stopped, paused and cut off; their reactors hang. The server ends, in order or silently, a standby that lacks
the last changes takes its place, or an earlier copy. Its clock is set. `Simulation.run` raises Violation if a guarantee doesn't hold. The
message has the events of the seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from twisted.internet.task import Clock

from errklein.database import DatabaseError
from errklein.ports.nodes import ROLES, WORKER
from errklein.postgres._membership import ServerRefused
from errklein.postgres._nodes import PostgresNodes
from tests.postgres import memory
from tests.postgres.lockstep import REACTOR, Process, Thread
from tests.postgres.memory import LOCK_TIMEOUT, Server, Session, Tables

PROCESSES = 3
FAULTS_END = 120.0
END = 160.0
TAKEOVER = 15.0
TIMEOUT = 10.0
"""The seconds after which a client closes a connection on which nothing is acknowledged."""

KEEPALIVES = 12.0
"""The seconds after which the server ends a session that is cut off."""


class Violation(AssertionError):
    """A guarantee doesn't hold."""


class Network:
    """The network between a process and the server. What is sent while it is cut arrives when it is repaired."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self.is_cut = False
        self.cuts = 0
        self.slow = 0.0
        self._held: deque[Callable[[], None]] = deque()

    def send(self, arrive: Callable[[], None]) -> None:
        """Let something arrive."""
        delay = self._world.random.choice([0.0, 0.0, 0.001, 0.03]) + self._world.random.random() * self.slow
        self._world.clock.callLater(delay, self._arrive, arrive)

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if self.is_cut:
            self._held.append(arrive)
        else:
            arrive()

    def repair(self) -> None:
        """Let arrive what was sent meanwhile."""
        self.is_cut = False
        while self._held and not self.is_cut:
            self._held.popleft()()


class Membership(memory.Membership):
    """The sessions of a simulated process."""

    def __init__(self, world: Simulation, process: Bot) -> None:
        super().__init__(world.server, process.session)
        self._world = world
        self._process = process
        self.thread: Thread | None = None
        self._asleep: object = None
        self._asked: object = None

    def connect(self) -> None:
        """Begin a session, or wait for one in vain."""
        self._session = self._world.connect(self._process, self.thread, self._arrived)
        self._held = 0
        self.server, self.uptime = self._server.history, self._server.uptime()

    def wake(self) -> None:
        """End `wait`."""
        if self._asleep is not None and self.thread is not None:
            self.thread.deliver(self._asleep)

    def interrupt(self) -> None:
        """End the session from the client."""
        if self._session is not None and self.thread is not None:
            session, self._session = self._session, None
            self._process.network.send(lambda: self._server.end_session(session))
            self.thread.deliver(self._asked, DatabaseError("interrupted"))

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        if session is not None:
            self._process.network.send(lambda: self._server.end_session(session))

    def _arrived(self) -> None:
        self._process.network.send(self._look)

    def _look(self) -> None:
        self.wake()
        if self._session is not None and not self._session.alive and self.thread is not None:
            self.thread.deliver(self._asked, DatabaseError("the session has ended"))

    def _pause(self, seconds: float) -> None:
        if self._session is not None and (self._session.topics or not self._session.alive):
            return
        assert self.thread is not None
        self._asleep = object()
        self._process.later(self.thread.lane, seconds, self.thread._arrive, self._asleep, None)
        self.thread.wait_for(self._asleep)
        self._asleep = None

    def _request(self, function: Callable[..., Any], *arguments: object, waits_for: int | None = None) -> Any:
        session, thread = self._session, self.thread
        assert thread is not None
        if session is None:
            raise DatabaseError("there is no session")
        self._asked = asked = object()
        gives_up = self._world.clock.seconds() + LOCK_TIMEOUT

        def refuse() -> None:
            thread.deliver(asked, DatabaseError("the session has ended"))

        def execute() -> None:
            if not session.alive:
                self._world.clock.callLater(TIMEOUT if session.is_silent else 0.0, self._process.network.send, refuse)
                return
            if waits_for and waits_for == self._server.tables.owner and self._server.locks - {session}:
                if self._world.clock.seconds() < gives_up:
                    self._world.clock.callLater(0.05, execute)
                    return
                result: Any = DatabaseError("lock timeout")
            else:
                try:
                    result = function(session, *arguments)
                except DatabaseError as error:
                    result = error
            self._process.network.send(lambda: thread.deliver(asked, result))

        self._process.network.send(execute)
        try:
            return thread.wait_for(asked)
        except DatabaseError:
            if self._session is not None and not self._session.alive:
                self._session = None
            raise


class Journal:
    """What the owner writes: numbers, each of which is one more than the last one, in transactions that check the epoch."""

    def __init__(self, world: Simulation, process: Bot) -> None:
        self.fence: int | None = None
        self._world = world
        self._process = process
        self._session: Session | None = None

    def start(self) -> None:
        """Write from now on."""
        self._process.callLater(self._world.random.choice([0.05, 0.3, 1.0]), self._write)

    def _write(self) -> None:
        # Each one is a transaction of its own, and doesn't wait for an earlier one that gets no answer.
        self.start()
        world, server = self._world, self._world.server
        if self._session is None or not self._session.alive:
            if world.state == "up" and not self._process.network.is_cut:
                self._session = server.connect(self._process.session, lambda: None)
            return
        session, fence = self._session, self.fence

        def begin() -> None:
            if session.alive and session not in server.locks and server.begin(session, world.fence_of(fence)):
                if world.random.random() < 0.01:
                    # The transaction stays open.
                    world.pause(self._process)
                self._process.network.send(lambda: self._process.callFromThread(work))

        def work() -> None:
            # The process may be paused before.
            self._process.callLater(world.random.choice([0.0, 0.01, 0.2, 2.0]), self._process.network.send, commit)

        def commit() -> None:
            if session.alive:
                server.commit(session)
                world.check_write(self._process, fence)

        self._process.network.send(begin)


class Bot(Process):
    """A process of the bot."""

    def __init__(self, world: Simulation, number: int, life: int) -> None:
        super().__init__(world.clock, world.random.random() * 1000)
        self.name = f"process {number}.{life}"
        self.number = number
        self.session = f"errklein {world.random.getrandbits(64):016x}"
        self.network = world.networks[number]
        self.nodes: Any = None
        self.is_ending = False
        self.well_since = world.clock.seconds()
        self._world = world
        self._members = Membership(world, self)
        self._roles = [WORKER] if number == world.worker else list(ROLES)
        self._journal = Journal(world, self)
        self._members.thread = self.start_thread(self._start)

    @property
    def may_own(self) -> bool:
        """Whether others can rely on it, and it can become the owner."""
        well = (
            self.alive and not self.is_ending and not self.paused and not self.network.is_cut and not self.network.slow
        )
        return well and self._roles != [WORKER] and self.nodes is not None

    def _start(self) -> None:
        try:
            self.nodes = self._world.nodes_class(
                self,
                self._members,
                self._roles,
                "",
                [self._journal],
                self.seconds,
                self._start_thread,
            )
        except DatabaseError as error:
            self._world.note("{} doesn't start: {}", self.name, error)
            self.callFromThread(self._world.end, self, 1.0)
            return
        self.callFromThread(self.nodes.start, self._owned, self._lost, lambda: None)

    def _start_thread(self, function: Callable[[], None], name: str) -> None:
        self._members.thread = self.start_thread(function, name)

    def _owned(self) -> None:
        self._world.note("{} owns", self.name)
        self._journal.start()
        self._act()

    def _act(self) -> None:
        # As a network's code does.
        if self.nodes.owns:
            self._world.act(self)
        self.callLater(self._world.random.choice([0.05, 0.2]), self._act)

    def _lost(self, reason: str) -> None:
        self._world.note("{} is lost: {}", self.name, reason)
        self.is_ending = True
        self.callLater(self._world.random.choice([0.0, 0.5, 3.0]), self._world.end, self, 0.5)

    def stop(self) -> None:
        """Stop in order."""
        self.is_ending = True
        self.nodes.stop().addCallback(lambda _: self._world.end(self, 1.0))


class Simulation:
    """A world from a seed. Its parts can be replaced by defective ones."""

    bot_class = Bot
    nodes_class: type[PostgresNodes] = PostgresNodes
    server_class: type[Server] = Server
    steps: Sequence[float] = (-3600.0, -8.0, 8.0, 3600.0)  # of the server's clock
    lags: Sequence[float] = (0.0, 0.1, 3.0)  # of a standby
    ends = END

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.events: list[str] = []
        self.state = "up"  # of the server: or how connections fail
        self.networks = [Network(self) for _ in range(PROCESSES)]
        self.worker = self.random.choice([-1, 0, 1, 2])
        self._seed = seed
        self._wall = 1_800_000_000.0
        self._up_since = -1000.0
        self.server = self.server_class(
            self.random, lambda: self._wall + self.clock.seconds(), lambda: self.clock.seconds() - self._up_since
        )
        self._violations: list[str] = []
        self._lives = 0
        self._histories = 1
        self._copies: list[tuple[float, Tables]] = []
        self._faults = [self._kill, self._stop, self.pause, self.pause, self._hang, self._cut, self._cut, self._slow]
        self._faults += [self._terminate, self._stop_server, self._fail_over, self._set_clock, self._restore]
        self._acting: Bot | None = None
        self._have_acted: set[Bot] = set()
        self._acted_at = 0.0
        self._owner: int | None = None
        self._processes: dict[int, Bot] = {}
        self._plan()

    def run(self) -> None:
        """Let everything happen; raise Violation."""
        try:
            while self.clock.calls and self.clock.seconds() < self.ends and not self._violations:
                self.clock.advance(max(0.0, self.clock.calls[0].getTime() - self.clock.seconds()))
            if not self._violations:
                self._check_end()
        finally:
            for process in self._processes.values():
                process.kill()
        if self._violations:
            raise Violation(f"seed {self._seed}, {self._violations[0].strip()}\n" + "\n".join(self.events))

    def _plan(self) -> None:
        for number in range(PROCESSES):
            self.clock.callLater(self.random.random() * 3, self._begin, number)
        at = 5.0
        while at < FAULTS_END:
            self.clock.callLater(at, self._fault)
            at += self.random.choice([0.3, 2.0, 8.0, 16.0])
        self.clock.callLater(FAULTS_END, self._heal)
        self.clock.callLater(1.0, self._observe)

    # What processes do.

    def connect(self, process: Bot, thread: Thread | None, received: Callable[[], None]) -> Session:
        """Begin a session for a thread."""
        assert thread is not None
        thread.sleep(self.random.choice([0.0, 0.01, 0.1]))
        if process.network.is_cut or self.state == "silent":
            thread.sleep(3.0)
            raise DatabaseError("timeout")
        if self.state == "refused":
            raise ServerRefused("refused")
        if self.state == "reset":
            raise DatabaseError("reset")
        session = self.server.connect(process.session, received)
        thread.sleep(self.random.choice([0.0, 0.01]))
        return session

    def fence_of(self, epoch: int | None) -> int | None:
        """Return the epoch that a transaction checks."""
        return epoch

    def act(self, process: Bot) -> None:
        """Note that a process acts as the owner."""
        self._acted_at = self.clock.seconds()
        if process is self._acting:
            return
        self.require(process not in self._have_acted, "{} acts as the owner after another one has", process.name)
        self.note("{} acts", process.name)
        self._acting = process
        self._have_acted.add(process)

    def check_write(self, process: Bot, epoch: int | None) -> None:
        """Check a transaction at its end."""
        self.require(epoch == self.server.tables.epoch, "{} writes with an old epoch", process.name)

    def end(self, process: Bot, seconds: float) -> None:
        """End a process, and begin another one after some seconds."""
        if process.alive:
            self.note("{} ends", process.name)
            process.kill()
            for error in process.errors:
                self.require(False, "{} fails: {!r}", process.name, error)
            for session in [session for session in self.server.sessions if session.name == process.session]:
                process.network.send(lambda session=session: self.server.end_session(session))
            self.clock.callLater(seconds, self._begin, process.number)

    def _begin(self, number: int) -> None:
        self._lives += 1
        self._processes[number] = self.bot_class(self, number, self._lives)
        self.note("{} begins", self._processes[number].name)

    # The faults.

    def _fault(self) -> None:
        if self.clock.seconds() >= FAULTS_END:
            return
        process = self.random.choice(list(self._processes.values()))
        self.random.choice(self._faults)(process)

    def _seconds(self) -> float:
        return self.random.choice([0.3, 2.0, 4.5, 6.0, 9.0, 20.0])

    def _kill(self, process: Bot) -> None:
        self.note("{} is killed", process.name)
        self.end(process, self.random.choice([0.2, 2.0, 10.0]))

    def _stop(self, process: Bot) -> None:
        if process.nodes is not None and not process.is_ending and not process.paused:
            self.note("{} is stopped", process.name)
            process.callLater(0.0, process.stop)

    def pause(self, process: Bot) -> None:
        """Pause a process for some time."""
        self._pause_lanes(process, {REACTOR, *(thread.lane for thread in process.threads)}, self._seconds())

    def _hang(self, process: Bot) -> None:
        self._pause_lanes(process, {REACTOR}, self.random.choice([2.0, 15.0]))

    def _pause_lanes(self, process: Bot, lanes: set[int], seconds: float) -> None:
        if process.alive and not process.paused and self.clock.seconds() < FAULTS_END:
            self.note("{} is paused for {} s {}", process.name, seconds, "" if len(lanes) > 1 else "(its reactor)")
            process.pause(lanes)
            self.clock.callLater(seconds, self._resume, process)

    def _resume(self, process: Bot) -> None:
        if process.paused:
            self.note("{} goes on", process.name)
            process.resume(self.random.shuffle)

    def _cut(self, process: Bot) -> None:
        network, seconds = process.network, self._seconds()
        if not network.is_cut:
            self.note("{} is cut off for {} s", process.name, seconds)
            network.is_cut, network.cuts = True, network.cuts + 1
            cut_off = [session for session in self.server.sessions if session.name == process.session]
            self.clock.callLater(KEEPALIVES, self._end_cut_off, network, network.cuts, cut_off)
            self.clock.callLater(seconds, self._repair, network, process.number)

    def _end_cut_off(self, network: Network, cuts: int, sessions: Iterable[Session]) -> None:
        for session in sessions:
            if network.is_cut and network.cuts == cuts:
                self.server.end_session(session)

    def _repair(self, network: Network, number: int) -> None:
        self.note("the network of process {} is repaired", number)
        # A heartbeat of the owner that was under way arrives.
        self._acted_at = self.clock.seconds()
        network.repair()

    def _slow(self, process: Bot) -> None:
        network = process.network
        network.slow = self.random.choice([0.3, 1.5])
        self.note("the network of {} is slow", process.name)
        self.clock.callLater(self._seconds(), setattr, network, "slow", 0.0)

    def _terminate(self, process: Bot) -> None:
        # Others would see it before the process itself: `_nodes.py` explains this exception.
        if process.paused or process.network.is_cut or process.network.slow:
            return
        self.note("the sessions of {} are ended", process.name)
        process.well_since = self.clock.seconds()
        for session in [session for session in self.server.sessions if session.name == process.session]:
            self.server.end_session(session)

    def _stop_server(self, process: Bot) -> None:
        self._down(lambda: None)

    def _fail_over(self, process: Bot) -> None:
        # The standby lacks what was changed last.
        lag = self.random.choice(self.lags)
        copies = (
            [copy for at, copy in self._copies if at <= self.clock.seconds() - lag]
            if lag
            else [self.server.tables.copy()]
        )
        if copies:
            self._histories += 1
            # A standby has been running for long.
            self._down(lambda: self.server.restore(copies[-1], f"1/{self._histories}"), -1000.0)

    def _restore(self, process: Bot) -> None:
        # With the same timeline, as if the files were copied.
        if self._copies:
            # Often of a time at which nobody was the owner yet.
            tables = self.random.choice([self._copies[0], self.random.choice(self._copies)])[1]
            self._down(lambda: self.server.restore(tables, self.server.history))

    def _down(self, then: Callable[[], None], up_since: float | None = None) -> None:
        if self.state != "up":
            return
        self.state = self.random.choice(["refused", "refused", "reset", "silent"])
        seconds = self._seconds()
        self.note("the server is down for {} s: {}", seconds, self.state)
        if self.state == "silent":
            # Nobody is told.
            for session in self.server.sessions:
                session.is_silent = True
        self.server.end_all()
        self.clock.callLater(seconds, self._up, then, up_since)

    def _up(self, then: Callable[[], None], up_since: float | None) -> None:
        then()
        self._up_since = self.clock.seconds() if up_since is None else up_since
        self.note("the server is up: {}", self.server.history)
        self.state = "up"
        for process in self._processes.values():
            process.well_since = self.clock.seconds()

    def _set_clock(self, process: Bot) -> None:
        seconds = self.random.choice(self.steps)
        self.note("the server's clock is set by {} s", seconds)
        self._wall += seconds

    def _heal(self) -> None:
        self.note("nothing fails any more")
        for number, network in enumerate(self.networks):
            network.slow = 0.0
            if network.is_cut:
                self._repair(network, number)
        for process in self._processes.values():
            self._resume(process)

    # The guarantees.

    def _observe(self) -> None:
        self.clock.callLater(0.5, self._observe)
        now = self.clock.seconds()
        if self.state == "up":
            self._copies.append((now, self.server.tables.copy()))
        if self.server.tables.owner != self._owner:
            # The next one may fail at once, too.
            self._owner, self._acted_at = self.server.tables.owner, now
        for process in self._processes.values():
            if self.state != "up" or not process.may_own:
                process.well_since = now
            idle = now - max(process.well_since, self._acted_at)
            self.require(idle < TAKEOVER, "nobody acts as the owner for {} s, although {} is well", idle, process.name)

    def _check_end(self) -> None:
        self.require(self._acted_at > self.clock.seconds() - 1.0, "nobody is the owner at the end")
        for process in self._processes.values():
            self.require(process.alive and not process.errors, "{} has failed: {}", process.name, process.errors)
            owner = process.nodes and process.nodes.owner
            self.require(owner and owner.id == self.server.tables.owner, "{} sees owner {}", process.name, owner)
        self.require(len(self.server.tables.rows) == PROCESSES, "there are {} nodes", len(self.server.tables.rows))

    def note(self, text: str, *values: object) -> None:
        """Note an event."""
        self.events.append(f"{self.clock.seconds():9.3f} {text.format(*values)}")

    def require(self, holds: object, text: str, *values: object) -> None:
        """Note that a guarantee doesn't hold."""
        if not holds:
            self.note(text, *values)
            self._violations.append(self.events[-1])


def has_violation(kind: type[Simulation], seeds: Iterable[int], **parts: Any) -> bool:
    """Return whether one of the worlds with these defective parts violates a guarantee."""
    defective = type("DefectiveSimulation", (kind,), parts)
    for seed in seeds:
        try:
            defective(seed).run()
        except Violation:
            return True
    return False
