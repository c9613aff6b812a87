"""Where plugins' values are kept: each storage implements `errklein.ports.Storage`."""

from errklein.storage.errors import StorageError, UnreadableValue, UnstorableValue
from errklein.storage.memory import MemoryStorage
from errklein.storage.sqlite import DATABASE, SQLiteStorage

__all__ = ["DATABASE", "MemoryStorage", "SQLiteStorage", "StorageError", "UnreadableValue", "UnstorableValue"]
