"""`!backup`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from errklein import BotPlugin
from errklein.storage._backup import read_backup
from errklein.testing import PluginTestCase


class Keeper(BotPlugin):
    """Has something to keep."""

    def activate(self) -> None:
        """Keep it."""
        super().activate()
        self["names"] = ["alice"]


class BackupTests(PluginTestCase):
    """A bot with a plugin that has stored something."""

    plugins = (Keeper,)

    @property
    def path(self) -> Path:
        """Where the backup belongs."""
        return Path(self.bot.config.BOT_DATA_DIR) / "backup.jsonl"

    def test_backup(self) -> None:
        """An administrator gets a file with all that is stored, and is told where it is."""
        self.bot.storage.open("core").set("configs", {"Webserver": None})
        self.assertIn(f"values written to {self.path}. It contains their secrets.", self.command("!backup"))
        kept = {(namespace, key) for namespace, key, _ in read_backup(self.path)}
        self.assertLessEqual({("Keeper", "names"), ("core", "configs")}, kept)

    def test_a_value_that_cannot_be_kept(self) -> None:
        """The value is named, and the backup before stays."""
        self.command("!backup")
        before = self.path.read_bytes()
        value: Any = lambda: 1  # noqa: E731 - it has no name by which it could be stored
        self.bot.plugin("Keeper")["odd"] = value
        reply = self.command("!backup")
        self.assertIn("The backup failed", reply)
        self.assertIn("'odd'", reply)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(json.loads(before.splitlines()[0])["version"], 1)
