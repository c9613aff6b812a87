"""Run the tests of the contract on errbot: `contract_on_errbot.py [CHAPTER…]`.

It needs a Python that has errbot but not errklein. errbot's log is discarded. The report of a failure has the line of
the test and the exception, without lines of errbot's code. The last lines are unittest's, which `count_tests.py`
counts.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
import unittest
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TextIO

LONGEST = 60
"""The limit in seconds for a test."""
EXPECTED = "__unittest_expecting_failure__"
"""The attribute that `unittest.expectedFailure` sets; on errbot, `decided` is that decorator."""
TESTS = Path(__file__).resolve().parent.parent / "tests"
Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Result(unittest.TextTestResult):
    """Test results whose reports have no line of errbot's code. A test that hangs fails after a timeout."""

    def startTest(self, test: unittest.TestCase) -> None:
        """Start the timeout."""
        super().startTest(test)
        signal.alarm(LONGEST)

    def stopTest(self, test: unittest.TestCase) -> None:
        """Cancel the timeout."""
        signal.alarm(0)
        super().stopTest(test)

    def addError(self, test: unittest.TestCase, err: Raised) -> None:
        """Record an error, without lines of errbot's code."""
        if err[0] is TimeoutError and getattr(getattr(test, test.id().rpartition(".")[2], None), EXPECTED, False):
            # A test of a deliberate difference may also fail by a timeout.
            self.addExpectedFailure(test, err)
            return
        super().addError(test, err)
        self.errors[-1] = (test, format_error(err))

    def addFailure(self, test: unittest.TestCase, err: Raised) -> None:
        """Record a failure, without lines of errbot's code."""
        super().addFailure(test, err)
        self.failures[-1] = (test, format_error(err))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Raised | None) -> None:
        """Record the result of a subtest, without lines of errbot's code."""
        super().addSubTest(test, subtest, err)
        if err is not None and err[0] is not None:
            kind = self.failures if issubclass(err[0], test.failureException) else self.errors
            kind[-1] = (subtest, format_error(err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """Record a skipped test, and report it in trial's form."""
        super().addSkip(test, reason)
        self.stream.write(f"\n[SKIPPED]\n{reason}\n\n{test.id()}\n")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        """Record that a deliberate difference doesn't exist on errbot."""
        super().addUnexpectedSuccess(test)
        self.stream.write(f"\nno longer different on errbot: {test.id()}\n")


def format_error(err: Raised) -> str:
    """Return the lines of the test in the traceback, and the exception."""
    kind, value, trace = err
    frames = [frame for frame in traceback.extract_tb(trace) if Path(frame.filename).is_relative_to(Path.cwd())]
    return "".join([*traceback.format_list(frames), *traceback.format_exception_only(kind, value)])


def too_long(signal_number: int, frame: object) -> NoReturn:
    """Raise TimeoutError in a test that hangs."""
    raise TimeoutError(f"took more than {LONGEST} s")


def chapters(wanted: list[str]) -> Iterator[str]:
    """Yield the names of the modules; with `wanted`, those that contain one of its words."""
    for path in sorted((TESTS / "contract").glob("test_*.py")):
        if not wanted or any(word in path.stem for word in wanted):
            yield f"tests.contract.{path.stem}"


def run(wanted: list[str], report: TextIO) -> bool:
    """Run the tests and return whether all results are as expected."""
    if find_spec("errklein") is not None:
        report.write("errklein is installed here, so the tests would use it; run this with a Python without errklein\n")
        return False
    report.write(f"errbot {metadata.version('errbot')}, Python {sys.version.split()[0]}\n")
    tests = unittest.defaultTestLoader.loadTestsFromNames(list(chapters(wanted)))
    signal.signal(signal.SIGALRM, too_long)
    runner: Any = unittest.TextTestRunner(stream=report, resultclass=Result, warnings="ignore")
    result: unittest.TestResult = runner.run(tests)
    return result.wasSuccessful() and result.testsRun > 0


def main() -> None:
    """Run the tests in a directory without errklein, with errbot's output discarded."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    fine = False
    with tempfile.TemporaryDirectory(prefix="contract-") as directory:
        os.chdir(directory)
        Path("tests").symlink_to(TESTS)
        # This replaces the script's directory.
        sys.path[0] = directory
        try:
            fine = run(sys.argv[1:], report)
        except Exception as error:
            report.write(f"{type(error).__name__}: {error}\n")
        report.flush()
    # errbot's threads may still run, and Python would wait for them.
    os._exit(0 if fine else 1)


if __name__ == "__main__":
    main()
