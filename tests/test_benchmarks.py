"""The benchmarks' servers start and respond; their figures are measured by hand."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import ROOT, run


class WebhooksTests(SynchronousTestCase):
    """The comparison of webhooks."""

    timeout = 60

    def test_contenders_respond(self) -> None:
        """errklein and the servers that it is compared with start, and decode and respond."""
        script = str(ROOT / "benchmarks" / "webhooks.py")
        names = "errklein,Klein,twisted.web"
        ended = run([sys.executable, script], "--contenders", names, "--rounds", "0", cwd=Path.cwd())
        self.assertIn("4 contenders respond", ended.stdout, ended.stderr)


class FuzzingTests(SynchronousTestCase):
    """Generated requests to a bot."""

    timeout = 60

    def test_a_seed_repeats_an_exchange(self) -> None:
        """The exchange of a seed is repeated with a new bot."""
        script = str(ROOT / "benchmarks" / "fuzz_http.py")
        ended = run([sys.executable, script], "--seed", "2", cwd=Path.cwd())
        self.assertIn("HTTP/1.1 400 Bad Request", ended.stdout, ended.stderr)
        self.assertIn("all expectations are met", ended.stdout)
