"""Chapter 6, continued: corners of the core plugin Webserver."""

from __future__ import annotations

import ast
import socket
import ssl
import warnings
from typing import Any
from unittest import mock

import requests

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import ContractTest, decided
from tests.contract.test_05_webhooks import WebhookTest


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class CheckedTests(ContractTest):
    """What can be configured."""

    def refused(self, configuration: Any) -> None:
        """The configuration isn't taken."""
        self.assertIn("Incorrect plugin configuration", self.ask(f"!plugin config Webserver {configuration!r}"))

    def test_required(self) -> None:
        """HOST and PORT have to be there, and of the right types."""
        self.refused({"HOST": "127.0.0.1"})
        self.refused({"PORT": 3141})
        self.refused({"HOST": 5, "PORT": 3141})
        self.refused({"HOST": "127.0.0.1", "PORT": "3141"})

    def test_unknown(self) -> None:
        """There may be nothing else."""
        self.refused({"HOST": "127.0.0.1", "PORT": 3141, "OTHER": 1})
        self.refused({"HOST": "127.0.0.1", "PORT": 3141, "SSL": {"other": 1}})

    def test_wrong_type_of_ssl(self) -> None:
        """Nor may parts of SSL be of other types."""
        self.refused({"HOST": "127.0.0.1", "PORT": 3141, "SSL": {"port": "x"}})

    def test_unconfigured(self) -> None:
        """Without a configuration it can be activated, and stays inactive."""
        self.assertIn("activated", self.ask("!plugin activate Webserver"))
        self.assertFalse(self.instance("Webserver").is_activated)
        self.assertIn("not found", self.ask("!webstatus"))

    def test_template(self) -> None:
        """Without a configuration given, the template is shown."""
        shown = "\n".join(self.replies("!plugin config Webserver"))
        for word in ("HOST", "PORT", "3141", "SSL", "certificate"):
            self.assertIn(word, shown)


class StoredTests(WebhookTest):
    """What is stored."""

    def setUp(self) -> None:
        """errbot can't be configured again before it has begun to serve."""
        super().setUp()
        self.assertEqual(self.post("/echo", b"x"), "x")

    @decided("parts of SSL can't be left out, though its code means to fill them in")
    def test_missing_parts(self) -> None:
        """What is missing of SSL is filled in, and stored with the rest."""
        configuration = {"HOST": "127.0.0.1", "PORT": free_port(), "SSL": {"port": 4000}}
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        stored = self.bot.plugin_manager.get_plugin_configuration("Webserver")["SSL"]
        self.assertEqual(stored, {"enabled": False, "host": "0.0.0.0", "port": 4000, "certificate": "", "key": ""})

    def test_ssl_left_out(self) -> None:
        """SSL may be left out altogether."""
        self.port = free_port()
        configuration = {"HOST": "127.0.0.1", "PORT": self.port}
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        # Nor can it be stopped before.
        self.assertEqual(self.post("/echo", b"x"), "x")
        stored = self.bot.plugin_manager.get_plugin_configuration("Webserver")
        self.assertEqual((stored["HOST"], stored["SSL"]["enabled"]), ("127.0.0.1", False))


class ServingTests(WebhookTest):
    """While it serves."""

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
        """Whether nobody listens on that port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    def test_echo(self) -> None:
        """`/echo` says what it has understood, of GET too."""
        self.assertEqual(self.post("/echo", b"text", "text/plain"), "text")
        self.assertEqual(self.send("GET", "/echo").text, "")

    def test_another_port(self) -> None:
        """With another configuration it listens there, and no more where it did."""
        self.assertEqual(self.post("/hook"), "answered")
        old, self.port = self.port, free_port()
        configuration = {"HOST": "127.0.0.1", "PORT": self.port, "SSL": None}
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.post("/hook"), "answered")
        self.assertTrue(self.refuses(old))

    def test_deactivated(self) -> None:
        """Deactivated it doesn't listen, activated it does again."""
        self.assertEqual(self.post("/hook"), "answered")
        self.ask("!plugin deactivate Webserver")
        self.assertTrue(self.refuses(self.port))
        self.assertIn("not found", self.ask("!webstatus"))
        self.ask("!plugin activate Webserver")
        self.assertEqual(self.post("/hook"), "answered")

    def test_webstatus(self) -> None:
        """Rules are shown as they are, also to people who are nobody in particular."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        status = self.ask("!webstatus")
        for rule in ("/echo", "/hook", "/verb/<path:x>"):
            self.assertIn(rule, status)

    def test_test(self) -> None:
        """`!webhook test` posts the content as it is, of the kind that it looks like."""
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
        """Without arguments `/` gets a POST request."""
        self.assertIn("Status code: 200", self.ask("!webhook test"))
        self.assertEqual(self.instance().heard, (("root", "POST", b""),))

    def test_test_without_a_network(self) -> None:
        """A test connects to nothing."""
        refused = mock.Mock(side_effect=AssertionError)
        with mock.patch.multiple(socket.socket, connect=refused, connect_ex=refused):
            self.assertIn("Status code: 200", self.ask("!webhook test /hook"))
        refused.assert_not_called()

    def test_test_without_content(self) -> None:
        """The content may be left out."""
        report = self.ask("!webhook test /hook")
        self.assertIn("Detected your post as: text/plain", report)
        self.assertIn("Status code: 200", report)

    @decided("anybody may")
    def test_test_by_others(self) -> None:
        """Only administrators may."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertNotIn("Test Report", self.ask("!webhook test /hook"))
        self.assertEqual(self.instance().heard, ())

    @decided("the first request settles all rules")
    def test_test_and_then_more(self) -> None:
        """A test keeps no plugin from being reloaded with another hook."""
        self.ask("!webhook test /hook")
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace("def hook", "def a_new_one"))
        self.ask("!plugin reload Tried")
        self.assertEqual(self.post("/a_new_one"), "answered")


