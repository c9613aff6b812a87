"""The lanes in which bodies are read and decoded in threads, before their handlers are called. A body of at most 1 MiB stays
in memory from its arrival to its response, while there is room for it (`request.BodyMemory`); other bodies are in temporary
files. A body in a file, or one that takes long to decode, passes a lane: it waits for memory, is read and decoded in a
thread, and leaves when its handler has ended. Small bodies have a lane of their own, and so never wait for large ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from errklein.running import Overloaded, PoolStopped, WorkerPool

T = TypeVar("T")

SMALL = 256 * 1024
"""The maximal size of a body in the lane of small ones, in bytes. None of these takes more than 50 ms to decode."""

WEIGHT = 8
"""The memory of a body and its decoded value, as a multiple of the body's size. Measured: 2 to 8, with the limits of JSON; up to 30
for small bodies that consist of empty lists."""


class Lanes:
    """The lanes of a web server.

    :param memory: The memory for all bodies in bytes; None if it is unlimited. Bodies that wait get an eighth, those in the lane of
        small bodies a quarter, those in that of large ones the rest.
    :param small_pool: The threads that decode small bodies.
    :param large_pool: The threads that decode large bodies; with one thread, others wait least for the interpreter.
    """

    def __init__(self, clock: IReactorTime, memory: int | None, small_pool: WorkerPool, large_pool: WorkerPool) -> None:
        limit = math.inf if memory is None else memory
        self._small = Lane(clock, small_pool, limit / 4)
        self._large = Lane(clock, large_pool, limit * 5 / 8)

    def lane(self, size: int) -> Lane:
        return self._small if size <= SMALL else self._large

    def stop(self) -> None:
        self._small.stop()
        self._large.stop()


class Lane:
    """Lets bodies enter when a thread can decode them, while the sum of their weights is within a limit. Clients get
    the same share: the one with the least weight is next, with its smallest body, and none gets more than half of the
    limit. A body that exceeds this alone enters when no other is in."""

    def __init__(self, clock: IReactorTime, pool: WorkerPool, limit: float) -> None:
        self._clock = clock
        self._pool = pool
        self._limit = limit
        self._used = 0
        self._of_client: Counter[str] = Counter()
        self._decoding = 0
        self._waiting: dict[Deferred[None], tuple[str, int]] = {}
        self._letting_in = False

    def run(
        self, client: str, size: int, prepare: Callable[[], Callable[[], T]], handle: Callable[[T], Any]
    ) -> Deferred[Any]:
        """Decode a body, pass the result to `handle`, and return a Deferred of that function's result. It may fail with
        Overloaded or PoolStopped."""
        weight = size * WEIGHT

        def decode(_: None) -> Deferred[Any]:
            decoded: Deferred[Any] = self._pool.run(prepare).addBoth(self._decoded)
            return decoded.addCallback(handle).addBoth(self._leave, client, weight)

        return self._enter(client, weight).addCallback(decode)

    def stop(self) -> None:
        self._pool.stop()
        waiting, self._waiting = self._waiting, {}
        for entered in waiting:
            entered.errback(PoolStopped(f"the {self._pool.name} pool has stopped"))

    def _enter(self, client: str, weight: int) -> Deferred[None]:
        entered: Deferred[None] = Deferred(self._waiting.__delitem__)
        self._waiting[entered] = client, weight
        self._let_in()
        if not entered.called and self._pool.wait is not None:
            entered.addTimeout(self._pool.wait, self._clock, self._overloaded)
        return entered

    def _let_in(self) -> None:
        if self._letting_in:
            # A body has left before its `decode` has returned; the loop goes on below.
            return
        self._letting_in = True
        while self._waiting and self._decoding < self._pool.size:
            entered, (client, weight) = min(self._waiting.items(), key=self._turn_of)
            of_client = self._of_client[client] + weight
            if self._used and max(self._used + weight, 2 * of_client) > self._limit:
                break
            del self._waiting[entered]
            self._used += weight
            self._of_client[client] = of_client
            self._decoding += 1
            entered.callback(None)
        self._letting_in = False

    def _turn_of(self, waiting: tuple[object, tuple[str, int]]) -> tuple[int, int]:
        client, weight = waiting[1]
        return self._of_client[client], weight

    def _decoded(self, result: Any) -> Any:
        self._decoding -= 1
        self._let_in()
        return result

    def _leave(self, result: Any, client: str, weight: int) -> Any:
        self._used -= weight
        self._of_client[client] -= weight
        if not self._of_client[client]:
            del self._of_client[client]
        self._let_in()
        return result

    def _overloaded(self, _: Failure | None, seconds: float) -> None:
        raise Overloaded(self._pool.name, f"no memory for a body became free in {seconds:g} s", seconds)
