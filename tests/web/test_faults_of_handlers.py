"""Handlers that misbehave, one test for each row of the table of faults."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import klein
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.template import Element, TagLoader, tags

from errklein.running import Runner, WorkerPool, on_reactor
from errklein.web import ConnectionBroken, WebServer, WebSettings
from errklein.webhooks import webhook
from tests.web.kit import Recorder, WebCase, hooks_of, request, status_of

SECRET = "the password is hunter2"


class Raises:
    """Handlers that raise."""

    @webhook
    def blocking(self, payload: Any) -> None:
        raise RuntimeError(SECRET)

    @webhook
    async def coroutine(self, payload: Any) -> None:
        raise RuntimeError(SECRET)

    @webhook
    @inlineCallbacks
    def inline(self, payload: Any) -> Iterator[Any]:
        yield
        raise RuntimeError(SECRET)

    @webhook("/leave/<how>")
    def leave(self, payload: Any, how: str) -> None:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}[how](SECRET)

    @webhook("/leave-coroutine/<how>")
    async def leave_coroutine(self, payload: Any, how: str) -> None:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}[how](SECRET)

    @webhook
    def recursive(self, payload: Any) -> Any:
        return self.recursive(payload)

    @webhook
    async def fine(self, payload: Any) -> str:
        return "OK"


class Returns:
    """A handler of each kind that returns what the test has put there."""

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


class Waits:
    """Handlers that take their time."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = 0
        self.ended: list[str] = []
        self.waiting: list[Deferred[Any]] = []

    @webhook
    def blocking(self, payload: Any) -> str:
        self.started += 1
        self.gate.wait(10)
        self.ended.append("blocking")
        return "OK"

    @webhook
    async def coroutine(self, payload: Any) -> Any:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        value = await waiting
        self.ended.append("coroutine")
        return value

    @webhook(timeout=5)
    async def hurried(self, payload: Any) -> Any:
        return await self.coroutine(payload)

    @webhook
    async def quick(self, payload: Any) -> str:
        return "OK"


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


class RaisingTests(WebCase):
    """Rows 37 and 38."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.serve(Raises())

    def failed(self, path: str, kind: type[BaseException], handler: str) -> None:
        """Assert that a request gets 500 without internals, and that the failure is told once, with its place."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        try:
            response = self.ask("POST", path, b"{}", "application/json")
        finally:
            globalLogPublisher.removeObserver(events.append)
        self.assertEqual(response.status, 500)
        self.assertEqual(response.header("Content-Type"), "application/problem+json")
        self.assertNotIn("hunter2", response.text + str(response.headers))
        self.assertNotIn(kind.__name__, response.text)
        self.logged_failures(kind)
        [event] = [event for event in events if "log_failure" in event]
        self.assertEqual((event["plugin"], event["handler"], event["method"]), ("Raises", handler, "POST"))
        self.assertEqual(event["request_id"], response.header("X-Request-Id"))
        [(hook, request_id, failure)] = self.events.failed
        self.assertEqual((hook, request_id), (f"Raises.{handler}", response.header("X-Request-Id")))
        self.assertIsInstance(failure.value, kind)
        self.events.failed.clear()
        self.assertEqual(self.ask("POST", "/fine").text, "OK")

    def test_raising_handler_gets_500(self) -> None:
        """500 without a word of the error, one log entry with its place, and the bot is told; for every kind."""
        for handler in ("blocking", "coroutine", "inline"):
            self.failed(f"/{handler}", RuntimeError, handler)

    def test_error_page_for_browsers_is_html(self) -> None:
        """The page names the request."""
        response = self.ask("GET", "/coroutine", headers={"Accept": "text/html"})
        self.assertEqual(response.header("Content-Type"), "text/html; charset=utf-8")
        self.assertIn(str(response.header("X-Request-Id")), response.text)
        self.logged_failures(RuntimeError)

    def test_system_exit_gets_500(self) -> None:
        """What would end a process is an error like any other."""
        for how, kind in (("exit", SystemExit), ("interrupt", KeyboardInterrupt), ("generator", GeneratorExit)):
            self.failed(f"/leave/{how}", kind, "leave")
            self.failed(f"/leave-coroutine/{how}", kind, "leave_coroutine")
        # The traceback has to fit into one message between trial's processes, 64 kB.
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(300)
        self.failed("/recursive", RecursionError, "recursive")


