"""Tests for warnings about settings with unknown plugins and commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.testing import ADMIN, PluginTestCase
from tests.processes import ERRKLEIN, run, write_config, write_plugin

SHOP = """
from errbot import BotPlugin, botcmd

class Shop(BotPlugin):
    def room(self):
        return self.bot_config.CHATROOM_FNS, getattr(self.bot_config, "IRC_CHANNEL_RATES", None)

    @botcmd
    def buy_tea(self, msg, args):
        return "bought"
"""


class Shop(BotPlugin):
    """Sells."""

    @botcmd
    def buy_tea(self, msg: Any, args: str) -> str:
        """Buy tea."""
        return "bought"


class StartTests(PluginTestCase):
    """Warnings in the log when the bot starts."""

    plugins = (Shop,)
    config = {
        "ACCESS_CONTROLS": {"Buy Tea": {}, "webstatus": {}, "Shop:*": {}, "buy milk": {}, "Shopp:*": {}},
        "DIVERT_TO_PRIVATE": ("buy_tea", "help", "ALL_COMMANDS", "buy tea", "dance"),
        "DIVERT_TO_THREAD": "sing",
        "PLUGINS_CALLBACK_ORDER": ("Shop", None, "Shopp"),
        "CORE_PLUGINS": ("Webserver", "ACLs", "CommandNotFoundFilter", "Help", "Utilities"),
    }

    def test_warnings(self) -> None:
        """The log has each setting with an unknown name, and no other; the bot works."""
        named = ("ACCESS_CONTROLS", "DIVERT_TO", "PLUGINS_CALLBACK_ORDER", "CORE_PLUGINS")
        lines = [line for line in self.bot.log if line.startswith(named)]
        self.assertEqual(
            [line.partition(";")[0] for line in lines],
            [
                "ACCESS_CONTROLS: the pattern 'buy milk' matches no command",
                "ACCESS_CONTROLS: the pattern 'Shopp:*' matches no command",
                "DIVERT_TO_PRIVATE: unknown command 'buy tea'",
                "DIVERT_TO_PRIVATE: unknown command 'dance'",
                "DIVERT_TO_THREAD: unknown command 'sing'",
                "PLUGINS_CALLBACK_ORDER: unknown plugin 'Shopp'",
                "CORE_PLUGINS: unknown plugin 'Utilities'",
                "CORE_PLUGINS: add 'Deliveries' for !why, !delivery, and !webhook show, pause and resume",
            ],
        )
        self.assertIn("did you mean 'buy_tea'?", lines[2])
        self.assertEqual(self.command("!buy tea"), "bought")


class NetworkTests(PluginTestCase):
    """Settings of one of several networks."""

    plugins = (Shop,)
    networks = {"one": {"ACCESS_CONTROLS": {"dance": {}}}, "two": {}}

    def test_network_is_named(self) -> None:
        """The warning names the network."""
        (line,) = [line for line in self.bot.log if "ACCESS_CONTROLS" in line]
        self.assertTrue(line.startswith("NETWORKS['one']: ACCESS_CONTROLS: the pattern 'dance'"), line)


class Hooked(BotPlugin):
    """Has a webhook."""

    @webhook(methods=["POST"])
    def order(self, payload: Any) -> None:
        """Get an order."""


class WebhooksTests(PluginTestCase):
    """Names in WEBHOOKS."""

    plugins = (Hooked,)
    config = {"WEBHOOKS": {"Hooked:order": {"methods": "PUT"}, "Hooked:ordr": {"rate": "1/s"}, "Hookd:order": {}}}

    def test_start_and_changes(self) -> None:
        """Administrators get one notice of the unknown names, and none after a change of plugins that doesn't affect them."""
        notices = [text for text in self.bot.sent_to(ADMIN) if "WEBHOOKS" in text]
        self.assertEqual(len(notices), 1)
        for error in (
            "WEBHOOKS['Hooked:ordr']: the plugin Hooked has no webhook 'ordr'; did you mean 'order'?",
            "WEBHOOKS['Hookd:order']: unknown plugin 'Hookd'; did you mean 'Hooked'?",
        ):
            self.assertIn(error, notices[0])
            self.assertIn(error, self.bot.log)
        self.assertEqual(self.put("/order").status, 200)
        self.assertEqual(self.post("/order").status, 405)
        self.command("!plugin reload Hooked")
        self.assertEqual(self.put("/order").status, 200)
        self.assertEqual(len([text for text in self.bot.sent_to(ADMIN) if "WEBHOOKS" in text]), 1)

    def test_removed_plugin(self) -> None:
        """A name that becomes unknown causes a notice."""
        self.bot.bot.plugin_manager.remove(["Hooked"])  # type: ignore[attr-defined]
        self.bot.advance(1)
        [_, notice] = [text for text in self.bot.sent_to(ADMIN) if "WEBHOOKS" in text]
        self.assertIn("WEBHOOKS['Hooked:order']: unknown plugin 'Hooked'", notice)


class CheckTests(SynchronousTestCase):
    """`errklein check`."""

    def check(self, **settings: object) -> tuple[int, str]:
        """Return the exit status and output of `errklein check`."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_plugin(directory / "plugins", "Shop", SHOP)
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins"), **settings})
        done = run(ERRKLEIN, "check", "-v", cwd=directory)
        return done.returncode, done.stdout + done.stderr

    def test_settings_of_plugins(self) -> None:
        """A name that a plugin's source reads isn't reported as misspelt."""
        status, told = self.check(CHATROOM_FNS="x", IRC_CHANNEL_RATES=1, BOT_ADMINSS=())
        self.assertEqual(status, 0, told)
        [line] = [line for line in told.splitlines() if "unknown setting" in line]
        self.assertIn("unknown setting BOT_ADMINSS; did you mean BOT_ADMINS?", line)

    def test_warnings(self) -> None:
        """An unknown name is a warning, and the exit status is 0."""
        status, told = self.check(ACCESS_CONTROLS={"buy tea": {}, "buy milk": {"denyusers": "*"}})
        self.assertEqual(status, 0, told)
        self.assertIn("warning: ACCESS_CONTROLS: the pattern 'buy milk' matches no command", told)
        self.assertNotIn("buy tea'", told)
        self.assertIn("!room list, for administrators", told)
