"""Counts what logs of trial and unittest say: `tally.py LOG…` prints "PASSED FAILED SKIPPED", complains on standard error.

trial exits with 0 when it ran no test, and skips in silence. Here a log that shows no test counts as a failure, and so does
a skipped test, unless its reason is this Python, this reactor, that nothing can be mounted, or that Flask is or isn't
installed.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
RESULT = re.compile(r"^(PASSED|FAILED|OK)(?: \((.*)\))?$", re.MULTILINE)
SKIP = re.compile(r"^\[SKIPPED\]\n(.*?)\n\n", re.MULTILINE | re.DOTALL)
UNITTEST = {"expected failures": "expectedFailures", "unexpected successes": "unexpectedSuccesses", "skipped": "skips"}
"""unittest's words, and trial's for the same."""
# Tests that need Flask are run beside errbot, which brings it, and those that need it to be missing everywhere else; a
# test of the contract may be too much for errbot itself.
FINE_SKIP = re.compile(r"(?i)\breactor\b|\bPython 3\b|\bmount\b|^Flask is(?:n't)? installed$|^errbot ")


@dataclass
class Tally:
    """What became of tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def tally(log: str) -> tuple[Tally, list[str]]:
    """What one run's log says, and what is wrong with it besides failed tests."""
    ran, results = RAN.findall(log), RESULT.findall(log)
    if len(ran) != 1 or len(results) != 1:
        return Tally(failed=1), ["the tests didn't come to their end"]
    numbers = {UNITTEST.get(name, name): int(n) for name, n in re.findall(r"(\w[\w ]*)=(\d+)", results[0][1])}
    failed = sum(numbers.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    skipped = numbers.get("skips", 0)
    passed = numbers.get("successes", 0) + numbers.get("expectedFailures", 0)
    if results[0][0] == "OK" or "successes" not in numbers:
        # unittest doesn't say how many; one test may have several failures.
        passed = max(int(ran[0]) - failed - skipped, 0)
    counted = Tally(passed, failed, skipped)
    complaints = []
    if passed == 0:
        complaints.append("no test passed")
    if results[0][0] == "FAILED" and not failed:
        complaints.append("the last line says FAILED")
    bad_skips = [reason for reason in SKIP.findall(log) if not FINE_SKIP.search(reason)]
    complaints += [f"skipped: {reason}" for reason in bad_skips]
    counted.failed += len(complaints)
    return counted, complaints


def main(paths: list[str]) -> None:
    """Count the logs together."""
    total = Tally()
    for path in paths:
        counted, complaints = tally(Path(path).read_text(encoding="utf-8", errors="replace"))
        for complaint in complaints:
            print(f"{Path(path).name}: {complaint}", file=sys.stderr)
        total.passed += counted.passed
        total.failed += counted.failed
        total.skipped += counted.skipped
    print(total.passed, total.failed, total.skipped)


if __name__ == "__main__":
    main(sys.argv[1:])
