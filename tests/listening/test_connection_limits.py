"""Tests for the limits of open connections."""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Address as Address
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.tcp import Port
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.listening._connections import ConnectionLimits, ProxiedFactory, client_of
from errklein.listening.tls import generate_certificate
from errklein.logs import format_line
from errklein.running import NEVER, Runner, WorkerPool
from errklein.web import WebServer, WebSettings
from errklein.webhooks import webhook
from tests import needs_network
from tests.web.kit import Connection, Slow, WebCase, hooks_of, port_of, request, status_of

PARTIAL = b"POST /quick HTTP/1.1\r\nHost: x\r\nX-Slow:"


class LimitsCase(WebCase):
    """A server for four connections, of which a client may have two."""

    settings = WebSettings(max_connections=4, max_connections_per_client=2)

    def setUp(self) -> None:
        """A plugin whose handlers respond at once, or wait."""
        super().setUp()
        self.plugin = Slow()
        self.serve(self.plugin)

    def open(self, host: str, data: bytes = b"") -> Connection:
        """Open a connection from an address, and send something."""
        kind = IPv6Address if ":" in host else IPv4Address
        connection = Connection(peerAddress=kind("TCP", host, 1024))
        connection.channel = self.web.site.buildProtocol(None)
        connection.channel.makeConnection(connection)  # type: ignore[no-untyped-call]
        if data:
            connection.channel.dataReceived(data)
        return connection

    def lines(self) -> list[str]:
        """Return the list to which lines about connections are added from now on."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if "connections" in str(event.get("log_format")):
                lines.append((format_line(event) or "").partition("] ")[2].rstrip("\n"))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines


class ClientTests(LimitsCase):
    """The limit for each client."""

    def test_one_connection_too_many_is_refused(self) -> None:
        """A client with as many connections as it may have gets no other, until one is closed; other clients do."""
        first, second = self.open("192.0.2.1"), self.open("192.0.2.1", request("GET", "/slow"))
        self.assertTrue(self.open("192.0.2.1").closed)
        other = self.open("192.0.2.2", request("GET", "/quick"))
        self.assertEqual(status_of(other.received()), 200)
        first.channel.connectionLost()
        again = self.open("192.0.2.1", request("GET", "/quick"))
        self.assertEqual(status_of(again.received()), 200)
        self.assertFalse(second.closed)

    def test_running_handlers_of_lost_connections_count(self) -> None:
        """A client that disconnects can't start more handlers than it may have connections, until they end or are overdue."""
        for _ in range(2):
            self.open("192.0.2.1", request("GET", "/slow")).channel.connectionLost()
        self.assertTrue(self.open("192.0.2.1").closed)
        self.assertEqual(status_of(self.open("192.0.2.2", request("GET", "/quick")).received()), 200)
        self.plugin.gates[0].callback("done")
        again = self.open("192.0.2.1", request("GET", "/quick"))
        self.assertEqual(status_of(again.received()), 200)
        self.assertTrue(self.open("192.0.2.1").closed)
        for _ in range(61):
            self.clock.advance(1)
        self.assertFalse(self.open("192.0.2.1").closed)

    def test_ipv6_network_is_one_client(self) -> None:
        """All addresses of an IPv6 network of 64 bits are one client, and an IPv4 address in IPv6 notation is that address."""
        self.open("2001:db8::1")
        self.open("2001:db8::ffff:1")
        self.assertTrue(self.open("2001:db8:0:0:1::1").closed)
        self.assertFalse(self.open("2001:db8:0:1::1").closed)
        for host in ("192.0.2.1", "::ffff:192.0.2.1"):
            self.assertEqual(client_of(host), "192.0.2.1")
        self.assertEqual(client_of("fe80::1%eth0"), client_of("fe80::2%eth0"))

    def test_proxies_and_unix_sockets_are_exempt(self) -> None:
        """A trusted proxy and the clients of a Unix socket may use all connections."""
        site = self.web.site
        site.limits = ConnectionLimits(4, 2, site.now, lambda host: host == "192.0.2.9")
        self.assertEqual([self.open("192.0.2.9").closed for _ in range(4)], [False] * 4)
        site.limits = ConnectionLimits(4, 2, site.now, lambda host: False)
        for _ in range(4):
            connection = Connection(peerAddress=UNIXAddress(None))  # type: ignore[arg-type]
            connection.channel = site.buildProtocol(None)
            connection.channel.makeConnection(connection)  # type: ignore[no-untyped-call]
            self.assertFalse(connection.closed)

    @given(st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1))
    def test_networks(self, number: int, interface: int) -> None:
        """Two IPv6 addresses are the same client if their first 64 bits are equal."""
        address = Address(number)
        if address.ipv4_mapped is None:
            network = number >> 64 << 64
            self.assertEqual(client_of(str(address)), client_of(str(Address(network + interface | 2**63))))
            self.assertNotEqual(client_of(str(address)), client_of(str(Address(number ^ 2**64))))


