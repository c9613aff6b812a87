"""Handlers that block hold nobody up: in small. The same in full is benchmarks/isolation.py."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.isolation import isolation, overdue


class IsolationTests(SynchronousTestCase):
    """A real bot whose threads are all taken."""

    timeout = 60

    def setUp(self) -> None:
        """Make a directory for the bot."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def test_blocking_handlers(self) -> None:
        """While 50 block, an async webhook and the chat answer at once; what is more than 220 gets 503 and when to retry."""
        figures = isolation(self.directory, sleep=1.0, wait=1.5)
        self.assertEqual(figures.problems(share=0.9), [], figures.report())

    def test_handlers_over_the_time_out(self) -> None:
        """Their senders get 504, their threads stay taken, admins are told once; later all is well again."""
        figures = overdue(self.directory)
        self.assertEqual(figures.problems(), [], figures.report())
