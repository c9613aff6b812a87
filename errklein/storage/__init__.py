"""Where plugins' values are kept: each storage implements `errklein.ports.Storage`."""

from errklein.storage.errors import StorageError, UnreadableValue, UnstorableValue
from errklein.storage.memory import MemoryStorage
from errklein.storage.sqlite import SQLiteStorage

__all__ = ["MemoryStorage", "SQLiteStorage", "StorageError", "UnreadableValue", "UnstorableValue"]
