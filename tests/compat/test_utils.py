"""`errbot.utils`."""

from __future__ import annotations

import threading
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from errklein.compat import _utils as utils
from tests.plugin_files import PluginFilesTestCase


class UtilsTests(SynchronousTestCase):
    """The functions of errbot.utils."""

    def test_format_timedelta(self) -> None:
        """Durations have errbot's words."""
        expected = {
            timedelta(0): "0 seconds",
            timedelta(seconds=5, microseconds=7): "5 seconds",
            timedelta(seconds=61): "1 minutes",
            timedelta(hours=1): "1 hours",
            timedelta(days=2, hours=5, minutes=1, seconds=9): "53 hours and 1 minutes",
        }
        self.assertEqual({duration: utils.format_timedelta(duration) for duration in expected}, expected)

    @given(st.text(), st.integers(1, 20))
    def test_split(self, text: str, length: int) -> None:
        """The parts make up the text, none is too long, and there is at least one."""
        parts = list(utils.split_string_after(text, length))
        self.assertEqual("".join(parts), text)
        self.assertTrue(parts)
        self.assertTrue(all(len(part) == length for part in parts[:-1]) and len(parts[-1]) <= length)

    def test_rate_limited(self) -> None:
        """Calls begin at least the interval apart, the first one at once, and idle time isn't accumulated."""
        now = [100.0]
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            now[0] += seconds

        self.patch(utils.time, "monotonic", lambda: now[0])
        self.patch(utils.time, "sleep", sleep)

        @utils.rate_limited(2.0)
        def call(value: int) -> int:
            """Give it back."""
            return value

        self.assertEqual([call(1), call(2), call(3)], [1, 2, 3])
        now[0] += 60
        call(4)
        call(5)
        self.assertEqual(slept, [0.0, 2.0, 2.0, 0.0, 2.0])
        self.assertEqual((call.__name__, call.__doc__), ("call", "Give it back."))

    def test_rate_limited_waits_apart(self) -> None:
        """A thread that waits for one function doesn't delay calls of another."""
        waiting, go_on = threading.Event(), threading.Event()

        def sleep(seconds: float) -> None:
            if seconds:
                waiting.set()
                go_on.wait(10)

        self.patch(utils.time, "sleep", sleep)
        slow = utils.rate_limited(1000.0)(lambda: None)
        other = utils.rate_limited(1000.0)(lambda: "other")
        slow()
        thread = threading.Thread(target=slow)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(go_on.set)
        self.assertTrue(waiting.wait(10))
        self.assertEqual(other(), "other")

    def test_deprecated(self) -> None:
        """The first call in a line logs a warning, and the new function is called if there is one."""
        upper = utils.deprecated(str.upper)(str.lower)
        with capturedLogs() as events:
            self.assertEqual(utils.deprecated()(len)("abc"), 3)
            self.assertEqual([upper("Abc") for _ in range(3)], ["ABC"] * 3)
        self.assertEqual(
            [formatEvent(event).partition(": ")[2] for event in events],
            ["len is deprecated", "str.lower is deprecated; use str.upper"],
        )


class RootsTests(PluginFilesTestCase):
    """Directories of plugins."""

    def test_roots(self) -> None:
        """Directories with plugins are returned once, without hidden ones."""
        for path in ("a/x.plug", "a/b/y.plug", ".h/z.plug", "__pycache__/q.plug", "c/d/e.plug", "c/n.txt"):
            self.write(path)
        below = {name: str(self.directory / name) for name in ("a", "a/b", "c", "c/d")}
        self.assertEqual(utils.find_roots(self.directory), [below["a"], below["a/b"], below["c/d"]])
        self.assertEqual(utils.find_roots(self.directory, "*.txt"), [below["c"]])
        self.assertEqual(utils.find_roots("/nowhere"), [])
        nested = [below["a/b"], [self.directory / "a", None, [below["c"]]]]
        self.assertEqual(utils.collect_roots(nested), [below["a/b"], below["a"], below["c/d"]])
        self.assertEqual(utils.entry_point_plugins("no.such.group"), [])
