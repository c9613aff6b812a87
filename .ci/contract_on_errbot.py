"""Runs the tests of the contract on errbot: `contract_on_errbot.py [chapter…]`, with a Python that has errbot and no errklein.

errbot writes much to its log while it is tested, its own code included; nothing of that is shown. What is shown of a
failure is where in the test it happened and what was raised. The last lines are unittest's, which `tally.py` counts.
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
"""Seconds that a test may take."""
EXPECTED = "__unittest_expecting_failure__"
"""Set by `unittest.expectedFailure`, which is what `decided` is here."""
TESTS = Path(__file__).resolve().parent.parent / "tests"
Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Result(unittest.TextTestResult):
    """Tells of errors without a line of errbot's code, and lets a test that hangs fail: as expected, if it is marked with `decided`."""

    def startTest(self, test: unittest.TestCase) -> None:
        """A test begins."""
        super().startTest(test)
        signal.alarm(LONGEST)

    def stopTest(self, test: unittest.TestCase) -> None:
        """It has ended."""
        signal.alarm(0)
        super().stopTest(test)

    def addError(self, test: unittest.TestCase, err: Raised) -> None:
        """Something was raised."""
        if err[0] is TimeoutError and getattr(getattr(test, test.id().rpartition(".")[2], None), EXPECTED, False):
            # That errbot hangs is one more way to differ.
            self.addExpectedFailure(test, err)
            return
        super().addError(test, err)
        self.errors[-1] = (test, format_error(err))

    def addFailure(self, test: unittest.TestCase, err: Raised) -> None:
        """Something isn't as it should be."""
        super().addFailure(test, err)
        self.failures[-1] = (test, format_error(err))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Raised | None) -> None:
        """A part of a test has ended."""
        super().addSubTest(test, subtest, err)
        if err is not None and err[0] is not None:
            kind = self.failures if issubclass(err[0], test.failureException) else self.errors
            kind[-1] = (subtest, format_error(err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """A test didn't run; told as trial tells it."""
        super().addSkip(test, reason)
        self.stream.write(f"\n[SKIPPED]\n{reason}\n\n{test.id()}\n")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        """A difference that `decided` tells of isn't there."""
        super().addUnexpectedSuccess(test)
        self.stream.write(f"\nno longer different on errbot: {test.id()}\n")


def format_error(err: Raised) -> str:
    """Where in the test that was, and what it was."""
    kind, value, trace = err
    frames = [frame for frame in traceback.extract_tb(trace) if Path(frame.filename).is_relative_to(Path.cwd())]
    return "".join([*traceback.format_list(frames), *traceback.format_exception_only(kind, value)])


def too_long(signal_number: int, frame: object) -> NoReturn:
    """Wake a test that hangs."""
    raise TimeoutError(f"took more than {LONGEST} s")


def chapters(wanted: list[str]) -> Iterator[str]:
    """Names of the modules, those that contain one of `wanted` if there are any."""
    for path in sorted((TESTS / "contract").glob("test_*.py")):
        if not wanted or any(word in path.stem for word in wanted):
            yield f"tests.contract.{path.stem}"


def run(wanted: list[str], report: TextIO) -> bool:
    """Run them; whether all is as it should be."""
    if find_spec("errklein") is not None:
        report.write("errklein can be imported here: this would test errklein\n")
        return False
    report.write(f"errbot {metadata.version('errbot')}, Python {sys.version.split()[0]}\n")
    tests = unittest.defaultTestLoader.loadTestsFromNames(list(chapters(wanted)))
    signal.signal(signal.SIGALRM, too_long)
    runner: Any = unittest.TextTestRunner(stream=report, resultclass=Result, warnings="ignore")
    result: unittest.TestResult = runner.run(tests)
    return result.wasSuccessful() and result.testsRun > 0


def main() -> None:
    """Keep what errbot writes away from the report, and errklein's checkout away from the tests."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    fine = False
    with tempfile.TemporaryDirectory(prefix="contract-") as directory:
        os.chdir(directory)
        Path("tests").symlink_to(TESTS)
        # In place of this script's directory.
        sys.path[0] = directory
        try:
            fine = run(sys.argv[1:], report)
        except Exception as error:
            report.write(f"{type(error).__name__}: {error}\n")
        report.flush()
    # errbot leaves threads behind, which Python would wait for.
    os._exit(0 if fine else 1)


if __name__ == "__main__":
    main()
