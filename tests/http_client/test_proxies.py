"""Tests for requests through HTTP proxies."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI, ResponseNeverReceived

from errklein.http_client import ProxyError
from errklein.http_client._client import PooledAgent, Proxy, proxy_for
from tests.authority import Authority, issue
from tests.http_client.test_http_client import PROXIES, ClientCase, ok, set_environment, trust


def set_proxies(case: SynchronousTestCase, **values: str) -> None:
    """Set the variables, and no others that concern proxies, until the end of the test."""
    set_environment(case, **{**dict.fromkeys(PROXIES), **values})


class VariableTests(SynchronousTestCase):
    """The environment variables."""

    def test_schemes(self) -> None:
        """Each scheme has its own proxy, whose port is 80 unless it is given."""
        set_proxies(self, HTTPS_PROXY="http://proxy.example:3128/", http_proxy="http://other.example")
        self.assertEqual(proxy_for(b"https://example.org/"), Proxy("proxy.example", 3128))
        self.assertEqual(proxy_for(b"http://example.org/"), Proxy("other.example", 80))

    def test_none(self) -> None:
        """Without variables, and for hosts in NO_PROXY, connections are direct."""
        set_proxies(self)
        self.assertIsNone(proxy_for(b"https://example.org/"))
        set_proxies(self, HTTPS_PROXY="http://proxy.example:3128", NO_PROXY="localhost,.example.org")
        self.assertIsNone(proxy_for(b"https://localhost:8443/x"))
        self.assertIsNone(proxy_for(b"https://me@api.example.org/"))
        self.assertIsNotNone(proxy_for(b"https://example.com/"))

    def test_user(self) -> None:
        """User name and password are decoded, and don't appear in the text of the proxy."""
        set_proxies(self, HTTPS_PROXY="http://me:s%40fe@proxy.example:1")
        proxy = proxy_for(b"https://example.org/")
        assert proxy is not None
        self.assertEqual(proxy.authorization, b"Basic bWU6c0BmZQ==")
        self.assertEqual(str(proxy), "proxy.example:1")

    def test_other_kinds(self) -> None:
        """A proxy that isn't an HTTP proxy is an error, which names the variable and doesn't contain the password."""
        for address in ("socks5://me:secret@proxy.example:1", "https://me:secret@proxy.example", "http://"):
            set_proxies(self, HTTPS_PROXY=address)
            error = self.assertRaises(ProxyError, proxy_for, b"https://example.org/")
            self.assertIn("HTTPS_PROXY: expected the address of an HTTP proxy", str(error))
            self.assertNotIn("secret", str(error))


