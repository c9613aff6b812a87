"""The nodes of a bot, and which of them owns plugins, networks and pollers.

1. Each node increments the number of its last heartbeat in the database every BEAT seconds, and holds an advisory lock as long
   as it has a session, in a thread of its own.
2. An owner acts as such until LASTS seconds after it has sent the last heartbeat that was stored while the epoch was still its own.
   If its session ends, it must have another one within RECONNECT seconds. A server that refuses connections itself can't be
   used by others either, so this is as good as a heartbeat. A proxy may refuse while others reach the server.
3. Others remove a node when they have seen no new heartbeat for DEAD seconds, or when its session, which they have seen, has ended
   and there was no new heartbeat for GONE seconds. This ends its sessions and changes the epoch, which is checked by each
   transaction of an owner. No clock is compared with that of another machine. LASTS < DEAD, and RECONNECT < GONE.
4. A node with the role chat becomes the owner if there is none. The one that a restored database, or a standby in its place,
   doesn't know may still act: so nobody does in the first DEAD seconds of a server or of another session than the first
   one, or while another node with the role has no session.
5. A process owns at most once. It gives up, and is restarted, if its connection leads to another server or timeline, or if
   its last heartbeat isn't in the database: what it has in memory doesn't agree with a restored database.

Each transaction of an owner is safe whatever happens. Two processes may act as the owner in a network for up to LASTS seconds
if somebody ends the sessions of an owner while it is cut off or paused, or if a virtual machine is stopped with its clock.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein._version import __version__
from errklein.database import DatabaseError
from errklein.ports.journal import JournalError
from errklein.ports.nodes import CHAT, Node
from errklein.postgres._membership import Membership, SeenNode, ServerRefused
from errklein.running import call_from_thread, start_daemon_thread

BEAT, LASTS, RECONNECT, DEAD, GONE = 0.5, 5.0, 0.5, 7.0, 0.9
HANGS = 5.0
"""The seconds after which a process whose reactor hangs sends no heartbeats any more."""


def seconds_since_boot() -> float:
    """Return the time of a clock that isn't set, and that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Fenced(Protocol):
    """A database whose transactions fail once there is another epoch."""

    fence: int | None


@dataclass
class _Trace:
    beat: int
    beat_at: float
    had_session: bool = False
    gone_at: float | None = None


class Watch:
    """Finds dead nodes by what was seen of them in one session."""

    def __init__(self) -> None:
        self._traces: dict[int, _Trace] = {}

    def dead(self, before: float, after: float, nodes: Sequence[SeenNode]) -> Iterator[SeenNode]:
        """Yield those that are dead, of nodes that were read between two times."""
        self._traces = {seen.node.id: self._traces.get(seen.node.id) or _Trace(seen.beat, after) for seen in nodes}
        for seen in nodes:
            trace = self._traces[seen.node.id]
            if seen.beat != trace.beat:
                trace.beat, trace.beat_at, trace.gone_at = seen.beat, after, None
            if seen.has_session:
                trace.had_session, trace.gone_at = True, None
            elif trace.had_session and trace.gone_at is None:
                trace.gone_at = after
            # One that has not been started yet sends no heartbeats.
            is_starting = seen.beat == 0 and seen.has_session
            is_gone = trace.gone_at is not None and before - trace.gone_at >= GONE
            if is_gone or (before - trace.beat_at >= DEAD and not is_starting):
                yield seen


