"""A PostgreSQL database with the methods of `errklein.database.Database`: connections, transactions, errors, and the translation of SQL."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import lru_cache
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format, TransactionStatus
from psycopg.raw_cursor import RawCursor, RawServerCursor
from psycopg.types.numeric import NumericBinaryLoader, NumericLoader

from errklein.database import Cursor, DatabaseError, SQLConnection

CONNECT_TIMEOUT = 5  # the seconds for which a connection may be made
STATEMENT_TIMEOUT = 30.0
"""The seconds after which the server ends a statement: less than a lease, so that the end of a lease is written in time."""

LOCK_TIMEOUT = 10.0  # the seconds for which a statement waits for another transaction
PAUSE = 0.5  # the seconds after a failed connection in which no other one is tried

_TOKENS = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"[^"]*"|--[^\n]*|::)
    |(?P<index>\sINDEXED\ BY\ \w+)
    |(?P<other>NOT\ )?IN\ \(SELECT\ value\ FROM\ json_each\((?P<ids>\?|:\w+)\)\)
    |CAST\((?P<text>\w+)\ AS\ BLOB\)
    |(?P<value>\?|:[A-Za-z_]\w*)""",
    re.VERBOSE,
)
_UNDO = "UPDATE errklein.made SET moved_to = ''"
_ADVICE = {
    errors.UndefinedTable: "the tables are missing ({}); make them with `errklein storage init`",
    errors.DiskFull: "the server's disk is full, and nothing was changed; free some space and try again",
    errors.ReadOnlySqlTransaction: "the server only allows reads, and nothing was changed; connect to the primary server",
    errors.InsufficientPrivilege: "the user of ERRKLEIN_DATABASE may not do this ({})",
}


def connect_options(
    address: str, name: str, search_path: str = "errklein", lock_timeout: float = LOCK_TIMEOUT
) -> dict[str, Any]:
    """Return the arguments of `psycopg.connect` for an address such as ERRKLEIN_DATABASE, whose own options come first.

    :param name: The application's name, as `pg_stat_activity` shows it: with it a session is found that must end.
    """
    given = _parts_of(address)
    settings = {
        "statement_timeout": int(STATEMENT_TIMEOUT * 1000),
        "lock_timeout": int(lock_timeout * 1000),
        # A process that is stopped within a transaction must not keep others waiting.
        "idle_in_transaction_session_timeout": int(LOCK_TIMEOUT * 1000),
        "search_path": search_path.replace(" ", ""),
    }
    options = " ".join(
        [*(f"-c {setting}={value}" for setting, value in settings.items()), str(given.pop("options", ""))]
    )
    # A server that doesn't answer any more is noticed within about 10 s.
    alive = {"keepalives": 1, "keepalives_idle": 4, "keepalives_interval": 2, "keepalives_count": 3}
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        "tcp_user_timeout": 10_000,
        "target_session_attrs": "read-write",
        **alive,
        **given,
        "application_name": name[:63],
        "options": options.strip(),
    }


