"""2,000 reconnecting clients with slow headers against a bot with 1,024 file descriptors, while another client posts.

Run `python benchmarks/slow_clients.py [--seconds 30]`. The slow clients connect from one address, and then each from its own.
Exits with 1 if an expectation fails: the other client has no failed request, and its p99 is under 200 ms.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bots import arguments, report

from long_tests.acceptance.slow_clients import slow_clients

CLIENTS = 2000


def main() -> int:
    """Print the figures and the failed expectations."""
    seconds = arguments(__doc__, seconds=30.0).seconds
    problems = []
    for addresses in (1, CLIENTS):
        with tempfile.TemporaryDirectory() as directory:
            figures = slow_clients(Path(directory), CLIENTS, addresses, seconds)
            print(figures.report(), flush=True)
            problems += figures.problems()
    return report(problems)


if __name__ == "__main__":
    sys.exit(main())
