"""Errors of a storage, each in one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from reprlib import Repr

from errklein.database import DatabaseError
from errklein.logs import escape
from errklein.text.errors import one_line


class StorageError(Exception):
    """A value could not be kept or read; `str()` is one line. What was stored before is as it was."""

    def __str__(self) -> str:
        # Names of files, namespaces and classes are in it, and may be anything.
        return escape(super().__str__())


class UnstorableValue(StorageError, TypeError):
    """The value can't be pickled, so nothing was changed."""

    def __init__(self, namespace: str, key: str, value: object, reason: BaseException) -> None:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        why = f"nothing was changed: {one_line(reason)}"
        super().__init__(f"{namespace}: a value of type {kind} can't be stored under {key!r}, {why}")


class UnreadableValue(StorageError):
    """The stored value can't be made an object again; its bytes stay where they are.

    Deliberately no KeyError: `get(key, default)` must not pass over a value that is there, and then overwrite it.
    """

    def __init__(self, namespace: str, key: str, reason: BaseException) -> None:
        why = one_line(reason)
        super().__init__(f"{namespace}: what is stored under {key!r} can't be read, and is left as it is: {why}")


_SHORT = Repr()
_SHORT.maxstring = 200


def shortly(value: object) -> str:
    """The value's repr, shortened to fit a line."""
    return _SHORT.repr(value)


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn a DatabaseError into a StorageError."""
    try:
        yield
    except DatabaseError as error:
        raise StorageError(str(error)) from error
