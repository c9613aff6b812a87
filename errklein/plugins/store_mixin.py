"""The values that plugins store durably: StoreMixin, the mapping, and StoredValues, which doesn't block the reactor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, ItemsView, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from threading import Condition, Lock, get_ident
from time import monotonic, sleep
from types import FrameType
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from twisted.internet.defer import DeferredLock, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.ports.values import Storage, Store
from errklein.running import RateLimit, in_any_reactor_thread, may_use_reactor
from errklein.running.context import check_in_owner

T = TypeVar("T")

# The seconds that a block in a thread waits for another one, since two that need each other's keys would wait forever.
LONGEST_WAIT = 5.0
SLOW = 0.05  # the seconds for which a statement may block the reactor without a warning
_PAUSE = 0.01  # the seconds after which `update` looks again whether a block of `mutable` has ended
_log = Logger()
_warnings = RateLimit(monotonic)


@dataclass(eq=False)
class _SharedValue:
    value: Any = None
    blocks: int = 0  # the number of blocks that have the value, or wait for it
    opened: int = 0  # the number of those that have it
    thread: int | None = None  # the thread that others wait for
    depth: int = 0  # the number of its blocks
    begun: int = 0  # the number of blocks that others have waited for, or do
    # Held while the value is read or stored, never while a block runs, so the reactor may wait for it.
    transfer: Lock = field(default_factory=Lock)


class SharedValues:
    """Gives blocks that use a key at the same time the same object, so that none overwrites the changes of another one. Blocks
    in different threads run one after the other. The reactor must not wait for a thread, so blocks on the reactor begin at
    once, and those of one thread may be nested. `owner` is the name of the store in the log."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.in_use: dict[str, _SharedValue] = {}
        # Guards the counts and the thread of each value.
        self._left = Condition()

    @contextmanager
    def block(self, key: str, read: Callable[[], Any], store: Callable[[Any], None]) -> Iterator[Any]:
        """Provide the value of the key, and store it at the end of the block, unless the block raises an exception."""
        shared = self._enter(key)
        is_waited_for = False
        try:
            is_waited_for = self._wait(key, shared)
            with shared.transfer:
                if not shared.opened:
                    shared.value = read()
                shared.opened += 1
            try:
                yield shared.value
                with shared.transfer:
                    store(shared.value)
            finally:
                with shared.transfer:
                    shared.opened -= 1
        finally:
            self._leave(key, shared, is_waited_for)

    def replace(self, key: str, store: Callable[[], bool], *, despite_blocks: bool = False) -> bool:
        """Call `store` and return its result; return False without a call if blocks have the value, unless `despite_blocks`."""
        shared = self._enter(key)
        try:
            with shared.transfer:
                return (despite_blocks or not shared.opened) and store()
        finally:
            self._leave(key, shared, False)

    def _enter(self, key: str) -> _SharedValue:
        with self._left:
            shared = self.in_use.setdefault(key, _SharedValue())
            shared.blocks += 1
            return shared

    def _wait(self, key: str, shared: _SharedValue) -> bool:
        """Wait until no other thread has the value, and return whether other threads wait for the end of this block."""
        if in_any_reactor_thread():
            return False
        this = get_ident()
        with self._left:
            begun = -1
            while not self._left.wait_for(lambda: shared.thread in (None, this), LONGEST_WAIT):
                # With many threads, the wait may be long though each block is short.
                if shared.begun == begun:
                    text = "{owner}: two blocks of mutable({key!r}) run at the same time, since one takes over {seconds:g} s"
                    _log.warn(text, owner=self._owner, key=key, seconds=LONGEST_WAIT)
                    return False
                begun = shared.begun
            shared.thread = this
            shared.depth += 1
            shared.begun += 1
            return True

    def _leave(self, key: str, shared: _SharedValue, is_waited_for: bool) -> None:
        with self._left:
            if is_waited_for:
                # Perhaps in another thread than it began, if the block is in a generator.
                shared.depth -= 1
                if not shared.depth:
                    shared.thread = None
                    self._left.notify_all()
            shared.blocks -= 1
            if not shared.blocks:
                del self.in_use[key]


class StoreException(Exception):
    """The base class of errors about the state of a store."""


class StoreAlreadyOpenError(StoreException):
    """The store is already open."""