class PostgresNodes:
    """Implements `errklein.ports.nodes.Nodes`. Raises DatabaseError if this process can't be added.

    :param fenced: They get the epoch as their fence when this process becomes the owner.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        members: Membership,
        roles: Sequence[str],
        address: str,
        fenced: Sequence[Fenced] = (),
        seconds: Callable[[], float] = seconds_since_boot,
        start_thread: Callable[[Callable[[], None], str], None] = start_daemon_thread,
    ) -> None:
        self._reactor = reactor
        self._members = members
        self._fenced = fenced
        self._seconds = seconds
        self._start_thread = start_thread
        self._functions: dict[str, list[Callable[[], None]]] = {}
        self._changed: set[str] = set()
        self._jobs: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()
        self._watch = Watch()
        self._epoch: int | None = None
        self._owns_until = 0.0
        self._lost = ""  # why this process isn't the owner any more
        self._busy_since: float | None = None
        self._ticked_at = seconds()
        self._ticks: LoopingCall | None = None
        self._stopped: Deferred[None] | None = None
        members.connect()
        self._server = members.server
        self._owns_from = (
            seconds() + DEAD - members.uptime
        )  # the time before which this process doesn't become the owner
        self.secret = members.secret
        self.me = members.add(Node(0, f"{socket.gethostname()}:{os.getpid()}", __version__, roles, address, 0.0, 0.0))
        self.owner: Node | None = None
        # The lowest and highest number that the last stored heartbeat may have: it isn't known whether one was that failed.
        self._low = self._high = 0

    # On the reactor.

    @property
    def owns(self) -> bool:
        if self._epoch is None or self._lost:
            return False
        if self._seconds() >= self._owns_until:
            self._lose(f"no heartbeat was confirmed by {self._members.name} in time")
        return not self._lost

    def start(self, owned: Callable[[], None], lost: Callable[[str], None], drained: Callable[[], None]) -> None:
        self._owned, self._lost_ownership, self._drained = owned, lost, drained
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = self._reactor
        self._ticks.start(BEAT / 2)
        self._start_thread(self._work, "errklein nodes")

    def all(self) -> Deferred[Sequence[Node]]:
        return self._submit(lambda: [seen.node for seen in self._members.nodes()])

    def drain(self, id: int) -> Deferred[bool]:
        return self._submit(lambda: self._members.drain(id))

    def changed(self, topic: str) -> None:
        self._changed.add(topic)
        self._members.wake()

    def when_changed(self, topic: str, function: Callable[[], None]) -> None:
        self._functions.setdefault(topic, []).append(function)

    def stop(self) -> Deferred[None]:
        self._epoch = None
        self._stopped = Deferred()
        self._members.wake()
        if self._ticks is None:
            self._leave()
        return self._stopped

    def _submit(self, job: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._jobs.append((job, done))
        self._members.wake()
        return done

    def _tick(self) -> None:
        self._ticked_at = now = self._seconds()
        if self._epoch is not None and not self.owns:
            self._epoch = None
            self._lost_ownership(self._lost)
        if self._busy_since is not None and now - self._busy_since > LASTS:
            # The network may be cut, and the thread would wait for minutes.
            self._members.interrupt()

    def _become_owner(self) -> None:
        if self.owns:
            # What the owner before has stored isn't known here.
            self._call(["owned"])
            self._owned()

    def _call(self, topics: Collection[str]) -> None:
        for topic in topics:
            for function in self._functions.get(topic, ()):
                function()

    def _end(self) -> None:
        if self._ticks is not None:
            self._ticks.stop()
        while self._jobs:
            self._jobs.popleft()[1].errback(JournalError("the bot is stopping"))
        assert self._stopped is not None
        self._stopped.callback(None)

    # In the thread.

    def _work(self) -> None:
        beat_at = self._seconds()
        is_absent = False
        while self._stopped is None:
            had_session = self._members.connected
            try:
                self._busy_since = now = self._seconds()
                if now >= beat_at:
                    beat_at = now + BEAT
                    self._beat()
                    is_absent = False
                self._run_jobs()
                self._busy_since = None
                topics = self._members.wait(beat_at - self._seconds())
                call_from_thread(self._reactor, self._call, topics)
                if "nodes" in topics:
                    beat_at = 0.0
            except DatabaseError as error:
                now = self._seconds()
                beat_at = min(beat_at, now + BEAT / 2)
                if had_session and not self._members.connected:
                    self._owns_until = min(self._owns_until, now + RECONNECT)
                    beat_at = now
                elif not is_absent:
                    is_absent = True
                    self.log.warn("{error}; trying again", error=error)
                if not self._members.connected:
                    self._members.wait(beat_at - now)
        self._leave()

    def _run_jobs(self) -> None:
        while self._jobs:
            job, done = self._jobs.popleft()
            try:
                result = job()
            except DatabaseError as error:
                call_from_thread(self._reactor, done.errback, JournalError(str(error)))
                raise
            call_from_thread(self._reactor, done.callback, result)
        while self._changed and self._members.connected:
            topic = next(iter(self._changed))
            self._members.notify(topic)
            self._changed.discard(topic)

    def _connect(self) -> None:
        began = self._seconds()
        try:
            self._members.connect()
        except ServerRefused:
            self._confirm(began)
            raise
        self._watch = Watch()
        self._owns_from = self._seconds() + DEAD
        if self._members.server != self._server:
            self._server = self._members.server
            self._lose(f"{self._members.name} is another server now, or was restored")
        # What others have told meanwhile is lost.
        call_from_thread(self._reactor, self._call, tuple(self._functions))

    def _beat(self) -> None:
        if not self._members.connected:
            self._connect()
        sent = self._seconds()
        if sent - self._ticked_at > HANGS:
            return
        self._high += 1
        number, is_owner = self._members.beat(self.me, self._epoch)
        if number is None:
            # In a restored database. The session holds the lock of the other process.
            self.me = self._members.add(self.me)
            self._low = self._high = 0
            self._members.close()
            return
        if not is_owner:
            self._lose("another process has taken over, or the database was restored")
        elif not self._low < number <= self._high:
            self._lose(f"{self._members.name} was restored, or has lost its last changes")
        self._confirm(sent)
        self._low = self._high = number
        self._look()

    def _look(self) -> None:
        before = self._seconds()
        nodes = self._members.nodes()
        mine = [seen for seen in nodes if seen.node.id == self.me.id]
        others = [seen for seen in nodes if seen.node.id != self.me.id]
        # The owner first, since an error ends this.
        dead = sorted(self._watch.dead(before, self._seconds(), others), key=lambda seen: seen.epoch is None)
        for seen in dead:
            self.log.warn("{name} has ended or doesn't reach the database", name=seen.node.name)
            self._members.bury(seen.node.id, seen.beat)
        for seen in mine:
            if seen.node.draining and not self.me.draining:
                call_from_thread(self._reactor, self._drained)
            self.me = seen.node
        owner = next((seen for seen in nodes if seen.epoch is not None and seen not in dead), None)
        self.owner = owner and owner.node
        if owner is None:
            unknown = [seen for seen in others if CHAT in seen.node.roles and not seen.has_session and seen not in dead]
            may_own = CHAT in self.me.roles and not (self.me.draining or self._lost or unknown)
            if may_own and before >= self._owns_from and before - self._ticked_at < BEAT * 2:
                self._own()
        elif owner in mine and not self.owns:
            # It is lost, or the connection has ended when this process became the owner.
            self._members.disown(self.me.id)

    def _own(self) -> None:
        sent = self._seconds()
        epoch = self._members.own(self.me.id)
        if epoch is not None:
            for database in self._fenced:
                database.fence = epoch
            self._owns_until = sent + LASTS
            self._epoch = epoch
            self.owner = self.me
            call_from_thread(self._reactor, self._become_owner)

    def _confirm(self, sent: float) -> None:
        if self.owns:
            self._owns_until = max(self._owns_until, sent + LASTS)

    def _lose(self, reason: str) -> None:
        if self._epoch is not None:
            self._lost = self._lost or reason

    def _leave(self) -> None:
        try:
            if self._members.connected:
                self._members.leave(self.me.id)
        except DatabaseError as error:
            self.log.warn("{error}", error=error)
        self._members.close()
        call_from_thread(self._reactor, self._end)
