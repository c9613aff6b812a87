"""Tests for `self.http` of plugins."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.http_client import HTTPClients
from errklein.testing import PluginTestCase, TestBot


class One(BotPlugin):
    """A plugin."""


class Two(BotPlugin):
    """Another plugin, which sends a request when it is deactivated."""

    def deactivate(self) -> None:
        self.http.delete("https://example.org/hook").addErrback(self.log.error)
        super().deactivate()


class ClientTests(PluginTestCase):
    """The clients of two plugins."""

    plugins = (One, Two)

    def setUp(self) -> None:
        self.http.respond("DELETE", "https://example.org/hook")
        super().setUp()

    def test_created_on_first_use(self) -> None:
        """A plugin has no client until it uses it, and then keeps it; it is treq's."""
        plugin = self.bot.plugin("One")
        self.assertNotIn("http", vars(plugin))
        client = plugin.http
        self.assertIsInstance(client, HTTPClient)
        self.assertIs(plugin.http, client)
        self.assertIsNot(self.bot.plugin("Two").http, client)

    def test_deactivation(self) -> None:
        """A plugin may send requests when it is deactivated."""
        self.command("!plugin deactivate Two")
        self.assertEqual([str(request) for request in self.http.requests], ["DELETE https://example.org/hook"])


class StopTests(SynchronousTestCase):
    """The end of a bot."""

    def test_after_the_plugins(self) -> None:
        """The clients' connections are closed after the plugins are deactivated, and the bot waits for that."""
        events: list[str] = []
        closed: Deferred[None] = Deferred()

        def close(clients: Any) -> Deferred[None]:
            events.append("closed")
            return closed

        class Last(BotPlugin):
            def deactivate(self) -> None:
                super().deactivate()
                events.append("deactivated")

        self.patch(HTTPClients, "close", close)
        bot = TestBot([Last])
        bot.start()
        stopped = Deferred.fromCoroutine(bot.bot.stop(0))
        bot.advance(0)
        self.assertEqual(events, ["deactivated", "closed"])
        self.assertNoResult(stopped)
        closed.callback(None)
        self.successResultOf(stopped)
        bot.stop()
