"""The memory budget of request bodies.

A body of at most 1 MiB stays in memory from its arrival to its response, while there is room for it; other bodies are in temporary
files. A body in a file, or one that takes long to decode, passes a lane: it waits for memory, is read and decoded in a thread, and
leaves when its handler has ended. Small bodies have a lane of their own, and so never wait for large ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from tempfile import SpooledTemporaryFile
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from errklein.listening import ConnectionLimits
from errklein.running import Overloaded, PoolStopped, WorkerPool

T = TypeVar("T")

IN_MEMORY = 1024 * 1024
"""The maximal size of a body that waits in memory, in bytes."""

SMALL = 256 * 1024
"""The maximal size of a body in the lane of small ones, in bytes. None of these takes more than 50 ms to decode."""

WEIGHT = 8
"""The memory of a body and its decoded value, as a multiple of the body's size. Measured: 2 to 8, with the limits of JSON; up to 30
for small bodies that consist of empty lists."""


class BodyBudget:
    """The budget of a web server.

    :param limit: The memory in bytes; None if it is unlimited. Bodies in memory get an eighth, the lane of small bodies a quarter, that
        of large ones the rest.
    :param small_pool: The threads that decode small bodies, and delete files.
    :param large_pool: The threads that decode large bodies; with one thread, others wait least for the interpreter.
    :param connections: The limits of connections, which count files too.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limit: int | None,
        small_pool: WorkerPool,
        large_pool: WorkerPool,
        connections: ConnectionLimits,
    ) -> None:
        total = math.inf if limit is None else limit
        self.connections = connections
        self._room = total / 8
        self._small_pool = small_pool
        self._small = Lane(clock, small_pool, total / 4)
        self._large = Lane(clock, large_pool, total * 5 / 8)

    def take(self, size: int) -> bool:
        """Take memory for a body that waits in memory. Return False if there isn't enough."""
        if size > self._room:
            return False
        self._room -= size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._room += size

    def discard(self, file: BodyFile) -> None:
        """Close a file, in a thread if it is on disk: deleting 24 MB takes ten milliseconds."""
        if file.on_disk:
            closed = self._small_pool.run(lambda: file.close, follow_up=True).addErrback(lambda _: file.close())
            closed.addCallback(lambda _: self.connections.file_closed())
        else:
            file.close()

    def lane(self, size: int) -> Lane:
        """Return the lane for bodies of this size."""
        return self._small if size <= SMALL else self._large

    def stop(self) -> None:
        """Reject bodies that wait, and all later ones."""
        self._small.stop()
        self._large.stop()


class Lane:
    """Admits bodies when a thread can decode them, while the sum of their weights is within a limit.

    Clients get the same share: the one with the least weight is next, with its smallest body, and none gets more than half of the
    limit. A body that exceeds this alone is admitted when no other is.

    :param pool: The threads that decode; the longest time to wait for memory is that of the pool.
    """

    def __init__(self, clock: IReactorTime, pool: WorkerPool, limit: float) -> None:
        self._clock = clock
        self._pool = pool
        self._limit = limit
        self._used = 0
        self._of_client: Counter[str] = Counter()
        self._decoding = 0
        self._waiting: dict[Deferred[None], tuple[str, int]] = {}
        self._admitting = False

    def run(
        self, client: str, size: int, prepare: Callable[[], Callable[[], T]], handle: Callable[[T], Any]
    ) -> Deferred[Any]:
        """Decode a body, pass the result to `handle`, and return a Deferred of that function's result.

        :param client: The client that has sent the body.
        :param size: The size of the body in bytes.
        :param prepare: Called on the reactor when a thread is free; returns the function that decodes, to be called there.
        :returns: A Deferred that may fail with Overloaded or PoolStopped.
        """
        weight = size * WEIGHT

        def decode(_: None) -> Deferred[Any]:
            decoded: Deferred[Any] = self._pool.run(prepare).addBoth(self._decoded)
            return decoded.addCallback(handle).addBoth(self._leave, client, weight)

        return self._admit(client, weight).addCallback(decode)

    def stop(self) -> None:
        """Reject bodies that wait, and all later ones."""
        self._pool.stop()
        waiting, self._waiting = self._waiting, {}
        for admitted in waiting:
            admitted.errback(PoolStopped(f"the {self._pool.name} pool has stopped"))

    def _admit(self, client: str, weight: int) -> Deferred[None]:
        admitted: Deferred[None] = Deferred(self._waiting.__delitem__)
        self._waiting[admitted] = client, weight
        self._admit_waiting()
        if not admitted.called and self._pool.wait is not None:
            admitted.addTimeout(self._pool.wait, self._clock, self._overloaded)
        return admitted

    def _admit_waiting(self) -> None:
        if self._admitting:
            # A body has left before its `decode` has returned; the loop goes on below.
            return
        self._admitting = True
        while self._waiting and self._decoding < self._pool.size:
            admitted, (client, weight) = min(self._waiting.items(), key=self._turn_of)
            of_client = self._of_client[client] + weight
            if self._used and max(self._used + weight, 2 * of_client) > self._limit:
                break
            del self._waiting[admitted]
            self._used += weight
            self._of_client[client] = of_client
            self._decoding += 1
            admitted.callback(None)
        self._admitting = False

    def _turn_of(self, waiting: tuple[object, tuple[str, int]]) -> tuple[int, int]:
        client, weight = waiting[1]
        return self._of_client[client], weight

    def _decoded(self, result: Any) -> Any:
        self._decoding -= 1
        self._admit_waiting()
        return result

    def _leave(self, result: Any, client: str, weight: int) -> Any:
        self._used -= weight
        self._of_client[client] -= weight
        if not self._of_client[client]:
            del self._of_client[client]
        self._admit_waiting()
        return result

    def _overloaded(self, _: Failure | None, seconds: float) -> None:
        raise Overloaded(self._pool.name, f"no memory for a body became free in {seconds:g} s", seconds)


class BodyFile(SpooledTemporaryFile[bytes]):
    """A body while it arrives: in memory while it is small and there is room, then in a temporary file."""

    def __init__(self, budget: BodyBudget) -> None:
        super().__init__()
        self._budget = budget
        self._taken = 0
        self.on_disk = False
        """Whether the body is in a temporary file."""

    def add(self, data: bytes) -> None:
        """Add a part of the body.

        :raises OSError: The disk is full.
        """
        fits = not self.on_disk and self._taken + len(data) <= IN_MEMORY and self._budget.take(len(data))
        if fits:
            self._taken += len(data)
        elif not self.on_disk:
            self._budget.connections.file_opened()
            self.on_disk = True
            self._give_back()
            self.rollover()
        self.write(data)

    def close(self) -> None:
        """Close the file, and delete it. May be called in any thread if it is on disk."""
        super().close()
        if not self.on_disk:
            self._give_back()

    def _give_back(self) -> None:
        self._budget.give_back(self._taken)
        self._taken = 0