class RealReactorTests(TestCase):
    """Row 38 on the reactor that the tests run on, which may be asyncio's."""

    async def test_system_exit_keeps_reactor_running(self) -> None:
        """The reactor goes on."""
        from twisted.internet import reactor

        events = Recorder()
        pool = WorkerPool(reactor, "webhook", 2)  # type: ignore[arg-type]
        self.addCleanup(pool.stop)
        web = WebServer(reactor, Runner(reactor), pool, events=events)
        self.addCleanup(web.site.sweeper.stop)
        web.routes.replace("Raises", hooks_of(Raises()))
        for how in ("exit", "interrupt", "generator"):
            response = await web.client().request("POST", f"/leave-coroutine/{how}")
            self.assertEqual(response.status, 500)
        self.assertEqual((await web.client().request("POST", "/fine")).text, "OK")
        self.assertEqual(len(events.failed), 3)
        self.assertEqual(len(self.flushLoggedErrors()), 3)


class ReturningTests(WebCase):
    """Rows 39 and 40."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Returns()
        self.serve(self.plugin)

    def returned(self, value: Any, status: int, body: bytes, content_type: str | None = None) -> None:
        """Assert what the sender gets when a handler returns the value, for each kind of handler."""
        for path in ("/blocking", "/coroutine", "/on_reactor"):
            self.plugin.value = value() if callable(value) else value
            response = self.ask("POST", path)
            self.assertEqual((response.status, response.body), (status, body), f"{path} {value!r}")
            if content_type is not None:
                self.assertEqual(response.header("Content-Type"), content_type)
            if response.header("Transfer-Encoding") is None:
                self.assertEqual(response.header("Content-Length"), str(len(body)))

    def test_falsy_values_are_empty_200(self) -> None:
        """They are an empty 200."""
        for value in (None, "", b"", 0, False, [], {}, ()):
            self.returned(value, 200, b"", "text/html; charset=utf-8")

    def test_text_bytes_and_json(self) -> None:
        """Text and bytes are the body; dicts and lists are JSON."""
        self.returned("é", 200, "é".encode(), "text/html; charset=utf-8")
        self.returned(b"\xff", 200, b"\xff", "text/html; charset=utf-8")
        self.returned(bytearray(b"x"), 200, b"x", "text/html; charset=utf-8")
        self.returned({"b": [1], "a": None}, 200, b'{"a":null,"b":[1]}\n', "application/json")
        self.returned([1, "é"], 200, b'[1,"\\u00e9"]\n', "application/json")
        self.returned(["\ud800"], 200, b'["\\ud800"]\n', "application/json")

    def test_tuples(self) -> None:
        """A body with a status, with headers, or with both."""
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
        """204 has neither a body nor a length."""
        self.plugin.value = ("", 204)
        for path in ("/blocking", "/coroutine"):
            response = self.ask("POST", path)
            self.assertEqual((response.status, response.body, response.header("Content-Length")), (204, b"", None))

    def test_generators_are_streamed(self) -> None:
        """Each item is sent as it comes."""

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
        """Deferreds, coroutines, resources, renderables and Klein's responses."""

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

    def test_generator_of_invalid_items_gets_500(self) -> None:
        """500; a number isn't taken for that many zeros."""
        for item in (3, 3_000_000_000_000, None, ["a"]):
            for path in ("/blocking", "/coroutine"):
                self.plugin.value = iter([item])
                self.assertEqual(self.ask("POST", path).status, 500)
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_unsupported_result_gets_500(self) -> None:
        """500, and the log says what was returned and what may be."""
        for value, word in ((1, "int"), (True, "bool"), (object(), "object"), (3.5, "float"), (("a", 1, {}, 2), "4")):
            for path in ("/blocking", "/coroutine"):
                self.plugin.value = value
                self.assertEqual(self.ask("POST", path).status, 500)
                [failure] = self.flushLoggedErrors(TypeError)
                self.assertIn(word, str(failure.value))
                self.assertIn("may return", str(failure.value))

    def test_nan_in_json_gets_500(self) -> None:
        """NaN is never sent."""
        self.plugin.value = {"a": float("nan")}
        self.assertEqual(self.ask("POST", "/coroutine").status, 500)
        self.logged_failures(ValueError)

    def test_invalid_response_gets_500(self) -> None:
        """500, and the sender doesn't wait for ever."""
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


