"""SIGTERM while 15 handlers run, one of which never ends, and async handlers of all kinds in a daemon.

Run `python benchmarks/shutdown.py`. Exits with 1 if an expectation fails.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.acceptance.shutdown import ENDLESS, daemon, shutdown


def main() -> int:
    """Print the figures and the failed expectations."""
    problems = []
    for endless in ENDLESS:
        with tempfile.TemporaryDirectory() as directory:
            figures = shutdown(Path(directory), endless)
            print(figures.report(), flush=True)
            problems += figures.problems()
    with tempfile.TemporaryDirectory() as directory:
        answered = daemon(Path(directory))
        print(answered.report())
        problems += answered.problems()
    print("\n".join(problems) or "all expectations are met")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
