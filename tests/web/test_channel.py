"""Tests for connections: requests in pieces, and requests that are slow, too large or malformed."""

from __future__ import annotations

import re
import tempfile
from contextvars import Context, ContextVar
from typing import Any

from twisted.internet.task import Clock
from twisted.web.resource import Resource

from errklein.web import WebSettings
from errklein.web import request as requests
from errklein.webhooks import webhook
from tests.web.kit import Echo, Slow, WebCase, hooks_of, request, status_of

user: ContextVar[str] = ContextVar("user", default="nobody")


class Pages:
    """A plugin with responses of several sizes."""

    @webhook
    async def hello(self, payload: Any) -> str:
        return "hello"

    @webhook
    async def huge(self, payload: Any) -> bytes:
        return b"x" * 2_000_000

    @webhook
    async def big(self, payload: Any) -> bytes:
        return b"x" * 1000


class Busy:
    """A plugin whose handler takes 4 ms of the reactor's time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @webhook("/busy/<number>")
    async def busy(self, payload: Any, number: str) -> str:
        self.clock.rightNow += 0.004
        return f"<{number}>"


class Users:
    """A plugin that returns a context variable."""

    @webhook
    async def user(self, payload: Any) -> str:
        return user.get()


class Setting(Resource):
    """A resource that sets the context variable."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        user.set("that of the previous request")
        return b""


