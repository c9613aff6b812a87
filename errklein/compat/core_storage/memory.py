"""The module of memory.plug."""

from errklein.compat.storages import MemoryStoragePlugin as MemoryStoragePlugin