class TotalTests(LimitsCase):
    """The limit for all clients."""

    def test_oldest_connection_without_a_head_is_closed(self) -> None:
        """A new client gets the place of the oldest one that has sent no complete head, and nobody else is disturbed."""
        kept = self.open("192.0.2.1", request("GET", "/quick"))
        slow = self.open("192.0.2.2", PARTIAL)
        self.clock.advance(0.1)
        silent = self.open("192.0.2.3")
        waiting = self.open("192.0.2.4", request("GET", "/slow"))
        self.clock.advance(0.1)
        new = self.open("192.0.2.5", request("GET", "/quick"))
        self.assertEqual(status_of(new.received()), 200)
        self.assertEqual([one.closed for one in (kept, slow, silent, waiting)], [False, True, False, False])
        self.assertEqual(status_of(self.open("192.0.2.6", request("GET", "/quick")).received()), 200)
        self.assertEqual([one.closed for one in (kept, silent, waiting)], [False, True, False])
        self.plugin.gates[0].callback("done")
        self.assertEqual(status_of(waiting.received()), 200)

    def test_idle_clients_keep_no_new_ones_out(self) -> None:
        """A new connection isn't closed before its client can have sent a head, but one that has been idle for longer."""
        idle = [self.open(f"192.0.2.{number}", request("GET", "/quick")) for number in range(3)]
        self.clock.advance(3)
        new = self.open("192.0.2.5")
        self.clock.advance(0.1)
        others = [self.open(f"192.0.2.{number}", request("GET", "/slow")) for number in (6, 7)]
        self.assertEqual([one.closed for one in (*idle, new, *others)], [True, True, False, False, False, False])
        new.channel.dataReceived(request("GET", "/quick"))
        self.assertEqual(status_of(new.received()), 200)

    def test_client_with_many_connections_loses_one_first(self) -> None:
        """Of clients that are about equally slow, one with more than 16 connections loses one, also if these are newer."""
        limits = self.web.site.limits = ConnectionLimits(20, 1_000, self.clock.seconds, lambda host: False)
        few = [self.open("192.0.2.1", request("GET", "/quick")) for _ in range(2)]
        self.clock.advance(1)
        many = [self.open("192.0.2.2", request("GET", "/quick")) for _ in range(18)]
        self.assertEqual(len(limits.connections), 20)
        self.clock.advance(19)
        self.assertFalse(self.open("192.0.2.3").closed)
        self.assertEqual([each.closed for each in (*few, *many)], [False, False, True] + [False] * 17)

    def test_longest_waiting_connection_is_closed(self) -> None:
        """If all have sent a request, the one is closed that has waited longest for its client, idle or within a body."""
        idle = self.open("192.0.2.1", request("GET", "/quick"))
        self.clock.advance(1)
        body = self.open("192.0.2.2", request("POST", "/quick", b"12345")[:-1])
        others = [self.open(f"192.0.2.{number}", request("GET", "/slow")) for number in (3, 4)]
        new = self.open("192.0.2.5", request("GET", "/slow"))
        self.assertEqual([one.closed for one in (idle, body, *others, new)], [True, False, False, False, False])
        last = self.open("192.0.2.6", request("GET", "/slow"))
        self.assertEqual([one.closed for one in (body, *others, new, last)], [True, False, False, False, False])

    def test_requests_in_progress_are_never_interrupted(self) -> None:
        """If all connections have requests in progress, a new one is refused."""
        busy = [self.open(f"192.0.2.{number}", request("GET", "/slow")) for number in range(4)]
        self.assertTrue(self.open("192.0.2.9").closed)
        self.assertEqual([one.closed for one in busy], [False] * 4)
        self.plugin.gates[0].callback("done")
        self.assertFalse(self.open("192.0.2.9").closed)

    def test_slow_client_is_suspended(self) -> None:
        """A client whose connection was closed without a head is refused for a minute; one with a request isn't."""
        self.open("192.0.2.1", PARTIAL)
        self.open("192.0.2.2", request("GET", "/quick"))
        for number in (3, 4, 5, 6):
            self.open(f"192.0.2.{number}", request("GET", "/slow"))
        self.assertTrue(self.open("192.0.2.1").closed)
        self.plugin.gates[0].callback("done")
        self.assertFalse(self.open("192.0.2.2", request("GET", "/slow")).closed)
        self.clock.advance(59.9)
        self.plugin.gates[1].callback("done")
        self.assertTrue(self.open("192.0.2.1").closed)
        self.clock.advance(0.2)
        self.assertFalse(self.open("192.0.2.1").closed)

    def test_known_clients_are_not_suspended(self) -> None:
        """A client that has sent requests before isn't refused because of as many connections that were closed without a head."""
        for _ in range(2):
            self.open("192.0.2.1", request("GET", "/quick")).channel.connectionLost()
        for number in range(3):
            connection = self.open("192.0.2.1", PARTIAL)
            self.assertFalse(connection.closed)
            for other in range(4 - min(number, 1)):
                self.open(f"198.51.100.{number * 10 + other}", request("GET", "/slow"))
            self.assertTrue(connection.closed)
            self.plugin.gates[number].callback("done")
        self.assertTrue(self.open("192.0.2.1").closed)

    def test_few_descriptors(self) -> None:
        """An eighth of the file descriptors stays free, and a client gets half of the others."""
        site = self.web.site
        site.limits = ConnectionLimits(10_000, 1_000, site.now, lambda host: False)
        site.limits.use_descriptors(-1)
        site.limits.use_descriptors(16)
        of_one = [self.open("192.0.2.1").closed for _ in range(8)]
        self.assertEqual(of_one, [False] * 7 + [True])
        for number in range(2, 9):
            self.assertFalse(self.open(f"192.0.2.{number}", request("GET", "/slow")).closed)
        self.assertEqual(len(site.limits.connections), 14)
        self.assertFalse(self.open("192.0.2.9", request("GET", "/slow")).closed)
        self.assertEqual(len(site.limits.connections), 14)

    def test_one_line_a_minute(self) -> None:
        """Many refused or closed connections cost one line a minute, with their number."""
        lines = self.lines()
        for _ in range(2):
            self.open("192.0.2.1", request("GET", "/slow"))
        for _ in range(100):
            self.open("192.0.2.1")
        self.clock.advance(61)
        self.open("192.0.2.1")
        self.assertEqual(
            lines,
            [
                "Refused connections: 1; their client has 2 open ones, the last is 192.0.2.1",
                "Refused connections: 100; their client has 2 open ones, the last is 192.0.2.1",
            ],
        )
        for number in range(60):
            self.open(f"192.0.2.{number + 2}")
        self.open("192.0.2.2")
        self.assertEqual(
            lines[2:],
            [
                "Closed connections: 1; they waited for their clients, and 4 were open",
                "Refused connections: 1; their client had to be disconnected before a request, the last is 192.0.2.2",
            ],
        )
        busy = [self.open(f"198.51.100.{number}", request("GET", "/slow")).closed for number in range(5)]
        self.assertEqual(busy, [False] * 4 + [True])
        self.assertEqual(lines[4:], ["Refused connections: 1; all 4 open ones have requests in progress"])


