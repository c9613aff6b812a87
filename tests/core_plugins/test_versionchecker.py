"""Tests for the VersionChecker plugin, without requests outside of the process."""

from __future__ import annotations

from typing import Any

from treq.testing import StringStubbingResource, StubTreq

from errklein.backends.test import TestBackend
from errklein.core_plugins import versionchecker
from errklein.core_plugins.versionchecker import URL
from errklein.testing import PluginTestCase


class VersionTests(PluginTestCase):
    """A bot on a network with administrators."""

    def setUp(self) -> None:
        self.patch(TestBackend, "mode", "irc")
        super().setUp()
        self.asked: list[str] = []
        self.answer = (200, b'{"info": {"version": "1000.0"}}')
        self.patch(
            type(self.bot.plugin("VersionChecker")),
            "client",
            lambda plugin: StubTreq(StringStubbingResource(self.respond)),
        )

    def respond(
        self, method: bytes, url: str, params: Any, headers: Any, data: bytes
    ) -> tuple[int, dict[str, Any], bytes]:
        """Set the response of PyPI."""
        self.asked.append(url)
        return self.answer[0], {}, self.answer[1]

    def test_told_once(self) -> None:
        """Administrators are notified once of a newer version, although it is requested every day."""
        self.bot.advance(60)
        self.assertEqual(self.asked, [URL])
        (told,) = self.bot.sent_to("@admin")
        self.assertIn("errklein 1000.0 is available", told)
        self.bot.advance(86_400)
        self.assertEqual(len(self.asked), 2)
        self.assertEqual(len(self.bot.messages), 1)
        self.answer = (200, b'{"info": {"version": "1000.1"}}')
        self.bot.advance(86_400)
        self.assertIn("1000.1", self.bot.sent_to("@admin")[-1])

    def test_no_news(self) -> None:
        """An older or equal version, a beta, an error or an invalid response notifies nobody."""
        for answer in (
            (200, b'{"info": {"version": "0.0"}}'),
            (200, f'{{"info": {{"version": "{versionchecker.__version__}"}}}}'.encode()),
            (200, b'{"info": {"version": "1000.0b1"}}'),
            (404, b"no such project"),
            (200, b"<html>"),
            (200, b"[]"),
        ):
            self.answer = answer
            self.bot.advance(86_400)
        self.assertGreater(len(self.asked), 5)
        self.assertEqual(self.bot.messages, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_stops(self) -> None:
        """A deactivated plugin sends no requests."""
        self.command("!plugin deactivate VersionChecker")
        self.bot.advance(90_000)
        self.assertEqual(self.asked, [])


class DeselectedTests(PluginTestCase):
    """CORE_PLUGINS without VersionChecker."""

    config = {"CORE_PLUGINS": ("Health",)}

    def test_gone(self) -> None:
        """The plugin isn't loaded."""
        self.assertNotIn("VersionChecker", self.command("!status plugins"))
