"""Pages that follow what changes."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from errklein import BotPlugin, cmdfilter, webhook
from errklein.console._server import Live
from tests.console.kit import ADDRESS, Browser, ConsoleCase

if TYPE_CHECKING:
    from errklein.console._visit import Values, Visit


class Shop(BotPlugin):
    """Has a webhook, and a filter that may forbid everything."""

    closed = False
    asked = 0

    @webhook("/order", ack="now")
    def order(self, payload: Any) -> None:
        pass

    @cmdfilter
    def guard(self, msg: Any, cmd: str, args: Any, dry_run: bool) -> Any:
        Shop.asked += 1
        return (None, None, None) if self.closed else (msg, cmd, args)


class LiveCase(ConsoleCase):
    """A browser that follows pages."""

    plugins = (Shop,)

    def setUp(self) -> None:
        """Enter the console."""
        super().setUp()
        Shop.closed = False
        self.visitor = self.enter()

    def follow(self, path: str = "/deliveries", browser: Browser | None = None) -> Stream:
        """Return a stream of the page."""
        return Stream(self, browser or self.visitor, path)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / 0.1) or 1):
            self.bot.advance(0.1)
            self.client.flush()

    def receive(self) -> None:
        """Let the bot receive a request."""
        self.assertEqual(self.successResultOf(self.bot.post("/order", json={})).status, 202)


class Stream(Protocol):
    """The events that a browser gets.

    :ivar status: The status of the response.
    :ivar text: What the browser has got and `take` hasn't returned.
    :ivar is_open: Whether the stream goes on.
    """

    def __init__(self, case: LiveCase, browser: Browser, path: str) -> None:
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        headers = {"Host": "localhost:9142", "Accept": "text/event-stream", "Cookie": cookies}
        response = case.wait(case.client.get(ADDRESS + path, headers=headers))
        self._case, self.status, self.headers = case, response.code, response.headers
        self.text, self.is_open = "", True
        response.deliverBody(self)
        case.client.flush()

    def dataReceived(self, data: bytes) -> None:
        """Keep a part of the stream. Called by Twisted."""
        self.text += data.decode()

    def connectionLost(self, reason: Any = None) -> None:
        """Note that the stream has ended. Called by Twisted."""
        self.is_open = False

    def take(self, seconds: float = 0.0) -> list[str]:
        """Return the contents that the browser gets until so many seconds later, and those that weren't taken before."""
        self._case.pass_by(seconds)
        *events, self.text = self.text.split("\n\n")
        return ["\n".join(line.removeprefix("data: ") for line in one.split("\n")) for one in events]

    def leave(self) -> None:
        """Close the connection, as a browser whose page is closed."""
        self.transport.loseConnection()
        self._case.client.flush()


class SlowBrowserTests(LiveCase):
    """A browser that doesn't read."""

    def setUp(self) -> None:
        """Follow a page on a connection of its own, whose transport has too much to send."""
        super().setUp()
        self.successResultOf(self.server.open())
        reactor: Any = self.bot.bot.reactor
        address = IPv4Address("TCP", "127.0.0.1", 1)
        protocol = reactor.tcpServers[-1][1].buildProtocol(address)
        self.transport = StringTransport(peerAddress=address)
        protocol.makeConnection(self.transport)
        self.addCleanup(protocol.connectionLost, Failure(ConnectionDone()))
        cookies = "; ".join(f"{name}={value}" for name, value in self.visitor.cookies.items())
        head = f"GET /deliveries HTTP/1.1\r\nHost: localhost:9142\r\nCookie: {cookies}\r\nAccept: text/event-stream\r\n\r\n"
        protocol.dataReceived(head.encode())
        self.pass_by(2)
        self.assertIn(b"data: ", self.transport.value())
        self.transport.clear()
        self.transport.producer.pauseProducing()

    def test_reads_again(self) -> None:
        """It gets nothing that would wait in memory, and the latest content as soon as it reads again."""
        for _ in range(3):
            self.receive()
            self.pass_by(2)
        self.assertEqual(self.transport.value(), b"")
        self.transport.producer.resumeProducing()
        self.pass_by(6)
        text = self.transport.value().decode()
        self.assertEqual(len(set(re.findall(r'href="/deliveries/(\d+)"', text))), 3)
        self.assertEqual(text.count("\n\n"), 1)

    def test_never_reads_again(self) -> None:
        """Its connection is closed when it hasn't read for half a minute."""
        self.pass_by(25)
        self.assertFalse(self.transport.disconnected)
        self.pass_by(10)
        self.assertTrue(self.transport.disconnected)


