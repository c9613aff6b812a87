"""The class of the storage Shelf."""

from errklein.storage.bundled import ShelfStoragePlugin

__all__ = ["ShelfStoragePlugin"]
