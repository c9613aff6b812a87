"""Tests for the VersionChecker plugin, without requests outside of the process."""

from __future__ import annotations

from typing import Any

from errklein.core_plugins import versionchecker
from errklein.core_plugins.versionchecker import URL
from errklein.networks.test import TestBackend
from errklein.testing import PluginTestCase


class VersionTests(PluginTestCase):
    """A bot on a network with administrators."""

    def setUp(self) -> None:
        self.patch(TestBackend, "mode", "irc")
        super().setUp()

    def respond(self, version: str, **options: Any) -> None:
        """Set the version in the response of PyPI."""
        self.http.respond("GET", URL, json={"info": {"version": version}}, **options)

    def asked(self) -> int:
        """Return the number of requests."""
        return len(self.http.requests)

    def test_told_once(self) -> None:
        """Administrators are notified once of a newer version, although it is requested every day."""
        self.respond("1000.0")
        self.bot.advance(60)
        self.assertEqual(self.asked(), 1)
        (told,) = self.bot.sent_to("@admin")
        self.assertIn("errklein 1000.0 is available", told)
        self.bot.advance(86_400)
        self.assertEqual(self.asked(), 2)
        self.assertEqual(len(self.bot.messages), 1)
        self.respond("1000.1")
        self.bot.advance(86_400)
        self.assertIn("1000.1", self.bot.sent_to("@admin")[-1])

    def test_no_news(self) -> None:
        """An older or equal version, a beta, an error or an invalid response notifies nobody."""
        for version in ("0.0", versionchecker.__version__, "1000.0b1"):
            self.respond(version, times=1)
        self.http.respond("GET", URL, status=404, body="no such project", times=1)
        self.http.respond("GET", URL, body="<html>", times=1)
        self.http.respond("GET", URL, json=[], times=1)
        self.http.fail("GET", URL, ConnectionRefusedError("refused"), times=1)
        self.bot.advance(7 * 86_400)
        self.assertEqual(self.asked(), 7)
        self.assertEqual(self.bot.messages, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_stops(self) -> None:
        """A deactivated plugin sends no requests."""
        self.command("!plugin deactivate VersionChecker")
        self.bot.advance(90_000)
        self.assertEqual(self.asked(), 0)


class DeselectedTests(PluginTestCase):
    """CORE_PLUGINS without VersionChecker."""

    config = {"CORE_PLUGINS": ("Health",)}

    def test_gone(self) -> None:
        """The plugin isn't loaded."""
        self.assertNotIn("VersionChecker", self.command("!status plugins"))