class PostgresDatabase:
    """Implements `errklein.database.SQLDatabase`. Nothing is connected before the first use, and a connection that has
    ended is made again at the next one. Reads use another connection than transactions. All methods raise DatabaseError."""

    def __init__(
        self,
        address: str,
        name: str = "errklein",
        search_path: str = "errklein",
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> None:
        options = connect_options(address, name, search_path, lock_timeout)
        self.path = name_of(address)
        self.closed = False
        self.fence: int | None = None
        """The epoch of the owner, while this process is the owner: each transaction fails once there is a later one."""
        self.restored: Callable[[], None] = lambda: None  # called in a thread after the database was absent
        self._options = options
        self._writer, self._reader = _OwnConnection(self, options), _OwnConnection(self, options)

    def read(self, query: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        with self._reader.lock, self._errors_explained():
            cursor: Cursor = self._reader.begun(lambda connection: _execute(connection, query, parameters))
            return cursor.fetchall()

    def read_lazily(self, query: str) -> Iterator[Any]:
        """Yield the rows of the query, all as of one moment. Other reads and writes don't wait for them."""
        with (
            self._errors_explained(),
            psycopg.connect(**self._options, context=_CONTEXT) as connection,
            RawServerCursor(connection, "rows") as cursor,
        ):
            yield from cursor.execute(translated(query)[0], binary=True)

    def write(self, statement: str, parameters: Sequence[object] = ()) -> int:
        with self.transaction() as connection:
            return connection.execute(statement, parameters).rowcount

    @contextmanager
    def transaction(self) -> Iterator[SQLConnection]:
        """Return a context with a connection whose statements are one transaction: all of them take effect, or none."""
        with self._writer.lock, self._errors_explained():
            connection = self._writer.begun(self._begin)
            try:
                # A statement isn't awaited before its result is used.
                with connection.pipeline() as pipeline:
                    yield _Statements(connection, pipeline)
                    end = connection.execute("COMMIT", prepare=False)
                if end.statusmessage != "COMMIT":
                    raise DatabaseError(f"{self.path}: the transaction has failed")
            except errors.ReadOnlySqlTransaction:
                # The server isn't the primary any more. The next connection may lead to that.
                connection.close()
                raise
            finally:
                if connection.info.transaction_status is not TransactionStatus.IDLE:
                    with suppress(psycopg.Error):
                        connection.execute("ROLLBACK", prepare=False)

    def _begin(self, connection: psycopg.Connection) -> psycopg.Connection:
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            # An earlier beginning has waited too long for a takeover.
            connection.execute("ROLLBACK", prepare=False)
        if self.fence is None:
            connection.execute("BEGIN", prepare=False)
            return connection
        # One message to the server. Whoever takes over waits for the end of this transaction, or this one finds another epoch.
        owner = f"SELECT 1 FROM owner WHERE epoch = {self.fence:d} FOR KEY SHARE"  # noqa: S608 -- a number
        found = connection.execute(f"BEGIN; {owner}", prepare=False)
        found.nextset()
        if not found.rowcount:
            connection.execute("ROLLBACK", prepare=False)
            raise DatabaseError(f"{self.path}: another process owns the plugins now, and nothing was changed")
        return connection

    @property
    def size(self) -> int:
        ((size,),) = self.read(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('errklein', 'pgmq'))"
        )
        return int(size)

    def check_files(self) -> None:
        """Do nothing: the files are the server's."""

    def empty_log(self) -> bool:
        """Return True: what was removed is the server's, which reuses its space."""
        return True

    def close(self) -> None:
        self.closed = True
        for link in (self._writer, self._reader):
            with link.lock:
                link.close()

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        if self.closed:
            raise DatabaseError(f"{self.path}: the database is closed")
        try:
            yield
        except psycopg.Error as error:
            raise explained(self.path, error) from error


class _OwnConnection:
    """A connection of a database that is made when it is used, and again after it has ended. The caller has the lock."""

    def __init__(self, database: PostgresDatabase, options: Mapping[str, Any]) -> None:
        self.lock = threading.Lock()
        self._database = database
        self._options = options
        self._connection: psycopg.Connection | None = None
        self._failed: psycopg.Error | None = None
        self._again_at = 0.0

    def begun(self, use: Callable[[psycopg.Connection], Any]) -> Any:
        """Call the function, which has changed nothing if it fails, and return its result. A connection that has ended
        since its last use is replaced."""
        connection = self._connection
        if connection is not None and not connection.closed:
            try:
                return use(connection)
            except psycopg.OperationalError:
                if not connection.closed:
                    raise
        return use(self._connect())

    def _connect(self) -> psycopg.Connection:
        if self._failed is not None and monotonic() < self._again_at:
            # Many callers that wait for one server must not each wait for the timeout.
            raise self._failed.with_traceback(None)
        was_used = self._connection is not None or self._failed is not None
        try:
            connection = psycopg.connect(**self._options, autocommit=True, context=_CONTEXT, cursor_factory=RawCursor)
        except psycopg.Error as error:
            self._failed, self._again_at = error, monotonic() + PAUSE
            raise
        # This process may have been suspended during a move.
        with suppress(errors.UndefinedTable):
            check_not_moved(connection, self._database.path)
        self._connection = connection
        self._connection.prepared_max = 256
        self._failed = None
        if was_used:
            self._database.restored()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Statements:
    """Implements `errklein.database.SQLConnection`."""

    total_changes = 0

    def __init__(self, connection: psycopg.Connection, pipeline: psycopg.Pipeline) -> None:
        self._connection, self._pipeline = connection, pipeline

    def execute(self, statement: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Cursor:
        cursor = _execute(self._connection, statement, parameters)
        cursor.pipeline = self._pipeline
        return cursor

    def executemany(self, statement: str, parameters: Sequence[Sequence[object]]) -> Cursor:
        cursor = self._connection.cursor()
        cursor.executemany(translated(statement)[0], parameters)
        self._pipeline.sync()
        return cursor


class _Cursor(RawCursor[Any]):
    pipeline: psycopg.Pipeline | None = None

    @property
    def rowcount(self) -> int:
        if super().rowcount < 0 and self.pipeline is not None:
            self.pipeline.sync()
        return super().rowcount


def _execute(
    connection: psycopg.Connection, statement: str, parameters: Sequence[object] | Mapping[str, object]
) -> _Cursor:
    sql, names = translated(statement)
    values = [parameters[name] for name in names] if isinstance(parameters, Mapping) else parameters
    cursor = _Cursor(connection)
    cursor.execute(sql, values, binary=True)
    return cursor


@lru_cache(1024)
def translated(statement: str) -> tuple[bytes, Sequence[str]]:
    """Return SQLite's SQL as PostgreSQL has it, and the names of its parameters in the order of their numbers.
    `?` and `:name` become numbers, hints for indexes are removed, and JSON arrays with ids become arrays."""
    names: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        if match["kept"] or match["index"]:
            return match["kept"] or ""
        if match["text"]:
            return f"convert_to({match['text']}, 'UTF8')"
        value = match["ids"] or match["value"]
        if value == "?":
            names.append("")
            number = len(names)
        else:
            if value[1:] not in names:
                names.append(value[1:])
            number = names.index(value[1:]) + 1
        if not match["ids"]:
            return f"${number}"
        # The text of an array of integers differs in its brackets only.
        return f"{'<> ALL' if match['other'] else '= ANY'} (translate(${number}, '[]', '{{}}')::bigint[])"

    return _TOKENS.sub(replaced, statement).encode(), names


def _parts_of(address: str) -> dict[str, Any]:
    """Return what an address consists of. A password that isn't encoded is none of it, and in no text: another part may have its rest."""
    try:
        given: dict[str, Any] = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        given = {"port": "?"}
    # A host that begins with @ is a socket of Linux.
    texts = f"{given.get('host') or ''}"[1:], f"{given.get('dbname') or ''}"
    if not re.fullmatch(r"[0-9,]*", str(given.get("port") or "")) or any("@" in text for text in texts):
        raise DatabaseError(
            "the address of the PostgreSQL database (ERRKLEIN_DATABASE) isn't valid; in its password, write special characters as in "
            "URLs, such as %40 for @, %2F for / and %25 for %"
        )
    return given


def name_of(address: str) -> str:
    """Return the name of a database for messages: without the password."""
    given = _parts_of(address)
    port = f":{given['port']}" if given.get("port") else ""
    return f"PostgreSQL {given.get('host') or 'localhost'}{port}/{given.get('dbname') or ''}"


def check_not_moved(connection: psycopg.Connection, name: str) -> None:
    """Raise DatabaseError, and close the connection, if `errklein storage move` has moved the data elsewhere."""
    row = connection.execute(b"SELECT moved_to FROM made").fetchone()
    if row and row[0]:
        connection.close()
        raise DatabaseError(
            f"{name}: the data was moved to {row[0]}; use it there, without ERRKLEIN_DATABASE, or use what was here "
            f"before the move after this statement: {_UNDO}"
        )


def explained(name: str, error: psycopg.Error) -> DatabaseError:
    kinds = [advice for kind, advice in _ADVICE.items() if isinstance(error, kind)]
    # Further lines have the position in a statement, or ask whether the server runs.
    text = error.diag.message_primary or "; ".join(line for line in str(error).splitlines() if line[:1] != "\t")
    return DatabaseError(f"{name}: " + (kinds[0] if kinds else "{}").format(text))


class _IntDumper(Dumper):
    """Passes all integers as bigint, and bool as 0 or 1: a statement has the same types, and is prepared once."""

    format = Format.BINARY
    oid = 20

    def dump(self, obj: int) -> Buffer:
        return struct.pack("!q", obj)


class _TextDumper(Dumper):
    """Passes texts without a type. PostgreSQL has no NUL in texts."""

    def dump(self, obj: str) -> Buffer:
        return obj.replace("\0", "\ufffd").encode()


def _number(value: Decimal) -> Any:
    # Sums of bigint are numeric.
    return int(value) if value == value.to_integral_value() else float(value)


class _NumberLoader(NumericLoader):
    def load(self, data: Buffer) -> Any:
        return _number(super().load(data))


class _BinaryNumberLoader(NumericBinaryLoader):
    def load(self, data: Buffer) -> Any:
        return _number(super().load(data))


class _Context(NamedTuple):
    adapters: AdaptersMap
    connection: psycopg.Connection | None = None


_ADAPTERS = AdaptersMap(psycopg.adapters)
_CONTEXT = _Context(_ADAPTERS)
for _type in (int, bool):
    _ADAPTERS.register_dumper(_type, _IntDumper)
_ADAPTERS.register_dumper(str, _TextDumper)
_ADAPTERS.register_loader("numeric", _NumberLoader)
_ADAPTERS.register_loader("numeric", _BinaryNumberLoader)
