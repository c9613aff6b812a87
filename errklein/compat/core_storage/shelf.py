"""The module of shelf.plug."""

from errklein.compat.storages import ShelfStoragePlugin as ShelfStoragePlugin
