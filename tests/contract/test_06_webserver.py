"""Chapter 6: the core plugin Webserver."""

from __future__ import annotations

import socket

from tests.contract.kit import ContractTest, decided
from tests.contract.test_05_webhooks import WebhookTest


class UnconfiguredTests(ContractTest):
    """Before it is configured."""

    def test_template(self) -> None:
        """What can be configured."""
        template = self.instance("Webserver").get_configuration_template()
        self.assertEqual((template["HOST"], template["PORT"]), ("0.0.0.0", 3141))
        ssl = {"enabled": False, "host": "0.0.0.0", "port": 3142, "certificate": "", "key": ""}
        self.assertEqual(template["SSL"], ssl)

    def test_no_commands(self) -> None:
        """Its commands aren't there, and its state is that it wants a configuration."""
        for command in ("!webstatus", "!webhook test /echo x", "!generate certificate"):
            self.assertIn("not found", self.ask(command))
        self.assertRegex(self.ask("!status plugins"), r"│ *C[^│]*│ *Webserver ")

    def test_echo_is_there(self) -> None:
        """`/echo` is known to the application, though nothing listens."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/echo", data=b"x", content_type="text/plain")
        self.assertEqual((answer.status_code, answer.data), (200, b"x"))


class ConfiguredTests(WebhookTest):
    """While it serves."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook("/hooks/<name>")
            def hook(self, payload, name):
                return "x"
        """

    def test_configuration_is_completed(self) -> None:
        """What is left out of SSL is filled in, and kept so."""
        stored = self.bot.plugin_manager.get_plugin_configuration("Webserver")
        self.assertEqual(stored["SSL"], self.instance("Webserver").get_configuration_template()["SSL"])
        self.assertEqual((stored["SSL"]["enabled"], stored["SSL"]["port"]), (False, 3142))

    def test_webstatus(self) -> None:
        """A line above, then a bullet for each rule, with what answers there."""
        status = self.ask("!webstatus")
        self.assertNotIn("•", status.splitlines()[0])
        for rule in ("/echo", "/hooks/<name>"):
            self.assertRegex(status, rf"(?m)^• {rule} -> \S")

    def test_webhook_test(self) -> None:
        """A test request, and what was made of it."""
        for content, kind in (
            ('{"a": 1}', "application/json"),
            ("payload=%7B%22a%22%3A1%7D", "application/x-www-form-urlencoded"),
            ("payload=hello", "text/plain"),
        ):
            report = self.ask(f"!webhook test /echo {content}")
            for part in ("Test Report", "/echo", f"Detected your post as: {kind}", "Status code: 200"):
                self.assertIn(part, report)

    def test_webhook_test_of_nothing(self) -> None:
        """A URL that nobody has is 404."""
        self.assertIn("404", self.ask("!webhook test /nothing x"))

    @decided("Werkzeug may refuse such a path, and the reply is an error")
    def test_webhook_test_without_slash(self) -> None:
        """The slash at the beginning of the URL may be left out."""
        self.assertIn("Status code: 200", self.ask("!webhook test echo {}"))

    def test_certificate(self) -> None:
        """A key, a certificate, and how to configure them."""
        self.say("!generate certificate")
        said = [self.hear(60) for _ in range(4)]
        parts = ("Generating", "successfully generated", "is recommended", "'enabled': True")
        for part, reply in zip(parts, said, strict=True):
            self.assertIn(part, reply)
        for name in ("webserver_key.pem", "webserver_certificate.pem"):
            self.assertIn("BEGIN", (self.data / name).read_text())

    @decided("the key can be read by all")
    def test_key_is_secret(self) -> None:
        """Only its owner reads the key."""
        self.ask("!generate certificate")
        self.until_quiet()
        self.assertEqual((self.data / "webserver_key.pem").stat().st_mode & 0o077, 0)

    @decided("the server is gone, and the configuration lost")
    def test_bad_configuration(self) -> None:
        """The server goes on."""
        self.assertIn("Incorrect plugin configuration", self.ask("!plugin config Webserver {'HOST': 5}"))
        self.assertEqual(self.post("/echo", b"1"), "1")

    @decided("says that it is done")
    def test_port_in_use(self) -> None:
        """The reply says that the port is taken, and the old server goes on."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            configuration = {"HOST": "127.0.0.1", "PORT": taken.getsockname()[1], "SSL": None}
            self.assertNotIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.post("/echo", b"1"), "1")


class SwitchedTests(WebhookTest):
    """A plugin that depends on Webserver switches it."""

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
        """`deactivate` ends the server, `activate` begins it again."""
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
