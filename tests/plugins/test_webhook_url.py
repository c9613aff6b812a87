"""Links to webhooks outside of requests."""

from __future__ import annotations

from typing import Any

from errklein import BotPlugin, botcmd, webhook
from errklein.testing import PluginTestCase


class Builds(BotPlugin):
    """A plugin that sends links to its webhooks."""

    @webhook("/builds/<project>")
    def finished(self, payload: Any, project: str) -> str:
        return project

    @botcmd
    def link(self, msg: Any, args: str) -> str:
        return str(self.webhook_url("finished", project=args, from_="chat"))


class Own(BotPlugin):
    """A plugin with an attribute of the same name."""

    webhook_url = "https://chat.example.net/hooks/1"


class PublicURLTests(PluginTestCase):
    """A bot with a public URL."""

    plugins = (Builds, Own)
    config = {"PUBLIC_URL": "https://bot.example.net", "WEBHOOK_BASE_PATH": "/bot"}

    def test_link(self) -> None:
        """A command can send the URL of a webhook, with values in its path and query."""
        self.assertEqual(self.command("!link a b"), "https://bot.example.net/bot/builds/a%20b?from_=chat")

    def test_another_plugin(self) -> None:
        """A webhook of another plugin is named with the plugin, and a missing one is an error."""
        plugin = BotPlugin(self.bot.bot, "Other")
        self.assertEqual(plugin.webhook_url("Builds:finished", project="x"), "https://bot.example.net/bot/builds/x")
        self.assertRaises(LookupError, plugin.webhook_url, "finished", project="x")

    def test_own_attribute(self) -> None:
        """An attribute of the plugin with this name takes precedence."""
        self.assertEqual(self.bot.plugin("Own").webhook_url, "https://chat.example.net/hooks/1")


class UnknownURLTests(PluginTestCase):
    """A bot without a public URL."""

    plugins = (Builds,)

    def test_error(self) -> None:
        """The error names the setting."""
        error = self.assertRaises(RuntimeError, self.bot.plugin("Builds").webhook_url, "finished", project="x")
        self.assertIn("set PUBLIC_URL in config.py", str(error))
