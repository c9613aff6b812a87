"""Tests for calls between threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from queue import Queue
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.running.threads import (
    Stopping,
    ThreadWaits,
    call_from_thread,
    in_reactor_thread,
    register_reactor_thread,
)


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


class CallsTests(SynchronousTestCase):
    """Calls of threads on an asyncio reactor."""

    colour: ContextVar[str] = ContextVar("colour", default="none")

    def setUp(self) -> None:
        """Create a reactor whose event loop only the test runs."""
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)
        self.reactor = AsyncioSelectorReactor(self.loop)
        self.seen: list[Any] = []

    def turn(self) -> None:
        """Run what is due."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def in_thread(self, work: Callable[[], Any]) -> None:
        """Run the function in a thread, to its end."""
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)

    def call(self, *values: Any) -> None:
        """Let each value be noted on the reactor."""
        for value in values:
            call_from_thread(self.reactor, self.seen.append, value)

    def test_order(self) -> None:
        """They run on the reactor in the order of the calls, whichever thread has made them."""
        self.in_thread(lambda: self.call(1, 2))
        self.in_thread(lambda: self.call(3))
        self.assertEqual(self.seen, [])
        self.turn()
        self.assertEqual(self.seen, [1, 2, 3])

    def test_wakes_once(self) -> None:
        """The loop is woken once for all of them, and again for later ones."""
        woken = []
        wake = self.loop.call_soon_threadsafe

        def counted(*args: Any, **options: Any) -> asyncio.Handle:
            woken.append(args)
            return wake(*args, **options)

        self.patch(self.loop, "call_soon_threadsafe", counted)
        self.in_thread(lambda: self.call(1, 2, 3))
        self.assertEqual(len(woken), 1)
        self.turn()
        self.in_thread(lambda: self.call(4))
        self.turn()
        self.assertEqual((len(woken), self.seen), (2, [1, 2, 3, 4]))

    def test_call_during_a_call(self) -> None:
        """A call that another one makes follows in the next turn, so that the reactor handles other events between them."""
        call_from_thread(self.reactor, self.call, "second")
        self.turn()
        self.assertEqual(self.seen, [])
        self.turn()
        self.assertEqual(self.seen, ["second"])

    def test_context(self) -> None:
        """They don't run in the context of the thread."""

        def work() -> None:
            self.colour.set("red")
            call_from_thread(self.reactor, lambda: self.seen.append(self.colour.get()))

        self.in_thread(work)
        self.turn()
        self.assertEqual(self.seen, ["none"])

    def test_context_is_not_kept(self) -> None:
        """What a call sets in its context isn't seen by later ones."""
        call_from_thread(self.reactor, self.colour.set, "red")
        self.turn()
        call_from_thread(self.reactor, lambda: self.seen.append(self.colour.get()))
        self.turn()
        self.assertEqual(self.seen, ["none"])

    def test_error(self) -> None:
        """An exception of one is logged, and the others run, whatever it is."""
        for kind in (ZeroDivisionError, SystemExit, asyncio.CancelledError):

            def fail(kind: type[BaseException] = kind) -> None:
                raise kind

            call_from_thread(self.reactor, fail)
            self.call(kind.__name__)
            self.turn()
            self.assertEqual(self.seen.pop(), kind.__name__)
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)

    def test_interrupted(self) -> None:
        """A thread that is interrupted while it wakes the loop doesn't keep later calls from running."""
        wake = self.loop.call_soon_threadsafe

        def interrupted(*args: Any, **options: Any) -> None:
            self.loop.call_soon_threadsafe = wake  # type: ignore[method-assign]
            raise KeyboardInterrupt

        self.patch(self.loop, "call_soon_threadsafe", interrupted)
        self.assertRaises(KeyboardInterrupt, self.call, 1)
        self.call(2)
        self.turn()
        self.assertEqual(self.seen, [1, 2])

    def test_closed(self) -> None:
        """Each call raises RuntimeError when the loop is closed."""
        self.loop.close()
        for number in range(2):
            self.assertRaises(RuntimeError, self.call, number)
