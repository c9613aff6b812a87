"""Pages that follow what changes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from twisted.internet.protocol import Protocol

from errklein import BotPlugin, cmdfilter, webhook
from tests.console.kit import ADDRESS, Browser, ConsoleCase


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
