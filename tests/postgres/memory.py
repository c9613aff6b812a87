"""A double in memory of the part of PostgreSQL that nodes use: sessions, advisory locks, rows of nodes and of the owner, and notifications."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from errklein.database import DatabaseError
from errklein.ports.nodes import Node
from errklein.postgres._membership import SeenNode

LOCK_TIMEOUT = 3.0


@dataclass(eq=False)
class Session:
    """A session of a process, as the server knows it."""

    name: str
    received: Callable[
        [], None
    ]  # called when something has arrived for the client: a notification, or the end of the session
    alive: bool = True
    is_silent: bool = False  # its end isn't known to the client
    topics: list[str] = field(default_factory=list)

    def end(self) -> None:
        """End it at the server. What it holds is released."""
        if self.alive:
            self.alive = False
            if not self.is_silent:
                self.received()


@dataclass
class Row:
    """A row of `nodes`."""

    node: Node
    session: str
    beat: int = 0


@dataclass
class Tables:
    """What is stored."""

    rows: dict[int, Row] = field(default_factory=dict)
    epoch: int = 0
    owner: int | None = None
    since: float = 0.0
    last_id: int = 0

    def copy(self) -> Tables:
        """Return a copy, which doesn't change."""
        return replace(self, rows={id: replace(row) for id, row in self.rows.items()})


class Server:
    """The server. Each function is a transaction, or one statement. `locks` are the sessions with open transactions of an owner."""

    def __init__(self, random: Random, now: Callable[[], float], uptime: Callable[[], float] = lambda: 1000.0) -> None:
        self.uptime = uptime
        self.tables = Tables()
        self.history = "1/1"  # the system identifier and the timeline
        self.now = now
        self.secret = bytes(range(32))
        self.sessions: list[Session] = []
        self.held: dict[int, Session] = {}  # the advisory locks
        self.locks: set[Session] = set()
        self._random = random

    def connect(self, name: str, received: Callable[[], None]) -> Session:
        """Begin a session."""
        session = Session(name, received)
        self.sessions.append(session)
        return session

    def end_session(self, session: Session) -> None:
        """End a session, and what it holds."""
        if session in self.sessions:
            self.sessions.remove(session)
            self.locks.discard(session)
            self.held = {id: holder for id, holder in self.held.items() if holder is not session}
            session.end()

    def end_all(self) -> None:
        """End all sessions, as a stop of the server does."""
        for session in list(self.sessions):
            self.end_session(session)

    def restore(self, tables: Tables, history: str) -> None:
        """Go on with what was stored at an earlier time."""
        self.end_all()
        self.tables, self.history = tables.copy(), history

    def add(self, session: Session, node: Node) -> Node:
        """Add a node."""
        tables, now = self.tables, self.now()
        tables.last_id += 1
        while tables.last_id in tables.rows:
            tables.last_id += 1
        node = node._replace(id=tables.last_id, began_at=now, seen_at=now)
        tables.rows[node.id] = Row(node, session.name)
        self.held.setdefault(node.id, session)
        return node

    def beat(self, session: Session, node: Node, epoch: int | None) -> tuple[int | None, bool]:
        """Store a heartbeat."""
        tables = self.tables
        owns = epoch is not None and epoch == tables.epoch
        row = tables.rows.get(node.id)
        if row is None:
            row = tables.rows[node.id] = Row(node._replace(draining=False), session.name, -1)
        elif row.session != session.name:
            return None, owns
        row.beat += 1
        row.node = row.node._replace(seen_at=self.now())
        return row.beat, owns

    def hold(self, session: Session, id: int) -> None:
        """Hold the lock of a node. An earlier session of the same process is ended."""
        holder = self.held.get(id)
        if holder is not None and holder is not session:
            if holder.name != session.name:
                raise DatabaseError("an earlier session of this process has not ended yet")
            self.end_session(holder)
        self.held[id] = session

    def nodes(self, session: Session) -> Sequence[SeenNode]:
        """Return all nodes."""
        tables, found = self.tables, []
        for id, row in sorted(tables.rows.items()):
            owns = tables.owner == id
            node = row.node._replace(owns_since=tables.since if owns else 0.0)
            found.append(SeenNode(node, row.beat, tables.epoch if owns else None, id in self.held))
        return found

    def end_sessions_of(self, session: Session, id: int, beat: int) -> None:
        """End all sessions of a node that has sent no heartbeat since."""
        row = self.tables.rows.get(id)
        if row is not None and row.beat == beat:
            for other in list(self.sessions):
                if other.name == row.session and other is not session:
                    self.end_session(other)

    def bury(self, session: Session, id: int, beat: int) -> None:
        """Remove a node that has sent no heartbeat since."""
        row = self.tables.rows.get(id)
        if row is not None and row.beat == beat:
            self._remove(id)

    def own(self, session: Session, id: int) -> int | None:
        """Let a node become the owner if there is none."""
        tables = self.tables
        if tables.owner is not None and tables.owner in tables.rows:
            return None
        tables.owner, tables.since = id, self.now()
        tables.epoch += 1 + self._random.randrange(1 << 32)
        return tables.epoch

    def disown(self, session: Session, id: int) -> None:
        """Let a node not own any more."""
        if self.tables.owner == id:
            self.tables.owner = None
            self.tables.epoch += 1

    def leave(self, session: Session, id: int) -> None:
        """Remove a node that stops."""
        row = self.tables.rows.get(id)
        if row is not None and row.session == session.name:
            self._remove(id)

    def drain(self, session: Session, id: int) -> bool:
        """Let a node drain."""
        row = self.tables.rows.get(id)
        if row is not None:
            row.node = row.node._replace(draining=True)
        return row is not None

    def notify(self, session: Session, topic: str) -> None:
        """Notify other sessions."""
        for other in self.sessions:
            if other.name != session.name:
                other.topics.append(topic)
                other.received()

    def begin(self, session: Session, epoch: int | None) -> bool:
        """Begin a transaction of the owner: False if there is another epoch."""
        if epoch is not None and epoch != self.tables.epoch:
            return False
        self.locks.add(session)
        return True

    def commit(self, session: Session) -> None:
        """End the transaction."""
        self.locks.discard(session)

    def _remove(self, id: int) -> None:
        del self.tables.rows[id]
        self.held.pop(id, None)
        if self.tables.owner == id:
            self.tables.owner = None
            self.tables.epoch += 1


