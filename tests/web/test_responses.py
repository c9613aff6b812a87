"""Tests for the return values of handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import klein
import treq
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.template import Element, TagLoader, tags

from errklein.running import on_reactor
from errklein.web.facade import Response, jsonify, make_response
from errklein.webhooks import webhook
from tests.web.kit import Echo, WebCase, request, status_of


class Returns:
    """Handlers of each kind that return the test's value."""

    def __init__(self) -> None:
        self.value: Any = None

    @webhook
    def blocking(self, payload: Any) -> Any:
        return self.value

    @webhook
    async def coroutine(self, payload: Any) -> Any:
        return self.value

    @webhook
    @on_reactor
    def on_reactor(self, payload: Any) -> Any:
        return self.value


class Hello(Resource):
    """A Twisted resource."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"X-Twisted", b"yes")
        return b"a resource"

    render_POST = render_GET


class Page(Element):
    """A Twisted renderable."""

    loader = TagLoader(tags.p("a & b"))


class Injections:
    """A plugin that puts line ends into the head of its response."""

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


class ReturningTests(WebCase):
    """Conversion of return values into responses."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Returns()
        self.serve(self.plugin)

    def returned(self, value: Any, status: int, body: bytes, content_type: str | None = None) -> None:
        """Fail unless each kind of handler gets this response for the value."""
        for path in ("/blocking", "/coroutine", "/on_reactor"):
            self.plugin.value = value() if callable(value) else value
            response = self.ask("POST", path)
            self.assertEqual((response.status, response.body), (status, body), f"{path} {value!r}")
            if content_type is not None:
                self.assertEqual(response.header("Content-Type"), content_type)
            if response.header("Transfer-Encoding") is None:
                self.assertEqual(response.header("Content-Length"), str(len(body)))

    def test_falsy_values_are_empty_200(self) -> None:
        """Falsy values become an empty response with status 200."""
        for value in (None, "", b"", 0, False, [], {}, ()):
            self.returned(value, 200, b"", "text/html; charset=utf-8")

    def test_text_bytes_and_json(self) -> None:
        """Text and bytes are the body; dicts and lists become JSON."""
        self.returned("é", 200, "é".encode(), "text/html; charset=utf-8")
        self.returned(b"\xff", 200, b"\xff", "text/html; charset=utf-8")
        self.returned(bytearray(b"x"), 200, b"x", "text/html; charset=utf-8")
        self.returned({"b": [1], "a": None}, 200, b'{"a":null,"b":[1]}\n', "application/json")
        self.returned([1, "é"], 200, b'[1,"\\u00e9"]\n', "application/json")
        self.returned(["\ud800"], 200, b'["\\ud800"]\n', "application/json")

    def test_tuples(self) -> None:
        """A tuple has a body and a status, headers, or both."""
        self.returned(("made", 201), 201, b"made")
        self.returned(("made", "201 CREATED"), 201, b"made")
        self.returned(({"a": 1}, 202), 202, b'{"a":1}\n', "application/json")
        self.returned(("x", {"Content-Type": "text/plain"}), 200, b"x", "text/plain")
        self.returned(("x", 418, [("X-Tea", "yes")]), 418, b"x")
        self.plugin.value = ("x", 418, [("X-Tea", "yes"), ("Date", "never"), ("Connection", "upgrade")])
        response = self.ask("POST", "/coroutine")
        self.assertEqual(response.header("X-Tea"), "yes")
        self.assertNotEqual(response.header("Date"), "never")
        self.assertEqual(response.header("Connection"), "close")

    def test_no_content_has_no_length(self) -> None:
        """A response with status 204 has neither a body nor a length."""
        self.plugin.value = ("", 204)
        for path in ("/blocking", "/coroutine"):
            response = self.ask("POST", path)
            self.assertEqual((response.status, response.body, response.header("Content-Length")), (204, b"", None))

    def test_generators_are_streamed(self) -> None:
        """The items of a generator are sent one by one."""

        def items() -> Iterator[Any]:
            yield "a"
            yield b"b"
            yield "c"

        async def later() -> Any:
            yield "a"
            yield b"b"

        self.returned(lambda: items(), 200, b"abc")
        self.returned(lambda: later(), 200, b"ab")
        self.returned(lambda: (items(), 201), 201, b"abc")

    def test_results_of_twisted(self) -> None:
        """Deferreds, coroutines, resources, renderables and Klein's responses are converted."""

        def fired(value: Any) -> Deferred[Any]:
            deferred: Deferred[Any] = Deferred()
            deferred.callback(value)
            return deferred

        async def coroutine() -> str:
            return "from a coroutine"

        for value, status, body in (
            (lambda: fired("later"), 200, b"later"),
            (lambda: fired({"a": 1}), 200, b'{"a":1}\n'),
            (lambda: coroutine(), 200, b"from a coroutine"),
            (lambda: Hello(), 200, b"a resource"),
            (lambda: Page(), 200, b"<p>a &amp; b</p>"),
            (lambda: klein.Response(code=203, headers={"X-A": "b"}, body=b"of klein"), 203, b"of klein"),
        ):
            self.returned(value, status, body)

    def test_headers_of_klein(self) -> None:
        """A header of Klein's response is text or several, and headers that frame the body are errklein's."""
        headers = {
            "X-A": "ab",
            "X-B": ["c", "d"],
            "Content-Length": "1",
            "Transfer-Encoding": "chunked",
            "Date": "never",
        }
        self.plugin.value = klein.Response(200, headers, b"body")
        for path in ("/blocking", "/coroutine"):
            response = self.ask("POST", path)
            sent = [(name.lower(), value) for name, value in response.headers]
            self.assertEqual(
                [value for name, value in sent if name.startswith("x-") and name < "x-c"], ["ab", "c", "d"]
            )
            self.assertEqual([value for name, value in sent if name == "content-length"], ["4"])
            self.assertNotIn("transfer-encoding", dict(sent))
            self.assertNotIn(("date", "never"), sent)

    def test_generator_of_invalid_items_gets_500(self) -> None:
        """A generator of invalid items, such as numbers, gets 500."""
        for item in (3, 3_000_000_000_000, None, ["a"]):
            for path in ("/blocking", "/coroutine"):
                self.plugin.value = iter([item])
                self.assertEqual(self.ask("POST", path).status, 500)
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_unsupported_result_gets_500(self) -> None:
        """An invalid return value gets 500, and the log lists the valid types."""
        for value, word in ((1, "int"), (True, "bool"), (object(), "object"), (3.5, "float"), (("a", 1, {}, 2), "4")):
            for path in ("/blocking", "/coroutine"):
                self.plugin.value = value
                self.assertEqual(self.ask("POST", path).status, 500)
                [failure] = self.flushLoggedErrors(TypeError)
                self.assertIn(word, str(failure.value))
                self.assertIn("valid are", str(failure.value))

    def test_nan_in_json_gets_500(self) -> None:
        """NaN in JSON gets 500."""
        self.plugin.value = {"a": float("nan")}
        self.assertEqual(self.ask("POST", "/coroutine").status, 500)
        self.logged_failures(ValueError)

    def test_invalid_response_gets_500(self) -> None:
        """An invalid status or header gets 500."""
        for value in (
            "lone \ud800",
            ("x", 99),
            ("x", 1000),
            ("x", "abc"),
            ("x", 100),
            ("x", {"X-A": "\u20ac"}),
            ("x", {"X A": "b"}),
            ("x", {"X-A": "b\x00"}),
            [object()],
        ):
            for path in ("/blocking", "/coroutine"):
                self.plugin.value = value
                self.assertEqual(self.ask("POST", path).status, 500, value)
        self.assertEqual(len(self.flushLoggedErrors()), 18)
        self.assertEqual(len(self.events.failed), 18)


