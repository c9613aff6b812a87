"""Tests for `!status`, `!uptime` and `!shutdown`."""

from __future__ import annotations

from datetime import timedelta

from errklein import BotPlugin
from errklein.testing import PluginTestCase


class Broken(BotPlugin):
    """Can be switched off."""

    def deactivate(self) -> None:
        super().deactivate()
        self.refuses = True

    def activate(self) -> None:
        if getattr(self, "refuses", False):
            raise RuntimeError("a | b\nc")
        super().activate()


class HealthTests(PluginTestCase):
    """How the bot is."""

    plugins = (Broken,)

    def test_status(self) -> None:
        """All is well, with plugins, load and garbage collection."""
        status = self.command("!status")
        for part in ("Yes I am alive", "│ A      │ Broken", "│ C      │ Webserver", "Load ", "GC "):
            self.assertIn(part, status)
        for command, part in (("plugins", "│ A      │ Help"), ("load", "Load "), ("gc", "GC ")):
            self.assertIn(part, self.command(f"!status {command}"))

    def test_states(self) -> None:
        """Inactive, blacklisted and broken plugins have their letters, and what is wrong stands beside."""
        self.command("!plugin deactivate Broken")
        self.assertIn("│ D      │ Broken", self.command("!status plugins"))
        self.assertIn("a | b", self.command("!plugin activate Broken"))
        broken = self.command("!status plugins")
        self.assertIn("│ E      │ Broken", broken)
        self.assertIn("RuntimeError: a | b c", broken)
        self.command("!plugin blacklist Broken")
        self.assertIn("│ B      │ Broken", self.command("!status plugins"))
        self.flushLoggedErrors(RuntimeError)

    def test_uptime(self) -> None:
        """Since when the bot has been running, in two units."""
        self.assertIn("less than a second", self.command("!uptime"))
        self.bot.bot.startup_time -= timedelta(days=3, hours=1, minutes=2, seconds=1)
        self.assertIn("I've been up for 3 days and 1 hour (since ", self.command("!uptime"))


class ShutdownTests(PluginTestCase):
    """The end."""

    def test_needs_confirmation(self) -> None:
        """Without --confirm nothing happens."""
        self.assertIn("--confirm", self.command("!shutdown"))
        self.bot.advance(1)
        self.assertFalse(self.bot.reactor.hasStopped)

    def test_confirmed(self) -> None:
        """The reactor is stopped after the answer, whatever the process thinks of signals."""
        self.command("!shutdown --confirm")
        self.assertFalse(self.bot.reactor.hasStopped)
        self.bot.advance(0)
        self.assertTrue(self.bot.reactor.hasStopped)

    def test_admins_only(self) -> None:
        """Others can't."""
        self.assertIn("requires bot-admin", self.command("!shutdown --confirm", frm="@bob"))
        self.bot.advance(1)
        self.assertFalse(self.bot.reactor.hasStopped)
