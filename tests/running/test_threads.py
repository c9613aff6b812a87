"""Tests for calls between threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.running.threads import Stopping, ThreadWaits, in_reactor_thread, register_reactor_thread


class QueueReactor:
    """Runs the calls of other threads when the test lets it."""

    def __init__(self) -> None:
        self.calls: Queue[Callable[[], Any]] = Queue()
        register_reactor_thread(self)

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        """Queue the call for `turn`."""
        self.calls.put(lambda: function(*args))

    def turn(self) -> None:
        """Run the next queued call."""
        self.calls.get(timeout=60)()


class ThreadWaitsTests(SynchronousTestCase):
    """A plugin's thread waits for a result of the reactor."""

    def setUp(self) -> None:
        """Use this thread as the reactor's."""
        self.reactor = QueueReactor()
        self.waits = ThreadWaits(self.reactor)
        self.got: list[Any] = []

    def in_thread(self, work: Callable[[], Any]) -> threading.Thread:
        """Wait in a thread for `work`, and record its outcome."""

        def wait() -> None:
            try:
                self.got.append(self.waits.result_of(work))
            except Exception as error:
                self.got.append(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def test_thread_gets_the_result(self) -> None:
        """The work runs in the reactor's thread, and the waiting thread gets the Deferred's result."""
        coming: Deferred[str] = Deferred()
        where: list[bool] = []

        def work() -> Deferred[str]:
            where.append(in_reactor_thread(self.reactor))
            return coming

        thread = self.in_thread(work)
        self.reactor.turn()
        coming.callback("yes")
        thread.join(10)
        self.assertEqual((self.got, where), (["yes"], [True]))

    def test_thread_gets_the_error(self) -> None:
        """The waiting thread gets the exception of the work."""
        error = ValueError("no")

        def work() -> None:
            raise error

        thread = self.in_thread(work)
        self.reactor.turn()
        thread.join(10)
        self.assertEqual(self.got, [error])

    def test_stopping_ends_all_waits(self) -> None:
        """After `stop`, waits in threads raise an exception, current and later ones."""
        thread = self.in_thread(Deferred)
        self.reactor.turn()
        self.waits.stop()
        thread.join(10)
        self.in_thread(Deferred).join(10)
        self.assertEqual([type(error) for error in self.got], [Stopping, Stopping])

    def test_ending_the_waits_of_now(self) -> None:
        """`end_all` ends current waits; later waits work."""
        thread = self.in_thread(Deferred)
        self.reactor.turn()
        self.waits.end_all()
        thread.join(10)
        thread = self.in_thread(lambda: "later")
        self.reactor.turn()
        thread.join(10)
        self.assertEqual([str(got) for got in self.got], ["the bot is stopping", "later"])

    def test_reactor_never_waits(self) -> None:
        """On the reactor, the result is a Deferred."""
        self.assertEqual(self.successResultOf(self.waits.result_of(lambda: "now")), "now")
