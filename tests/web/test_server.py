"""Tests for the server as a whole."""

from __future__ import annotations

import json
import re
from typing import Any

import treq
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.web.resource import Resource

from errklein.logs import format_line
from errklein.web import WebSettings
from errklein.web.memory_client import request_bytes
from errklein.webhooks import webhook
from tests.web.kit import WebCase, request, status_of


class Slow:
    """A plugin whose handler waits for the test."""

    def __init__(self) -> None:
        self.gates: list[Deferred[str]] = []

    @webhook
    async def slow(self, payload: Any) -> str:
        gate: Deferred[str] = Deferred()
        self.gates.append(gate)
        return await gate

    @webhook
    async def quick(self, payload: Any) -> str:
        return "OK"


class StoppingTests(WebCase):
    """A server that stops lets its last requests end well."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Slow()
        self.serve(self.plugin)

    def test_stopping(self) -> None:
        """Requests in flight are answered, new ones get 503, connections are closed when they owe nothing."""
        busy, idle, new = self.connect(), self.connect(), self.connect()
        self.assertEqual(busy.send(request("POST", "/slow")), b"")
        idle.send(request("POST", "/quick"))
        new.send(b"POST /quick HT")
        self.web.begin_stopping()
        done = self.web.when_idle()
        self.assertTrue(idle.closed)
        self.assertFalse(busy.closed or new.closed)
        refused = new.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(status_of(refused), 503)
        self.assertIn(b"Retry-After: ", refused)
        self.assertTrue(new.closed)
        self.assertEqual(self.successResultOf(self.start("POST", "/quick")).status, 503)
        self.assertNoResult(done)
        self.plugin.gates[0].callback("the last word")
        response = busy.received()
        self.assertEqual(status_of(response), 200)
        self.assertTrue(response.endswith(b"the last word"))
        self.assertTrue(busy.closed)
        self.successResultOf(done)
        self.successResultOf(self.web.when_idle())

    def test_pipelined_request_while_stopping(self) -> None:
        """What the connection still owes is answered; the request behind it is not."""
        connection = self.connect()
        connection.send(request("POST", "/slow") + request("POST", "/slow"))
        self.web.begin_stopping()
        self.plugin.gates[0].callback("one")
        self.assertEqual(connection.received().count(b"HTTP/1.1"), 1)
        self.assertTrue(connection.closed)

    def test_closing(self) -> None:
        """Everything is broken off."""
        busy = self.connect()
        busy.send(request("POST", "/slow"))
        self.successResultOf(self.web.close())
        self.assertTrue(busy.disconnected)


class ConnectionTests(WebCase):
    """What a connection does with what comes."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Slow()
        self.serve(self.plugin)

    def test_pipelining(self) -> None:
        """Requests that come at once are answered in order."""
        connection = self.connect()
        connection.send(request("POST", "/slow") + request("GET", "/nowhere") + request("POST", "/slow"))
        self.assertEqual(len(self.plugin.gates), 1)
        self.plugin.gates[0].callback("one")
        self.assertEqual(len(self.plugin.gates), 2)
        self.plugin.gates[1].callback("two")
        responses = connection.received().split(b"HTTP/1.1 ")
        self.assertEqual([response[:3] for response in responses], [b"", b"200", b"404", b"200"])

    def test_many_pipelined_requests(self) -> None:
        """Thousands at once don't exhaust the stack."""
        connection = self.connect()
        responses = connection.send(request("POST", "/quick") * 3000)
        self.assertEqual(responses.count(b"HTTP/1.1 200 OK"), 3000)

    def test_pipelined_requests_leave_turns_to_others(self) -> None:
        """What one client sends at once is handled in several turns of the reactor, if it takes its time, and in order."""
        clock = self.clock

        class Busy:
            @webhook("/busy/<number>")
            async def busy(self, payload: Any, number: str) -> str:
                clock.rightNow += 0.004
                return f"<{number}>"

        self.serve(Busy())
        connection = self.connect()
        responses = connection.send(b"".join(request("POST", f"/busy/{number}") for number in range(10)))
        self.assertEqual(responses.count(b"HTTP/1.1 200 OK"), 3)
        other = self.connect()
        self.assertEqual(status_of(other.send(request("POST", "/quick"))), 200)
        responses += connection.send(request("POST", "/busy/10"))
        while self.clock.getDelayedCalls() and responses.count(b"HTTP/1.1 200 OK") < 11:
            self.clock.advance(0)
            responses += connection.received()
        self.assertEqual(re.findall(rb"<(\d+)>", responses), [b"%d" % number for number in range(11)])
        self.assertEqual(connection.producerState, "producing")

    def test_a_flood_behind_a_slow_request(self) -> None:
        """Reading stops until it is answered, and then goes on."""
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
        """It is answered, and the connection closed."""
        connection = self.connect()
        self.assertEqual(status_of(connection.send(b"POST /quick HTTP/1.0\r\n\r\n")), 200)
        self.assertTrue(connection.closed)

    def test_absolute_target(self) -> None:
        """As proxies send it."""
        self.assertEqual(status_of(self.connect().send(request("POST", "http://x/quick?a=b"))), 200)
        self.assertEqual(status_of(self.connect().send(request("OPTIONS", "*"))), 200)
        self.assertEqual(status_of(self.connect().send(request("GET", "nonsense"))), 400)

    def test_bare_line_feeds(self) -> None:
        """They are refused at once."""
        self.assertEqual(status_of(self.connect().send(b"GET /quick HTTP/1.1\nHost: x\n\n")), 400)


