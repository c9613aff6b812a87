"""Tests for endpoints and their certificates, partly over real sockets."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import treq
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

from errklein.listening import ListenError, Listeners, endpoint_url
from errklein.listening._connections import ProxiedFactory
from errklein.listening._listeners import identify
from errklein.listening.tls import generate_certificate
from errklein.running import Runner, WorkerPool
from errklein.web import WebServer, WebSettings
from errklein.webhooks import webhook
from tests import needs_network
from tests.authority import Authority, TLSPair, certificate_of
from tests.web.kit import SocketClient, hooks_of, port_of, request, status_of


class Hello:
    """A plugin."""

    @webhook
    async def hello(self, payload: Any) -> str:
        return f"hello {payload}"

    @webhook
    async def large(self, payload: Any) -> bytes:
        return b"x" * 3_000_000

    @webhook
    def blocking(self, payload: Any) -> str:
        return "from a thread"


class DescriptionTests(SynchronousTestCase):
    """The meaning of endpoint descriptions."""

    def test_the_same_endpoint(self) -> None:
        """All spellings of a description mean the same endpoint."""
        for first, second in (
            ("tcp:3141:interface=127.0.0.1", "TCP:port=3141:interface=127.0.0.1"),
            ("tcp:80:127.0.0.1", "tcp:interface=127.0.0.1:port=80"),
            ("unix:/a\\:b", "unix:address=/a\\:b"),
        ):
            self.assertEqual(identify(first), identify(second))
        self.assertNotEqual(identify("tcp:80"), identify("tcp:81"))

    @given(st.text(max_size=20))
    def test_no_description_does_harm(self, description: str) -> None:
        """Any text is a description or raises ValueError."""
        try:
            identify(description)
        except ValueError:
            pass

    def test_opened_once(self) -> None:
        """An endpoint is opened once, and can be closed by another spelling."""
        reactor = MemoryReactorClock()
        listeners = Listeners(reactor, Factory())
        self.successResultOf(listeners.open("tcp:8080"))
        self.successResultOf(listeners.open("tcp:port=8080"))
        self.assertEqual(len(reactor.tcpServers), 1)
        self.assertEqual(listeners.open_now, ["tcp:8080"])
        self.successResultOf(listeners.close("tcp:port=8080"))
        self.assertEqual(listeners.open_now, [])
        self.successResultOf(listeners.close("tcp:8080"))


class CertificateChangeTests(SynchronousTestCase):
    """Changes of the certificates of `tls:` and `ssl:` endpoints, on a clock."""

    def setUp(self) -> None:
        """Listen with a directory and with files."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.authority = Authority()
        self.bundle = self.directory / "bot.pem"
        self.renew()
        self.reactor = MemoryReactorClock()
        self.listeners = Listeners(self.reactor, Factory.forProtocol(Protocol))
        self.directory_endpoint = f"tls:{self.directory}:8443"
        self.files_endpoint = f"ssl:8444:privateKey={self.bundle}"
        for endpoint in (self.directory_endpoint, self.files_endpoint):
            self.successResultOf(self.listeners.open(endpoint))
        self.addCleanup(self.listeners.close_all)

    def renew(self) -> None:
        """Write a new certificate."""
        self.issued = self.authority.issue("bot.example.org")
        self.bundle.write_bytes(self.authority.bundle(self.issued, self.authority.root))

    def served(self) -> list[x509.Certificate]:
        """Return the certificates that clients of the endpoints get."""
        factories = [factory for _, factory, *_ in self.reactor.tcpServers]
        # The client of a test sends no PROXY header.
        factories = [one.wrappedFactory if isinstance(one, ProxiedFactory) else one for one in factories]
        return [
            certificate_of(TLSPair(factory, self.reactor, self.authority.client(), "bot.example.org"))
            for factory in factories
        ]

    def test_ports(self) -> None:
        """Arguments and their defaults are those of Twisted."""
        self.successResultOf(self.listeners.open(f"tls:path={self.directory}"))
        self.successResultOf(self.listeners.open(f"tls:{self.directory}:1:2:127.0.0.1"))
        self.assertEqual(
            [(port, backlog, interface) for port, _, backlog, interface in self.reactor.tcpServers],
            [(8443, 50, "::"), (8444, 50, ""), (443, 50, "::"), (1, 2, "127.0.0.1")],
        )

    def test_a_renewed_certificate(self) -> None:
        """A renewed certificate is served within five seconds."""
        self.assertEqual(self.served(), [self.issued.certificate] * 2)
        self.renew()
        self.reactor.pump([0.5] * 10)
        self.assertEqual(self.served(), [self.issued.certificate] * 2)

    def test_sighup(self) -> None:
        """On SIGHUP, a renewed certificate is served at once."""
        self.renew()
        self.listeners.reload_certificates()
        self.assertEqual(self.served(), [self.issued.certificate] * 2)

    def test_a_broken_renewal(self) -> None:
        """A broken renewal is logged once per endpoint, and the old certificate stays in use."""
        self.bundle.write_bytes(self.bundle.read_bytes()[:-40])
        with capturedLogs() as events:
            self.reactor.pump([1] * 60)
        lines = [formatEvent(event) or "" for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(lines), 2, lines)
        for line, endpoint in zip(lines, (self.directory_endpoint, self.files_endpoint), strict=True):
            self.assertTrue(line.startswith(f"{endpoint}: {self.bundle} is incomplete"), line)
        self.assertEqual(self.served(), [self.issued.certificate] * 2)
        with capturedLogs() as events:
            self.listeners.reload_certificates()
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error] * 2)

    def test_problems_at_the_start(self) -> None:
        """Unusable files beside a usable certificate are logged."""
        (self.directory / "other.pem").write_text("-----BEGIN nonsense")
        with capturedLogs() as events:
            self.successResultOf(self.listeners.open(f"tls:{self.directory}:8445"))
        lines = [formatEvent(event) or "" for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(lines), 1)
        self.assertIn("other.pem is incomplete", lines[0])

    def test_no_timer_is_left(self) -> None:
        """Without an open endpoint, certificates aren't checked."""
        self.assertTrue(self.reactor.getDelayedCalls())
        self.successResultOf(self.listeners.close(self.directory_endpoint))
        self.assertTrue(self.reactor.getDelayedCalls())
        self.successResultOf(self.listeners.close(self.files_endpoint))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.failureResultOf(self.listeners.open(f"tls:{self.directory}/missing:1"), ListenError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.successResultOf(self.listeners.open(self.directory_endpoint))
        self.assertTrue(self.reactor.getDelayedCalls())

    def test_behind_haproxy(self) -> None:
        """The certificates of an endpoint behind haproxy are served and renewed."""
        self.successResultOf(self.listeners.open(f"haproxy:tls:{self.directory}:8445"))
        self.renew()
        self.reactor.pump([0.5] * 10)
        self.assertEqual(self.served(), [self.issued.certificate] * 3)


class ListeningTests(TestCase):
    """Endpoints on real sockets."""

    def setUp(self) -> None:
        """A server on the real reactor."""
        needs_network()
        from twisted.internet import reactor

        self.reactor: Any = reactor
        pool = WorkerPool(self.reactor, "webhook", 2)
        self.addCleanup(pool.stop)
        self.web = WebServer(self.reactor, Runner(self.reactor, pool))
        self.web.routes.replace("Hello", hooks_of(Hello()))
        self.connections = HTTPConnectionPool(self.reactor, persistent=False)  # type: ignore[no-untyped-call]
        self.addCleanup(self.web.close)
        self.addCleanup(self.connections.closeCachedConnections)

    async def port(self, description: str = "tcp:0:interface=127.0.0.1") -> int:
        """Open the endpoint, and return its port."""
        await self.web.listeners.open(description)
        return port_of(self.web.listeners, description)

    async def client(self, port: int) -> SocketClient:
        """Return a client's connection."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        return await connectProtocol(endpoint, SocketClient())  # type: ignore[no-any-return]

    async def test_requests(self) -> None:
        """Every kind of handler responds, also with a large response."""
        port = await self.port()
        for path, text in (("hello", "hello {'a': 1}"), ("blocking", "from a thread")):
            url = f"http://127.0.0.1:{port}/{path}"
            response = await treq.post(url, json={"a": 1}, pool=self.connections)
            self.assertEqual(await response.text(), text)
        response = await treq.get(f"http://127.0.0.1:{port}/large", pool=self.connections)
        self.assertEqual(len(await response.content()), 3_000_000)

    async def test_one_connection(self) -> None:
        """A connection serves many requests, also after a response that exceeds the socket's buffer."""
        client = await self.client(await self.port())
        assert client.transport is not None
        client.transport.write(request("GET", "/large") + request("GET", "/hello"))
        client.transport.write(request("GET", "/hello", b"", "Connection: close"))
        responses = await client.closed
        self.assertEqual(responses.count(b"HTTP/1.1 200 OK"), 3)
        self.assertTrue(responses.endswith(b"hello "))

    async def test_a_proxy_in_front(self) -> None:
        """Behind haproxy, the handler gets the client's address."""

        class Where:
            @webhook(raw=True)
            async def where(self, request: Any) -> str:
                return f"from {request.remote_addr}"

        self.web.routes.replace("Where", hooks_of(Where()))
        client = await self.client(await self.port("haproxy:tcp:0:interface=127.0.0.1"))
        assert client.transport is not None
        client.transport.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\r\n")
        client.transport.write(request("GET", "/where", b"", "Connection: close"))
        self.assertTrue((await client.closed).endswith(b"from 192.0.2.1"))

    async def test_a_directory_of_certificates(self) -> None:
        """A `tls:` endpoint serves the certificates of a directory."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        key, certificate = directory / "key", directory / "certificate"
        generate_certificate([], key, certificate)
        (directory / "localhost.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
        await self.fetch(await self.port(f"tls:{directory}:0:interface=127.0.0.1"), certificate.read_bytes())

    async def test_clients_of_a_directory_of_certificates(self) -> None:
        """Each client gets the certificate for its host, with a valid chain and a secure suite."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        authority = Authority()
        names = ("one.example.org", "two.example.org")
        issued = {name: authority.issue(name) for name in names}
        for name in names:
            (directory / f"{name}.pem").write_bytes(authority.bundle(issued[name], authority.root))
        port = await self.port(f"tls:{directory}:0:interface=127.0.0.1")

        def served(name: str, ciphers: str = "") -> bytes | None:
            context = authority.client()
            if ciphers:
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(ciphers)
            with (
                socket.create_connection(("127.0.0.1", port), 10) as plain,
                context.wrap_socket(plain, server_hostname=name) as client,
            ):
                client.sendall(request("GET", "/hello", b"", "Connection: close"))
                self.assertTrue(client.recv(1000).startswith(b"HTTP/1.1 200"))
                return client.getpeercert(binary_form=True)

        for name in names:
            encoded = await deferToThread(served, name)
            self.assertEqual(encoded, ssl.PEM_cert_to_DER_cert(issued[name].pem.decode()))
        await deferToThread(served, names[0], "ECDHE+AESGCM")
        for ciphers in ("ECDHE+SHA384:!AESGCM", "ECDHE+SHA", "kRSA"):
            with self.assertRaises(ssl.SSLError):
                await deferToThread(served, names[0], ciphers)

    async def test_a_refused_body_is_not_a_reset(self) -> None:
        """A client that continues to send can read the response of a rejected request."""
        client = await self.client(await self.port())
        assert client.transport is not None
        client.transport.write(request("POST", "/hello", b"", "Content-Length: 99999999"))
        client.transport.write(b"x" * 500_000)
        response = b""
        while b"\r\n\r\n" not in response:
            await _turn(self.reactor)
            response = client.received
        self.assertTrue(response.startswith(b"HTTP/1.1 413"))
        client.transport.abortConnection()  # type: ignore[attr-defined]
        await client.closed

    async def test_unix_socket(self) -> None:
        """An endpoint may be a Unix socket."""
        path = self.mktemp()[-60:].replace("/", "_")
        await self.web.listeners.open(f"unix:{path}")
        client = await connectProtocol(UNIXClientEndpoint(self.reactor, path), SocketClient())
        assert client.transport is not None
        client.transport.write(request("GET", "/hello", b"", "Connection: close"))
        self.assertTrue((await client.closed).endswith(b"hello "))
        await self.web.listeners.close_all()

    async def test_errors_are_one_line(self) -> None:
        """An endpoint that can't be opened is an error of one line, with the description and the reason."""
        port = await self.port()
        missing = Path(self.mktemp()).absolute()
        for description, reason in (
            (f"tcp:{port}:interface=127.0.0.1", "in use"),
            ("tcp:nonsense", "nonsense"),
            ("nothing:1", "nothing"),
            ("", "tcp:3141"),
            ("tcp:0:interface=192.0.2.1", "this machine has no address 192.0.2.1"),
            (f"unix:{missing}/socket", f"the directory {missing} is missing; create it with `mkdir -p {missing}`"),
            (f"ssl:0:privateKey={missing}", "can't be read"),
            (f"ssl:0:privateKey={missing}:colour=red", "colour"),
            (f"tls:{missing}:0", "can't be read: No such file"),
        ):
            with self.assertRaises(ListenError) as raised:
                await self.web.listeners.open(description)
            text = str(raised.exception)
            self.assertIn(f"can't listen on {description}", text)
            self.assertIn(reason, text)
            self.assertNotIn("\n", text)
        self.assertEqual(len(self.web.listeners.open_now), 1)

    async def test_https(self) -> None:
        """A generated certificate is served, and another one after a reload."""
        directory = Path(self.mktemp())
        directory.mkdir()
        key, certificate = directory.absolute() / "key.pem", directory.absolute() / "cert.pem"
        generate_certificate(["example.org"], key, certificate)
        port = await self.port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1")
        old = certificate.read_bytes()
        await self.fetch(port, old)
        generate_certificate(["example.org"], key, certificate)
        self.web.listeners.reload_certificates()
        await self.fetch(port, certificate.read_bytes())
        certificate.write_text("nonsense")
        self.web.listeners.reload_certificates()
        with self.assertRaises(Exception):  # noqa: B017
            await self.fetch(port, old)

    async def test_refusals_arrive_over_https(self) -> None:
        """Over TLS, clients can read the response of a rejected request while they send."""
        directory = Path(self.mktemp())
        directory.mkdir()
        key, certificate = directory.absolute() / "key.pem", directory.absolute() / "cert.pem"
        generate_certificate([], key, certificate)
        port = await self.port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1")
        root = trustRootFromCertificates([Certificate.loadPEM(certificate.read_bytes())])
        endpoint = wrapClientTLS(
            optionsForClientTLS("localhost", trustRoot=root), TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        )
        too_large = request("POST", "/hello", b"", f"Content-Length: {WebSettings().max_body + 1}")
        for sent, status in ((b"nonsense\r\n\r\n", 400), (too_large + b"x" * 1_000_000, 413)):
            client: SocketClient = await connectProtocol(endpoint, SocketClient())  # type: ignore[arg-type]
            assert client.transport is not None
            client.transport.write(sent)
            response = await client.closed
            self.assertEqual(status_of(response), status)
            self.assertIn(str(status).encode(), response.partition(b"\r\n\r\n")[2])

    async def test_a_silent_client_blocks_nobody(self) -> None:
        """A client that doesn't begin its handshake doesn't block others."""
        directory = Path(self.mktemp())
        directory.mkdir()
        key, certificate = directory.absolute() / "key.pem", directory.absolute() / "cert.pem"
        generate_certificate([], key, certificate)
        port = await self.port(f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1")
        silent = await self.client(port)
        await self.fetch(port, certificate.read_bytes())
        assert silent.transport is not None
        silent.transport.loseConnection()
        await silent.closed

    async def fetch(self, port: int, trusted: bytes) -> None:
        """Fail unless a client that trusts the certificate gets a response."""
        root = trustRootFromCertificates([Certificate.loadPEM(trusted)])
        agent = Agent(self.reactor, BrowserLikePolicyForHTTPS(root), pool=self.connections)
        response = await treq.client.HTTPClient(agent).get(f"https://localhost:{port}/hello")
        self.assertEqual(await response.text(), "hello ")


def _turn(reactor: Any) -> Deferred[None]:
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    return turned


class AddressTests(SynchronousTestCase):
    """URLs of endpoints."""

    def test_urls(self) -> None:
        """TCP and TLS endpoints become URLs; others stay as they are."""
        for description, expected in (
            ("tcp:3141:interface=127.0.0.1", "http://127.0.0.1:3141"),
            ("tcp:port=80", "http://localhost:80 (all interfaces)"),
            ("tcp:3141:interface=0.0.0.0", "http://localhost:3141 (all interfaces)"),
            ("tcp6:3141:interface=\\:\\:1", "http://[::1]:3141"),
            ("ssl:443:privateKey=k:certKey=c:interface=10.0.0.1", "https://10.0.0.1:443"),
            ("tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"),
            ("unix:/run/bot.sock", "unix:/run/bot.sock"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
            ("haproxy:tcp:8080", "haproxy:tcp:8080"),
        ):
            self.assertEqual(endpoint_url(description), expected)