class LiveTests(LiveCase):
    """Streams of pages."""

    def test_delivery_arrives(self) -> None:
        """After a silence, a page shows a new delivery within half a second. Nothing is sent while nothing changes."""
        stream = self.follow()
        self.assertEqual(stream.status, 200)
        self.assertEqual(stream.headers.getRawHeaders("content-type"), ["text/event-stream"])
        [empty] = stream.take()
        self.assertNotIn("Shop:order", empty)
        stream.take(4)
        self.receive()
        self.assertIn("Shop:order", stream.take(0.5)[-1])
        self.assertEqual(stream.take(15), [])

    def test_other_visitors(self) -> None:
        """Who may not see a page any more gets nothing of it, while others who look at it do."""
        shell = Browser(self)
        shell.get(urlsplit(self.server.link("root")).path)
        shell.press("Enter the console")
        of_shell, of_admin = self.follow(browser=shell), self.follow()
        for stream in (of_shell, of_admin):
            stream.take(4)
        Shop.closed = True
        self.receive()
        self.assertIn("Shop:order", of_shell.take(1)[-1])
        self.assertEqual((of_admin.take(1), of_admin.is_open), ([], False))

    def test_only_the_live_part(self) -> None:
        """Events have what changes on the page: neither forms nor the token that they need."""
        page = self.visitor.get("/deliveries")
        [event] = self.follow().take()
        self.assertIn("form_token", page)
        for text in ("form", "<html", "<h1"):
            self.assertNotIn(text, event)
        for line in event.strip().splitlines():
            self.assertIn(line, page)

    def test_silence(self) -> None:
        """A stream without news gets a comment in 20 seconds or little more, so that proxies keep it open."""
        stream = self.follow()
        stream.take()
        self.assertEqual(stream.take(19), [])
        self.assertEqual(stream.take(6), [":"])

    def test_ends_after_ten_minutes(self) -> None:
        """A stream ends after ten minutes; the browser connects anew, and gets the present content."""
        stream = self.follow()
        stream.take(599)
        self.assertTrue(stream.is_open)
        stream.take(10)
        self.assertFalse(stream.is_open)
        self.assertEqual(len(self.follow().take()), 1)

    def test_many_at_one_page(self) -> None:
        """A page that several look at is made once for all of them; one that leaves doesn't disturb the others."""
        streams = [self.follow() for _ in range(5)]
        for stream in streams:
            stream.take()
        streams.pop(0).leave()
        Shop.asked = 0
        self.receive()
        self.pass_by(2)
        self.assertEqual(Shop.asked, 1)
        for stream in streams:
            self.assertIn("Shop:order", stream.take()[-1])

    def test_nobody_looks(self) -> None:
        """When the last browser has left, pages aren't made any more."""
        self.follow().leave()
        self.pass_by(1)
        Shop.asked = 0
        self.receive()
        self.pass_by(10)
        self.assertEqual(Shop.asked, 0)

    def test_without_a_session(self) -> None:
        """Without a session, there is no stream."""
        self.assertEqual(self.follow(browser=self.browser).status, 401)

    def test_session_ends(self) -> None:
        """A stream ends with its session, and a later one is refused."""
        stream = self.follow()
        stream.take()
        self.bot.command("!console end")
        self.receive()
        self.assertEqual(stream.take(6), [])
        self.assertFalse(stream.is_open)
        self.assertEqual(self.follow().status, 401)

    def test_filter_forbids(self) -> None:
        """A stream ends as soon as a filter forbids the page, before anything new is shown."""
        stream = self.follow()
        stream.take()
        Shop.closed = True
        self.receive()
        self.assertEqual(stream.take(6), [])
        self.assertFalse(stream.is_open)
        self.assertEqual(self.follow().status, 403)

    def test_page_without_changes(self) -> None:
        """A page that doesn't follow changes has no stream."""
        self.receive()
        self.assertEqual(self.follow("/deliveries/99999").status, 404)

    def test_server_closes(self) -> None:
        """Streams end when the server closes."""
        stream = self.follow()
        self.successResultOf(self.server.close())
        self.pass_by(1)
        self.assertFalse(stream.is_open)


class Followed(Resource):
    """Streams of a page that takes `seconds` to be made."""

    isLeaf = True
    html = b"one"
    seconds = 0.0
    made = 0

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self.live = Live(reactor, lambda request: cast("Visit", self), self.make)
        self.session = SimpleNamespace(visitor="alice")

    async def make(self, template: str, values: Values) -> bytes:
        """Return the page."""
        await deferLater(self._reactor, self.seconds)
        self.made += 1
        return self.html

    async def values(self) -> Values:
        """Return nothing."""
        return {}

    def render_GET(self, request: Any) -> int:
        """Follow the page. Called by Twisted."""
        Deferred.fromCoroutine(self.live.follow(request, self.values, "page"))
        return NOT_DONE_YET


class RoundTests(SynchronousTestCase):
    """When pages are made again, and how they are sent."""

    def setUp(self) -> None:
        """Make a page."""
        self.reactor = MemoryReactorClock()
        self.page = Followed(self.reactor)

    def follow(self) -> StringTransport:
        """Return the transport of a browser that follows the page."""
        protocol: Any = Site(self.page).buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        protocol.callLater = self.reactor.callLater
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
        self.pass_by(self.page.seconds + 0.1)
        return transport

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.pump([0.1] * round(seconds / 0.1))

    def test_line_ends(self) -> None:
        """A carriage return in a page ends no line of an event, which would lose the rest."""
        self.page.html = b"<p>a\rretry: 1\r\n\r\ndata: b</p>\n"
        text = self.follow().value().partition(b"\r\n\r\n")[2]
        self.assertEqual(text, b"data: <p>a\ndata: retry: 1\ndata: \ndata: data: b</p>\n\n")

    def test_part_of_the_time(self) -> None:
        """However often the journal changes, pages that take long are made so seldom that little time is spent on them."""
        self.page.seconds = 0.3
        self.follow()
        self.pass_by(5)
        made = self.page.made
        for _ in range(100):
            self.page.live.changed()
            self.pass_by(1)
        self.assertIn(self.page.made - made, (2, 3))

    def test_at_most_once_a_second(self) -> None:
        """A page that is made quickly follows each second."""
        self.follow()
        self.pass_by(5)
        made = self.page.made
        for _ in range(100):
            self.page.live.changed()
            self.pass_by(0.1)
        self.assertIn(self.page.made - made, (8, 9))
