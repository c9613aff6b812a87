"""SQLite files: connections, transactions, migrations and errors, without knowledge of what is stored."""

from errklein.database.connection import Database
from errklein.database.errors import DatabaseError
from errklein.database.migrations import Migration

__all__ = ["Database", "DatabaseError", "Migration"]
