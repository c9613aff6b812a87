"""Plugins whose methods are checked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from errklein.plugins import BotPlugin
from errklein.plugins.imports import load_module, plugin_class
from errklein.plugins.methods import Finding, check_methods
from tests.plugin_files import PluginFilesTestCase

IMPORTS = "from errklein import BotPlugin, arg_botcmd, botcmd, botmatch, cmdfilter, re_botcmd, webhook\n"


class ChecksTestCase(PluginFilesTestCase):
    """Plugins that are loaded from their source and checked, without a bot."""

    def load(self, source: str) -> type[BotPlugin]:
        """The plugin class in the source, which follows the imports of one line."""
        plug = self.plugin("Checked", IMPORTS + source)
        cls: type[BotPlugin] = plugin_class(load_module(plug, fresh=True), BotPlugin, "Checked")[0]
        return cls

    def create(self, source: str) -> BotPlugin:
        """An instance of that class."""
        bot: Any = SimpleNamespace(reactor=None, runner=None, plugin_pool=None)
        return self.load(source)(bot, name="Checked")

    def findings(self, body: str, before: str = "") -> list[Finding]:
        """The findings about a plugin P whose class has that body, indented by four spaces, below other code."""
        return check_methods(self.create(f"{before}\nclass P(BotPlugin):\n{body}\n"))

    def texts(self, body: str, before: str = "") -> list[str]:
        """The texts of the findings."""
        return [finding.text for finding in self.findings(body, before)]
