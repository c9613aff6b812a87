"""Storages that were written for errbot, behind errklein's own port.

They may block, and need not be safe to use from several threads. So all calls take turns, under one lock. The calls of
handlers that run in threads, as all plain methods do, wait there and hold up nobody else. A handler on the reactor gets
its value at once, as `self["key"]` has to be one, so it does hold up the bot for as long as the storage takes; the log
says how long, by namespace. What errklein itself asks for again and again on the reactor, plugins' configurations, is
read once and then remembered.
"""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.logger import Logger
from twisted.python.threadable import isInIOThread

from errklein.compat.storages.base import StoragePluginBase
from errklein.ports import Store
from errklein.running.rate_limit import RateLimit
from errklein.storage import StorageError, UnstorableValue
from errklein.text.errors import one_line
from errklein.text.masking import masker, secrets_in

T = TypeVar("T")

REMEMBERED = frozenset({"core"})
"""The namespaces that only errklein writes, so that what was read from them once is known."""

SLOW = 0.05
"""How many seconds the reactor may be held before the log says so."""

_ABSENT = object()
_UNKNOWN = object()


class ThirdPartyStorage:
    """The storage called `name`, usable from any thread; what it raises becomes a StorageError of one line.

    `config` is its STORAGE_CONFIG, whose secrets never get into an error. A namespace that is opened again while it is
    open is the same one.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        opener: StoragePluginBase,
        config: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_reactor: Callable[[], bool] = isInIOThread,
    ) -> None:
        self.name = name
        self._opener = opener
        masker.learn(self, "STORAGE_CONFIG", secrets_in(config or {}))
        self._clock = clock
        self._on_reactor = on_reactor
        self._lock = threading.RLock()
        self._opened: dict[str, _Opened] = {}
        self._known: set[str] = set()
        self._warnings = RateLimit(clock)
        self._closed = False

    def namespaces(self) -> list[str]:
        """The namespaces that were opened since the bot's start; such a storage can't tell of others."""
        return sorted(self._known)

    def open(self, namespace: str) -> ThirdPartyStore:
        """The values of `namespace`; several may be open at once, and see each other's changes."""
        with self._lock:
            if self._closed:
                raise StorageError(f"{self.name}: the storage is closed")
            opened = self._opened.get(namespace)
            if opened is None:
                with self.asking(namespace):
                    values = self._opener.open(namespace)
                opened = self._opened[namespace] = _Opened(values)
            opened.users += 1
            self._known.add(namespace)
        return ThirdPartyStore(self, namespace, opened)

    def release(self, namespace: str, opened: _Opened) -> None:
        """One user of the namespace less; the last one closes it."""
        with self._lock:
            opened.users -= 1
            if not opened.users and self._opened.get(namespace) is opened:
                del self._opened[namespace]
                with self.asking(namespace):
                    opened.values.close()

    def close(self) -> None:
        """Close every namespace; one that can't be closed is told to the log, and the others are closed nevertheless."""
        with self._lock:
            self._closed = True
            while self._opened:
                namespace, opened = self._opened.popitem()
                opened.closed = True
                try:
                    with self.asking(namespace):
                        opened.values.close()
                except StorageError as error:
                    self.log.error("{error}", error=str(error))

    @contextmanager
    def asking(self, namespace: str) -> Iterator[None]:
        """Within, the storage is asked: nobody else asks it, and whatever it raises becomes a StorageError."""
        began = self._clock()
        try:
            with self._lock:
                yield
        except StorageError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {masker(one_line(error))}"
            raise StorageError(f"{namespace}: the storage {self.name} failed: {what}") from error
        finally:
            seconds = self._clock() - began
            if seconds >= SLOW and self._on_reactor() and self._warnings.allows(namespace):
                self.log.warn(
                    "{storage} held up the bot for {seconds:.2f} s over {namespace}: a handler that uses storage and "
                    "isn't async holds up nobody",
                    storage=self.name,
                    seconds=seconds,
                    namespace=namespace,
                )


@dataclass(eq=False)
class _Opened:
    """A namespace of the storage while it is open: its values, what is remembered of them, how many use it."""

    values: Store
    users: int = 0
    closed: bool = False
    remembered: dict[str, Any] = field(default_factory=dict)


class ThirdPartyStore:
    """The values of one namespace of a ThirdPartyStorage."""

    def __init__(self, storage: ThirdPartyStorage, namespace: str, opened: _Opened) -> None:
        self._storage = storage
        self._namespace = namespace
        self._opened = opened
        self._closed = False

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        self._check_key(key)
        value = self._opened.remembered.get(key, _UNKNOWN)
        if value is _UNKNOWN or self._closed or self._opened.closed:
            value = self._ask(lambda values: self._read(values, key))
        if value is _ABSENT:
            raise KeyError(key)
        # What is remembered is nobody's to change: the storage gave it out as it is stored.
        return copy.deepcopy(value) if self._namespace in REMEMBERED else value

    def set(self, key: str, value: Any) -> None:
        """Keep the value; raises UnstorableValue if the storage can't keep such a one."""
        self._check_key(key)

        def keep(values: Store) -> None:
            self._opened.remembered.pop(key, None)
            values.set(key, value)

        try:
            self._ask(keep)
        except StorageError as error:
            reason = error.__cause__
            if isinstance(reason, (pickle.PicklingError, TypeError, AttributeError)):
                raise UnstorableValue(self._namespace, key, value, reason) from reason
            raise

    def remove(self, key: str) -> None:
        """Forget the value; raises KeyError."""
        self._check_key(key)

        def forget(values: Store) -> bool:
            self._opened.remembered.pop(key, None)
            try:
                values.remove(key)
            except KeyError:
                return False
            return True

        if not self._ask(forget):
            raise KeyError(key)

    def keys(self) -> list[str]:
        """The keys, as they are now."""
        return self._ask(lambda values: list(values.keys()))

    def len(self) -> int:
        """How many values there are."""
        return self._ask(lambda values: int(values.len()))

    def close(self) -> None:
        """Give the namespace back; it can be opened again."""
        if not self._closed:
            self._closed = True
            if not self._opened.closed:
                self._storage.release(self._namespace, self._opened)

    def _ask(self, question: Callable[[Store], T]) -> T:
        with self._storage.asking(self._namespace):
            if self._closed or self._opened.closed:
                raise StorageError(f"{self._namespace}: the store is closed")
            return question(self._opened.values)

    def _read(self, values: Store, key: str) -> Any:
        try:
            value = values.get(key)
        except KeyError:
            value = _ABSENT
        if self._namespace in REMEMBERED:
            self._opened.remembered[key] = value
        return value

    def _check_key(self, key: str) -> None:
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: a key is a string, not {key!r}")
