"""Reloads while requests come: in small. The same in full is benchmarks/reload_under_load.py."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.reload_under_load import reload_under_load


class ReloadTests(SynchronousTestCase):
    """A real bot with more than 200 unanswered requests at every moment."""

    timeout = 60

    def test_reloads(self) -> None:
        """Every request is answered, none by old code once the reload is done, and nobody else notices."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        figures = reload_under_load(directory, reloads=5, between=0.5)
        self.assertEqual(figures.problems(share=0.9), [], figures.report())
