"""The module of memory.plug."""

from errklein.compat.storages.bundled import MemoryStoragePlugin

__all__ = ["MemoryStoragePlugin"]
