"""The values that `mutable` blocks of a store have in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock, get_ident
from typing import Any

from twisted.logger import Logger

from errklein.running import in_any_reactor_thread

LONGEST_WAIT = 5.0
"""The seconds after which a block in a thread doesn't wait any longer for the same block. Two threads that need each other's keys would
wait forever otherwise."""

_log = Logger()


@dataclass(eq=False)
class _SharedValue:
    """A value and its blocks.

    :param blocks: The number of blocks that have the value, or wait for it.
    :param opened: The number of those that have it.
    :param thread: The thread that others wait for; it has `depth` blocks.
    :param begun: The number of blocks that others have waited for, or do.
    :param transfer: Held while the value is read or stored, never while a block runs, so the reactor may wait for it.
    """

    value: Any = None
    blocks: int = 0
    opened: int = 0
    thread: int | None = None
    depth: int = 0
    begun: int = 0
    transfer: Lock = field(default_factory=Lock)


class SharedValues:
    """Gives blocks that use a key at the same time the same object, so that none overwrites the changes of another one.

    Blocks in different threads run one after the other. The reactor must not wait for a thread, so blocks on the reactor begin at
    once, and those of one thread may be nested.

    :param owner: The name of the store in the log.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._values: dict[str, _SharedValue] = {}
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

    def is_in_use(self, key: str) -> bool:
        """Return whether blocks have the value, or wait for it."""
        return key in self._values

    def _enter(self, key: str) -> _SharedValue:
        with self._left:
            shared = self._values.setdefault(key, _SharedValue())
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
                    _log.warn(
                        "{owner}: two blocks of mutable({key!r}) run at the same time, since one takes over {seconds:g} s",
                        owner=self._owner,
                        key=key,
                        seconds=LONGEST_WAIT,
                    )
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
                del self._values[key]
