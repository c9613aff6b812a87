"""Tests for requests through trusted proxies, the base path, and the addresses of links."""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource

from errklein.compat import flask
from errklein.verify import twilio
from errklein.web import WebSettings
from errklein.webhooks import webhook
from errklein.webhooks.forwarding import TrustedProxies
from tests.web.kit import Connection, WebCase, request, status_of

SPOOFED = (
    ("Forwarded", "for=192.0.2.66;proto=https;host=evil.example.net"),
    ("X-Forwarded-For", "192.0.2.66"),
    ("X-Real-IP", "192.0.2.66"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example.net"),
    ("X-Forwarded-Port", "66"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Script-Name", "/evil"),
)


class Where:
    """A plugin that returns what it knows about the request."""

    def __init__(self) -> None:
        self.resource: list[Any] = []

    @webhook(raw=True)
    async def where(self, request: Any) -> dict[str, Any]:
        return {
            "url": request.url,
            "scheme": request.scheme,
            "secure": request.is_secure,
            "host": request.host,
            "path": request.path,
            "root": request.script_root,
            "url_root": request.url_root,
            "client": request.remote_addr,
            "route": list(request.access_route),
            "link": flask.url_for("where"),
            "external": flask.url_for("where", _external=True),
        }

    @webhook
    async def moved(self, payload: Any) -> Any:
        return flask.redirect(flask.url_for("where"))

    @webhook
    async def twisted(self, payload: Any) -> Any:
        plugin = self

        class Answer(Resource):
            def render_POST(self, request: Any) -> bytes:
                address = request.getClientAddress()
                plugin.resource.append((address.host, address.port, request.isSecure(), request.getRequestHostname()))
                return b""

        return Answer()


class Phone:
    """A plugin with a webhook whose source signs the URL."""

    @webhook(verify=twilio(secret="env:TEST_TWILIO_SECRET"))
    async def call(self, payload: Any) -> str:
        return "OK"


class Board(Resource):
    """A mounted resource."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"%b | %b" % (request.prePathURL(), b" ".join(request.postpath))


class ProxyCase(WebCase):
    """Has a server with the plugin Where, and a client on 127.0.0.1."""

    plugin: Where

    def setUp(self) -> None:
        """Serve the plugin."""
        super().setUp()
        self.plugin = Where()
        self.serve(self.plugin)

    def serve_phone(self, url: bytes) -> str:
        """Serve the plugin Phone. Return the signature of a URL."""
        os.environ["TEST_TWILIO_SECRET"] = "s3cret-of-twilio"
        self.addCleanup(os.environ.pop, "TEST_TWILIO_SECRET")
        self.serve(Phone())
        return b64encode(hmac.digest(b"s3cret-of-twilio", url, "sha1")).decode()

    def where(self, *headers: tuple[str, str], path: str = "/where", sent: Iterable[tuple[str, str]] = SPOOFED) -> Any:
        """Return what the handler knows about a request with these headers, after those that a client has sent itself."""
        response = self.ask("POST", path, headers=[*sent, *headers])
        self.assertEqual(response.status, 200)
        return response.json()


class WithoutProxiesTests(ProxyCase):
    """A server without trusted proxies."""

    def test_absolute_target(self) -> None:
        """The host of a target in absolute form takes precedence over the header Host."""
        head = b"POST http://bot.example.net:8080/where HTTP/1.1\r\nHost: evil.example\r\n"
        response = self.connect().send(head + b"Content-Length: 0\r\n\r\n")
        self.assertIn(b'"url":"http://bot.example.net:8080/where"', response.replace(b": ", b":"))
        self.assertNotIn(b"evil", response)

    def test_spoofed_headers(self) -> None:
        """No forwarding header changes what a handler knows about its request."""
        expected = {
            "url": "http://localhost/where",
            "scheme": "http",
            "secure": False,
            "host": "localhost",
            "path": "/where",
            "root": "",
            "url_root": "http://localhost/",
            "client": "127.0.0.1",
            "route": ["127.0.0.1"],
            "link": "/where",
            "external": "http://localhost/where",
        }
        self.assertEqual(self.where(), expected)
        self.assertEqual(self.where(sent=()), expected)

    def test_ipv4_on_an_endpoint_for_ipv6(self) -> None:
        """The client has its IPv4 address, as on an endpoint for IPv4."""
        connection = self.connect(peerAddress=IPv6Address("TCP", "::ffff:192.0.2.1", 1024))
        self.assertIn(b'"client":"192.0.2.1"', connection.send(request("POST", "/where")))


class TrustedProxyTests(ProxyCase):
    """A server behind a proxy on the same machine."""

    settings = WebSettings(
        proxies=TrustedProxies(
            {"127.0.0.1": ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"], "unix": ["Forwarded"]}
        )
    )

    reported = (
        ("X-Forwarded-For", "2001:db8::9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "bot.example.net"),
    )

    def test_handlers(self) -> None:
        """The handler gets the client's address, and the scheme and host that the client has used."""
        expected = {
            "url": "https://bot.example.net/where",
            "scheme": "https",
            "secure": True,
            "host": "bot.example.net",
            "path": "/where",
            "root": "",
            "url_root": "https://bot.example.net/",
            "client": "2001:db8::9",
            "route": ["2001:db8::9"],
            "link": "/where",
            "external": "https://bot.example.net/where",
        }
        self.assertEqual(self.where(*self.reported), expected)

    def test_another_site(self) -> None:
        """The Klein application under another Twisted site knows the same."""
        stub = StubTreq(self.web.app.resource())
        headers: dict[str, list[str]] = {}
        for name, value in (*SPOOFED, *self.reported):
            headers.setdefault(name, []).append(value)
        response = self.successResultOf(stub.post("http://localhost/where", headers=headers))
        found = self.successResultOf(response.json())
        self.assertEqual((found["url"], found["client"]), ("https://bot.example.net/where", "2001:db8::9"))

    def test_signed_url_at_another_site(self) -> None:
        """A sender that signs the URL is verified there, too, with the host and scheme that the proxy reports."""
        headers = {**dict(self.reported), "X-Twilio-Signature": self.serve_phone(b"https://bot.example.net/call")}
        response = self.successResultOf(
            StubTreq(self.web.app.resource()).post("http://localhost/call", headers=headers)
        )
        self.assertEqual(response.code, 200)

    def test_resources(self) -> None:
        """A Twisted resource gets the same."""
        self.ask("POST", "/twisted", headers=[*SPOOFED, *self.reported[1:], ("X-Forwarded-For", "192.0.2.1:1234")])
        self.assertEqual(self.plugin.resource, [("192.0.2.1", 1234, True, b"bot.example.net")])

    def test_hidden_clients(self) -> None:
        """A client whose address is hidden or invalid doesn't get the proxy's."""
        for value, client in (("_hidden", "_hidden"), ("unknown", "unknown"), ("nonsense", "unknown")):
            self.assertEqual(self.where(("X-Forwarded-For", value))["client"], client)

    def test_the_log(self) -> None:
        """The access log has the client's address."""
        with capturedLogs() as events:
            self.where(*self.reported)
        lines = [formatEvent(event) or "" for event in events]
        self.assertTrue(any(line.startswith('2001:db8::9 "POST /where" 200 ') for line in lines), lines)

    def test_unix_sockets(self) -> None:
        """The proxy that is connected to a Unix socket is trusted by its own key."""
        connection = self.connect(peerAddress=UNIXAddress(None))
        headers = [f"{name}: {value}" for name, value in SPOOFED]
        response = connection.send(request("POST", "/where", b"", *headers, "Forwarded: for=192.0.2.1;proto=https"))
        self.assertIn(b'"client":"192.0.2.1"', response)
        self.assertIn(b'"url":"https://localhost/where"', response)

    def test_mounts(self) -> None:
        """A mounted resource knows its own URL, also over a Unix socket, which has no port."""
        self.web.routes.replace("Board", (), mounts={"/board": Board()})
        response = self.ask("GET", "/board", headers=[*self.reported[:2], ("X-Forwarded-Host", "bot.example.net:8443")])
        self.assertEqual(response.body, b"https://bot.example.net:8443/board | ")
        connection = self.connect(peerAddress=UNIXAddress(None), hostAddress=UNIXAddress(None))
        received = connection.send(request("GET", "/board", b"", "Forwarded: for=192.0.2.1;proto=https"))
        self.assertTrue(received.endswith(b"https://localhost/board | "))


class ConnectionLimitTests(WebCase):
    """A proxy that opens many connections."""

    settings = WebSettings(proxies=TrustedProxies({"192.168.1.1": []}), max_connections_per_client=1)

    def test_trusted_proxies(self) -> None:
        """The limit for the connections of one client doesn't apply to trusted proxies."""
        self.assertEqual([self.connect().closed for _ in range(2)], [False, False])
        others = [Connection(peerAddress=IPv4Address("TCP", "192.0.2.1", 1)) for _ in range(2)]
        for connection in others:
            connection.channel = self.web.site.buildProtocol(None)
            connection.channel.makeConnection(connection)  # type: ignore[no-untyped-call]
        self.assertEqual([connection.closed for connection in others], [False, True])


class BasePathTests(ProxyCase):
    """A server whose webhooks are below a path."""

    settings = WebSettings(base_path="/bot")

    def test_links(self) -> None:
        """Links and redirects begin with the base path, whether the proxy has removed it or not."""
        for path in ("/where", "/bot/where"):
            found = self.where(path=path)
            self.assertEqual(found["url"], "http://localhost/bot/where")
            self.assertEqual((found["path"], found["root"], found["link"]), ("/where", "/bot", "/bot/where"))
            self.assertEqual(found["external"], "http://localhost/bot/where")
        self.assertEqual(self.ask("POST", "/bot/moved").header("Location"), "/bot/where")

    def test_mounts(self) -> None:
        """A mounted resource gets the path below it, and knows its own URL with the base path."""
        board = Board()
        self.web.routes.replace("Board", (), mounts={"/board": board})
        for path in ("/bot/board/a/b?c", "/board/a/b"):
            self.assertEqual(self.ask("GET", path).body, b"http://localhost/bot/board | a b")

    def test_other_paths(self) -> None:
        """Only a whole segment is the base path."""
        for path in ("/bot", "/bot/", "/botwhere", "/bot/bot/where", "/bot//where", "/BOT/where"):
            self.assertEqual(self.ask("POST", path).status, 404, path)


class ForwardedBasePathTests(ProxyCase):
    """A server behind a proxy that removes the base path, and reports it."""

    settings = WebSettings(base_path="/bot", proxies=TrustedProxies({"127.0.0.1": ["X-Forwarded-Prefix"]}))

    def test_links(self) -> None:
        """The reported path takes precedence over the setting, and an invalid one is ignored."""
        self.assertEqual(self.where(("X-Forwarded-Prefix", "/other"))["link"], "/other/where")
        self.assertEqual(self.where(("X-Forwarded-Prefix", "//evil.example.net"))["link"], "/bot/where")
        self.assertEqual(self.where(sent=())["link"], "/bot/where")


class PublicURLTests(ProxyCase):
    """A server with a public URL."""

    settings = WebSettings(base_path="/bot", public_url="https://bot.example.net")

    def test_links(self) -> None:
        """External links have the public URL, whatever host the client has sent."""
        found = self.where(("Host", "evil.example.net"))
        self.assertEqual(found["external"], "https://bot.example.net/bot/where")
        self.assertEqual(found["link"], "/bot/where")

    def test_signed_url(self) -> None:
        """A sender that signs the URL is verified, whether the proxy has removed the base path or not."""
        signature = self.serve_phone(b"https://bot.example.net/bot/call?a=1")
        for target in ("/bot/call?a=1", "/call?a=1", "http://127.0.0.1/bot/call?a=1"):
            sent = request("POST", target, b"", f"X-Twilio-Signature: {signature}")
            self.assertEqual(status_of(self.connect().send(sent)), 200, target)
