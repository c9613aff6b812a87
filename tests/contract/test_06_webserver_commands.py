"""Chapter 6: the commands of the core plugin Webserver."""

from __future__ import annotations

import socket
from unittest import mock

from tests.contract.kit import decided
from tests.contract.webhooks import WebhookTest, free_port


class ConfiguredTests(WebhookTest):
    """Commands while the server runs."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook("/hooks/<name>")
            def hook(self, payload, name):
                return "x"
        """

    def test_configuration_is_completed(self) -> None:
        """The stored configuration is completed with the defaults of SSL."""
        stored = self.bot.plugin_manager.get_plugin_configuration("Webserver")
        self.assertEqual(stored["SSL"], self.instance("Webserver").get_configuration_template()["SSL"])
        self.assertEqual((stored["SSL"]["enabled"], stored["SSL"]["port"]), (False, 3142))

    def test_webstatus(self) -> None:
        """`!webstatus` lists each rule and its handler as a bullet."""
        status = self.ask("!webstatus")
        self.assertNotIn("•", status.splitlines()[0])
        for rule in ("/echo", "/hooks/<name>"):
            self.assertRegex(status, rf"(?m)^• {rule} -> \S")

    def test_webhook_test(self) -> None:
        """The report of `!webhook test` has the URL, the detected media type and the status code."""
        for content, kind in (
            ('{"a": 1}', "application/json"),
            ("payload=%7B%22a%22%3A1%7D", "application/x-www-form-urlencoded"),
            ("payload=hello", "text/plain"),
        ):
            report = self.ask(f"!webhook test /echo {content}")
            for part in ("Test Report", "/echo", f"Detected your post as: {kind}", "Status code: 200"):
                self.assertIn(part, report)

    def test_webhook_test_of_nothing(self) -> None:
        """The report for an unknown URL has the status code 404."""
        self.assertIn("404", self.ask("!webhook test /nothing x"))

    @decided("Werkzeug may refuse such a path")
    def test_webhook_test_without_slash(self) -> None:
        """The leading slash of the URL may be left out."""
        self.assertIn("Status code: 200", self.ask("!webhook test echo {}"))

    def test_certificate(self) -> None:
        """`!generate certificate` writes a key and a certificate and suggests a configuration."""
        self.say("!generate certificate")
        said = [self.hear(60) for _ in range(4)]
        parts = ("Generating", "successfully generated", "is recommended", "'enabled': True")
        for part, reply in zip(parts, said, strict=True):
            self.assertIn(part, reply)
        for name in ("webserver_key.pem", "webserver_certificate.pem"):
            self.assertIn("BEGIN", (self.data / name).read_text())

    @decided("everybody can read the key")
    def test_key_is_secret(self) -> None:
        """Only the owner can read the private key."""
        self.ask("!generate certificate")
        self.until_quiet()
        self.assertEqual((self.data / "webserver_key.pem").stat().st_mode & 0o077, 0)

    @decided("the server stops, and the configuration is lost")
    def test_bad_configuration(self) -> None:
        """After an invalid configuration the server keeps running."""
        self.assertIn("Incorrect plugin configuration", self.ask("!plugin config Webserver {'HOST': 5}"))
        self.assertEqual(self.post("/echo", b"1"), "1")

    @decided("the reply reports success")
    def test_port_in_use(self) -> None:
        """A port in use is an error, and the old server keeps running."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            configuration = {"HOST": "127.0.0.1", "PORT": taken.getsockname()[1], "SSL": None}
            self.assertNotIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.post("/echo", b"1"), "1")


class ServingTests(WebhookTest):
    """The server while it runs."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            heard = ()

            @webhook
            def hook(self, payload):
                self.heard += (payload,)
                return "answered"

            @webhook("/verb/<path:x>", raw=True)
            def verb(self, request, x):
                self.heard += ((request.method, request.content_type, request.get_data()),)

            @webhook("/", raw=True)
            def root(self, request):
                self.heard += (("root", request.method, request.get_data()),)
        """

    def refuses(self, port: int) -> bool:
        """Return whether nothing listens on that port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    def test_echo(self) -> None:
        """`/echo` returns the payload, also for GET."""
        self.assertEqual(self.post("/echo", b"text", "text/plain"), "text")
        self.assertEqual(self.send("GET", "/echo").text, "")

    def test_another_port(self) -> None:
        """With a new configuration the server listens on the new port only."""
        self.assertEqual(self.post("/hook"), "answered")
        old, self.port = self.port, free_port()
        configuration = {"HOST": "127.0.0.1", "PORT": self.port, "SSL": None}
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.post("/hook"), "answered")
        self.assertTrue(self.refuses(old))

    def test_deactivated(self) -> None:
        """Deactivated, the server doesn't listen and the plugin's commands are gone; activated, it listens again."""
        self.assertEqual(self.post("/hook"), "answered")
        self.ask("!plugin deactivate Webserver")
        self.assertTrue(self.refuses(self.port))
        self.assertIn("not found", self.ask("!webstatus"))
        self.ask("!plugin activate Webserver")
        self.assertEqual(self.post("/hook"), "answered")

    def test_webstatus(self) -> None:
        """Everybody can use `!webstatus`, and rules are displayed as declared."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        status = self.ask("!webstatus")
        for rule in ("/echo", "/hook", "/verb/<path:x>"):
            self.assertIn(rule, status)

    def test_test(self) -> None:
        """`!webhook test` posts the content unchanged, with the media type that it detects."""
        for content, kind in (
            ('{"a":  1}', "application/json"),
            ("k=%5B1%5D", "application/x-www-form-urlencoded"),
            ("two  spaces", "text/plain"),
            (" led by a space", "text/plain"),
            ("k=v", "text/plain"),
        ):
            report = self.ask(f"!webhook test /verb/x {content}")
            self.assertIn(f"Detected your post as: {kind}", report)
            self.assertIn("URL: /verb/x", report)
            self.assertEqual(self.instance().heard[-1], ("POST", kind, content.encode()))
        for line in ("*** Test Report", "Content: k=v", "Status code: 200"):
            self.assertIn(line, report)

    def test_test_of_nothing(self) -> None:
        """Without arguments `!webhook test` posts an empty body to `/`."""
        self.assertIn("Status code: 200", self.ask("!webhook test"))
        self.assertEqual(self.instance().heard, (("root", "POST", b""),))

    def test_test_without_a_network(self) -> None:
        """`!webhook test` opens no connection."""
        refused = mock.Mock(side_effect=AssertionError)
        with mock.patch.multiple(socket.socket, connect=refused, connect_ex=refused):
            self.assertIn("Status code: 200", self.ask("!webhook test /hook"))
        refused.assert_not_called()

    def test_test_without_content(self) -> None:
        """Without content `!webhook test` posts an empty body."""
        report = self.ask("!webhook test /hook")
        self.assertIn("Detected your post as: text/plain", report)
        self.assertIn("Status code: 200", report)

    @decided("everybody may use it")
    def test_test_by_others(self) -> None:
        """Only administrators can use `!webhook test`."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertNotIn("Test Report", self.ask("!webhook test /hook"))
        self.assertEqual(self.instance().heard, ())

    @decided("no rule can be added after the first request")
    def test_test_and_then_more(self) -> None:
        """After `!webhook test` a plugin can still be reloaded with a new webhook."""
        self.ask("!webhook test /hook")
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace("def hook", "def a_new_one"))
        self.ask("!plugin reload Tried")
        self.assertEqual(self.post("/a_new_one"), "answered")


class EndpointsTests(WebhookTest):
    """The key ENDPOINTS of the configuration."""

    @decided("there is no such key")
    def test_more(self) -> None:
        """ENDPOINTS opens further endpoints in addition to HOST and PORT."""
        other = free_port()
        configuration = {
            "HOST": "127.0.0.1",
            "PORT": self.port,
            "SSL": None,
            "ENDPOINTS": [f"tcp:{other}:interface=127.0.0.1"],
        }
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.post("/echo", b"1"), "1")
        self.port = other
        self.assertEqual(self.post("/echo", b"2"), "2")