class StoreNotOpenError(StoreException, AttributeError):
    """The store isn't open: it is from `activate` to `deactivate`. As on errbot, this is also an AttributeError."""


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

    All this waits for the disk. In a coroutine, which runs on the reactor, use `self.store`, see `StoredValues`. A statement that blocks
    the reactor for over 50 ms is logged with its file and line.

    Reading, assigning and deleting raise StoreNotOpenError if the store isn't open, and StorageError if the storage
    fails. As in a dictionary, a missing key raises KeyError."""

    # Class attributes, so that a missing call of super().__init__ leads to a clear error.
    namespace: str | None = None
    _store: Store | None = None
    _errklein_shared_values: SharedValues

    def open_storage(self, storage: Storage, namespace: str) -> None:
        """Open the store of a namespace. BotPlugin does this in `activate`. Raises StoreAlreadyOpenError if one is open."""
        if self._store is not None:
            raise StoreAlreadyOpenError(f"The store of {self.namespace} is already open.")
        self._store = storage.open(namespace)
        self._errklein_shared_values = SharedValues(namespace)
        self.namespace = namespace

    def close_storage(self) -> None:
        """Close the store; StoreNotOpenError if none is open. The values stay in the storage."""
        store = opened_store(self)
        self._store = None
        store.close()

    def is_open_storage(self) -> bool:
        """Return whether the store is open."""
        return self._store is not None

    @contextmanager
    def mutable(self, key: str, default: Any = None) -> Iterator[Any]:
        """Provide a value that is changed in place and stored at the end of the `with` block; not if it raises an exception.

        No change is lost if several blocks use a key at the same time. In threads, they run one after the other; one that takes over
        5 s doesn't keep others waiting any longer. Blocks in coroutines don't wait. Blocks that overlap have the same object, which
        is stored at the end of each; if one raises an exception, what it has changed is stored with the changes of the others.

        :raises StoreNotOpenError: If the store isn't open, or was closed during the block; nothing is stored then."""
        check_in_owner("use self.mutable", "use self.store.update, or remove the option")
        opened = opened_store(self)

        def store(value: Any) -> None:
            if self._store is not opened:
                raise StoreNotOpenError(f"The store of {self.namespace} was closed during a block of mutable({key!r}).")
            self[key] = value

        # Not `self.get`, which a plugin's command may hide.
        with self._errklein_shared_values.block(key, lambda: Mapping.get(self, key, default), store) as value:
            yield value

    def clear(self) -> None:
        """Remove all values, including those that can't be read any more."""
        store = opened_store(self)
        for key in list(store.keys()):
            # Another thread may have removed it meanwhile.
            with suppress(KeyError):
                store.remove(key)

    def __getitem__(self, key: str) -> Any:
        return _timed(self, opened_store(self).get, key)

    def __setitem__(self, key: str, value: Any) -> None:
        _timed(self, opened_store(self).set, key, value)

    def __delitem__(self, key: str) -> None:
        _timed(self, opened_store(self).remove, key)

    def __iter__(self) -> Iterator[str]:
        # A copy: storages written for errbot may return a view, which changes.
        return iter(list(_timed(self, opened_store(self).keys)))

    def __len__(self) -> int:
        return _timed(self, opened_store(self).len)

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


