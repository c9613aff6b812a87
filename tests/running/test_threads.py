"""Crossing between threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.running.threads import Stopping, ThreadWaits, in_reactor_thread, register_reactor_thread


class QueueReactor:
    """Does what other threads ask for when it is told to."""

    def __init__(self) -> None:
        self.calls: Queue[Callable[[], Any]] = Queue()
        register_reactor_thread(self)

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        """Keep it for `turn`."""
        self.calls.put(lambda: function(*args))

    def turn(self) -> None:
        """Make the next call that a thread asks for."""
        self.calls.get(timeout=10)()


class ThreadWaitsTests(SynchronousTestCase):
    """A plugin's thread waits for what happens on the reactor."""

    def setUp(self) -> None:
        """A reactor of this thread, and a thread that waits."""
        self.reactor = QueueReactor()
        self.waits = ThreadWaits(self.reactor)
        self.got: list[Any] = []

    def in_thread(self, work: Callable[[], Any]) -> threading.Thread:
        """Wait in a thread for `work`, keeping what comes of it."""

        def wait() -> None:
            try:
                self.got.append(self.waits.result_of(work))
            except Exception as error:
                self.got.append(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    def test_thread_gets_the_result(self) -> None:
        """The work is done in the reactor's thread, and the waiting one has what its Deferred fires with."""
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
        """What the work raises is raised in the thread."""
        error = ValueError("no")

        def work() -> None:
            raise error

        thread = self.in_thread(work)
        self.reactor.turn()
        thread.join(10)
        self.assertEqual(self.got, [error])

    def test_stopping_ends_all_waits(self) -> None:
        """A thread whose result will not come is told, and so is one that asks later."""
        thread = self.in_thread(Deferred)
        self.reactor.turn()
        self.waits.stop()
        thread.join(10)
        self.in_thread(Deferred).join(10)
        self.assertEqual([type(error) for error in self.got], [Stopping, Stopping])

    def test_ending_the_waits_of_now(self) -> None:
        """Threads that wait are told that their result will not come; one that asks later gets its own."""
        thread = self.in_thread(Deferred)
        self.reactor.turn()
        self.waits.end_all()
        thread.join(10)
        thread = self.in_thread(lambda: "later")
        self.reactor.turn()
        thread.join(10)
        self.assertEqual([str(got) for got in self.got], ["the bot is stopping", "later"])

    def test_reactor_never_waits(self) -> None:
        """On the reactor there is a Deferred."""
        self.assertEqual(self.successResultOf(self.waits.result_of(lambda: "now")), "now")
