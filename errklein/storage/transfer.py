"""All values of a storage at once, out of it and into it, whatever kind it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing

from errklein.ports import Storage
from errklein.storage.errors import UnreadableValue, UnstorableValue
from errklein.storage.pickling import dumps
from errklein.storage.reading import DEFAULT_READER, ValueReader
from errklein.storage.sqlite import Row, SQLiteStorage


def rows_of(storage: Storage, names: Iterable[str] = ()) -> Iterator[Row]:
    """All values, of the namespaces that the storage knows of and of `names`; may block.

    Of a file these are the bytes in it at one moment, also of values that can't be read. Raises StorageError.
    """
    if isinstance(storage, SQLiteStorage):
        yield from storage.rows()
        return
    for namespace in sorted({*storage.namespaces(), *names}):
        with closing(storage.open(namespace)) as store:
            for key in sorted(set(store.keys())):
                try:
                    value = store.get(key)
                except KeyError:
                    # Removed since the keys were listed.
                    continue
                try:
                    data = dumps(value)
                except Exception as error:
                    raise UnstorableValue(namespace, key, value, error) from error
                yield namespace, key, data


def put_rows(
    storage: Storage,
    rows: Iterable[Row],
    instead_of: Iterable[str] = (),
    *,
    trusted: Collection[str] | None = (),
    values: ValueReader = DEFAULT_READER,
) -> None:
    """Keep the rows; the namespaces `instead_of` lose what they have. May block.

    In errklein's own file this is one transaction, and each value is marked as restored, with the names that are `trusted`;
    None is for values of the bot's own, which aren't restricted. Other storages have no place for such a mark and store
    objects, so `values` unpickles all values first, with the same restrictions; the classes that they name must be importable.
    Raises UnreadableValue before anything is changed.
    """
    if isinstance(storage, SQLiteStorage):
        storage.put(rows, instead_of, trusted)
        return

    def value_of(namespace: str, key: str, data: bytes) -> object:
        try:
            return values.load(namespace, data, trusted)
        except Exception as error:
            raise UnreadableValue(namespace, key, error) from error

    read = [(namespace, key, value_of(namespace, key, data)) for namespace, key, data in rows]
    for namespace in instead_of:
        with closing(storage.open(namespace)) as store:
            for key in list(store.keys()):
                store.remove(key)
    for namespace, key, value in read:
        with closing(storage.open(namespace)) as store:
            store.set(key, value)
