"""The times in which blocked code is reported, and in which a process ends."""

from __future__ import annotations

import signal
import time

from tests.service import test_supervision


class TimesTests(test_supervision.ProcessTests):
    """Real processes, on a machine that does nothing else."""

    def test_blocking_handler_is_named_within_a_second(self) -> None:
        """The line of `time.sleep(3)` is in the log within a second."""
        program = self.start()
        self.post("/sleeps")
        program.wait_for("a handler begins")
        begun = time.monotonic()
        program.wait_for("line 10: time.sleep(3)")
        self.assertLess(time.monotonic() - begun, 1)

    def test_regular_expression_delays_the_end_by_a_second(self) -> None:
        """SIGTERM ends the process within a second after the grace period, though a thread holds the interpreter lock."""
        for path, status, most in (("/matches", -signal.SIGTERM, 3.1), ("/matches_later", 1, 3.5)):
            program = self.start(GRACE_PERIOD=2.0)
            self.post(path)
            program.wait_for("a handler begins")
            program.signal(signal.SIGTERM)
            signalled = time.monotonic()
            self.assertEqual(program.wait(), status)
            self.assertLess(time.monotonic() - signalled, most, path)

    def test_process_ends_half_a_second_after_the_deadline(self) -> None:
        """A process whose reactor is blocked for REACTOR_DEADLINE, here 1.5 s, ends within half a second more."""
        program = self.start(REACTOR_DEADLINE=1.5)
        self.post("/sleeps")
        program.wait_for("a handler begins")
        begun = time.monotonic()
        self.assertEqual(program.wait(), 1)
        self.assertLess(time.monotonic() - begun, 2)