class FileTests(LimitsCase):
    """The descriptors of bodies in files."""

    settings = WebSettings(body_memory=0)

    def test_files_need_descriptors_too(self) -> None:
        """If descriptors are needed for bodies, connections whose clients are slow are closed, the longest waiting first."""
        limits = self.web.site.limits
        limits.use_descriptors(6)
        kept = self.open("192.0.2.1", request("GET", "/slow"))
        senders = []
        for number in range(2, 5):
            self.clock.advance(1)
            senders.append(self.open(f"192.0.2.{number}", request("POST", "/quick", b"x" * 100)[:-1]))
        self.assertEqual([one.closed for one in (kept, *senders)], [False, True, False, False])
        senders[0].channel.connectionLost()
        self.let_threads_work(lambda: limits._files == 2)
        senders[2].channel.dataReceived(b"x")
        self.let_threads_work(lambda: limits._files == 1)
        self.assertEqual(status_of(senders[2].received()), 200)

    def test_full_disk(self) -> None:
        """A file that can't be opened needs no descriptor."""
        self.patch(tempfile, "tempdir", "/missing")
        connection = self.open("192.0.2.1", request("POST", "/quick", b"xx")[:-1])
        self.assertEqual(status_of(connection.received()), 503)
        self.let_threads_work(lambda: self.web.site.limits._files == 0)

    def let_threads_work(self, done: Callable[[], bool]) -> None:
        """Let threads work until something is done."""
        limit = time.monotonic() + 10
        while not done() and time.monotonic() < limit:
            self.clock.advance(0)
            self.clock.turn(0.05)
        self.assertTrue(done())


