"""The tests of errklein.

With CI set, property tests use the same examples in every run. With ERRKLEIN_QUICK_TESTS=1, two kinds of tests are
skipped: network tests, which open a port or start a program such as a whole bot, an IRC server or pip, and tests that
compute for more than half a second. Property tests then try fewer examples.
"""

import os
import signal
import sys
import unittest
from importlib import import_module
from importlib.util import find_spec

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("quick", deadline=None, max_examples=20)

QUICK = os.environ.get("ERRKLEIN_QUICK_TESTS") == "1"
"""Whether network tests and long tests are skipped."""

settings.load_profile("quick" if QUICK else "ci" if os.environ.get("CI") else "here")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # nohup and shells without job control start programs with SIGINT ignored, and the programs that tests start would
    # inherit that: Twisted then leaves SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def needs_network() -> None:
    """Skip the running test in the quick suite. Without this call, a test can't open a port there."""
    if QUICK:
        raise unittest.SkipTest("ERRKLEIN_QUICK_TESTS=1 skips network tests")


def takes_long() -> None:
    """Skip the running test in the quick suite, because it computes for more than half a second."""
    if QUICK:
        raise unittest.SkipTest("ERRKLEIN_QUICK_TESTS=1 skips long tests")


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Fail a test that opens a port without calling `needs_network`."""
    if event in ("socket.bind", "socket.connect") and not isinstance(arguments[1], str):
        raise RuntimeError(f"{event} {arguments[1]}: a network test must call tests.needs_network")


if QUICK:
    sys.addaudithook(_refuse)

SYNCHRONOUS = ""
"""How errklein's SQLite files are written. In tests, nothing waits for the disk."""

if find_spec("errklein"):
    # The tests of the contract also run without errklein.
    connections = import_module("errklein.database._connection")
    SYNCHRONOUS, connections.SYNCHRONOUS = connections.SYNCHRONOUS, "OFF"