class AccessLogTests(WebCase):
    """One line for each answer."""

    def lines(self, raw: bytes) -> list[str]:
        """What is logged about a request."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            lines.append((format_line(event) or "").partition("] ")[2].rstrip("\n"))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        connection = self.connect()
        connection.send(raw)
        return lines

    def test_a_line(self) -> None:
        """With verb, path, status, size and request id; without the query, which may hold a secret."""
        self.serve(Slow())
        [line] = self.lines(request("POST", "/quick?token=secret"))
        self.assertRegex(line, r'^\([0-9a-f]+-[0-9a-f]+\) \S+ "POST /quick" 200 2 \d\.\d{4}s$')

    def test_escapes(self) -> None:
        """Whatever is sent, it is one line without control characters."""
        for raw in (
            b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /\xe2\x80\xa8{x} HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x0bb\r\n\r\n",
        ):
            [line] = self.lines(raw)[-1:]
            self.assertTrue(line.isascii() and line.isprintable(), line)


class TreqTests(WebCase):
    """Handlers that answer with what treq gave them."""

    def test_what_treq_gave(self) -> None:
        """A response is passed on with its status and media type; its content, text and JSON are what they are."""

        class Elsewhere(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                request.setResponseCode(203)
                request.setHeader(b"Content-Type", b"application/json")
                return b'{"a": 1}'

        stub = StubTreq(Elsewhere())

        class Plugin:
            @webhook
            def response(self, payload: Any) -> Deferred[Any]:
                return stub.get("http://elsewhere/")

            @webhook
            def content(self, payload: Any) -> Deferred[Any]:
                return stub.get("http://elsewhere/").addCallback(treq.content)

            @webhook
            async def decoded(self, payload: Any) -> Any:
                return await (await stub.get("http://elsewhere/")).json()

        self.serve(Plugin())
        response = self.start("POST", "/response")
        content = self.start("POST", "/content")
        decoded = self.start("POST", "/decoded")
        stub.flush()
        passed = self.successResultOf(response)
        self.assertEqual((passed.status, passed.header("Content-Type")), (203, "application/json"))
        self.assertEqual(passed.body, b'{"a": 1}')
        self.assertEqual(self.successResultOf(content).body, b'{"a": 1}')
        self.assertEqual(self.successResultOf(decoded).body, b'{"a":1}\n')


class MemoryClientTests(WebCase):
    """The client without sockets."""

    settings = WebSettings(max_body=10)

    def test_what_is_sent(self) -> None:
        """Headers are added unless they are given."""
        raw = request_bytes("post", "http://example.org/a?b=c", {"X": "y"}, b"body")
        lines = raw.split(b"\r\n")
        self.assertEqual(lines[0], b"POST /a?b=c HTTP/1.1")
        self.assertEqual(set(lines[1:-2]), {b"Host: example.org", b"X: y", b"Content-Length: 4", b"Connection: close"})
        self.assertEqual(lines[-1], b"body")

    def test_what_may_not_stand_in_a_url(self) -> None:
        """It is escaped, and headers can't be added by it."""
        raw = request_bytes("GET", "/a b\u00e9%20?c=d e")
        self.assertTrue(raw.startswith(b"GET /a%20b%C3%A9%20?c=d%20e HTTP/1.1\r\n"), raw)
        self.assertNotIn(b"\r\nEvil", request_bytes("GET", "/a HTTP/1.1\r\nEvil: 1"))
        self.assertRaises(ValueError, request_bytes, "GET", "/", {"X": "a\r\nEvil: 1"})

    def test_what_is_answered(self) -> None:
        """By its names."""
        response = self.ask("POST", "/nowhere", headers={"Accept": "application/json"})
        self.assertEqual((response.status, response.reason), (404, "Not Found"))
        self.assertEqual(response.header("content-type"), response.header("Content-Type"))
        self.assertIsNone(response.header("X-Nothing"))
        self.assertEqual(response.json(), json.loads(response.text))

    def test_limits_hold(self) -> None:
        """It goes the same way as a request from outside."""
        self.serve(Slow())
        self.assertEqual(self.ask("POST", "/quick", b"x" * 11).status, 413)
