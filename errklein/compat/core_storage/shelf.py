"""The module of shelf.plug."""

from errklein.compat.storages.base import ShelfStoragePlugin as ShelfStoragePlugin
