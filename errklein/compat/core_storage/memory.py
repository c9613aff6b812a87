"""The module that memory.plug names: the class of the storage Memory."""

from errklein.compat.storages.bundled import MemoryStoragePlugin

__all__ = ["MemoryStoragePlugin"]
