"""SQLite files: connections, transactions, group commit, migrations and errors, independent of the tables."""

from errklein.database._connection import (
    Access,
    Database,
    DatabaseError,
    StorageError,
    read_migrations,
    upgrade_of,
    write_copy,
)
from errklein.database._group_commit import (
    MAX_ROWS,
    GroupCommit,
    JobThread,
    Operation,
    Run,
    each,
    execute_rows,
    insert_all,
)
