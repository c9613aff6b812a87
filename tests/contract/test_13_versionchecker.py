"""Chapter 13: the plugin that looks for new versions."""

from __future__ import annotations

from tests.contract.kit import ContractTest


class VersionCheckerTests(ContractTest):
    """The plugin VersionChecker."""

    def test_inactive(self) -> None:
        """VersionChecker is inactive in tests."""
        self.assertFalse(self.instance("VersionChecker").is_activated)
