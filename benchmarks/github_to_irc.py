"""Post each of the 329 webhooks that GitHub documents, as JSON and as a form, and read the lines in an IRC room.

Run `python benchmarks/github_to_irc.py [--every N] [--package FOLDER]`. Needs ngircd, and npm, which downloads the
payloads unless the unpacked npm package is given. The IRC server crashes once meanwhile. Exits with 1 if an expectation
fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from tests.acceptance.github_to_irc import github_to_irc
from tests.acceptance.payloads import Delivery, deliveries, fetch


async def measure(reactor: Any, directory: Path, expected: Sequence[Delivery]) -> None:
    """Print the figures and the failed expectations."""
    figures = await github_to_irc(reactor, directory, expected)
    print(figures.report())
    problems = figures.problems()
    print("\n".join(problems[:20]) or "all expectations are met")
    if problems:
        raise SystemExit(1)


def main() -> None:
    """Get the payloads, and run the scenario in the reactor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="use only each N-th payload")
    parser.add_argument("--package", type=Path, help="folder of npm's @octokit/webhooks-examples")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as npm, tempfile.TemporaryDirectory() as directory:
        expected = deliveries(options.package or fetch(Path(npm)), options.every)
        react(lambda reactor: Deferred.fromCoroutine(measure(reactor, Path(directory), expected)))


if __name__ == "__main__":
    main()
