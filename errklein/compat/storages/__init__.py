"""Adapters for third-party storages that were written for errbot, and the creation of the configured storage."""

from errklein.compat.storages._finding import (
    check_shelves,
    check_storage,
    command_for,
    database_of,
    load_storage_class,
    make_storage,
    settle_shelves,
    shelves_to_import,
)

__all__ = [
    "check_shelves",
    "check_storage",
    "command_for",
    "database_of",
    "load_storage_class",
    "make_storage",
    "settle_shelves",
    "shelves_to_import",
]
