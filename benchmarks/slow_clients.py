"""2,000 reconnecting clients with slow headers against a bot with 1,024 file descriptors, while another client posts.

Run `python benchmarks/slow_clients.py [--seconds 30]`. The slow clients connect from one address, and then each from its own.
Exits with 1 if an expectation fails: the other client has no failed request, and its p99 is under 200 ms.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.acceptance.slow_clients import slow_clients

CLIENTS = 2000


def main() -> int:
    """Print the figures and the failed expectations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    seconds = parser.parse_args().seconds
    problems = []
    for addresses in (1, CLIENTS):
        with tempfile.TemporaryDirectory() as directory:
            figures = slow_clients(Path(directory), CLIENTS, addresses, seconds)
            print(figures.report(), flush=True)
            problems += figures.problems()
    print("\n".join(problems) or "all expectations are met")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
