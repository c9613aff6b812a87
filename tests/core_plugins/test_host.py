"""The part of the bot that core plugins use."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import errklein.core_plugins
from errklein.testing import TestBot


class HostTests(SynchronousTestCase):
    """Core plugins and their host."""

    def test_narrow(self) -> None:
        """Core plugins use the host, and of `self._bot` only what each plugin has, and what plugins may replace."""
        sources = [path.read_text("utf-8") for path in Path(errklein.core_plugins.__file__).parent.glob("*.py")]
        used = {name for source in sources for name in re.findall(r"\b_?bot\.([a-z_]+)", source)}
        of_each_plugin = {"plugin_pool", "reactor", "runner", "waits"}
        self.assertEqual(used - of_each_plugin, {"core_host", "get_doc", "unknown_command"})
        shown = [name for name in vars(TestBot().bot.core_host) if not name.startswith("_")]
        self.assertLessEqual(len(shown), 10)
