"""Chapter 6: `!generate certificate`, and webhooks over TLS."""

from __future__ import annotations

import ast
import socket
import ssl
import warnings
from typing import Any

import requests

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import decided
from tests.contract.webhooks import WebhookTest, free_port


class CertificateTests(WebhookTest):
    """Certificates and HTTPS."""

    def made(self) -> dict[str, Any]:
        """Return the configuration that is suggested with a new certificate."""
        self.say("!generate certificate")
        said = [self.hear(60) for _ in range(4)]
        suggested: dict[str, Any] = ast.literal_eval(said[-1].strip())
        return suggested

    def over_tls(self, port: int) -> requests.Response:
        """Send a request to `/echo` on that port by HTTPS."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.session.mount("https://", self.session.get_adapter("http://"))
            return self.session.post(f"https://127.0.0.1:{port}/echo", b"x", verify=False, timeout=10)

    def test_suggested(self) -> None:
        """The suggested configuration has HTTPS on the next port, with the paths of the new files."""
        suggested = self.made()
        self.assertEqual((suggested["HOST"], suggested["PORT"]), ("127.0.0.1", self.port))
        tls = suggested["SSL"]
        self.assertEqual((tls["enabled"], tls["host"], tls["port"]), (True, "127.0.0.1", self.port + 1))
        self.assertEqual(tls["key"], str(self.data / "webserver_key.pem"))
        self.assertEqual(tls["certificate"], str(self.data / "webserver_certificate.pem"))

    def test_only_admins(self) -> None:
        """Only administrators can generate a certificate."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("admin", self.ask("!generate certificate"))
        self.assertFalse((self.data / "webserver_key.pem").exists())

    def test_used(self) -> None:
        """With the suggested configuration, HTTPS replaces HTTP."""
        configuration = self.made()
        configuration["SSL"]["port"] = port = free_port()
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.over_tls(port).text, "x")
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", self.port)), 0)

    @decided("the active configuration is changed as well")
    def test_only_suggested(self) -> None:
        """The command doesn't change the configuration."""
        before = repr(self.instance("Webserver").config)
        self.made()
        self.assertEqual(repr(self.instance("Webserver").config), before)

    @decided("the certificate is X.509 v1 and valid for the name * only")
    def test_names(self) -> None:
        """The certificate is valid for localhost and the configured address."""
        self.made()
        details = ssl._ssl._test_decode_cert(  # type: ignore[attr-defined]
            str(self.data / "webserver_certificate.pem")
        )
        self.assertEqual(details["version"], 3)
        names = details["subjectAltName"]
        self.assertIn(("DNS", "localhost"), names)
        self.assertIn(("IP Address", "127.0.0.1"), names)

    @decided("the command takes no names")
    def test_names_that_are_given(self) -> None:
        """The certificate is valid for the names and addresses in the command."""
        self.say("!generate certificate bot.example.org 10.1.2.3")
        for _ in range(4):
            self.hear(60)
        details = ssl._ssl._test_decode_cert(  # type: ignore[attr-defined]
            str(self.data / "webserver_certificate.pem")
        )
        self.assertIn(("DNS", "bot.example.org"), details["subjectAltName"])
        self.assertIn(("IP Address", "10.1.2.3"), details["subjectAltName"])

    @decided("the key is RSA with 4096 bits")
    def test_key(self) -> None:
        """The private key is of the curve P-256."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        self.made()
        key = load_pem_private_key((self.data / "webserver_key.pem").read_bytes(), None)
        self.assertIsInstance(key, ec.EllipticCurvePrivateKey)
        self.assertEqual(key.curve.name, "secp256r1")

    @decided("SSL.host is ignored")
    def test_host(self) -> None:
        """HTTPS listens on the address in `SSL.host`."""
        configuration = self.made()
        configuration["HOST"] = "127.0.0.1"
        configuration["SSL"].update(host="127.0.0.2", port=free_port())
        self.assertIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        port = configuration["SSL"]["port"]
        if not IS_ERRKLEIN:
            # errbot's server can't be stopped before it serves.
            self.over_tls(port)
        with socket.socket() as probe:
            self.assertEqual(probe.connect_ex(("127.0.0.2", port)), 0)
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0)

    @decided("a silent client blocks all others")
    def test_silent_client(self) -> None:
        """A client that connects and sends nothing doesn't block other clients."""
        configuration = self.made()
        configuration["SSL"]["port"] = port = free_port()
        self.ask(f"!plugin config Webserver {configuration!r}")
        self.assertEqual(self.over_tls(port).text, "x")
        with socket.create_connection(("127.0.0.1", port)):
            self.session.close()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = requests.post(f"https://127.0.0.1:{port}/echo", b"x", verify=False, timeout=10)
        self.assertEqual(answer.text, "x")

    @decided("the reply reports success, and nothing listens")
    def test_bad_certificate(self) -> None:
        """A missing certificate is an error, and the old server keeps running."""
        missing = {"enabled": True, "host": "127.0.0.1", "port": free_port(), "certificate": "/x.pem", "key": "/y.pem"}
        configuration = {"HOST": "127.0.0.1", "PORT": self.port, "SSL": missing}
        self.assertNotIn("configuration done", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.assertEqual(self.post("/echo", b"1"), "1")
