"""Webhooks and commands while 50 blocking handlers sleep for 5 s, with excess requests and timeouts.

Run `python benchmarks/isolation.py`. Exits with 1 if an expectation fails.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.acceptance.isolation import isolation, overdue


def main() -> int:
    """Print the figures and the failed expectations."""
    problems = []
    with tempfile.TemporaryDirectory() as directory:
        figures = isolation(Path(directory))
        print(figures.report(), flush=True)
        problems += figures.problems()
    with tempfile.TemporaryDirectory() as directory:
        late = overdue(Path(directory), threads=20, timeout=60.0, stuck=75.0, wait=10.0)
        print(late.report())
        problems += late.problems()
    print("\n".join(problems) or "all expectations are met")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
