"""errbot's functions for requirements files, without a bot."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat._utils import install_packages


class InstallPackagesTests(SynchronousTestCase):
    """`install_packages` without a bot."""

    def test_without_a_bot(self) -> None:
        """Without a bot, `install_packages` returns the error like `sys.exc_info()`."""
        failed = install_packages(Path("requirements.txt"))
        assert failed is not None
        self.assertIn("BOT_DATA_DIR", str(failed[1]))
