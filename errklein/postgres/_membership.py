"""The session with which a node sends heartbeats to PostgreSQL, and sees other nodes. `nodes.sql` has its statements."""

from __future__ import annotations

import os
import re
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from errklein.database import DatabaseError
from errklein.journal import read_queries
from errklein.ports.nodes import Node
from errklein.postgres._database import check_not_moved, connect_options, explained, name_of

_SQL = read_queries(Path(__file__).with_name("nodes.sql"))

_SERVER = re.compile(r"connection to server ")
_REFUSED = re.compile(r"failed: (?:Connection refused|No such file|FATAL: +the database system is )")
"""An error of libpq for each address, and those that say that the server doesn't run, starts, or shuts down."""

_OTHER_ERRORS = re.compile("timeout|could not translate")


class ServerRefused(DatabaseError):
    """The server doesn't run, starts or shuts down, at an address that is its own, so that no other process can use it."""


class SeenNode(NamedTuple):
    """A node as the database has it, with the number of its last heartbeat, and the epoch if it is the owner."""

    node: Node
    beat: int
    epoch: int | None
    has_session: bool


class Membership:
    """A session of a process, used in one thread, which may only call `connect` when there is no session. All methods
    raise DatabaseError; there may be no session afterwards.

    :param session: The beginning of the application_name of all sessions of this process, and of no other.
    """

    def __init__(self, address: str, session: str, search_path: str = "errklein") -> None:
        self.name = name_of(address)
        self.secret = b""
        self.server = ""  # identifies the server and its timeline
        self.uptime = 0.0  # the seconds since the server's start, when it was connected
        self._own_places: list[str] = []  # texts in errors at the address of the last session, if it was direct
        self._session = session
        self._options = connect_options(address, session, search_path) | {"connect_timeout": 3}
        self._connection: psycopg.Connection | None = None
        self._absence = f"{self.name}: not connected"
        self._held = 0  # the id whose lock the session holds
        self._lock = threading.Lock()
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def connect(self) -> None:
        with self._errors_explained():
            try:
                connection = psycopg.connect(**self._options, autocommit=True)
            except psycopg.OperationalError as error:
                text, self._absence = str(error), str(explained(self.name, error))
                all_refuse = len(_REFUSED.findall(text)) == len(_SERVER.findall(text))
                is_own_text = any(place in text for place in self._own_places)
                if all_refuse and is_own_text and not _OTHER_ERRORS.search(text):
                    raise ServerRefused(self._absence) from error
                raise
            # A pooler has numbers of its own for sessions.
            if connection.execute("SELECT pg_backend_pid()").fetchone() != (connection.info.backend_pid,):
                connection.close()
                raise DatabaseError(
                    f"{self.name} is a connection pooler such as PgBouncer, whose clients share sessions; "
                    "set ERRKLEIN_DATABASE to the address of the PostgreSQL server itself"
                )
            with self._lock:
                self._connection = connection
            self._held = 0
            try:
                # A heartbeat that takes longer is none.
                connection.execute("SET lock_timeout = '3s'; SET statement_timeout = '4s'; LISTEN errklein")
                ((self.server, self.uptime, self.secret, address, port),) = self._run("server").fetchall()
                places = [f'"{address}", port {port} ', f"({address}), port {port} "] if address else [f'.{port}" ']
                is_own = (connection.info.hostaddr, connection.info.port) == (address, port)
                self._own_places = places if is_own else []
            except psycopg.Error:
                # A standby, for instance.
                self.close()
                raise

    def add(self, node: Node) -> Node:
        """Add this process, and return it with its id."""
        with self._transaction():
            # A restored database gives numbers again that processes have.
            while not (row := self._row("add", **self._columns(node))):
                pass
            # It may have waited for a move.
            assert self._connection is not None
            check_not_moved(self._connection, self.name)
        self._hold(row[0])
        return node._replace(id=row[0], began_at=row[1], seen_at=row[1])

    def beat(self, node: Node, epoch: int | None) -> tuple[int | None, bool]:
        """Send a heartbeat. Return its number, or None if another process has the id of this one, and whether the epoch
        is that of the owner."""
        with self._transaction():
            owns = epoch is not None and self._row("owns", epoch=epoch) is not None
            number = self._row("beat", **self._columns(node))
        if number is not None and self._held != node.id:
            self._hold(node.id)
        return number[0] if number else None, owns

    def nodes(self) -> Sequence[SeenNode]:
        with self._errors_explained():
            return [
                SeenNode(Node(number, name, version, roles.split(","), *some), *seen)
                for (number, name, version, roles, *some), seen in (
                    (row[:9], row[9:]) for row in self._run("nodes").fetchall()
                )
            ]

    def bury(self, id: int, beat: int) -> None:
        """End the sessions of a node and remove it, if this is still its last heartbeat."""
        with self._errors_explained():
            self._run("end", id=id, beat=beat)
        with self._transaction():
            self._run("wait", id=id)
            if self._run("bury", id=id, beat=beat).rowcount:
                self._run("free", id=id)

    def own(self, id: int) -> int | None:
        """Become the owner if there is none, and return the epoch."""
        with self._transaction():
            epoch = self._row("own", id=id)
        return epoch[0] if epoch else None

    def disown(self, id: int) -> None:
        """Don't own any more."""
        with self._transaction():
            self._run("wait", id=id)
            self._run("free", id=id)
        self.notify("nodes")

    def leave(self, id: int) -> None:
        """Remove this process, and close the session."""
        with self._transaction():
            self._run("wait", id=id)
            if self._run("leave", id=id).rowcount:
                self._run("free", id=id)
        self.notify("nodes")
        self.close()

    def drain(self, id: int) -> bool:
        """Let a node drain; return False if there is none."""
        with self._errors_explained():
            found = self._run("drain", id=id).rowcount
        self.notify("nodes")
        return bool(found)

    def notify(self, topic: str) -> None:
        with self._errors_explained():
            self._run("notify", topic=topic)

    def wait(self, seconds: float) -> Sequence[str]:
        """Wait so long at most, or until something is received, or `wake` is called. Return the topics of others."""
        poll = select.poll()
        poll.register(self._awake, select.POLLIN)
        if self._connection is not None:
            poll.register(self._connection.fileno(), select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
        with suppress(BlockingIOError):
            os.read(self._awake, 1000)
        if self._connection is None:
            return ()
        with self._errors_explained():
            payloads = [notify.payload.partition(" ") for notify in self._connection.notifies(timeout=0)]
        return [topic for topic, _, sender in payloads if sender != self._session]

    def wake(self) -> None:
        """End `wait`. May be called from any thread."""
        with suppress(BlockingIOError):
            os.write(self._wake, b"x")

    def interrupt(self) -> None:
        """End the session, also while its thread waits for the server. May be called from any thread."""
        with self._lock:
            if self._connection is not None and not self._connection.closed:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as copy, suppress(OSError):
                    copy.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _hold(self, id: int) -> None:
        with self._errors_explained():
            if self._row("hold", id=id) != (True,):
                self._run("end own", id=id)
                if self._row("hold", id=id) != (True,):
                    raise DatabaseError(f"{self.name}: an earlier session of this process has not ended yet")
        self._held = id

    def _columns(self, node: Node) -> dict[str, object]:
        return {**node._asdict(), "roles": ",".join(node.roles)}

    def _run(self, query: str, **parameters: object) -> psycopg.Cursor:
        if self._connection is None:
            raise DatabaseError(self._absence)
        return self._connection.execute(_SQL[query].encode(), {"session": self._session, **parameters})

    def _row(self, query: str, **parameters: object) -> tuple[Any, ...] | None:
        return self._run(query, **parameters).fetchone()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors_explained():
            assert self._connection is not None
            with self._connection.transaction():
                yield

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if self._connection is not None and self._connection.closed:
                self.close()
            raise explained(self.name, error) from error
