"""All values of a storage at once, out of it and into it, whatever kind it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from errklein.ports import Storage
from errklein.storage.errors import UnreadableValue, UnstorableValue
from errklein.storage.pickling import dumps, loads
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


def put_rows(storage: Storage, rows: Iterable[Row], instead_of: Iterable[str] = ()) -> None:
    """Keep the rows; the namespaces `instead_of` lose what they have. May block.

    With errklein's own file all of it happens or nothing. Any other storage gets each value as the object that it is, so
    the classes that it names have to be there: all values are made objects before the first is kept.
    """
    if isinstance(storage, SQLiteStorage):
        storage.put(rows, instead_of)
        return
    values = [(namespace, key, _value(namespace, key, data)) for namespace, key, data in rows]
    for namespace in instead_of:
        with closing(storage.open(namespace)) as store:
            for key in list(store.keys()):
                store.remove(key)
    for namespace, key, value in values:
        with closing(storage.open(namespace)) as store:
            store.set(key, value)


def _value(namespace: str, key: str, data: bytes) -> object:
    try:
        value: object = loads(data)
    except Exception as error:
        raise UnreadableValue(namespace, key, error) from error
    return value
