"""errklein's tests. With CI set, property tests draw the same examples in every run.

With ERRKLEIN_NETWORK_TESTS=0 those are left out that open ports or run a whole bot, or pip, as a program of its own.
"""

import os
import sys
import unittest

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

NETWORK = os.environ.get("ERRKLEIN_NETWORK_TESTS") != "0"
"""Whether tests may open ports."""


def needs_network() -> None:
    """Skip the test that is running, if network tests are left out."""
    if not NETWORK:
        raise unittest.SkipTest("ERRKLEIN_NETWORK_TESTS=0 leaves out what needs the network")


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Let a test fail that opens a port without having said that it needs one."""
    if event in ("socket.bind", "socket.connect") and not isinstance(arguments[1], str):
        raise RuntimeError(f"{event} {arguments[1]}: a network test has to call tests.needs_network")


if not NETWORK:
    sys.addaudithook(_refuse)