class WaitingTests(WebCase):
    """Rows 41 to 44."""

    settings = WebSettings(timeout=60)

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Waits()
        self.addCleanup(self.plugin.gate.set)
        self.serve(self.plugin)

    def test_hanging_handler_gets_504(self) -> None:
        """504 when the time is over, told once; the handler runs on, and keeps its thread."""
        blocking = self.start("POST", "/blocking")
        coroutine = self.start("POST", "/coroutine")
        self.pass_time(59)
        self.assertNoResult(blocking)
        self.assertNoResult(coroutine)
        self.pass_time(1.5)
        self.assertEqual(self.successResultOf(blocking).status, 504)
        self.assertEqual(self.successResultOf(coroutine).status, 504)
        self.pass_time(100)
        self.assertEqual(
            sorted((hook, seconds) for hook, _, seconds in self.events.overdue),
            [("Waits.blocking", 60), ("Waits.coroutine", 60)],
        )
        self.assertEqual(self.pool.running, 1)
        self.assertEqual(self.runner.running(self.plugin), 2)
        self.plugin.gate.set()
        self.clock.turn()
        self.plugin.waiting[0].callback("too late")
        self.assertEqual(self.plugin.ended, ["blocking", "coroutine"])
        self.assertEqual(self.runner.running(self.plugin), 0)

    def test_timeout_of_one_route(self) -> None:
        """A route may have its own."""
        hurried = self.start("POST", "/hurried")
        self.pass_time(5.5)
        self.assertEqual(self.successResultOf(hurried).status, 504)

    def test_late_failure_is_logged(self) -> None:
        """And the bot is told of it."""
        response = self.start("POST", "/coroutine")
        self.pass_time(61)
        self.assertEqual(self.successResultOf(response).status, 504)
        self.plugin.waiting[0].errback(Failure(RuntimeError()))
        self.logged_failures(RuntimeError)
        self.assertEqual(len(self.events.failed), 1)

    def test_handler_continues_after_disconnect(self) -> None:
        """The handler goes on to its end, and nothing is said about it."""
        for path in ("/blocking", "/coroutine"):
            connection = self.connect()
            connection.send(request("POST", path))
            connection.channel.connectionLost()
        self.plugin.gate.set()
        self.clock.turn()
        self.plugin.waiting[0].callback("OK")
        self.assertEqual(self.plugin.ended, ["blocking", "coroutine"])
        self.assertEqual((self.events.failed, self.events.overdue), ([], []))
        self.successResultOf(self.web.when_idle())

    def test_busy_threads_do_not_delay_coroutines(self) -> None:
        """While every thread is busy, a handler on the reactor answers at once."""
        waiting = [self.start("POST", "/blocking") for _ in range(50)]
        self.assertEqual((self.pool.running, self.pool.waiting), (20, 30))
        self.assertEqual(self.successResultOf(self.start("POST", "/quick")).text, "OK")
        # Its body is decoded in a thread, but not in one of those.
        self.assertEqual(self.ask("POST", "/quick", b"[" + b"1," * 50_000 + b"1]").text, "OK")
        self.assertEqual((self.pool.running, self.pool.waiting), (20, 30))
        self.plugin.gate.set()
        for response in waiting:
            self.assertEqual(self.response_to(response).text, "OK")

    def test_exhausted_pool_gets_503(self) -> None:
        """The queue is bounded in number and in time; beyond it there is 503 with Retry-After."""
        waiting = [self.start("POST", "/blocking") for _ in range(220)]
        refused = self.successResultOf(self.start("POST", "/blocking"))
        self.assertEqual((refused.status, refused.header("Retry-After")), (503, "10"))
        self.assertNoResult(waiting[219])
        self.pass_time(10.5)
        self.assertEqual([self.successResultOf(response).status for response in waiting[20:]], [503] * 200)
        self.plugin.gate.set()
        self.assertEqual({self.response_to(response).status for response in waiting[:20]}, {200})
        self.assertEqual(self.events.failed, [])

    def test_waiting_requests_get_503_when_stopping(self) -> None:
        """What still waits for a thread is told 503, and never begins."""
        waiting = [self.start("POST", "/blocking") for _ in range(25)]
        self.web.refuse_waiting()
        self.assertEqual([self.successResultOf(response).status for response in waiting[20:]], [503] * 5)
        self.plugin.gate.set()
        self.assertEqual({self.response_to(response).status for response in waiting[:20]}, {200})
        self.assertEqual(self.plugin.ended, ["blocking"] * 20)
        self.assertEqual(self.events.failed, [])


