"""Chapter 6: the configuration of the core plugin Webserver."""

from __future__ import annotations

import socket
from typing import Any

from tests.contract.kit import ContractTest, decided
from tests.contract.webhooks import WebhookTest, free_port


class UnconfiguredTests(ContractTest):
    """The plugin without a configuration."""

    def test_template(self) -> None:
        """The template has all keys with their defaults."""
        template = self.instance("Webserver").get_configuration_template()
        self.assertEqual((template["HOST"], template["PORT"]), ("0.0.0.0", 3141))
        ssl = {"enabled": False, "host": "0.0.0.0", "port": 3142, "certificate": "", "key": ""}
        self.assertEqual(template["SSL"], ssl)

    def test_no_commands(self) -> None:
        """Its commands are unknown, and `!status plugins` displays that it needs a configuration."""
        for command in ("!webstatus", "!webhook test /echo x", "!generate certificate"):
            self.assertIn("not found", self.ask(command))
        self.assertRegex(self.ask("!status plugins"), r"│ *C[^│]*│ *Webserver |• C .*Webserver")

    def test_echo_is_there(self) -> None:
        """`/echo` has a route although nothing listens."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/echo", data=b"x", content_type="text/plain")
        self.assertEqual((answer.status_code, answer.data), (200, b"x"))


class CheckedTests(ContractTest):
    """Invalid configurations."""

    def refused(self, configuration: Any) -> None:
        """Check that the configuration is refused."""
        self.assertIn("Incorrect plugin configuration", self.ask(f"!plugin config Webserver {configuration!r}"))

    def test_required(self) -> None:
        """HOST and PORT are required and must have the right types."""
        self.refused({"HOST": "127.0.0.1"})
        self.refused({"PORT": 3141})
        self.refused({"HOST": 5, "PORT": 3141})
        self.refused({"HOST": "127.0.0.1", "PORT": "3141"})

    def test_unknown(self) -> None:
        """Unknown keys are refused."""
        self.refused({"HOST": "127.0.0.1", "PORT": 3141, "OTHER": 1})
        self.refused({"HOST": "127.0.0.1", "PORT": 3141, "SSL": {"other": 1}})

    def test_wrong_type_of_ssl(self) -> None:
        """A part of SSL with a wrong type is refused."""
        self.refused({"HOST": "127.0.0.1", "PORT": 3141, "SSL": {"port": "x"}})

    def test_unconfigured(self) -> None:
        """Without a configuration, `!plugin activate` reports success, and the plugin stays inactive."""
        self.assertIn("activated", self.ask("!plugin activate Webserver"))
        self.assertFalse(self.instance("Webserver").is_activated)
        self.assertIn("not found", self.ask("!webstatus"))

    def test_template(self) -> None:
        """`!plugin config Webserver` without a configuration displays the template."""
        shown = "\n".join(self.replies("!plugin config Webserver"))
        for word in ("HOST", "PORT", "3141", "SSL", "certificate"):
            self.assertIn(word, shown)


class StoredTests(WebhookTest):
    """The stored configuration."""

    def setUp(self) -> None:
        """Wait until the server responds, since errbot can't be configured again before."""
        super().setUp()
        self.assertEqual(self.post("/echo", b"x"), "x")

    @decided("a missing part of SSL is an error")
    def test_missing_parts(self) -> None:
        """Missing parts of SSL are completed and stored."""
        configuration = {"HOST": "127.0.0.1", "PORT": free_port(), "SSL": {"port": 4000}}
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        stored = self.bot.plugin_manager.get_plugin_configuration("Webserver")["SSL"]
        self.assertEqual(stored, {"enabled": False, "host": "0.0.0.0", "port": 4000, "certificate": "", "key": ""})

    def test_ssl_left_out(self) -> None:
        """SSL may be left out."""
        self.port = free_port()
        configuration = {"HOST": "127.0.0.1", "PORT": self.port}
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        # errbot's server can't be stopped before it serves.
        self.assertEqual(self.post("/echo", b"x"), "x")
        stored = self.bot.plugin_manager.get_plugin_configuration("Webserver")
        self.assertEqual((stored["HOST"], stored["SSL"]["enabled"]), ("127.0.0.1", False))


class SwitchedTests(WebhookTest):
    """A plugin that depends on Webserver and switches it."""

    plug = "DependsOn = Webserver\n"
    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def off(self, msg, args):
                self.get_plugin("Webserver").deactivate()
                return "off"

            @botcmd
            def on(self, msg, args):
                self.get_plugin("Webserver").activate()
                return "on"
        """

    def test_switched(self) -> None:
        """`deactivate` stops the server, and `activate` starts it again."""
        self.assertEqual(self.post("/echo", b"x"), "x")
        self.session.close()
        self.assertEqual(self.ask("!off"), "off")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), 5)
        self.assertFalse(self.instance("Webserver").is_activated)
        self.assertIn("not found", self.ask("!webstatus"))
        self.assertEqual(self.ask("!on"), "on")
        self.assertTrue(self.instance("Webserver").is_activated)
        self.assertIn("/echo", self.ask("!webstatus"))
