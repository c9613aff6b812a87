"""The payloads that GitHub documents, from the npm package @octokit/webhooks-examples.

As a program with a folder as its argument, it installs the package with npm and prints its path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PACKAGE = "@octokit/webhooks-examples@7.6.1"

VARIABLE = "ERRKLEIN_GITHUB_EXAMPLES"
"""The environment variable with the path of the unpacked package."""


@dataclass(frozen=True)
class Delivery:
    """A webhook as GitHub sends it."""

    event: str
    payload: Any
    as_form: bool

    @property
    def headers(self) -> dict[str, str]:
        """The relevant headers."""
        kind = "application/x-www-form-urlencoded" if self.as_form else "application/json"
        return {"X-GitHub-Event": self.event, "Content-Type": kind}

    @property
    def body(self) -> bytes:
        """The body."""
        text = json.dumps(self.payload)
        return (urlencode({"payload": text}) if self.as_form else text).encode()

    @property
    def subject(self) -> str:
        """The repository, else the organisation, else the sender; empty for global advisories."""
        for part, name in (("repository", "full_name"), ("organization", "login"), ("sender", "login")):
            if self.payload.get(part):
                return str(self.payload[part][name])
        return ""

    def is_named_in(self, line: str) -> bool:
        """Return whether the line has the event and the subject."""
        words = line.split()
        return self.event in words and (not self.subject or self.subject in words)


def deliveries(package: Path, every: int = 1) -> list[Delivery]:
    """Return all payloads as JSON, then all as forms; with `every`, only each payload of that number."""
    events = json.loads((package / "api.github.com" / "index.json").read_text(encoding="utf-8"))
    payloads = [(event["name"], example) for event in events for example in event["examples"]][::every]
    return [Delivery(event, payload, as_form) for as_form in (False, True) for event, payload in payloads]


def fetch(directory: Path) -> Path:
    """Install the package with npm, and return its folder."""
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory)]
    subprocess.run([*command, PACKAGE], check=True, timeout=120, stdin=subprocess.DEVNULL)
    return directory / "node_modules" / "@octokit" / "webhooks-examples"


def require_package() -> Path:
    """Return the package's folder; without it, skip the test, or fail in CI."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if os.environ.get("CI"):
        raise AssertionError(f"{VARIABLE} is missing; it is required in CI")
    raise unittest.SkipTest(f"GitHub's payloads are missing; set {VARIABLE} to the folder of npm's {PACKAGE}")


def compare(expected: Sequence[Delivery], lines: Sequence[str]) -> tuple[int, int, list[str]]:
    """Return the number of missing lines, the number of duplicates, and the lines that are out of order."""
    lost, twice, strange = 0, 0, []
    place = 0
    for line in lines:
        coming = next((at for at in range(place, len(expected)) if expected[at].is_named_in(line)), None)
        if coming == place:
            place += 1
        elif place and expected[place - 1].is_named_in(line):
            twice += 1
        elif coming is not None:
            lost += coming - place
            place = coming + 1
        else:
            strange.append(line)
    return lost + len(expected) - place, twice, strange


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1])))
