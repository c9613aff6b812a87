"""The scenario reload under load with small numbers."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from long_tests.acceptance.reload_under_load import reload_under_load


class ReloadTests(SynchronousTestCase):
    """A real bot with more than 200 requests in progress."""

    timeout = 60

    def test_reloads(self) -> None:
        """All requests get a response, none from old code after the reload, and other plugins aren't affected."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        figures = reload_under_load(directory, reloads=5, between=0.5)
        self.assertEqual(figures.problems(share=0.9), [], figures.report())
