"""The end of a process that is busy: in small. The same in full is benchmarks/shutdown.py."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.acceptance.shutdown import daemon, shutdown


class ShutdownTests(SynchronousTestCase):
    """Real processes that get SIGTERM."""

    timeout = 60

    def setUp(self) -> None:
        """Make a directory for the bot."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def assert_ends(self, endless: str) -> None:
        """The bot ends when it has to, whatever goes on."""
        figures = shutdown(self.directory, endless, grace=1.5, short=0.5)
        self.assertEqual(figures.problems(slack=1.0), [], figures.report())

    def test_a_thread_that_waits(self) -> None:
        """14 handlers answer, and one thread that waits for ever holds nothing up."""
        self.assert_ends("waiting")

    def test_a_thread_that_computes(self) -> None:
        """14 handlers answer, and one thread that computes for ever holds nothing up."""
        self.assert_ends("computing")

    def test_a_coroutine(self) -> None:
        """14 handlers answer, and one coroutine that waits for ever holds nothing up."""
        self.assert_ends("coroutine")

    def test_daemon(self) -> None:
        """In a real daemon handlers may use asyncio, Deferreds, and both at once."""
        answered = daemon(self.directory)
        self.assertEqual(answered.problems(), [], answered.report())
