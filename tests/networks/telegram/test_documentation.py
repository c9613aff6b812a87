"""Tests of the page about Telegram."""

from __future__ import annotations

import re

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

    def test_findings(self) -> None:
        """What it says about the findings of the check is in them."""
        page = (ROOT / "docs/guides/telegram.md").read_text()
        source = (ROOT / "errklein/networks/telegram/_backend.py").read_text()
        table = page.partition("| the check says |")[2].partition("\n\n")[0]
        shown = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
        self.assertEqual(len(shown), 6)
        for fragment in (one for text in shown for one in text.split("…")):
            self.assertIn(fragment.strip(), source)
