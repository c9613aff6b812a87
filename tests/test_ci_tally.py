"""How the gate counts tests: what trial keeps silent about is said."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

TALLY = Path(__file__).parent.parent / ".ci" / "tally.py"

PASSED = "tests.test_x\n  A\n    test_a ... [OK]\n\n---\nRan 3 tests in 0.1s\n\nPASSED (successes=3)\n"
NOTHING = "\n---\nRan 0 tests in 0.000s\n\nPASSED\n"
FAILED = "===\n[FAIL]\n\n---\nRan 5 tests in 0.1s\n\nFAILED (failures=1, errors=2, expectedFailures=1, successes=1)\n"
SKIPPED = (
    "===\n[SKIPPED]\n{reason}\n\ntests.test_x.A.test_b\n---\nRan 2 tests in 0.1s\n\nPASSED (skips=1, successes=1)\n"
)
UNITTEST = "..x.\n---\nRan 9 tests in 0.1s\n\n"
CRASHED = "tests.test_x\n  A\n    test_a ..."


class TallyTests(SynchronousTestCase):
    """Counting one run."""

    def setUp(self) -> None:
        """Load the gate's counter, which is no module of a package."""
        self.tally: Any = run_path(str(TALLY))["tally"]

    def assert_counts(self, log: str, passed: int, failed: int, skipped: int = 0) -> None:
        """The log counts so."""
        counted, _ = self.tally(log)
        self.assertEqual((counted.passed, counted.failed, counted.skipped), (passed, failed, skipped))

    def test_passed(self) -> None:
        """Tests that pass count."""
        self.assert_counts(PASSED, 3, 0)

    def test_failed(self) -> None:
        """Failures and errors count as failed; an expected failure is none."""
        self.assert_counts(FAILED, 2, 3)

    def test_nothing_ran(self) -> None:
        """trial's PASSED after no test is a failure."""
        self.assert_counts(NOTHING, 0, 1)

    def test_crashed(self) -> None:
        """A run that ended without a word is a failure."""
        self.assert_counts(CRASHED, 0, 1)
        self.assert_counts("", 0, 1)

    def test_missing_program(self) -> None:
        """A test that skips because something isn't installed is a failure, and the reason is told."""
        self.assert_counts(SKIPPED.format(reason="ngircd is not installed"), 1, 1, 1)
        self.assertEqual(self.tally(SKIPPED.format(reason="no ngircd"))[1], ["skipped: no ngircd"])

    def test_unittest(self) -> None:
        """What unittest says counts as well; a difference that is gone is a failure."""
        self.assert_counts(UNITTEST + "OK\n", 9, 0)
        self.assert_counts(UNITTEST + "OK (skipped=1, expected failures=2)\n", 8, 0, 1)
        self.assert_counts(UNITTEST + "FAILED (failures=1, errors=2, expected failures=3)\n", 6, 3)
        self.assert_counts(UNITTEST + "FAILED (unexpected successes=1)\n", 8, 1)
        self.assert_counts("Ran 0 tests in 0.000s\n\nOK\n", 0, 1)

    def test_other_reactor(self) -> None:
        """A test for another reactor may be skipped."""
        self.assert_counts(SKIPPED.format(reason="needs the asyncio reactor"), 1, 0, 1)

    def test_elsewhere(self) -> None:
        """So may one that is run beside errbot, and one that is too much for errbot; not one that nobody else runs."""
        for reason in ("Flask isn't installed", "Flask is installed", "errbot doesn't come to an end there"):
            self.assert_counts(SKIPPED.format(reason=reason), 1, 0, 1)
        self.assert_counts(SKIPPED.format(reason="ERRKLEIN_NETWORK_TESTS=0 leaves out what needs the network"), 1, 1, 1)
