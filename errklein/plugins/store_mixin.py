"""StoreMixin, the mapping in which plugins store values durably."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, Self

from errklein.plugins._shared_values import SharedValues
from errklein.ports.values import Storage, Store


class StoreException(Exception):
    """The base class of errors about the state of a store."""


class StoreAlreadyOpenError(StoreException):
    """The store is already open."""


class StoreNotOpenError(StoreException, AttributeError):
    """The store isn't open. A plugin's store is open from `activate` to `deactivate`.

    It is also an AttributeError, which plugins written for errbot catch.
    """


class StoreMixin(MutableMapping[str, Any]):
    """A mapping of strings to values that are stored durably.

    Every plugin is one::

        @botcmd
        def count(self, msg, args):
            "Count the uses of this command."
            self["uses"] = self.get("uses", 0) + 1
            return f"Used {self['uses']} times."

    Each assignment is stored before it returns, so a value survives a restart or crash. Values can be of any type that
    the `pickle` module supports. A plugin sees only its own values.

    A value changed in place isn't stored. Assign it again, or use `mutable`::

        with self.mutable("jobs", []) as jobs:
            jobs.append("deploy")

    Reading, assigning and deleting raise StoreNotOpenError if the store isn't open, and StorageError if the storage
    fails. As in a dictionary, a missing key raises KeyError.
    """

    # Class attributes, so that a missing call of super().__init__ leads to a clear error.
    namespace: str | None = None
    _store: Store | None = None
    __shared_values: SharedValues

    def open_storage(self, storage: Storage, namespace: str) -> None:
        """Open the store of a namespace. BotPlugin does this in `activate`.

        :param storage: The storage, such as the bot's.
        :param namespace: The name that separates these values from others.
        :raises StoreAlreadyOpenError: If a store is open.
        """
        if self._store is not None:
            raise StoreAlreadyOpenError(f"The store of {self.namespace} is already open.")
        self._store = storage.open(namespace)
        self.__shared_values = SharedValues(namespace)
        self.namespace = namespace

    def close_storage(self) -> None:
        """Close the store. The values stay in the storage.

        :raises StoreNotOpenError: If no store is open.
        """
        store = self.__opened_store()
        self._store = None
        store.close()

    def is_open_storage(self) -> bool:
        """Return whether the store is open."""
        return self._store is not None

    @contextmanager
    def mutable(self, key: str, default: Any = None) -> Iterator[Any]:
        """Provide a value that is changed in place and stored at the end of the `with` block.

        For example::

            with self.mutable("votes", {}) as votes:
                votes[str(msg.frm.person)] = args

        If the block raises an exception, nothing is stored.

        No change is lost if several blocks use a key at the same time. In threads, they run one after the other; one that takes over
        5 s doesn't keep others waiting any longer. Blocks in coroutines don't wait. Blocks that overlap have the same object, which
        is stored at the end of each; if one raises an exception, what it has changed is stored with the changes of the others.

        :param key: The key of the value.
        :param default: The value to start with if the key is missing.
        :raises StoreNotOpenError: If the store isn't open, or was closed during the block; nothing is stored then.
        """
        opened = self.__opened_store()

        def store(value: Any) -> None:
            if self._store is not opened:
                raise StoreNotOpenError(f"The store of {self.namespace} was closed during a block of mutable({key!r}).")
            self[key] = value

        # Not `self.get`, which a plugin's command may hide.
        with self.__shared_values.block(key, lambda: Mapping.get(self, key, default), store) as value:
            yield value

    def clear(self) -> None:
        """Remove all values, including those that can't be read any more."""
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
        # A copy: storages written for errbot may return a view, which changes.
        return iter(list(self.__opened_store().keys()))

    def __len__(self) -> int:
        return self.__opened_store().len()

    def __eq__(self, other: object) -> bool:
        # Plugins are members of sets, so two plugins with the same values must differ.
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
                f"The store of {owner} isn't open. A plugin can use its store from activate() to deactivate()."
            )
        return self._store
