"""Count the tests in logs of trial and unittest: `count_tests.py LOG…` prints "PASSED FAILED SKIPPED".

trial exits with 0 when it ran no test, and doesn't report skipped tests as a problem. Here a log without a test that
passed counts as a failure. So does a skipped test, unless the reason is the version of Python, the reactor, that nothing
can be mounted, that the user isn't root, or that Flask is or isn't installed. Each problem is one line on standard error.
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
"""unittest's names of results, and trial's."""
# Tests that need Flask run beside errbot, which installs it; tests that need it to be missing run everywhere else. A
# contract test may ask for more than errbot itself can do.
FINE_SKIP = re.compile(r"(?i)\breactor\b|\bPython 3\b|\bmount\b|^only root may |^Flask is(?:n't)? installed$|^errbot ")


@dataclass
class Counts:
    """The numbers of tests by their result."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def count(log: str) -> tuple[Counts, list[str]]:
    """Return the counts of the log of one run, and its problems other than failed tests."""
    ran, results = RAN.findall(log), RESULT.findall(log)
    if len(ran) != 1 or len(results) != 1:
        return Counts(failed=1), ["the run ended before its summary"]
    numbers = {UNITTEST.get(name, name): int(n) for name, n in re.findall(r"(\w[\w ]*)=(\d+)", results[0][1])}
    failed = sum(numbers.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    skipped = numbers.get("skips", 0)
    passed = numbers.get("successes", 0) + numbers.get("expectedFailures", 0)
    if results[0][0] == "OK" or "successes" not in numbers:
        # unittest doesn't print this number; one test may have several failures.
        passed = max(int(ran[0]) - failed - skipped, 0)
    counted = Counts(passed, failed, skipped)
    problems = []
    if passed == 0:
        problems.append("no test passed")
    if results[0][0] == "FAILED" and not failed:
        problems.append("the run failed without a failed test")
    bad_skips = [reason for reason in SKIP.findall(log) if not FINE_SKIP.search(reason)]
    problems += [f"skipped: {reason}" for reason in bad_skips]
    counted.failed += len(problems)
    return counted, problems


def main(paths: list[str]) -> None:
    """Print the sums for all logs."""
    total = Counts()
    for path in paths:
        counted, problems = count(Path(path).read_text(encoding="utf-8", errors="replace"))
        for problem in problems:
            print(f"{Path(path).name}: {problem}", file=sys.stderr)
        total.passed += counted.passed
        total.failed += counted.failed
        total.skipped += counted.skipped
    print(total.passed, total.failed, total.skipped)


if __name__ == "__main__":
    main(sys.argv[1:])