class Membership:
    """Does what `errklein.postgres._membership.Membership` does, on a server in memory, in the real time."""

    name = "a server in memory"

    def __init__(self, server: Server, session: str) -> None:
        self.secret = server.secret
        self.server = ""
        self.uptime = 0.0
        self._server = server
        self._name = session
        self._session: Session | None = None
        self._held = 0
        self._lock = _LOCK
        self._event = threading.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._session is not None

    def connect(self) -> None:
        """Begin a session."""
        with self._lock:
            self._session = self._server.connect(self._name, self._event.set)
        self._held = 0
        self.server, self.uptime = self._server.history, self._server.uptime()

    def add(self, node: Node) -> Node:
        """Add this process."""
        node = self._request(self._server.add, node)
        self._hold(node.id)
        return node

    def beat(self, node: Node, epoch: int | None) -> tuple[int | None, bool]:
        """Send a heartbeat."""
        number, owns = self._request(self._server.beat, node, epoch)
        if number is not None and self._held != node.id:
            self._hold(node.id)
        return number, owns

    def _hold(self, id: int) -> None:
        self._request(self._server.hold, id)
        self._held = id

    def nodes(self) -> Sequence[SeenNode]:
        """Return all nodes."""
        return self._request(self._server.nodes)

    def bury(self, id: int, beat: int) -> None:
        """Remove a node, and end its sessions."""
        self._request(self._server.end_sessions_of, id, beat)
        self._request(self._server.bury, id, beat, waits_for=id)

    def own(self, id: int) -> int | None:
        """Become the owner."""
        return self._request(self._server.own, id)

    def disown(self, id: int) -> None:
        """Don't own any more."""
        self._request(self._server.disown, id, waits_for=id)
        self.notify("nodes")

    def leave(self, id: int) -> None:
        """Remove this process."""
        self._request(self._server.leave, id, waits_for=id)
        self.notify("nodes")
        self.close()

    def drain(self, id: int) -> bool:
        """Let a node drain."""
        found = self._request(self._server.drain, id)
        self.notify("nodes")
        return found

    def notify(self, topic: str) -> None:
        """Notify others."""
        self._request(self._server.notify, topic)

    def wait(self, seconds: float) -> Sequence[str]:
        """Wait for something that others do."""
        self._pause(max(0.0, seconds))
        if self._session is None:
            return ()
        topics, self._session.topics[:] = list(self._session.topics), []
        if not self._session.alive:
            self.close()
            raise DatabaseError("the session has ended")
        return topics

    def wake(self) -> None:
        """End `wait`."""
        self._event.set()

    def interrupt(self) -> None:
        """End the session."""
        with self._lock:
            if self._session is not None:
                self._server.end_session(self._session)

    def close(self) -> None:
        """End the session in order."""
        session, self._session = self._session, None
        if session is not None:
            with self._lock:
                self._server.end_session(session)

    def _pause(self, seconds: float) -> None:
        self._event.wait(seconds)
        self._event.clear()

    def _request(self, function: Callable[..., Any], *arguments: object, waits_for: int | None = None) -> Any:
        """Call a function of the server. It waits for the transactions of a node that owns."""
        with self._lock:
            if self._session is None or not self._session.alive:
                self._session = None
                raise DatabaseError("there is no session")
            return function(self._session, *arguments)


_LOCK = threading.RLock()
