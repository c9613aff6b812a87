"""Chapter 4: pollers."""

from __future__ import annotations

from tests.contract.kit import LONGEST, ContractTest, decided

TRIED = """
    import threading
    from errbot import BotPlugin

    class Tried(BotPlugin):
        def activate(self):
            super().activate()
            self.polled = []
            self.happened = threading.Semaphore(0)

        def poll(self, *args, **kwargs):
            self.polled.append((args, kwargs))
            self.happened.release()

        def fails(self):
            self.happened.release()
            raise RuntimeError("in a poller")

        def once(self):
            self.stop_poller(self.once)
            self.happened.release()
"""


class PollerTests(ContractTest):
    """`start_poller` and `stop_poller`."""

    plugin = TRIED

    def test_polled(self) -> None:
        """The method is called after each interval, with its arguments, `times` times."""
        tried = self.instance()
        tried.start_poller(0.01, tried.poll, times=2, args=(1,), kwargs={"a": 2})
        self.assertEqual(tried.polled, [])
        for _ in range(2):
            self.assertTrue(tried.happened.acquire(timeout=LONGEST))
        self.assertEqual(tried.polled, [((1,), {"a": 2})] * 2)

    def test_stopped(self) -> None:
        """A poller is stopped with the same method and arguments."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,))
        self.assertEqual(len(tried.current_pollers), 1)
        with self.assertRaises(ValueError):
            tried.stop_poller(tried.poll)
        tried.stop_poller(tried.poll, (1,))
        self.assertEqual(len(tried.current_pollers), 0)

    def test_unknown(self) -> None:
        """`stop_poller` for a method that isn't polled raises ValueError."""
        with self.assertRaises(ValueError):
            self.instance().stop_poller(self.instance().poll)

    def test_deactivated(self) -> None:
        """If the plugin is deactivated, its pollers are stopped."""
        tried = self.instance()
        tried.start_poller(60, tried.poll)
        self.ask("!plugin deactivate Tried")
        self.assertEqual(len(tried.current_pollers), 0)

    @decided("stop_poller() without a method isn't implemented")
    def test_all_stopped(self) -> None:
        """`stop_poller` without a method stops all pollers."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,))
        tried.start_poller(60, tried.poll, args=(2,))
        tried.stop_poller()
        self.assertEqual(len(tried.current_pollers), 0)


class PollerArgumentsTests(ContractTest):
    """Arguments and errors of pollers."""

    plugin = TRIED

    def happen(self, times: int) -> None:
        """Wait for this number of calls."""
        for _ in range(times):
            self.assertTrue(self.instance().happened.acquire(timeout=LONGEST))

    def test_errors(self) -> None:
        """An exception in a poller is logged, and the poller is called again."""
        tried = self.instance()
        with self.assertLogs(level="ERROR") as logs:
            tried.start_poller(0.005, tried.fails)
            self.happen(3)
        tried.stop_poller(tried.fails)
        self.assertIn("in a poller", [str(record.exc_info[1]) for record in logs.records if record.exc_info])

    def test_wrong_arguments(self) -> None:
        """`start_poller` accepts arguments that can't be unpacked; each tick fails."""
        tried = self.instance()
        for wrong in ({"args": 90}, {"kwargs": 5}):
            tried.start_poller(0.001, tried.poll, **wrong)
            tried.start_poller(0.001, tried.poll, times=3, args=("right",))
            self.happen(3)
            with self.assertRaises(ValueError):
                tried.stop_poller(tried.poll)
            tried.stop_poller(tried.poll, **wrong)
        self.assertEqual(tried.polled, [(("right",), {})] * 6)

    def test_unusual_arguments(self) -> None:
        """Any iterable may be `args`; a generator is exhausted after the first call."""
        tried = self.instance()
        words = iter(["e", "f"])
        for args, last in (("ab", ("a", "b")), (["c", "d"], ("c", "d")), (words, ())):
            tried.start_poller(0.001, tried.poll, args=args)
            while (last, {}) not in tried.polled:
                self.happen(1)
            tried.stop_poller(tried.poll, args=args)
        self.assertEqual(tried.polled.count((("e", "f"), {})), 1)

    def test_times(self) -> None:
        """`times` is the number of calls; 0 means none."""
        tried = self.instance()
        tried.start_poller(0.001, tried.poll, times=3, args=("counted",))
        tried.start_poller(0.001, tried.poll, times=0, args=("never",))
        self.happen(3)
        tried.start_poller(0.01, tried.poll, times=1, kwargs={"last": True})
        self.happen(1)
        self.assertEqual(tried.polled, [(("counted",), {})] * 3 + [((), {"last": True})])

    def test_stopped_from_within(self) -> None:
        """A poller may stop itself."""
        tried = self.instance()
        tried.start_poller(0.001, tried.once)
        self.happen(1)
        self.assertEqual(tried.current_pollers, [])

    def test_listed(self) -> None:
        """`current_pollers` has the method and arguments of each poller."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,), kwargs={"a": 2})
        ((method, args, kwargs),) = tried.current_pollers
        self.assertEqual((method, tuple(args), dict(kwargs)), (tried.poll, (1,), {"a": 2}))
        self.assertEqual(len(tried.current_timers), 1)

    def test_arguments_must_match(self) -> None:
        """`stop_poller` stops only the poller with the same method and arguments."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,))
        tried.start_poller(60, tried.poll, args=(2,))
        for wrong in ((tried.poll, (3,)), (tried.once, (1,)), (tried.poll, (1,), {"a": 1})):
            with self.assertRaises(ValueError):
                tried.stop_poller(*wrong)
        tried.stop_poller(tried.poll, args=(2,))
        self.assertEqual([tuple(args) for _, args, _ in tried.current_pollers], [(1,)])

    @decided("the old timer continues")
    def test_stopped_and_started(self) -> None:
        """A poller that is stopped and started again runs once."""
        tried = self.instance()
        tried.start_poller(60, tried.poll)
        tried.stop_poller(tried.poll)
        tried.start_poller(0.005, tried.poll)
        tried.stop_poller(tried.poll)
        tried.start_poller(60, tried.poll)
        self.assertEqual(len(tried.current_timers), 1)
        self.assertFalse(tried.happened.acquire(timeout=0.02))
