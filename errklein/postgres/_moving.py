"""Copies all data of a stopped bot between SQLite files and a PostgreSQL database, and compares what has arrived."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from errklein.database import Database, DatabaseError, SQLConnection, check_version, connect_to_read
from errklein.postgres._database import name_of
from errklein.postgres._tables import MIGRATIONS, connection_to, lock_nodes, make_tables, value_of, version_of

_TEXT = Path(__file__).with_name("moving.sql").read_text("utf-8")
_SQL = {query.partition(":")[0]: query.partition("\n")[2] for query in _TEXT.split("\n-- query ")[1:]}

_OF_NODES = ("totals", "message_totals")
"""The tables with the numbers of each node in PostgreSQL, and of all in SQLite."""

Files = Mapping[Path, Sequence[str]]
"""SQLite files, and the migrations that make each."""


class _Table(NamedTuple):
    """A table of a SQLite file. PostgreSQL's has the same columns, and further ones."""

    name: str
    columns: Sequence[str]
    keys: Sequence[str]

    @property
    def into(self) -> str:
        return f"{self.name} ({', '.join(self.columns)})"

    @property
    def of_file(self) -> str:
        """The query of its rows in SQLite."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"

    def of_server(self, connection: psycopg.Connection) -> Iterator[Sequence[Any]]:
        """Yield the rows of PostgreSQL as SQLite has them."""
        query = self.of_file
        if self.name in _OF_NODES:
            columns = (one if one in self.keys else f"sum({one})::bigint" for one in self.columns)
            query = f"SELECT {', '.join(columns)} FROM {self.name} GROUP BY {', '.join(self.keys)}"
        with connection.cursor(self.name) as cursor:
            yield from cursor.execute(query.encode())


class _Copied:
    """Rows as both databases can have them, with their number, and a checksum that doesn't depend on their order."""

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self.count = self.sum = 0
        self._rows = rows

    def __iter__(self) -> Iterator[Sequence[Any]]:
        for row in self._rows:
            # PostgreSQL has no NUL in texts.
            row = [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row]
            self.count += 1
            self.sum += int.from_bytes(sha256(repr(row).encode("utf-8", "surrogatepass")).digest())
            yield row

    def compared(self, table: _Table, stored: Iterable[Sequence[Any]]) -> str:
        """Return a line about the rows, all of which must be among what was stored. Raises DatabaseError."""
        arrived = _Copied(stored)
        for _ in arrived:
            pass
        if (arrived.count, arrived.sum) != (self.count, self.sum):
            raise DatabaseError(
                f"{table.name}: {self.count} rows were copied, and differ from the {arrived.count} stored"
            )
        return f"{table.name}: {self.count}, SHA-256 sum {self.sum % 2**64:016x}"


def move_in(address: str, files: Files, mark: Callable[[str], None]) -> Sequence[str]:
    """See `ports.nodes.Databases.move_in`."""
    name = name_of(address)
    with connection_to(address, "errklein move") as target:
        lines = list(make_tables(target, name))
        lock_nodes(target, name)
        target.execute(_SQL["before arrival"].encode())
        for path, migrations in files.items():
            with closing(connect_to_read(path)) as source:
                check_version(source, path, migrations)
                source.text_factory = lambda text: text.decode("utf-8", "replace")
                for table in _tables(source):
                    if value_of(target, f"SELECT count(*) FROM {table.name}") > (table.name == "outbox_ids"):
                        raise DatabaseError(f"{name} has data already, and nothing was moved; name an empty database")
                    target.execute(f"DELETE FROM {table.name}".encode())
                    rows = _Copied(source.execute(table.of_file))
                    with target.cursor() as cursor, cursor.copy(f"COPY {table.into} FROM STDIN".encode()) as copy:
                        for row in rows:
                            copy.write_row(row)
                    lines.append(rows.compared(table, table.of_server(target)))
        target.execute(_SQL["after arrival"].encode())
        mark(name)
    return lines


def move_out(address: str, files: Files, place: str) -> Sequence[str]:
    """See `ports.nodes.Databases.move_out`."""
    name, lines = name_of(address), []
    with connection_to(address, "errklein move") as source:
        lock_nodes(source, name)
        if version_of(source) != len(MIGRATIONS):
            raise DatabaseError(f"{name}: the tables are missing or have another version; run `errklein storage init`")
        if (moved_to := value_of(source, "SELECT moved_to FROM made")) not in ("", place):
            raise DatabaseError(f"{name}: the data was moved to {moved_to} already")
        source.execute(_SQL["before departure"].encode())
        for path, migrations in files.items():
            with closing(Database(path, migrations)) as target, target.transaction() as connection:
                for table in _tables(connection):
                    connection.execute(f"DELETE FROM {table.name}")
                    rows, values = _Copied(table.of_server(source)), ", ".join("?" * len(table.columns))
                    for row in rows:
                        connection.execute(f"INSERT INTO {table.into} VALUES ({values})", row)
                    lines.append(rows.compared(table, connection.execute(table.of_file)))
        source.execute("UPDATE made SET moved_to = %s", [place])
    return lines


def _tables(connection: SQLConnection | sqlite3.Connection) -> Iterator[_Table]:
    # The oldest first.
    names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
    for (name,) in connection.execute(names).fetchall():
        described = connection.execute(f"SELECT name, pk FROM pragma_table_info('{name}')").fetchall()
        yield _Table(name, [column for column, _ in described], [column for column, key in described if key])
