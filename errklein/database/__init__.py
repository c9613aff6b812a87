"""SQLite files: connections, transactions, group commit, migrations and errors, independent of the tables."""

from errklein.database._connection import (
    MAX_ROWS,
    Access,
    Cursor,
    Database,
    DatabaseError,
    GroupCommit,
    JobThread,
    Operation,
    Run,
    SQLConnection,
    SQLDatabase,
    StorageError,
    each,
    execute_rows,
    insert_all,
    read_migrations,
    upgrade_of,
    write_copy,
)
