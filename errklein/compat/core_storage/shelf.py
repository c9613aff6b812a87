"""The module of shelf.plug."""

from errklein.compat.storages.base import ShelfStoragePlugin

__all__ = ["ShelfStoragePlugin"]
