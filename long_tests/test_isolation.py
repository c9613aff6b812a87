"""The scenario isolation with small numbers."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from long_tests.acceptance.isolation import isolation, overdue


class IsolationTests(SynchronousTestCase):
    """A real bot whose threads are all busy."""

    timeout = 60

    def setUp(self) -> None:
        """Create a directory for the bot."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def test_blocking_handlers(self) -> None:
        """While 50 handlers block, other requests and the chat are quick, and excess requests get 503 with Retry-After."""
        figures = isolation(self.directory, sleep=1.0, wait=1.5)
        self.assertEqual(figures.problems(share=0.9), [], figures.report())

    def test_handlers_over_the_time_out(self) -> None:
        """Handlers over the timeout lead to 504 and one warning to administrators, and the bot recovers."""
        figures = overdue(self.directory)
        self.assertEqual(figures.problems(), [], figures.report())