class HeaderTests(WebCase):
    """Headers of responses."""

    def test_none_gets_500(self) -> None:
        """None as the value of a header gets 500, and the log names the header."""

        def changed() -> Response:
            response = Response("body")
            response.headers["X-None"] = None
            return response

        makers: list[Callable[[], Any]] = [
            lambda: ("body", 200, {"X-None": None}),
            lambda: ("body", [("X-None", None)]),
            lambda: ({"body": 1}, 200, {"X-None": None}),
            lambda: (jsonify(1), {"X-None": None}),
            lambda: Response("body", headers={"X-None": None}),
            lambda: make_response("body", {"X-None": None}),
            changed,
        ]

        class Nones:
            @webhook("/blocking/<int:number>")
            def blocking(self, payload: Any, number: int) -> Any:
                return makers[number]()

            @webhook("/coroutine/<int:number>")
            async def coroutine(self, payload: Any, number: int) -> Any:
                return makers[number]()

        self.serve(Nones())
        for number in range(len(makers)):
            for path in ("/blocking", "/coroutine"):
                self.assertEqual(self.ask("GET", f"{path}/{number}").status, 500)
                [failure] = self.flushLoggedErrors(TypeError)
                self.assertIn("the header X-None has the value None", str(failure.value))

    def test_upgrade_is_ignored(self) -> None:
        """A request to change the protocol is handled as one without (RFC 9110, 7.8), and its handler runs once."""
        echo = Echo()
        self.serve(echo)
        for protocol in ("websocket", "h2c", "TLS/1.0, HTTP/2"):
            connection = self.connect()
            headers = (f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings", "Sec-WebSocket-Version: 13")
            response = connection.send(request("GET", "/quick", b"", *headers))
            self.assertEqual(status_of(response), 200)
            self.assertNotIn(b"upgrade", response.lower())
            self.assertEqual(status_of(connection.send(request("GET", "/quick"))), 200)
        self.assertEqual(len(echo.got), 6)

    def test_line_ends_never_add_headers(self) -> None:
        """Line ends in a header's value never add a header."""
        self.serve(Injections())
        for path in ("/header", "/status", "/reason"):
            response = self.connect().send(request("POST", path, b"a\r\nX-Evil: 1"))
            self.assertNotIn(b"\r\nX-Evil", response, path)
            self.assertIn(status_of(response), (200, 299, 500))
        self.flushLoggedErrors()


class TreqTests(WebCase):
    """Handlers that return treq's responses."""

    def test_what_treq_gave(self) -> None:
        """A response of treq is passed on with its status, media type and body."""

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
