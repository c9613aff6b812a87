"""The gate's count of tests, with the failures that trial doesn't report."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).parent.parent / ".ci" / "count_tests.py"

PASSED = "tests.test_x\n  A\n    test_a ... [OK]\n\n---\nRan 3 tests in 0.1s\n\nPASSED (successes=3)\n"
NOTHING = "\n---\nRan 0 tests in 0.000s\n\nPASSED\n"
FAILED = "===\n[FAIL]\n\n---\nRan 5 tests in 0.1s\n\nFAILED (failures=1, errors=2, expectedFailures=1, successes=1)\n"
SKIPPED = (
    "===\n[SKIPPED]\n{reason}\n\ntests.test_x.A.test_b\n---\nRan 2 tests in 0.1s\n\nPASSED (skips=1, successes=1)\n"
)
UNITTEST = "..x.\n---\nRan 9 tests in 0.1s\n\n"
CRASHED = "tests.test_x\n  A\n    test_a ..."


class CountTests(SynchronousTestCase):
    """Counts of the log of one run."""

    def setUp(self) -> None:
        """Load the script, which isn't importable."""
        self.count: Any = run_path(str(SCRIPT))["count"]

    def assert_counts(self, log: str, passed: int, failed: int, skipped: int = 0) -> None:
        """Check the numbers of a log."""
        counted, _ = self.count(log)
        self.assertEqual((counted.passed, counted.failed, counted.skipped), (passed, failed, skipped))

    def test_passed(self) -> None:
        """Passed tests are counted."""
        self.assert_counts(PASSED, 3, 0)

    def test_failed(self) -> None:
        """Failures and errors count as failed, expected failures as passed."""
        self.assert_counts(FAILED, 2, 3)

    def test_nothing_ran(self) -> None:
        """A run of no tests is a failure, although trial prints PASSED."""
        self.assert_counts(NOTHING, 0, 1)

    def test_crashed(self) -> None:
        """A run without a summary is a failure."""
        self.assert_counts(CRASHED, 0, 1)
        self.assert_counts("", 0, 1)

    def test_missing_program(self) -> None:
        """A test that is skipped because a program isn't installed is a failure with that reason."""
        self.assert_counts(SKIPPED.format(reason="ngircd is not installed"), 1, 1, 1)
        self.assertEqual(self.count(SKIPPED.format(reason="no ngircd"))[1], ["skipped: no ngircd"])

    def test_unittest(self) -> None:
        """Logs of unittest are counted too; an unexpected success is a failure."""
        self.assert_counts(UNITTEST + "OK\n", 9, 0)
        self.assert_counts(UNITTEST + "OK (skipped=1, expected failures=2)\n", 8, 0, 1)
        self.assert_counts(UNITTEST + "FAILED (failures=1, errors=2, expected failures=3)\n", 6, 3)
        self.assert_counts(UNITTEST + "FAILED (unexpected successes=1)\n", 8, 1)
        self.assert_counts("Ran 0 tests in 0.000s\n\nOK\n", 0, 1)

    def test_other_reactor(self) -> None:
        """A test for another reactor may be skipped."""
        self.assert_counts(SKIPPED.format(reason="needs the asyncio reactor"), 1, 0, 1)

    def test_elsewhere(self) -> None:
        """A test that another step of the gate runs may be skipped; a test that no step runs may not."""
        for reason in (
            "Flask isn't installed",
            "Flask is installed",
            "errbot doesn't come to an end there",
            "only root may become another user",
        ):
            self.assert_counts(SKIPPED.format(reason=reason), 1, 0, 1)
        self.assert_counts(SKIPPED.format(reason="ERRKLEIN_QUICK_TESTS=1 skips network tests"), 1, 1, 1)
