"""The interface between a bot and the database that several of its processes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from errklein.ports.journal import Journal
from errklein.ports.values import Storage

INTAKE, WORKER, CHAT = "intake", "worker", "chat"
ROLES = (INTAKE, WORKER, CHAT)
"""Intake receives webhooks, worker runs recorded deliveries, and chat may own plugins, networks and pollers."""


class Node(NamedTuple):
    """A process of the bot, as the database knows it. Times are Unix times of the database's clock."""

    id: int
    name: str
    """The host and the process id, such as "a.example.net:4711"."""
    version: str
    """The version of errklein."""
    roles: Sequence[str]
    address: str
    """Where other nodes reach its web server, as host and port; "" if it can't be reached."""
    began_at: float
    seen_at: float
    draining: bool = False
    owns_since: float = 0.0
    """0.0 unless it owns plugins, networks and pollers."""

    def line(self) -> str:
        """Return what it is and does, in one line."""
        marks = ["owns plugins and networks"] * bool(self.owns_since) + ["is being drained"] * self.draining
        return f"{self.id} {self.name}: {', '.join((*self.roles, *marks))}; errklein {self.version}"


class Nodes(Protocol):
    """The nodes of a bot, and the lease of the one among them that owns plugins, networks and pollers. Used on the reactor."""

    @property
    def me(self) -> Node:
        """This process, as of the last heartbeat."""

    @property
    def owner(self) -> Node | None:
        """The owner, as of the last heartbeat; None if there is none or it isn't known."""

    @property
    def owns(self) -> bool:
        """Whether this process is the owner at this moment. It becomes False as soon as others may take over, also in a process
        that was paused: whoever acts as the owner checks it first. Once it is False again, it stays so, and `lost` is called."""

    @property
    def secret(self) -> bytes:
        """With it nodes authenticate requests that they pass to each other. It is made with the database."""

    def start(self, owned: Callable[[], None], lost: Callable[[str], None], drained: Callable[[], None]) -> None:
        """Send heartbeats from now on, and become the owner when nobody is, if this process has the role chat.

        :param owned: called once this process is the owner.
        :param lost: called with the reason when this process must not act as the owner any more. It doesn't become one again.
        :param drained: called when `drain` was requested for this process.
        """

    def all(self) -> Deferred[Sequence[Node]]:
        """Return all nodes that were seen in the last minute, by their ids. Fails with JournalError."""

    def drain(self, id: int) -> Deferred[bool]:
        """Let a node take no new work, end what runs, and stop; fires with False if there is no such node."""

    def changed(self, topic: str) -> None:
        """Tell other nodes soon that something has changed: "plugins", "outbox" or "deliveries". While the database is
        absent, this waits. A transaction may do so itself: `pg_notify('errklein', 'outbox')`."""

    def when_changed(self, topic: str, function: Callable[[], None]) -> None:
        """Call the function on the reactor when another node has called `changed`, and after the database was absent."""

    def stop(self) -> Deferred[None]:
        """Release ownership, and remove this node. Transactions of the owner fail from now on."""


class SharedDatabase(Protocol):
    """A database of several processes, as ERRKLEIN_DATABASE names it. Its tables exist; DatabaseError is raised otherwise."""

    def storage(self, **options: Any) -> Storage:
        """Return the values of plugins; the options are those of `errklein.storage.SQLiteStorage` but for the path."""

    def journal(self, reactor: Any, now: Callable[[], float], **options: Any) -> Journal:
        """Return the journal with the outbox; the options are those of `errklein.journal.SQLiteJournal` but for the path."""

    def nodes(self, reactor: Any, roles: Sequence[str], address: str) -> Nodes:
        """Return the nodes, among which this process is one with these roles and this address."""

    def archive(self) -> Any:
        """Return the journal for other processes than the bot, a `errklein.journal.JournalArchive`."""

    def alone(self) -> AbstractContextManager[None]:
        """Return a context in which no process of the bot runs. Raises DatabaseError if one does."""


class Databases(Protocol):
    """Opens databases of one kind: the module or object that an entry point of the group `errklein.databases` names. The
    addresses are those of ERRKLEIN_DATABASE. All functions may block, and raise DatabaseError."""

    def open_database(self, address: str) -> SharedDatabase:
        """Return a database whose server is there, and whose tables this errklein can use."""

    def create_tables(self, address: str) -> Sequence[str]:
        """Make missing tables, or upgrade those of an older errklein. Return a line about each step."""

    def move_in(self, address: str, files: Mapping[Path, Sequence[str]], mark: Callable[[str], None]) -> Sequence[str]:
        """Copy SQLite files, which aren't changed, into a database without data, whose missing tables are made. Return a line
        about each table. All rows are compared. After an error, the database is as it was.

        :param files: The files, with the migrations that have made each.
        :param mark: Called with the name of the database at last, so that no bot starts on the files any more.
        """

    def move_out(self, address: str, files: Mapping[Path, Sequence[str]], place: str) -> Sequence[str]:
        """Copy a database into new SQLite files. Return a line about each table. All rows are compared. When the files are
        complete and on disk, the database is marked, so that no bot starts on it any more: its data is in this place.
        """
