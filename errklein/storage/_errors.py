"""Errors of storages. Each is one line with the namespace, the key and the reason."""

from __future__ import annotations

from reprlib import Repr

from errklein.database import StorageError
from errklein.text.errors import one_line


class UnstorableValue(StorageError, TypeError):
    """The value can't be pickled. The stored value of the key, if there is one, is unchanged."""

    def __init__(self, namespace: str, key: str, value: object, reason: BaseException) -> None:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        why = one_line(reason)
        super().__init__(
            f"{namespace}: a value of type {kind} can't be stored under {key!r} ({why}); nothing was changed"
        )


class UnreadableValue(StorageError):
    """The stored value can't be unpickled. Its bytes stay in the storage.

    This is deliberately not a KeyError: `get(key, default)` would return the default, and the plugin might then
    overwrite the value.
    """

    def __init__(self, namespace: str, key: str, reason: BaseException) -> None:
        why = one_line(reason)
        super().__init__(f"{namespace}: the value of {key!r} can't be read ({why}); it is left as it is")


_SHORT = Repr()
_SHORT.maxstring = 200


def shortly(value: object) -> str:
    """Return the value's repr, shortened to fit a line."""
    return _SHORT.repr(value)
