"""Tests of the page about Slack."""

from __future__ import annotations

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.slack import SETTINGS
from errklein.networks.slack._client import SCOPES, manifest, slash_commands
from tests.processes import ROOT

PAGE = (ROOT / "docs/guides/slack.md").read_text()


class PageTests(SynchronousTestCase):
    """The guide."""

    def test_keys(self) -> None:
        """It has all keys of BOT_IDENTITY with their defaults and meanings."""
        for name, key in SETTINGS.keys.items():
            self.assertIn(f"| `{name}` | {key.default} | {key.meaning} |\n", PAGE)

    def test_manifest(self) -> None:
        """Its manifest is the one that errklein shows for a bot without further commands."""
        found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
        assert found is not None
        self.assertEqual(json.loads(found[1]), manifest(slash_commands([], ""), ""))

    def test_scopes(self) -> None:
        """It says what doesn't work without a scope."""
        for what, scopes in SCOPES.items():
            self.assertIn(f"| {' '.join(f'`{scope}`' for scope in scopes.split())} | {what} |\n", PAGE)
