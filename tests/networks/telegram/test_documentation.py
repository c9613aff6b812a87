"""Tests of the page about Telegram."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.telegram import SETTINGS
from tests.processes import ROOT


class PageTests(SynchronousTestCase):
    """The guide."""

    def test_keys(self) -> None:
        """It has all keys of BOT_IDENTITY with their defaults and meanings."""
        page = (ROOT / "docs/guides/telegram.md").read_text()
        for name, key in SETTINGS.keys.items():
            self.assertIn(f"| `{name}` | {key.default} | {key.meaning} |\n", page)
