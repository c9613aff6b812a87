"""The scenario shutdown with small numbers."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from long_tests.acceptance.shutdown import daemon, shutdown


class ShutdownTests(SynchronousTestCase):
    """Real processes that get SIGTERM."""

    timeout = 60

    def setUp(self) -> None:
        """Create a directory for the bot."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def assert_ends(self, endless: str) -> None:
        """Check that the bot ends in time."""
        figures = shutdown(self.directory, endless, grace=1.5, short=0.5)
        self.assertEqual(figures.problems(slack=1.0), [], figures.report())

    def test_a_thread_that_waits(self) -> None:
        """14 handlers respond, and a thread that waits forever doesn't delay the end."""
        self.assert_ends("waiting")

    def test_a_thread_that_computes(self) -> None:
        """14 handlers respond, and a thread that computes forever doesn't delay the end."""
        self.assert_ends("computing")

    def test_a_coroutine(self) -> None:
        """14 handlers respond, and a coroutine that waits forever doesn't delay the end."""
        self.assert_ends("coroutine")

    def test_daemon(self) -> None:
        """In a daemon, handlers may use asyncio, Deferreds, or both."""
        answered = daemon(self.directory)
        self.assertEqual(answered.problems(), [], answered.report())
