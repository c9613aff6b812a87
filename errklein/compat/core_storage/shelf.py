"""The module of shelf.plug."""

from errklein.compat.storages.bundled import ShelfStoragePlugin

__all__ = ["ShelfStoragePlugin"]