class GoneTests(WebCase):
    """Row 42 for answers in pieces, and row 41 for Twisted's resources."""

    def test_disconnect_closes_generator(self) -> None:
        """The generator is closed, and nothing is logged."""
        ended: list[str] = []
        gate = threading.Event()
        self.addCleanup(gate.set)

        class Streams:
            @webhook
            def items(self, payload: Any) -> Iterator[str]:
                try:
                    yield "one"
                    gate.wait(10)
                    yield "two"
                finally:
                    ended.append("closed")

        self.serve(Streams())
        connection = self.connect()
        sent = connection.send(request("POST", "/items"))
        while b"one" not in sent:
            self.assertTrue(self.clock.turn())
            sent += connection.received()
        connection.channel.connectionLost()
        gate.set()
        while not ended:
            self.assertTrue(self.clock.turn())
        self.assertEqual(self.events.failed, [])
        self.successResultOf(self.web.when_idle())

    def test_hanging_generator_gets_504(self) -> None:
        """504, plain or asynchronous, and the generator goes on to its end."""
        ended: list[str] = []
        gate = threading.Event()
        self.addCleanup(gate.set)
        later: Deferred[None] = Deferred()

        class Streams:
            @webhook
            def blocking(self, payload: Any) -> Iterator[str]:
                gate.wait(10)
                ended.append("blocking")
                yield "late"

            @webhook
            async def coroutine(self, payload: Any) -> AsyncIterator[str]:
                async def items() -> AsyncIterator[str]:
                    await later
                    ended.append("coroutine")
                    yield "late"

                return items()

        self.serve(Streams())
        responses = [self.start("POST", path) for path in ("/blocking", "/coroutine")]
        self.assertTrue(self.clock.turn())
        self.pass_time(61)
        self.assertEqual([self.successResultOf(response).status for response in responses], [504, 504])
        self.assertEqual(len(self.events.overdue), 2)
        later.callback(None)
        gate.set()
        while len(ended) < 2:
            self.assertTrue(self.clock.turn())
        self.assertEqual(self.events.failed, [])

    def test_a_stream_takes_its_time(self) -> None:
        """It has no deadline of its own, and as long as it goes on the server isn't idle."""
        begun: Deferred[None] = Deferred()
        gates: list[Deferred[str]] = [Deferred(), Deferred()]

        async def pieces() -> AsyncIterator[str]:
            for gate in gates:
                yield await gate

        class Streams:
            @webhook
            async def items(self, payload: Any) -> AsyncIterator[str]:
                await begun
                return pieces()

        self.serve(Streams())
        response = self.start("POST", "/items")
        begun.callback(None)
        gates[0].callback("one")
        self.pass_time(61)
        idle = self.web.when_idle()
        self.assertNoResult(idle)
        gates[1].callback("two")
        self.assertEqual(self.successResultOf(response).text, "onetwo")
        self.successResultOf(idle)

    def test_hanging_resource_gets_504(self) -> None:
        """504, and what it writes later is dropped."""
        rendered: list[Any] = []

        class Never(Resource):
            isLeaf = True

            def render(self, request: Any) -> Any:
                rendered.append(request)
                return NOT_DONE_YET

        class Plugin:
            @webhook
            async def never(self, payload: Any) -> Any:
                return Never()

        self.serve(Plugin())
        response = self.start("POST", "/never")
        self.pass_time(60.5)
        self.assertEqual(self.successResultOf(response).status, 504)
        rendered[0].write(b"too late")
        rendered[0].finish()
        self.assertEqual(len(self.events.overdue), 1)


