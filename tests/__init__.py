"""The tests of errklein.

With CI set, property tests use the same examples in every run. With ERRKLEIN_NETWORK_TESTS=0, tests that open a port or
start a program such as a whole bot, an IRC server or pip are skipped.
"""

import os
import signal
import sys
import unittest

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # nohup and shells without job control start programs with SIGINT ignored, and the programs that tests start would
    # inherit that: Twisted then leaves SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

NETWORK = os.environ.get("ERRKLEIN_NETWORK_TESTS") != "0"
"""Whether tests may open ports and start programs."""


def needs_network() -> None:
    """Skip the running test if network tests are switched off."""
    if not NETWORK:
        raise unittest.SkipTest("ERRKLEIN_NETWORK_TESTS=0 skips network tests")


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Fail a test that opens a port without calling `needs_network`."""
    if event in ("socket.bind", "socket.connect") and not isinstance(arguments[1], str):
        raise RuntimeError(f"{event} {arguments[1]}: a network test must call tests.needs_network")


if not NETWORK:
    sys.addaudithook(_refuse)
