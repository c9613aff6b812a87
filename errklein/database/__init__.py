"""SQLite files: connections, transactions, group commit, migrations and errors, independent of the tables."""

from errklein.database._connection import Access, Database
from errklein.database._copies import write_copy
from errklein.database._errors import DatabaseError
from errklein.database._group_commit import GroupCommit, Operation, Run
from errklein.database._job_thread import JobThread, ThreadReactor
from errklein.database._migrations import Migration, read_migrations, upgrade_of
from errklein.database._statements import MAX_ROWS, execute_rows

__all__ = [
    "MAX_ROWS",
    "Access",
    "Database",
    "DatabaseError",
    "GroupCommit",
    "JobThread",
    "Migration",
    "Operation",
    "Run",
    "ThreadReactor",
    "execute_rows",
    "read_migrations",
    "upgrade_of",
    "write_copy",
]