class TunnelTests(SynchronousTestCase):
    """The connection to a proxy, on a virtual clock."""

    def setUp(self) -> None:
        set_proxies(self, HTTPS_PROXY="http://192.0.2.1:3128")
        self.reactor: Any = MemoryReactorClock()

    def test_silent_proxy(self) -> None:
        """A proxy that doesn't respond is an error after the timeout."""
        endpoint: Any = PooledAgent(self.reactor).endpointForURI(URI.fromBytes(b"https://[2001:db8::1]/"))
        opened: Deferred[Any] = endpoint.connect(Factory.forProtocol(Protocol))
        self.reactor.advance(0)
        transport = StringTransport()
        self.reactor.tcpClients[0][2].buildProtocol(None).makeConnection(transport)
        self.assertTrue(transport.value().startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"), transport.value())
        self.reactor.advance(29)
        self.assertNoResult(opened)
        self.reactor.advance(1)
        error = self.failureResultOf(opened, ProxyError)
        self.assertIn("the proxy 192.0.2.1:3128 has opened no tunnel within 30 s", error.getErrorMessage())
        self.assertTrue(transport.disconnected)


class ProxyServer(Protocol):
    """A proxy that opens tunnels to any host, and answers other requests itself."""

    def __init__(self, case: ProxiedTests) -> None:
        self.case = case
        self.received = b""
        self.other: Any = None

    def dataReceived(self, data: bytes) -> None:
        """Read the head; then pass on the bytes."""
        assert self.transport is not None
        if self.other is not None:
            self.other.transport.write(data)
            return
        self.received += data
        if b"\r\n\r\n" not in self.received:
            return
        self.case.heads.append(self.received)
        line, self.received = self.received.split(b"\r\n")[0], b""
        if not line.startswith(b"CONNECT"):
            self.transport.write(ok(line))
        elif self.case.refusal:
            self.transport.write(self.case.refusal)
        else:
            port = int(line.split(b" ")[1].rpartition(b":")[2])
            endpoint = TCP4ClientEndpoint(self.case.reactor, "127.0.0.1", port)
            endpoint.connect(Factory.forProtocol(lambda: FarSide(self)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Close the other connection."""
        if self.other is not None:
            self.other.transport.loseConnection()


class FarSide(Protocol):
    """The connection of a tunnel to its target."""

    def __init__(self, near: ProxyServer) -> None:
        self.near: Any = near

    def connectionMade(self) -> None:
        """Open the tunnel."""
        self.near.other = self
        self.near.transport.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        """Pass on the bytes."""
        self.near.transport.write(data)


class ProxiedTests(ClientCase):
    """Requests through a proxy."""

    def setUp(self) -> None:
        super().setUp()
        self.heads: list[bytes] = []
        self.refusal = b""
        factory = Factory.forProtocol(lambda: ProxyServer(self))
        factory.noisy = False  # type: ignore[misc]
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.proxy = f"http://me:secret@127.0.0.1:{port.getHost().port}"
        self.address = f"127.0.0.1:{port.getHost().port}"
        set_proxies(self, HTTP_PROXY=self.proxy, HTTPS_PROXY=self.proxy)

    async def test_https(self) -> None:
        """HTTPS passes through a tunnel, so the server's certificate is verified; the tunnel is used again."""
        authority = Authority()
        trust(self, authority)
        certificate = issue("127.0.0.1", issuer=authority.root)
        served = PrivateCertificate.loadPEM(certificate.key_pem + certificate.pem)
        server, url = self.serve(lambda path: ok(path), served)
        client = self.clients.client()
        for path in ("/a", "/b"):
            self.assertEqual(await (await client.get(url + path)).text(), path)
        (head,) = self.heads
        self.assertTrue(head.startswith(b"CONNECT " + url.partition("://")[2].encode() + b" HTTP/1.1\r\n"), head)
        self.assertIn(b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n", head)
        self.assertNotIn(b"Proxy-Authorization", b"".join(server.heads))

    async def test_wrong_certificate(self) -> None:
        """A certificate that isn't valid for the server's name is rejected, whoever the proxy is."""
        authority = Authority()
        trust(self, authority)
        certificate = issue("192.0.2.1", issuer=authority.root)
        served = PrivateCertificate.loadPEM(certificate.key_pem + certificate.pem)
        _, url = self.serve(lambda path: ok(), served)
        with self.assertRaises(ResponseNeverReceived):
            await self.clients.client().get(url)

    async def test_http(self) -> None:
        """For HTTP, the proxy gets the complete URL."""
        response = await self.clients.client().get("http://nowhere.invalid/path?a=1")
        self.assertEqual(await response.text(), "GET http://nowhere.invalid/path?a=1 HTTP/1.1")
        self.assertIn(b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n", self.heads[0])

    async def test_websocket(self) -> None:
        """A WebSocket passes through a tunnel, too."""
        _, url = self.serve(lambda path: ok())
        endpoints = PooledAgent(self.reactor)
        connected = await endpoints.endpointForURI(URI.fromBytes(url.replace("http", "ws").encode())).connect(
            Factory.forProtocol(Protocol)
        )
        connected.transport.loseConnection()
        (head,) = self.heads
        self.assertTrue(head.startswith(b"CONNECT " + url.partition("://")[2].encode() + b" HTTP/1.1\r\n"), head)

    async def test_refusal(self) -> None:
        """A refusal is an error with the proxy's status, also if the response has no end."""
        for self.refusal, shown in (
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
            (b"HTTP/1.1 503 " + b"x" * 20_000, "503"),
            (b"nonsense\r\n\r\n", "nonsense"),
        ):
            with self.assertRaises(ProxyError) as raised:
                await self.clients.client().get("https://nowhere.invalid/")
            text = str(raised.exception)
            self.assertTrue(text.startswith(f"the proxy {self.address} refuses the connection: "), text)
            self.assertIn(shown, text)
            self.assertLess(len(text), 200)

    async def test_unusable(self) -> None:
        """A proxy that can't be used fails each request."""
        set_proxies(self, HTTPS_PROXY="socks5://127.0.0.1:1")
        with self.assertRaises(ProxyError):
            await self.clients.client().get("https://nowhere.invalid/")
