"""A mapping whose items outlive the process: how plugins keep values, as `self["key"]`."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, Self

from errklein.ports import Storage, Store


class StoreException(Exception):
    """A plugin's store is not in the state that the call needs."""


class StoreAlreadyOpenError(StoreException):
    """The store was opened before and not closed."""


class StoreNotOpenError(StoreException, AttributeError):
    """A plugin's store is open only from `activate` to `deactivate`. Plugins for errbot catch an AttributeError."""


class StoreMixin(MutableMapping[str, Any]):
    """A mapping of strings to any values that pickle, each kept when it is assigned.

    To change a value in place does not store it: assign it again, or use `mutable`. Reading, assigning and deleting
    raise StoreNotOpenError while no storage is open, and what the storage raises, such as StorageError.
    """

    # On the class, so that a plugin that forgets to call super().__init__ still gets a clear error.
    namespace: str | None = None
    _store: Store | None = None

    def open_storage(self, storage: Storage, namespace: str) -> None:
        """Have the values of `namespace`; raises StoreAlreadyOpenError."""
        if self._store is not None:
            raise StoreAlreadyOpenError(f"the storage of {self.namespace} is already open")
        self._store = storage.open(namespace)
        self.namespace = namespace

    def close_storage(self) -> None:
        """Give the values back; raises StoreNotOpenError."""
        store = self.__opened_store()
        self._store = None
        store.close()

    def is_open_storage(self) -> bool:
        """Whether there is a storage between `open_storage` and `close_storage`."""
        return self._store is not None

    @contextmanager
    def mutable(self, key: str, default: Any = None) -> Iterator[Any]:
        """The value, or `default` if there is none, to change in place: it is stored if the block ends without error.

        Nothing is locked: of two such blocks that overlap, in two threads or across an await, the last to end wins.
        """
        # Not `self.get`, which a plugin's command may hide.
        value = Mapping.get(self, key, default)
        yield value
        self[key] = value

    def clear(self) -> None:
        """Forget all values, those that can't be read any more included."""
        store = self.__opened_store()
        for key in list(store.keys()):
            # Another thread may have removed it meanwhile.
            with suppress(KeyError):
                store.remove(key)

    def __getitem__(self, key: str) -> Any:
        return self.__opened_store().get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.__opened_store().set(key, value)

    def __delitem__(self, key: str) -> None:
        self.__opened_store().remove(key)

    def __iter__(self) -> Iterator[str]:
        # The keys as they are now: a storage that was written for errbot may answer with a view that changes.
        return iter(list(self.__opened_store().keys()))

    def __len__(self) -> int:
        return self.__opened_store().len()

    def __eq__(self, other: object) -> bool:
        # Two plugins that happen to hold the same values are still two plugins, and live in sets by identity.
        if isinstance(other, StoreMixin):
            return self is other
        # Not `self.items`, which a plugin's command may hide.
        return dict(ItemsView(self)) == dict(other.items()) if isinstance(other, Mapping) else NotImplemented

    __hash__ = object.__hash__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close_storage()

    def __opened_store(self) -> Store:
        if self._store is None:
            name = getattr(self, "name", None)
            owner = self.namespace or (name if isinstance(name, str) else type(self).__name__)
            raise StoreNotOpenError(
                f"the storage of {owner} is not open: a plugin's values can be used from activate() to deactivate()"
            )
        return self._store
