"""Plugins' values: storages, pickles, backups, and the import of errbot's shelves."""

from errklein.storage.backup import BACKUP_NAME, write_backup
from errklein.storage.errbot_backup import ErrbotBackup, read_any_backup
from errklein.storage.errors import StorageError, UnreadableValue, UnstorableValue
from errklein.storage.importing import MARK, SETTLED, ImportPlan, imported_shelves, is_settled, settle, unimported
from errklein.storage.memory import MemoryStorage
from errklein.storage.pickling import dumps, plain_value
from errklein.storage.restricted_pickling import ValueReader, is_standard
from errklein.storage.shelves import find_shelves
from errklein.storage.sqlite import DATABASE, Row, SQLiteStorage
from errklein.storage.transfer import NameStatus, check_rows, put_rows, rows_of

__all__ = [
    "BACKUP_NAME",
    "DATABASE",
    "MARK",
    "SETTLED",
    "ErrbotBackup",
    "ImportPlan",
    "MemoryStorage",
    "NameStatus",
    "Row",
    "SQLiteStorage",
    "StorageError",
    "UnreadableValue",
    "UnstorableValue",
    "ValueReader",
    "check_rows",
    "dumps",
    "find_shelves",
    "imported_shelves",
    "is_settled",
    "is_standard",
    "plain_value",
    "put_rows",
    "read_any_backup",
    "rows_of",
    "settle",
    "unimported",
    "write_backup",
]