class CertificateTests(WebhookTest):
    """HTTPS."""

    def made(self) -> dict[str, Any]:
        """The configuration that is suggested with a new certificate."""
        self.say("!generate certificate")
        said = [self.hear(60) for _ in range(4)]
        suggested: dict[str, Any] = ast.literal_eval(said[-1].strip())
        return suggested

    def over_tls(self, port: int) -> requests.Response:
        """What `/echo` answers there."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.session.mount("https://", self.session.get_adapter("http://"))
            return self.session.post(f"https://127.0.0.1:{port}/echo", b"x", verify=False, timeout=10)

    def test_suggested(self) -> None:
        """HTTPS on the next port, with the new files."""
        suggested = self.made()
        self.assertEqual((suggested["HOST"], suggested["PORT"]), ("127.0.0.1", self.port))
        tls = suggested["SSL"]
        self.assertEqual((tls["enabled"], tls["host"], tls["port"]), (True, "127.0.0.1", self.port + 1))
        self.assertEqual(tls["key"], str(self.data / "webserver_key.pem"))
        self.assertEqual(tls["certificate"], str(self.data / "webserver_certificate.pem"))

    def test_only_admins(self) -> None:
        """Others don't get any."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("admin", self.ask("!generate certificate"))
        self.assertFalse((self.data / "webserver_key.pem").exists())

    def test_used(self) -> None:
        """With it, there is HTTPS instead of HTTP."""
        configuration = self.made()
        configuration["SSL"]["port"] = port = free_port()
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.over_tls(port).text, "x")
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", self.port)), 0)

    @decided("the live configuration is changed as well")
    def test_only_suggested(self) -> None:
        """The configuration stays what it is."""
        before = repr(self.instance("Webserver").config)
        self.made()
        self.assertEqual(repr(self.instance("Webserver").config), before)

    @decided("X.509 v1, for * and no other name")
    def test_names(self) -> None:
        """The certificate is for this host, by its address too."""
        self.made()
        details = ssl._ssl._test_decode_cert(  # type: ignore[attr-defined]
            str(self.data / "webserver_certificate.pem")
        )
        self.assertEqual(details["version"], 3)
        names = details["subjectAltName"]
        self.assertIn(("DNS", "localhost"), names)
        self.assertIn(("IP Address", "127.0.0.1"), names)

    @decided("no names can be given")
    def test_names_that_are_given(self) -> None:
        """And for the names and addresses that are given with the command."""
        self.say("!generate certificate bot.example.org 10.1.2.3")
        for _ in range(4):
            self.hear(60)
        details = ssl._ssl._test_decode_cert(  # type: ignore[attr-defined]
            str(self.data / "webserver_certificate.pem")
        )
        self.assertIn(("DNS", "bot.example.org"), details["subjectAltName"])
        self.assertIn(("IP Address", "10.1.2.3"), details["subjectAltName"])

    @decided("RSA, of 4096 bits")
    def test_key(self) -> None:
        """The key is one of P-256, which takes no time to make."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        self.made()
        key = load_pem_private_key((self.data / "webserver_key.pem").read_bytes(), None)
        self.assertIsInstance(key, ec.EllipticCurvePrivateKey)
        self.assertEqual(key.curve.name, "secp256r1")

    @decided("SSL.host is passed over")
    def test_host(self) -> None:
        """`SSL.host` says where HTTPS listens."""
        configuration = self.made()
        configuration["HOST"] = "127.0.0.1"
        configuration["SSL"].update(host="127.0.0.2", port=free_port())
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        port = configuration["SSL"]["port"]
        if not IS_ERRKLEIN:
            # It can't be stopped before it has begun to serve.
            self.over_tls(port)
        with socket.socket() as probe:
            self.assertEqual(probe.connect_ex(("127.0.0.2", port)), 0)
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0)

    @decided("a silent client holds up all others")
    def test_silent_client(self) -> None:
        """Who connects and says nothing holds nobody up."""
        configuration = self.made()
        configuration["SSL"]["port"] = port = free_port()
        self.ask(f"!plugin config Webserver {configuration!r}")
        self.assertEqual(self.over_tls(port).text, "x")
        with socket.create_connection(("127.0.0.1", port)):
            self.session.close()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = requests.post(f"https://127.0.0.1:{port}/echo", b"x", verify=False, timeout=1)
        self.assertEqual(answer.text, "x")

    @decided("says that it is done, and nothing listens")
    def test_bad_certificate(self) -> None:
        """A certificate that isn't there is told of, and the old server goes on."""
        missing = {"enabled": True, "host": "127.0.0.1", "port": free_port(), "certificate": "/x.pem", "key": "/y.pem"}
        configuration = {"HOST": "127.0.0.1", "PORT": self.port, "SSL": missing}
        self.assertNotIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.post("/echo", b"1"), "1")


class EndpointsTests(WebhookTest):
    """ENDPOINTS."""

    @decided("there is no such setting")
    def test_more(self) -> None:
        """Any others may be opened besides."""
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
