"""Reload a plugin 50 times while at least 200 requests to it are in progress, half of them to blocking handlers.

Run `python benchmarks/reload_under_load.py [--reloads N] [--each N]`. Exits with 1 if an expectation fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.acceptance.reload_under_load import reload_under_load


def main() -> int:
    """Print the figures and the failed expectations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=50)
    parser.add_argument("--each", type=int, default=110, help="requests to each kind of handler")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = reload_under_load(Path(directory), reloads=options.reloads, each=options.each)
    print(figures.report())
    problems = figures.problems()
    print("\n".join(problems[:20]) or "all expectations are met")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
