"""The console's server: what holds for each response, and its limits."""

from __future__ import annotations

import re
from typing import Any

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from errklein.console import ConsoleServer
from errklein.testing._surroundings import InlinePool
from tests.console.kit import ADDRESS, ConsoleCase


class ResponseTests(ConsoleCase):
    """Responses without a socket."""

    def test_headers(self) -> None:
        """Every response, also an error, forbids scripts of others and frames, and is kept nowhere."""
        for path in ("/", "/deliveries", "/nothing", "/enter/x"):
            self.browser.get(path)
            given = {name.lower(): values[0] for name, values in self.browser.headers.getAllRawHeaders()}
            self.assertIn(b"default-src 'none'", given[b"content-security-policy"], path)
            self.assertNotIn(b"unsafe", given[b"content-security-policy"], path)
            self.assertEqual(
                (given[b"x-frame-options"], given[b"cache-control"], given[b"x-content-type-options"]),
                (b"DENY", b"no-store", b"nosniff"),
                path,
            )

    def test_files(self) -> None:
        """Pages name their style and script by addresses that change with the content, so browsers may keep them."""
        for path in re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js))"', self.browser.get("/enter/x")):
            self.assertTrue(self.browser.get(path))
            self.assertIn("immutable", self.browser.headers.getRawHeaders("cache-control")[0])

    def test_unknown(self) -> None:
        """An unknown address and a wrong method get a page that says so; an unknown action, too."""
        visitor = self.enter()
        self.assertIn("Error 404", visitor.get("/nothing"))
        self.assertIn("Error 405", visitor.post("/deliveries"))
        visitor.get("/")
        [token] = set(re.findall(r'name="form_token" value="([^"]+)"', visitor.text))
        self.assertIn("no such action", visitor.post("/do/plugins.install", {"form_token": token}))

    def test_starting(self) -> None:
        """Before the bot has been made, the console says that it is starting."""
        self.client = StubTreq(ConsoleServer(self.bot.bot.reactor, "tcp:9142", make_pool=InlinePool).resource)
        self.assertIn("is starting", self.browser.get("/"))
        self.assertEqual(self.browser.status, 503)

    def test_page_fails(self) -> None:
        """An error in a page is logged, and the visitor learns where to look, but nothing else."""
        visitor = self.enter()
        self.patch(self.bot.bot.core_host.process, "status", None)
        self.assertIn("log says why", visitor.get("/"))
        self.assertEqual(visitor.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class SiteTests(ConsoleCase):
    """The site on its endpoint."""

    def send(self, data: bytes) -> bytes:
        """Return the response to bytes on a new connection."""
        self.successResultOf(self.server.open())
        reactor: Any = self.bot.bot.reactor
        protocol = reactor.tcpServers[-1][1].buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
        self.bot.advance(0)
        return transport.value()

    def test_large_form(self) -> None:
        """A form of over a megabyte is refused, whether its size is announced or not."""
        head = f"POST /leave HTTP/1.1\r\nHost: localhost:9142\r\nOrigin: {ADDRESS}\r\nConnection: close\r\n".encode()
        body = b"words=" + b"x" * 1_000_000
        for framed in (
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        ):
            self.assertIn(b" 413 ", self.send(head + framed).partition(b"\r\n")[0])