class PipeliningTests(WebCase):
    """Requests in pieces, and several at once."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Slow()
        self.serve(self.plugin)

    def test_pipelining(self) -> None:
        """Pipelined requests get their responses in order."""
        connection = self.connect()
        connection.send(request("POST", "/slow") + request("GET", "/nowhere") + request("POST", "/slow"))
        self.assertEqual(len(self.plugin.gates), 1)
        self.plugin.gates[0].callback("one")
        self.assertEqual(len(self.plugin.gates), 2)
        self.plugin.gates[1].callback("two")
        responses = connection.received().split(b"HTTP/1.1 ")
        self.assertEqual([response[:3] for response in responses], [b"", b"200", b"404", b"200"])

    def test_context_variables(self) -> None:
        """A request sees no context variables of the previous request, or of the code that caused its response."""
        self.web.routes.replace("Users", hooks_of(Users()), mounts={"/setting": Setting()})
        connection = self.connect()
        self.assertIn(b"nobody", connection.send(request("GET", "/setting") + request("GET", "/user")))
        connection.send(request("GET", "/slow") + request("GET", "/user"))
        Context().run(self.fire, "that of the firing code")
        self.assertIn(b"nobody", connection.received())

    def fire(self, value: str) -> None:
        """Let the slow handler respond, with a context variable of the value."""
        user.set(value)
        self.plugin.gates[0].callback("response")

    def test_many_pipelined_requests(self) -> None:
        """Thousands of pipelined requests don't exhaust the stack."""
        connection = self.connect()
        responses = connection.send(request("POST", "/quick") * 3000)
        self.assertEqual(responses.count(b"HTTP/1.1 200 OK"), 3000)

    def test_pipelined_requests_leave_turns_to_others(self) -> None:
        """Pipelined requests that take long are handled in several turns, in order. All connections share the time of a turn."""
        self.serve(Busy(self.clock))
        connections = [self.connect(), self.connect()]
        pipelined = b"".join(request("POST", f"/busy/{number}") for number in range(10))
        responses = [connection.send(pipelined) for connection in connections]
        self.assertEqual([each.count(b"HTTP/1.1 200 OK") for each in responses], [4, 1])
        self.assertEqual(status_of(self.connect().send(request("POST", "/quick"))), 200)
        for number, connection in enumerate(connections):
            responses[number] += connection.send(request("POST", "/busy/10"))
        for _ in range(20):
            self.clock.advance(0)
        for response, connection in zip(responses, connections, strict=True):
            numbers = re.findall(rb"<(\d+)>", response + connection.received())
            self.assertEqual(numbers, [b"%d" % number for number in range(11)])
            self.assertEqual(connection.producerState, "producing")

    def test_tiny_chunks_leave_turns_to_others(self) -> None:
        """A body of thousands of tiny chunks is read in pieces, in the time of a turn that all connections share."""
        self.serve(Busy(self.clock))
        self.connect().send(request("POST", "/busy/1") * 4)
        connection = self.connect()
        head = request("POST", "/quick", b"", "Transfer-Encoding: chunked")
        self.assertEqual(connection.send(head + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"), b"")
        self.assertEqual(status_of(self.connect().send(request("POST", "/quick"))), 200)
        self.clock.advance(0)
        self.assertEqual(status_of(connection.received()), 200)

    def test_a_flood_behind_a_slow_request(self) -> None:
        """The server stops reading until a slow request has its response."""
        connection = self.connect()
        connection.send(request("POST", "/slow"))
        connection.send(request("POST", "/quick") * 1000)
        self.assertEqual(connection.producerState, "paused")
        self.plugin.gates[0].callback("one")
        self.assertEqual(connection.producerState, "producing")
        self.assertEqual(connection.received().count(b"HTTP/1.1 200 OK"), 1001)

    def test_byte_by_byte(self) -> None:
        """A request may come in any pieces."""
        connection = self.connect()
        response = b""
        for byte in b"\r\n" + request("POST", "/quick", b'{"a": 1}'):
            response += connection.send(bytes([byte]))
        self.assertEqual(status_of(response), 200)

    def test_http_1_0(self) -> None:
        """A request in HTTP/1.0 gets a response, and the connection is closed."""
        connection = self.connect()
        self.assertEqual(status_of(connection.send(b"POST /quick HTTP/1.0\r\n\r\n")), 200)
        self.assertTrue(connection.closed)

    def test_absolute_target(self) -> None:
        """A target in absolute form, as proxies send it, is accepted."""
        self.assertEqual(status_of(self.connect().send(request("POST", "http://x/quick?a=b"))), 200)
        self.assertEqual(status_of(self.connect().send(request("OPTIONS", "*"))), 200)
        self.assertEqual(status_of(self.connect().send(request("GET", "nonsense"))), 400)

    def test_a_refusal_has_a_date(self) -> None:
        """The response to bytes that aren't a request has the headers Date and X-Request-Id."""
        response = self.connect().send(b"GET / HTTP/9.9\r\n\r\n")
        self.assertEqual(status_of(response), 505)
        self.assertRegex(response, rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r\n")
        self.assertIn(b"\r\nX-Request-Id: ", response)
        self.assertIn(b"\r\nContent-Type: application/problem+json\r\n", response)

    def test_bare_line_feeds(self) -> None:
        """Lines that end with LF alone are rejected."""
        self.assertEqual(status_of(self.connect().send(b"GET /quick HTTP/1.1\nHost: x\n\n")), 400)


class HeadTests(WebCase):
    """Malformed and ambiguous heads."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.serve(Pages())

    def test_long_head_gets_414_or_431(self) -> None:
        """A request line over 16 kB gets 414, and headers over 16 kB get 431."""
        connection = self.connect()
        self.assertEqual(status_of(connection.send(b"GET /" + b"x" * 17_000)), 414)
        self.assertTrue(connection.closed)
        self.assertEqual(status_of(self.connect().send(request("GET", "/" + "x" * 17_000))), 414)
        self.assertEqual(status_of(self.connect().send(request("GET", "/hello", b"", "X: " + "x" * 17_000))), 431)
        many = [f"X-{number}: 1" for number in range(501)]
        self.assertEqual(status_of(self.connect().send(request("GET", "/hello", b"", *many))), 431)

    def test_invalid_host_gets_400(self) -> None:
        """A missing, repeated or invalid Host header gets 400."""
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
        """A request that parsers could interpret differently gets 400, and the connection is closed."""
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

    def test_rejected_expectation_gets_final_status(self) -> None:
        """100 Continue is sent only if the body is accepted; otherwise the final status."""
        expect = "Expect: 100-continue"
        for path, length, status in (("/hello", 30_000_000, 413), ("/nowhere", 5, 404), ("/hello", 5, 100)):
            head = request("POST", path, b"", expect, f"Content-Length: {length}")
            self.assertEqual(status_of(self.connect().send(head)), status)
        connection = self.connect()
        connection.send(request("POST", "/hello", b"", expect, "Content-Length: 2"))
        self.assertEqual(status_of(connection.send(b"{}")), 200)


class BodyTests(WebCase):
    """Bodies that are too large, incomplete or unexpected."""

    settings = WebSettings(max_body=100_000)

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Echo()
        self.serve(self.plugin)

    def test_declared_length_over_limit_gets_413(self) -> None:
        """A declared length over the limit gets 413 before the body is read."""
        connection = self.connect()
        head = b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n"
        response = connection.send(head)
        self.assertEqual(status_of(response), 413)
        self.assertIn(b"Connection: close", response)
        self.assertTrue(connection.closed)
        self.assertEqual(connection.send(b"x" * 1000), b"")
        self.assertEqual(self.plugin.got, [])

    def test_body_limit_of_one_route(self) -> None:
        """The limit of a route applies to this route only."""
        self.assertEqual(self.ask("POST", "/small", b"1" * 101).status, 413)
        self.assertEqual(self.ask("POST", "/small", b"1" * 100).status, 200)
        self.assertEqual(self.ask("POST", "/quick", b"1" * 101).status, 200)

    def test_chunked_body_over_limit_gets_413(self) -> None:
        """A chunked body gets 413 as soon as it exceeds the limit."""
        connection = self.connect()
        head = b"POST /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(connection.send(head + b"c350\r\n" + b"x" * 50_000 + b"\r\n"), b"")
        self.assertEqual(connection.send(b"c350\r\n" + b"x" * 50_000 + b"\r\n"), b"")
        self.assertEqual(status_of(connection.send(b"1\r\nx\r\n")), 413)
        self.assertTrue(connection.closed)
        self.assertEqual(self.plugin.got, [])

    def test_chunked_body_within_limit(self) -> None:
        """A chunked body arrives completely, also in a raw handler."""
        connection = self.connect()
        head = b"POST /raw HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        response = connection.send(head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n")
        self.assertEqual(status_of(response), 200)
        self.assertIn(b"POST b'abcde' None", response)

    def test_full_disk_for_bodies_gets_503(self) -> None:
        """If the temporary file of a large body can't be written, the client gets 503."""
        self.patch(requests, "IN_MEMORY", 10)
        self.patch(tempfile, "tempdir", "/does/not/exist")
        connection = self.connect()
        response = connection.send(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 20)
        self.assertEqual(status_of(response), 503)
        self.assertTrue(connection.closed)
        self.assertEqual(self.plugin.got, [])

    def test_truncated_body_reaches_no_handler(self) -> None:
        """If the client disconnects within a body, no handler is called and nothing is logged."""
        connection = self.connect()
        connection.send(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        connection.channel.connectionLost()
        self.assertEqual(self.plugin.got, [])

    def test_odd_bytes_in_content_type(self) -> None:
        """Odd bytes in Content-Type get a response, and the connection serves the next request."""
        for byte in b"\x0b\x0c\x1c\x1d\x1e\x85":
            connection = self.connect()
            head = b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/%cjson\r\n\r\n{}"
            status = status_of(connection.send(head % byte))
            self.assertEqual(status, 200 if byte == 0x85 else 400)
        connection = self.connect()
        self.assertEqual(status_of(connection.send(request("POST", "/quick", b"{}"))), 200)

    def test_get_with_body(self) -> None:
        """The body of a GET request is the payload, and the connection serves the next request."""
        connection = self.connect()
        responses = connection.send(request("GET", "/quick", b"[1]") + request("GET", "/quick"))
        self.assertEqual(responses.count(b"HTTP/1.1 200 OK"), 2)
        self.assertEqual(self.plugin.got, [[1], ""])

    def test_post_without_length_has_empty_body(self) -> None:
        """A POST request without a length has an empty body."""
        connection = self.connect()
        self.assertEqual(status_of(connection.send(b"POST /quick HTTP/1.1\r\nHost: x\r\n\r\n")), 200)
        self.assertEqual(self.plugin.got, [""])


class DeadlineTests(WebCase):
    """Clients that are slow."""

    settings = WebSettings(head_deadline=10, body_deadline=30, read_deadline=30, idle_deadline=60)

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.serve(Pages())

    def trickle(self, data: bytes, seconds: int) -> tuple[int, bytes]:
        """Send bytes one per second. Return after how many the server closed, and its response."""
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
        """Headers that take more than 10 s get 408, although a byte arrives each second."""
        seconds, response = self.trickle(b"GET / HTTP/1.1\r\nX: ", 60)
        self.assertEqual(status_of(response), 408)
        self.assertEqual(seconds, 10)

    def test_slow_body_gets_408(self) -> None:
        """A body that takes more than 30 s gets 408, although a byte arrives each second."""
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
        """A connection without a request is closed after 60 s, new or used."""
        new = self.connect()
        used = self.connect()
        used.send(request("GET", "/hello"))
        self.pass_time(59.5)
        self.assertFalse(new.closed or used.closed)
        self.pass_time(1)
        self.assertTrue(new.closed and used.closed)
        self.assertEqual(new.received() + used.received(), b"")

    def test_unread_response_aborts_connection(self) -> None:
        """A client that reads nothing for 30 s is disconnected."""
        connection = self.connect()
        connection.send(request("GET", "/big"))
        connection.channel.pauseProducing()
        self.pass_time(29)
        self.assertFalse(connection.disconnected)
        self.pass_time(1.5)
        self.assertTrue(connection.disconnected)

    def test_client_that_reads_in_time_is_served(self) -> None:
        """A client that reads within 30 s gets everything."""
        connection = self.connect()
        connection.send(request("GET", "/big"))
        connection.channel.pauseProducing()
        self.assertEqual(connection.send(request("GET", "/hello")), b"")
        self.pass_time(20)
        connection.channel.resumeProducing()
        self.assertEqual(status_of(connection.received()), 200)
        self.pass_time(40)
        self.assertFalse(connection.closed)

    def test_body_that_arrives_while_the_client_reads_nothing(self) -> None:
        """A body that arrives while the client doesn't read is handled when it reads again, within the body's deadline."""
        connection = self.connect()
        connection.send(request("POST", "/hello", b"", "Content-Length: 2"))
        connection.channel.pauseProducing()
        self.assertEqual(connection.send(b"{}"), b"")
        connection.channel.resumeProducing()
        self.assertEqual(status_of(connection.received()), 200)
        connection.send(request("POST", "/hello", b"", "Content-Length: 2"))
        connection.channel.pauseProducing()
        connection.channel.resumeProducing()
        self.pass_time(30.5)
        self.assertEqual(status_of(connection.received()), 408)

    def test_large_response_to_slow_client(self) -> None:
        """A slow client gets a large response completely, with its length in the headers."""
        connection = self.connect()
        connection.capacity = 0
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
        """After the last connection, no delayed call is left."""
        connection = self.connect()
        self.assertTrue(self.clock.getDelayedCalls())
        connection.channel.connectionLost()
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