class PartialTests(WebCase):
    """Row 45."""

    def test_failing_stream_aborts_connection(self) -> None:
        """The connection is broken off: the client can tell, and nothing is glued to what it has."""

        class Streams:
            @webhook
            def breaks(self, payload: Any) -> Iterator[str]:
                yield "a part"
                raise RuntimeError("in the middle")

            @webhook
            def never(self, payload: Any) -> Iterator[str]:
                raise RuntimeError("at once")
                yield "nothing"

        self.serve(Streams())
        connection = self.connect()
        sent = connection.send(request("POST", "/breaks"))
        while not connection.disconnected:
            self.assertTrue(self.clock.turn())
            sent += connection.received()
        self.assertIn(b"a part", sent)
        self.assertNotIn(b"500", sent.partition(b"\r\n\r\n")[2])
        self.assertFalse(sent.endswith(b"0\r\n\r\n"))
        broken = self.start("POST", "/breaks")
        while not broken.called:
            self.assertTrue(self.clock.turn())
        self.failureResultOf(broken, ConnectionBroken)
        self.assertEqual(self.ask("POST", "/never").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)
        self.assertEqual(len(self.events.failed), 3)


class ClaimTests(WebCase):
    """Row 47."""

    def test_first_of_two_plugins_keeps_route(self) -> None:
        """The first active one keeps it, the second is told about, and takes over when the first goes."""

        class Plugin:
            def __init__(self, name: str) -> None:
                self.name = name

            @webhook("/shared/<x>")
            async def shared(self, payload: Any, x: str) -> str:
                return self.name

        class Other(Plugin):
            @webhook("/shared/<y>/", methods=("POST", "PUT"))
            async def other(self, payload: Any, y: str) -> str:
                return f"{self.name} {y}"

            shared = None  # type: ignore[assignment]

        self.serve(Plugin("first"), "First")
        self.serve(Other("second"), "Second")
        self.assertEqual(self.events.shadowed, [("Second.other", "First.shared")])
        self.assertEqual(self.ask("POST", "/shared/a").text, "first")
        self.assertEqual(self.ask("PUT", "/shared/a").text, "second a")
        self.assertEqual(self.ask("GET", "/shared/a").text, "first")
        self.web.routes.remove("First")
        self.assertEqual(self.ask("POST", "/shared/a").text, "second a")
        self.assertEqual(self.ask("GET", "/shared/a").status, 405)

    def test_equal_method_names_do_not_clash(self) -> None:
        """They never clash."""

        class Plugin:
            @webhook("/one")
            async def hook(self, payload: Any) -> str:
                return "one"

        class Other:
            @webhook("/two")
            async def hook(self, payload: Any) -> str:
                return "two"

        self.serve(Plugin())
        self.serve(Other())
        self.assertEqual(self.ask("POST", "/one").text, "one")
        self.assertEqual(self.ask("POST", "/two").text, "two")
        self.assertEqual(self.events.shadowed, [])


class StatusTests(WebCase):
    """Every answer."""

    def test_headers_of_every_answer(self) -> None:
        """A request id of its own, a date, a length, and no banner."""
        self.serve(Raises())
        ids = set()
        for path in ("/fine", "/nowhere", "/coroutine"):
            response = self.ask("POST", path)
            ids.add(response.header("X-Request-Id"))
            self.assertIsNotNone(response.header("Date"))
            self.assertEqual(response.header("Content-Length"), str(len(response.body)))
            self.assertIsNone(response.header("Server"))
            self.assertNotIn("wisted", str(response.headers))
        self.assertEqual(len(ids - {None}), 3)
        self.logged_failures(RuntimeError)
        self.assertEqual(status_of(self.connect().send(request("POST", "/fine"))), 200)