class StoredValues:
    """The values of a plugin for code that must not block: `self.store`.

    On the reactor, so in coroutines, each method returns a Deferred at once, and other handlers go on while the disk works::

        @webhook("/builds/<project>", methods=["POST"])
        async def finished(self, payload, project):
            number = await self.store.update("number", lambda number: number + 1, 0)
            await self.store.set(f"{project} {number}", payload["status"])

    In a thread, so in a plain method, the same methods wait and return the result itself; :doc:`/guides/storage` has
    examples. The values are those of the plugin's mapping: what an awaited `set` has stored, `self["key"]` and
    `self.mutable` see, and the other way round.

    The methods raise StoreNotOpenError and StorageError as the mapping does; on the reactor, the Deferred may fail with
    StorageError."""

    def __init__(self, plugin: StoreMixin, storage: Storage, reactor: Any) -> None:
        self._plugin = plugin
        self._storage = storage
        self._reactor = reactor
        self._locks: WeakValueDictionary[str, DeferredLock] = WeakValueDictionary()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or `default` if the key is missing. A change of the object doesn't change the stored value."""
        store = opened_store(self._plugin)
        return self._result(lambda: store.read(key, default)[1])

    def set(self, key: str, value: Any) -> Any:
        """Store a value, of any type that `pickle` supports, as it is now. It is on disk when the Deferred fires."""
        return self._result(partial(_call, opened_store(self._plugin).prepare(key, value)))

    def delete(self, key: str) -> Any:
        """Remove a value; KeyError if the key is missing."""
        return self._result(partial(opened_store(self._plugin).remove, key))

    def keys(self) -> Any:
        """Return a list of the keys."""
        store = opened_store(self._plugin)
        return self._result(lambda: list(store.keys()))

    def update(self, key: str, function: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace a value by a function of it, so that no change is lost, and return the new value.

        Nothing else changes the value between the reading and the writing: no thread, no coroutine, no block of `mutable`,
        and no other process that uses the same database. If something has, the function is called again with the new value,
        so it should do nothing but compute. It is called where the caller runs, and must not block there. While a block of
        `mutable` has the key, `update` waits for its end, for at most 5 s.

        :param function: A plain function, which gets the value and returns the new one; it may change the object in place. If it
            raises an exception, nothing is stored.
        :param default: The value to start with if the key is missing, as for `mutable`."""
        update = partial(self._update, opened_store(self._plugin), key, function, default)
        if may_use_reactor(self._reactor):
            # Otherwise, of many coroutines that update a key at the same time, each would read it again after each of the others.
            return self._locks.setdefault(key, DeferredLock()).run(update)
        updated: list[Any] = []
        update().addBoth(updated.append)
        if isinstance(updated[0], Failure):
            updated[0].raiseException()
        return updated[0]

    def _result(self, work: Callable[[], Any]) -> Any:
        return self._storage.in_background(work) if may_use_reactor(self._reactor) else work()

    @inlineCallbacks
    def _update(self, store: Store, key: str, function: Callable[[Any], Any], default: Any) -> Generator[Any, Any, Any]:
        """Return the new value. In a thread, nothing that is yielded is a Deferred, so the result is there at once."""
        shared = self._plugin._errklein_shared_values
        for attempt in count():
            version, value = yield self._result(partial(store.read, key, default))
            new = function(value)
            replace = store.prepare(key, new, version)
            overdue = attempt * _PAUSE > LONGEST_WAIT
            if (yield self._result(partial(shared.replace, key, replace, despite_blocks=overdue))):
                break
            if key in shared.in_use:
                if may_use_reactor(self._reactor):
                    yield deferLater(self._reactor, _PAUSE)
                else:
                    sleep(_PAUSE)
        return new


def _call(function: Callable[[], Any]) -> None:
    function()


def opened_store(plugin: StoreMixin) -> Store:
    """Return the plugin's store; raise StoreNotOpenError if it isn't open."""
    if plugin._store is None:
        name = getattr(plugin, "name", None)
        owner = plugin.namespace or (name if isinstance(name, str) else type(plugin).__name__)
        remedy = "A plugin can use its store from activate() to deactivate()."
        raise StoreNotOpenError(f"The store of {owner} isn't open. {remedy}")
    return plugin._store


def _timed(plugin: StoreMixin, function: Callable[..., T], *args: Any) -> T:
    """Call a function of the plugin's store. If it blocks the reactor for long, log the plugin's statement."""
    began = monotonic()
    try:
        return function(*args)
    finally:
        seconds = monotonic() - began
        if seconds >= SLOW and in_any_reactor_thread():
            _warn(plugin, seconds, sys._getframe(2))


def _warn(plugin: StoreMixin, seconds: float, frame: FrameType | None) -> None:
    # The methods of this package, and those of Python that call `__getitem__` and the like.
    between = ("errklein.plugins.store_mixin", "collections.abc", "contextlib")
    while frame is not None and frame.f_globals.get("__name__") in between:
        frame = frame.f_back
    location = "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
    if _warnings.allows(location):
        remedy = "in coroutines, use `await self.store.get(…)`, `set` or `update`"
        text = f"{{plugin}}: a stored value blocked the reactor for {{seconds:.2f}} s at {{location}}; {remedy}"
        _log.warn(text, plugin=plugin.namespace, seconds=seconds, location=location)
