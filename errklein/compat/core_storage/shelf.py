"""The module that shelf.plug names: the class of the storage Shelf."""

from errklein.compat.storages.bundled import ShelfStoragePlugin

__all__ = ["ShelfStoragePlugin"]
