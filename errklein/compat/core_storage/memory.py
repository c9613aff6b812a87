"""The module of memory.plug."""

from errklein.compat.storages.base import MemoryStoragePlugin as MemoryStoragePlugin
