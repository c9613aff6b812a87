"""SQLite files: connections, transactions, migrations and errors, without knowledge of what is stored."""

from errklein.database._connection import Database
from errklein.database._errors import DatabaseError
from errklein.database._migrations import Migration

__all__ = ["Database", "DatabaseError", "Migration"]
