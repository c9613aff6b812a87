"""Paths, headers and connections that aren't as they should be, one test for each row of the table of faults."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource

from errklein.web import WebSettings
from errklein.webhooks import webhook
from tests.web.kit import WebCase, request, status_of


class Files:
    """A plugin with routes that could be fooled."""

    @webhook("/files/<path:name>")
    async def file(self, payload: Any, name: str) -> str:
        return f"file {name}"

    @webhook("/admin/x")
    async def admin(self, payload: Any) -> str:
        return "admin"

    @webhook("/item/<name>")
    async def item(self, payload: Any, name: str) -> str:
        return f"item {name}"

    @webhook
    async def hello(self, payload: Any) -> str:
        return "hello"

    @webhook
    async def huge(self, payload: Any) -> bytes:
        return b"x" * 2_000_000

    @webhook
    async def big(self, payload: Any) -> bytes:
        return b"x" * 1000

    @webhook
    async def header(self, payload: Any) -> Any:
        return "OK", 200, {"X-Name": payload}

    @webhook(raw=True)
    async def reason(self, request: Any) -> Any:
        class Evil(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                request.setResponseCode(299, b"OK\r\nX-Evil: 1")
                request.setHeader(b"X-Other", b"a\r\nX-Evil: 1")
                return b"body"

        return Evil()

    @webhook
    async def status(self, payload: Any) -> Any:
        return "OK", "200 OK\r\nX-Evil: 1"


class ProtocolFaultTests(WebCase):
    """Each bad request gets its answer."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.serve(Files())

    def status_for(self, path: str) -> int:
        """The status that a request for the path is answered with."""
        return status_of(self.connect().send(request("GET", path)))

    def test_dot_segments_get_404(self) -> None:
        """404, with escapes too, and no handler sees them."""
        for path in ("/files/../../etc/passwd", "/../x", "/files/%2e%2e/x", "/%2e%2e%2fetc", "/files/%2e%2e%2fx", "/."):
            self.assertEqual(self.status_for(path), 404, path)

    def test_escaped_slash_gets_400(self) -> None:
        """400, and never a separator."""
        for path in ("/admin%2fx", "/admin%2Fx", "/item/a%2fb"):
            self.assertEqual(self.status_for(path), 400, path)
        self.assertEqual(self.status_for("/admin/x"), 200)

    def test_invalid_escapes_get_400(self) -> None:
        """NUL, line ends, broken escapes and what isn't UTF-8 are refused with 400, on known paths and unknown ones."""
        for path in ("/item/a%00", "/item/%0d%0aX", "/item/%zz", "/item/%", "/item/%ff", "/item/\xff", "/no/%7f"):
            self.assertEqual(self.status_for(path), 400, path)
        self.assertIn(b"item \xc3\xa9", self.connect().send(request("GET", "/item/%C3%A9")))

    def test_long_head_gets_414_or_431(self) -> None:
        """414 for a request line, 431 for headers of more than 16 kB, complete or not."""
        connection = self.connect()
        self.assertEqual(status_of(connection.send(b"GET /" + b"x" * 17_000)), 414)
        self.assertTrue(connection.closed)
        self.assertEqual(status_of(self.connect().send(request("GET", "/" + "x" * 17_000))), 414)
        self.assertEqual(status_of(self.connect().send(request("GET", "/hello", b"", "X: " + "x" * 17_000))), 431)
        many = [f"X-{number}: 1" for number in range(501)]
        self.assertEqual(status_of(self.connect().send(request("GET", "/hello", b"", *many))), 431)

    def test_invalid_host_gets_400(self) -> None:
        """None, two, or an odd one: 400."""
        for host in (
            b"",
            b"Host: a\r\nHost: a\r\n",
            b"Host: a@b\r\n",
            b"Host: a/b\r\n",
            b"Host: a b\r\n",
            b"Host:\r\n",
            b"Host: [::::]\r\n",
            b"Host: [1.2.3.4]:80\r\n",
        ):
            self.assertEqual(status_of(self.connect().send(b"GET /hello HTTP/1.1\r\n" + host + b"\r\n")), 400, host)
        self.assertEqual(status_of(self.connect().send(b"GET /hello HTTP/1.0\r\n\r\n")), 200)
        long = "Host: " + "a" * 64
        self.assertEqual(status_of(self.connect().send(f"GET /hello HTTP/1.1\r\n{long}\r\n\r\n".encode())), 400)

    def test_ambiguous_framing_gets_400(self) -> None:
        """What two parsers could take for two different requests is refused, and the connection closed."""
        for headers in (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: +5",
            "Content-Length: 5, 5",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding: xchunked",
            " folded: 1",
            "X: a\x00b",
            "X: a\rb",
        ):
            connection = self.connect()
            response = connection.send(
                f"POST /hello HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n0\r\n\r\nGET /hello".encode()
            )
            self.assertIn(status_of(response), (400, 501), headers)
            self.assertTrue(connection.closed, headers)

    def test_trailing_and_doubled_slashes(self) -> None:
        """One trailing slash may be there or not, without a redirect; doubled slashes lead nowhere."""
        for path in ("/hello", "/hello/", "/item/a", "/item/a/"):
            self.assertEqual(self.status_for(path), 200, path)
        for path in ("/hello//", "//hello", "/item//a", "/files/a//b"):
            self.assertEqual(self.status_for(path), 404, path)

    def test_line_ends_never_add_headers(self) -> None:
        """They never become a header."""
        for path in ("/header", "/status", "/reason"):
            response = self.connect().send(request("POST", path, b"a\r\nX-Evil: 1"))
            self.assertNotIn(b"\r\nX-Evil", response, path)
            self.assertIn(status_of(response), (200, 299, 500))
        self.flushLoggedErrors()

    def test_rejected_expectation_gets_final_status(self) -> None:
        """The final status comes first, and 100 only for a body that is wanted."""
        expect = "Expect: 100-continue"
        for path, length, status in (("/hello", 30_000_000, 413), ("/nowhere", 5, 404), ("/hello", 5, 100)):
            head = request("POST", path, b"", expect, f"Content-Length: {length}")
            self.assertEqual(status_of(self.connect().send(head)), status)
        connection = self.connect()
        connection.send(request("POST", "/hello", b"", expect, "Content-Length: 2"))
        self.assertEqual(status_of(connection.send(b"{}")), 200)

    def test_verbs(self) -> None:
        """OPTIONS and 405 name the verbs; HEAD is GET without a body; unknown verbs are refused."""
        allow = "GET, HEAD, OPTIONS, POST"
        options = self.ask("OPTIONS", "/hello")
        self.assertEqual((options.status, options.header("Allow")), (200, allow))
        refused = self.ask("PUT", "/hello")
        self.assertEqual((refused.status, refused.header("Allow")), (405, allow))
        head = self.ask("HEAD", "/hello")
        self.assertEqual((head.status, head.header("Content-Length"), head.body), (200, "5", b""))
        self.assertEqual(self.ask("OPTIONS", "/nowhere").status, 404)
        self.assertEqual(self.ask("BREW", "/hello").status, 405)