class ProxyProtocolTests(LimitsCase):
    """The limits behind a proxy that sends the PROXY protocol, and that isn't a trusted proxy."""

    def setUp(self) -> None:
        """Listen for the proxy, without a socket."""
        super().setUp()
        self.factory = ProxiedFactory(self.clock, self.web.site)
        self.web.site.limits.guard(Port(0, self.factory, 1, reactor=self.clock))

    def open_by_proxy(self, client: str = "", data: bytes = b"") -> Connection:
        """Open a connection from the proxy. Unless the client is empty, send its header and this data."""
        connection = Connection(peerAddress=IPv4Address("TCP", "127.0.0.1", 1024))
        connection.channel = self.factory.buildProtocol(None)  # type: ignore[assignment]
        connection.channel.makeConnection(connection)  # type: ignore[no-untyped-call]
        if client:
            connection.channel.dataReceived(b"PROXY TCP4 %b 192.0.2.99 1024 80\r\n%b" % (client.encode(), data))
        return connection

    def test_each_client_has_its_limit(self) -> None:
        """Clients of the proxy aren't one client, and one beyond its limit is refused without harm to others."""
        for _ in range(2):
            self.assertFalse(self.open_by_proxy("192.0.2.1", request("GET", "/slow")).closed)
        self.assertTrue(self.open_by_proxy("192.0.2.1").closed)
        for client in ("192.0.2.2", "192.0.2.3"):
            self.assertEqual(status_of(self.open_by_proxy(client, request("GET", "/quick")).received()), 200)

    def test_connections_without_a_header(self) -> None:
        """They count for the total only. The oldest one is closed for a new one, and the proxy isn't suspended then."""
        waiting = [self.open_by_proxy() for _ in range(5)]
        self.assertEqual([one.closed for one in waiting], [True] + [False] * 4)
        waiting[1].channel.dataReceived(b"PROXY TCP4 192.0.2.1 192.0.2.99 1024 80\r\n" + request("GET", "/quick"))
        self.assertEqual(status_of(waiting[1].received()), 200)
        self.assertEqual(status_of(self.open_by_proxy("192.0.2.1", request("GET", "/quick")).received()), 200)
        self.assertEqual([one.closed for one in waiting], [True, False, True, False, False])
        self.clock.advance(10)
        self.assertEqual([one.closed for one in waiting], [True, False, True, True, True])
        for one in waiting:
            one.channel.connectionLost()
        self.assertEqual(len(self.web.site.limits.connections), 1)

    def test_requests_in_progress_are_never_interrupted(self) -> None:
        """If all connections have requests in progress, a new one is refused before its header."""
        busy = [self.open_by_proxy(f"192.0.2.{number}", request("GET", "/slow")) for number in range(4)]
        self.assertTrue(self.open_by_proxy().closed)
        self.assertEqual([one.closed for one in busy], [False] * 4)

    def test_stop(self) -> None:
        """A connection without a header is idle, and closed when the server stops."""
        waiting = self.open_by_proxy()
        self.web.site.begin_stopping()
        self.assertTrue(waiting.closed)
        waiting.channel.connectionLost()


class FakeChannel:
    """A connection for the property test."""

    def __init__(self, client: int, state: int, limits: ConnectionLimits) -> None:
        self.transport = self
        self.client = client
        self.deadline = NEVER if state == 2 else float(state)
        self.waits_since = 0.0
        self.has_received_head = state > 0
        self.limits = limits
        self.is_open = True

    def getPeer(self) -> IPv4Address:
        """Return the client's address."""
        return IPv4Address("TCP", f"192.0.2.{self.client}", 1)

    def abort(self) -> None:
        """Note that the connection is closed."""
        self.is_open = False
        self.limits.closed(self)  # type: ignore[arg-type]


