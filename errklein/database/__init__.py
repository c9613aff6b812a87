"""SQLite files: connections, transactions, migrations and errors, independent of the tables."""

from errklein.database._connection import Database
from errklein.database._errors import DatabaseError
from errklein.database._migrations import Migration, read_migrations

__all__ = ["Database", "DatabaseError", "Migration", "read_migrations"]
