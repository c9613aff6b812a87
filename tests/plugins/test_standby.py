"""Tests for webhooks that WEBHOOKS names with a verification, while their plugins are inactive or broken."""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.storage import StorageError
from errklein.testing import TestBot
from errklein.web import ClientResponse
from tests.processes import write_plugin

SECRET = "correct horse"

PLUGIN = """
from errklein import BotPlugin, webhook

class Hub(BotPlugin):
    @webhook("/hub/<name>", methods=["POST"], ack="now", rate="2/s")
    async def event(self, payload, name):
        self.warn_admins(f"{name} {payload['id']}")

    @webhook("/open", methods=["POST"], ack="now")
    async def open(self, payload):
        pass
"""

OPTIONS = {
    "Hub:event": {"verify": "github", "secret": "env:TEST_STANDBY_SECRET", "dedupe": "id"},
    "Hub:open": {"rate": "1/s"},
}


class StandbyTests(SynchronousTestCase):
    """A bot with a plugin in a directory."""

    def setUp(self) -> None:
        """Start a bot."""
        environment = mock.patch.dict(os.environ, {"TEST_STANDBY_SECRET": SECRET})
        environment.start()
        self.addCleanup(environment.stop)
        self.start(OPTIONS)

    def start(self, options: Mapping[str, Any], source: str = PLUGIN, stored: Mapping[str, Any] | None = None) -> None:
        """Start a bot, whose plugin may be broken, with the webhooks that an earlier one has stored."""
        # A directory of its own, since modules that are loaded already aren't read again.
        self.directory = Path(self.mktemp()).absolute()
        write_plugin(self.directory, "Hub", source)
        self.bot = TestBot(config={"BOT_EXTRA_PLUGIN_DIR": str(self.directory), "WEBHOOKS": options})
        if stored is not None:
            self.bot.bot.plugin_manager["webhooks"] = stored
        self.addCleanup(self.bot.stop)
        with contextlib.nullcontext() if source == PLUGIN else contextlib.suppress(AssertionError):
            self.bot.start()

    def restart_broken(self, options: Mapping[str, Any] = OPTIONS) -> None:
        """Start another bot with what the first one has stored. Its plugin has a syntax error."""
        self.start(options, "syntax error", self.stored())

    def stored(self) -> Any:
        """Return what the bot has stored of webhooks."""
        return self.bot.bot.plugin_manager.get("webhooks")

    def write(self, source: str) -> None:
        """Write the plugin's module."""
        (self.directory / "hub" / "hub.py").write_text(source)

    def post(self, path: str = "/hub/x", id: int = 1, secret: str = SECRET, seconds: float = 1) -> ClientResponse:
        """Send a signed request, and return the response."""
        body = b'{"id": %d}' % id
        digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": str(id)}
        response = self.successResultOf(self.bot.post(path, data=body, headers=headers))
        self.bot.advance(seconds)
        return response

    def received(self) -> list[str]:
        """Return the notices of the plugin since the last call."""
        sent = [message.text for message in self.bot.messages if message.text.startswith("x ")]
        self.bot.messages.clear()
        return sent

    def test_requests_while_deactivated(self) -> None:
        """Requests that arrive while the plugin is deactivated run after it is activated; its other webhooks get 404."""
        self.bot.command("!plugin deactivate Hub")
        self.assertEqual([self.post(id=1).status, self.post(id=1).status, self.post(id=2).status], [202, 202, 202])
        self.assertEqual(self.post(secret="wrong").status, 401)
        self.assertEqual((self.post("/open").status, self.post("/hub").status, self.received()), (404, 404, []))
        self.bot.command("!plugin activate Hub")
        self.bot.advance(1)
        self.assertEqual(sorted(self.received()), ["x 1", "x 2"])

    def test_broken_after_a_restart(self) -> None:
        """Requests that arrive while the plugin can't be loaded, also after a restart, run when it is repaired."""
        self.restart_broken()
        self.assertEqual([self.post(id=1).status, self.post(id=2, secret="wrong").status], [202, 401])
        self.assertIsNone(self.bot.bot.plugin_manager.plugin("Hub").instance)
        self.write(PLUGIN)
        self.bot.command("!plugin reload Hub")
        self.bot.advance(1)
        self.assertEqual(self.received(), ["x 1"])

    def test_options(self) -> None:
        """The plugin's options apply after a restart, too, unless WEBHOOKS has others."""
        self.restart_broken()
        self.assertEqual([self.post(id=number, seconds=0).status for number in range(3)], [202, 202, 429])
        self.restart_broken({"Hub:event": OPTIONS["Hub:event"] | {"ack": "after"}})
        self.assertEqual((self.post().status, self.post().header("Retry-After")), (503, "60"))
        self.restart_broken({"Hub:event": OPTIONS["Hub:event"] | {"methods": ["PUT"]}})
        self.assertEqual(self.post().status, 405)

    def test_not_named_any_more(self) -> None:
        """A webhook that WEBHOOKS doesn't name any more, or without a verification, is forgotten."""
        self.restart_broken({"Hub:event": {"rate": "1/s"}})
        self.assertEqual((self.post().status, self.stored()), (404, {}))
        self.restart_broken()
        self.assertEqual(self.post().status, 404)

    def test_removed(self) -> None:
        """The webhooks of a plugin that is removed are forgotten."""
        self.successResultOf(self.bot.bot.plugin_manager.remove(["Hub"]))
        self.assertEqual((self.post().status, self.stored()), (404, {}))

    def test_invalid_options(self) -> None:
        """A webhook whose options in WEBHOOKS contradict those of the plugin gets 404, and the log has the reason."""
        lines: list[str] = []
        globalLogPublisher.addObserver(observer := lambda event: lines.append(formatEvent(event)))
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.restart_broken({"Hub:event": OPTIONS["Hub:event"] | {"ordered": True, "ack": "after"}})
        self.assertEqual(self.post().status, 404)
        reason = (
            "Hub:event gets 404 while its plugin is inactive: WEBHOOKS['Hub:event']: expected ack='now' for ordered"
        )
        self.assertTrue([line for line in lines if line.startswith(reason)], lines)

    def test_changed(self) -> None:
        """A plugin that is reloaded with another URL isn't reached at the earlier one."""
        self.write(PLUGIN.replace("/hub/<name>", "/moved/<name>"))
        self.bot.command("!plugin reload Hub")
        self.bot.command("!plugin deactivate Hub")
        self.assertEqual([self.post().status, self.post("/moved/x").status], [404, 202])

    def test_storage_that_fails(self) -> None:
        """A plugin is activated also if its webhooks can't be stored; the log has the reason."""
        self.bot.command("!plugin deactivate Hub")
        self.write(PLUGIN.replace("/hub/<name>", "/moved/<name>"))
        store = self.bot.bot.plugin_manager._store
        self.patch(store, "set", mock.Mock(side_effect=StorageError("the disk is full")))
        self.bot.command("!plugin reload Hub")
        self.bot.command("!plugin activate Hub")
        self.assertEqual(self.post("/moved/x").status, 202)