class InvariantTests(SynchronousTestCase):
    """Any sequence of connections."""

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=60))
    def test_limits_hold(self, steps: list[tuple[int, int, bool]]) -> None:
        """The limits are never exceeded, open connections are known, and only those that wait are closed for others."""
        now = 0.0
        limits = ConnectionLimits(5, 3, lambda: now, lambda host: host == "192.0.2.3")
        channels: list[Any] = []
        for client, state, closes in steps:
            now += 6
            before = [one for one in channels if one.is_open]
            if closes and before:
                before[0].abort()
                continue
            channel: Any = FakeChannel(client, state, limits)
            channels.append(channel)
            limits.opened(channel)
            opened = [one for one in channels if one.is_open]
            self.assertEqual(list(limits.connections), opened)
            self.assertLessEqual(len(opened), 5)
            for other in range(3):
                self.assertLessEqual(sum(one.client == other for one in opened), 3)
            self.assertFalse([one for one in before if not one.is_open and one.deadline == NEVER])
            if not channel.is_open and client == 3:
                self.assertEqual([one.deadline for one in opened], [NEVER] * 5)


class Served:
    """A plugin for real clients."""

    @webhook
    async def quick(self, payload: Any) -> str:
        return "quick"


class SocketTests(TestCase):
    """The limit for each client on real ports."""

    def setUp(self) -> None:
        """A server on which a client may have three connections."""
        needs_network()
        from twisted.internet import reactor as imported

        self.reactor: Any = imported
        pool = WorkerPool(self.reactor, "webhook", 2)
        self.addCleanup(pool.stop)
        settings = WebSettings(max_connections_per_client=3)
        self.web = WebServer(self.reactor, Runner(self.reactor, pool), settings)
        self.addCleanup(self.web.close)
        self.web.routes.replace("Served", hooks_of(Served()))

    async def assert_limited(self, endpoint: str, wrap: Callable[[socket.socket], socket.socket]) -> None:
        """Fail unless the fourth connection is closed without a response, and each other is served."""
        await self.web.listeners.open(endpoint)
        port = port_of(self.web.listeners, endpoint)

        def connect() -> bytes:
            try:
                client = wrap(socket.create_connection(("127.0.0.1", port), 10))
                clients.append(client)
                client.sendall(request("GET", "/quick"))
                return client.recv(4096)
            except OSError:
                return b""

        clients: list[socket.socket] = []
        responses = [await deferToThread(connect) for _ in range(5)]
        self.assertEqual([status_of(response) for response in responses], [200, 200, 200, 0, 0])
        await deferToThread(clients.pop(0).close)
        while len(self.web.site.limits.connections) > 2:
            await deferToThread(lambda: None)
        self.assertEqual(status_of(await deferToThread(connect)), 200)
        for client in clients:
            client.close()

    async def test_tcp(self) -> None:
        """A fourth connection is refused on a plain port."""
        await self.assert_limited("tcp:0:interface=127.0.0.1", lambda client: client)

    async def assert_limited_by_proxy(self, endpoint: str, wrap: Callable[[socket.socket], socket.socket]) -> None:
        """Fail unless each client has a limit of its own on an endpoint for the PROXY protocol, and the proxy has none."""

        def proxied(host: bytes, client: socket.socket) -> socket.socket:
            client.sendall(b"PROXY TCP4 %b 192.0.2.9 1024 80\r\n" % host)
            return wrap(client)

        await self.assert_limited(endpoint, partial(proxied, b"192.0.2.1"))

        def connect() -> bytes:
            client = socket.create_connection(("127.0.0.1", port_of(self.web.listeners, endpoint)), 10)
            with proxied(b"192.0.2.2", client) as wrapped:
                wrapped.sendall(request("GET", "/quick"))
                return wrapped.recv(4096)

        self.assertEqual(status_of(await deferToThread(connect)), 200)

    def tls(self) -> tuple[str, Callable[[socket.socket], socket.socket]]:
        """Return an endpoint with TLS, and what makes a client's connection one with TLS."""
        key, certificate = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        generate_certificate(["localhost"], key, certificate)
        trusting = ssl.create_default_context(cafile=str(certificate))
        return (
            f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1",
            lambda client: trusting.wrap_socket(client, server_hostname="localhost"),
        )

    async def test_proxy_protocol(self) -> None:
        """Behind a proxy that sends the PROXY protocol, each of its clients has a limit."""
        await self.assert_limited_by_proxy("haproxy:tcp:0:interface=127.0.0.1", lambda client: client)

    async def test_proxy_protocol_with_tls(self) -> None:
        """So it is if the proxy forwards TLS connections."""
        endpoint, wrap = self.tls()
        await self.assert_limited_by_proxy(f"haproxy:{endpoint}", wrap)

    async def test_tls(self) -> None:
        """A fourth connection is refused on a port with TLS, before the handshake."""
        await self.assert_limited(*self.tls())
