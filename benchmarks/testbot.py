"""The time of a plugin's test: 100 tests with the `testbot` fixture under pytest, on errklein and on errbot, in turns.

Both run the same test file, whose tests send a command and check the reply. Each test has its own bot, so the time
includes its start and stop. It is measured from the beginning of the first test to the end of the last; the result is
the median of the rounds.

    python benchmarks/testbot.py [--rounds 3] [--tests 100] [--errbot-python PYTHON] [--json FILE] [--check]

errbot and pytest are installed from the package index, unless --errbot-python names a Python that has them. With
--check, exits with 1 if a test on errklein takes more than 30 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bots import ENVIRONMENT, HERE, arguments, errbot_python

LIMIT = 0.030
"""The limit in seconds for a test on errklein."""
PLUG = "[Core]\nName = Greeter\nModule = greeter\n"
MODULE = """from errbot import BotPlugin, botcmd


class Greeter(BotPlugin):
    @botcmd
    def greet(self, msg, args):
        return f"Hello {args}"
"""
TESTS = """import pathlib

import pytest

pytest_plugins = ["errbot.backends.test"]
extra_plugin_dir = str(pathlib.Path(__file__).parent)


@pytest.mark.parametrize("number", range({tests}))
def test_greeting(testbot, number):
    testbot.assertCommand(f"!greet {{number}}", f"Hello {{number}}")
"""
CONFTEST = """import pathlib
import time

began = None


def pytest_runtest_logstart():
    global began
    began = began or time.perf_counter()


def pytest_runtest_logfinish():
    pathlib.Path("seconds").write_text(str(time.perf_counter() - began))
"""


def write(directory: Path, tests: int) -> None:
    """Write the plugin and its tests."""
    for name, text in (
        ("greeter.plug", PLUG),
        ("greeter.py", MODULE),
        ("test_greeter.py", TESTS.format(tests=tests)),
        ("conftest.py", CONFTEST),
    ):
        (directory / name).write_text(text, encoding="utf-8")


def seconds_per_test(python: Path, tests: int, *options: str, path: str = "") -> float:
    """Run the tests and return the seconds for each; raises RuntimeError if a test fails."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        write(Path(name), tests)
        done = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
            cwd=name,
            env={**ENVIRONMENT, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if f"{tests} passed" not in done.stdout:
            raise RuntimeError(f"{python}: {done.stdout[-2000:]}")
        return float(Path(name, "seconds").read_text(encoding="utf-8")) / tests


def measure(errbot_at: Path, rounds: int, tests: int) -> dict[str, Any]:
    """Return the seconds for each test on both bots."""
    times: dict[str, list[float]] = {"errklein": [], "errbot": []}
    options = ("-p", "errklein_pytest", "--errklein")
    for _ in range(rounds):
        times["errklein"].append(seconds_per_test(Path(sys.executable), tests, *options, path=str(HERE.parent)))
        times["errbot"].append(seconds_per_test(errbot_at, tests))
    return {name: {"seconds_per_test": median(taken), "rounds": taken} for name, taken in times.items()}


def main() -> None:
    """Measure, print, and check the limit."""
    options = arguments(__doc__, rounds=3, tests=100, errbot_python=Path, json=Path, check=False)
    with errbot_python(options.errbot_python) as errbot_at:
        results = measure(errbot_at, options.rounds, options.tests)
    ours, theirs = (results[name]["seconds_per_test"] for name in ("errklein", "errbot"))
    for name, result in results.items():
        print(f"{name}: {result['seconds_per_test'] * 1000:.1f} ms for each test with its own bot")
    print(f"errbot takes {theirs / ours:.1f} times as long")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), encoding="utf-8")
    if options.check and ours > LIMIT:
        sys.exit(f"a test on errklein takes more than {LIMIT * 1000:.0f} ms")


if __name__ == "__main__":
    main()
