"""Tests for `!backup`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from errklein import BotPlugin
from errklein.storage._backup import read_backup
from errklein.testing import PluginTestCase


class Keeper(BotPlugin):
    """A plugin that stores values."""

    def activate(self) -> None:
        """Store a value."""
        super().activate()
        self["names"] = ["alice"]


class BackupTests(PluginTestCase):
    """Backups of a bot with a plugin that has stored values."""

    plugins = (Keeper,)

    @property
    def path(self) -> Path:
        """Compute the path of the backup."""
        return Path(self.bot.config.BOT_DATA_DIR) / "backup.jsonl"

    def test_backup(self) -> None:
        """An administrator gets a file with all stored values, and a reply with its path."""
        self.bot.storage.open("core").set("configs", {"Webserver": None})
        self.bot.storage.open("network:test").set("position", "s1")
        self.assertIn(f"values written to {self.path}. It contains their secrets.", self.command("!backup"))
        kept = {(namespace, key) for namespace, key, _ in read_backup(self.path)}
        self.assertLessEqual({("Keeper", "names"), ("core", "configs"), ("network:test", "position")}, kept)

    def test_a_value_that_cannot_be_kept(self) -> None:
        """The reply names the value that can't be stored, and the previous backup is kept."""
        self.command("!backup")
        before = self.path.read_bytes()
        value: Any = lambda: 1  # noqa: E731 - it has no name by which it could be stored
        self.bot.plugin("Keeper")["odd"] = value
        reply = self.command("!backup")
        self.assertIn("The backup failed", reply)
        self.assertIn("'odd'", reply)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(json.loads(before.splitlines()[0])["version"], 1)