class DeadlineTests(WebCase):
    """Row 34: no client can draw a request out."""

    settings = WebSettings(head_deadline=10, body_deadline=30, read_deadline=30, idle_deadline=60)

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.serve(Files())

    def trickle(self, data: bytes, seconds: int) -> tuple[int, bytes]:
        """Send the bytes one each second, again and again; returns after how many the server had enough, and why."""
        connection = self.connect()
        second = 0
        response = b""
        while not connection.closed:
            self.assertLess(second, seconds, "the server is still waiting")
            response = connection.send(data[second : second + 1] or b"x")
            self.pass_time(1)
            response += connection.received()
            second += 1
        return second, response

    def test_slow_headers_get_408(self) -> None:
        """408 after ten seconds, though a byte comes each second."""
        seconds, response = self.trickle(b"GET / HTTP/1.1\r\nX: ", 60)
        self.assertEqual(status_of(response), 408)
        self.assertEqual(seconds, 10)

    def test_slow_body_gets_408(self) -> None:
        """408 after thirty seconds, though a byte comes each second."""
        connection = self.connect()
        connection.send(request("POST", "/hello", b"", "Content-Length: 100"))
        for _ in range(29):
            connection.send(b"x")
            self.pass_time(1)
        self.assertFalse(connection.closed)
        self.pass_time(1.5)
        self.assertEqual(status_of(connection.received()), 408)
        self.assertTrue(connection.closed)

    def test_idle_connection_is_closed(self) -> None:
        """It is closed without a word after sixty seconds, new or used."""
        new = self.connect()
        used = self.connect()
        used.send(request("GET", "/hello"))
        self.pass_time(59.5)
        self.assertFalse(new.closed or used.closed)
        self.pass_time(1)
        self.assertTrue(new.closed and used.closed)
        self.assertEqual(new.received() + used.received(), b"")

    def test_unread_response_aborts_connection(self) -> None:
        """A client that doesn't read what it asked for is cut off after thirty seconds."""
        connection = self.connect()
        connection.send(request("GET", "/big"))
        connection.channel.pauseProducing()
        self.pass_time(29)
        self.assertFalse(connection.disconnected)
        self.pass_time(1.5)
        self.assertTrue(connection.disconnected)

    def test_client_that_reads_in_time_is_served(self) -> None:
        """One that reads within that time is served on."""
        connection = self.connect()
        connection.send(request("GET", "/big"))
        connection.channel.pauseProducing()
        self.assertEqual(connection.send(request("GET", "/hello")), b"")
        self.pass_time(20)
        connection.channel.resumeProducing()
        self.assertEqual(status_of(connection.received()), 200)
        self.pass_time(40)
        self.assertFalse(connection.closed)

    def test_large_response_to_slow_client(self) -> None:
        """One that goes on reading is served to the end, however long a large answer takes; its length is told first."""
        connection = self.connect()
        write = connection.write

        def write_and_be_full(data: bytes) -> None:
            write(data)
            connection.channel.pauseProducing()

        self.patch(connection, "write", write_and_be_full)
        response = connection.send(request("GET", "/huge"))
        self.assertLess(len(response), 1_000_000)
        for _ in range(20):
            self.pass_time(20)
            connection.channel.resumeProducing()
            response += connection.received()
        self.assertFalse(connection.disconnected)
        head, _, body = response.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 2000000", head)
        self.assertNotIn(b"chunked", head)
        self.assertEqual(len(body), 2_000_000)

    def test_no_timer_is_left(self) -> None:
        """When the last connection has gone, nothing waits on the reactor any more."""
        connection = self.connect()
        self.assertTrue(self.clock.getDelayedCalls())
        connection.channel.connectionLost()
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
