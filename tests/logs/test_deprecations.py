"""Uses of deprecated names are logged."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from errklein import logs
from errklein.logs import warn_deprecated


def old_name() -> None:
    """Use the function as errklein's own deprecated functions do."""
    warn_deprecated("old_name()", "new_name()", "0.4")


class DeprecationTests(SynchronousTestCase):
    """The warnings."""

    def setUp(self) -> None:
        self.patch(logs, "_warned", set())

    def test_once_for_each_place(self) -> None:
        """A warning names the file and the line of the use, the new name and the version; a line is logged once."""
        with capturedLogs() as events:
            for _ in range(3):
                old_name()
            old_name()
        line = self.test_once_for_each_place.__code__.co_firstlineno + 4
        end = "old_name() is deprecated, and works until errklein 0.4; use new_name()"
        self.assertEqual(
            [formatEvent(event) for event in events],
            [f"{__file__}, line {line}: {end}", f"{__file__}, line {line + 1}: {end}"],
        )
        self.assertEqual({event["log_level"] for event in events}, {LogLevel.warn})

    def test_without_details(self) -> None:
        """The new name and the version may be left out."""
        with capturedLogs() as events:
            warn_deprecated("this", depth=0)
        self.assertTrue(formatEvent(events[0]).endswith(": this is deprecated"))
