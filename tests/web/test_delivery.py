"""Tests for malformed payloads, and for handlers that raise or hang."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import LogEvent, capturedLogs, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from errklein.running import Runner, WorkerPool
from errklein.web import BotParts, WebServer, WebSettings
from errklein.webhooks import webhook
from tests.web.kit import Echo, Recorder, WebCase, hooks_of, request, status_of

JSON = "application/json"


FORM = "application/x-www-form-urlencoded"


SECRET = "the password is hunter2"


class AtTheTop:
    """A plugin with a webhook at `/`."""

    @webhook("/", methods=["POST"])
    def top(self, payload: object) -> str:
        """Respond."""
        return "top"


class Raises:
    """Handlers that raise or return an invalid value."""

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
    async def invalid(self, payload: Any) -> Any:
        return 5.5

    @webhook
    async def fine(self, payload: Any) -> str:
        return "OK"


class Waits:
    """Handlers that wait."""

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


class PayloadTests(WebCase):
    """Malformed payloads, which get 4xx without a call of the handler."""

    settings = WebSettings(max_body=100_000)

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Echo()
        self.serve(self.plugin)

    def refused(self, status: int, body: bytes, content_type: str = JSON, path: str = "/quick") -> str:
        """Fail unless both kinds of handlers reject the body. Return the reason."""
        paths = ("/quick", "/blocking") if path == "/quick" else (path,)
        detail = ""
        for each in paths:
            response = self.ask("POST", each, body, content_type, {"Accept": JSON})
            self.assertEqual(response.status, status, response.text)
            self.assertEqual(response.header("Content-Type"), "application/problem+json")
            problem = response.json()
            self.assertEqual(problem["status"], status)
            self.assertEqual(problem["request_id"], response.header("X-Request-Id"))
            detail = problem["detail"]
        self.assertEqual(self.plugin.got, [])
        self.assertEqual(self.events.failed, [])
        return detail

    def test_invalid_json_gets_400(self) -> None:
        """Invalid JSON gets 400 with the position, as problem+json."""
        self.assertIn("line 1, column 6 (character 5)", self.refused(400, b'{"a":'))

    def test_empty_body_is_the_empty_string(self) -> None:
        """An empty body is the empty string, as on errbot."""
        for path in ("/quick", "/blocking"):
            self.assertEqual(self.ask("POST", path, b"", JSON).status, 200)
        self.assertEqual(self.plugin.got, ["", ""])

    def test_declared_charset_decodes_json(self) -> None:
        """JSON is decoded by its declared charset; an unknown one gets 415."""
        response = self.ask("POST", "/quick", '{"a": "é"}'.encode("latin-1"), f"{JSON}; charset=iso-8859-1")
        self.assertEqual(response.text, "{'a': 'é'}")
        self.plugin.got.clear()
        self.assertIn("klingon", self.refused(415, b"{}", f"{JSON}; charset=klingon"))

    def test_invalid_utf8_gets_400(self) -> None:
        """Invalid UTF-8 gets 400."""
        self.assertIn("utf-8", self.refused(400, b'{"a": "\xff"}'))

    def test_byte_order_mark_is_accepted(self) -> None:
        """A byte order mark is accepted, and UTF-16 if it is declared."""
        self.assertEqual(self.ask("POST", "/quick", b"\xef\xbb\xbf[1]", JSON).text, "[1]")
        self.assertEqual(self.ask("POST", "/quick", "[2]".encode("utf-16"), f"{JSON}; charset=utf-16").text, "[2]")
        self.plugin.got.clear()
        self.refused(400, "[3]".encode("utf-16"))

    def test_deep_nesting_gets_400(self) -> None:
        """JSON that is nested too deeply gets 400, without a RecursionError."""
        self.assertIn("deep", self.refused(400, b"[" * 40_000 + b"]" * 40_000))

    def test_large_json_is_parsed_in_a_thread(self) -> None:
        """JSON over 64 kB for a handler on the reactor is parsed in the webhook pool."""
        body = b"[" + b"1," * 40_000 + b"1]"
        response = self.start("POST", "/quick", body, JSON)
        self.assertNoResult(response)
        self.assertEqual(self.response_to(response).status, 200)
        self.assertEqual(len(self.plugin.got[0]), 40_001)

    def test_compressed_body_gets_415(self) -> None:
        """A compressed body is refused with 415."""
        response = self.ask("POST", "/quick", b"\x1f\x8b", JSON, {"Content-Encoding": "gzip"})
        self.assertEqual(response.status, 415)

    def test_missing_form_param_gets_400(self) -> None:
        """A form without the `form_param` gets 400 with the field's name."""
        for body, media_type, detail in (
            (b"other=secret&b=2", FORM, "the form has no field 'payload'; it has 'other', 'b'"),
            (b"", FORM, "the form has no field 'payload'; it has no fields"),
            (b'{"payload": 1}', JSON, "with a field 'payload'; it is 'application/json'"),
        ):
            response = self.refused(400, body, media_type, "/form")
            self.assertIn(detail, response)
            self.assertNotIn("secret", response)

    def test_too_many_form_fields_get_413(self) -> None:
        """A form with too many fields gets 413."""
        self.refused(413, b"&".join(b"f%d=" % number for number in range(1001)), FORM)

    def test_malformed_multipart_gets_400(self) -> None:
        """A multipart body without a boundary, or cut off, gets 400."""
        self.refused(400, b"--b\r\n", "multipart/form-data")
        self.refused(
            400, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1', "multipart/form-data; boundary=b"
        )

    def test_unknown_content_type_is_json_or_text(self) -> None:
        """Without a media type, JSON is decoded, and other bodies are text."""
        self.assertEqual(self.ask("POST", "/quick", b'{"a": 1}').text, "{'a': 1}")
        self.assertEqual(self.ask("POST", "/quick", b'{"a": 1}', "text/plain").text, "{'a': 1}")
        self.assertEqual(self.ask("POST", "/quick", b"hello", "nonsense").text, "'hello'")


class RaisingTests(WebCase):
    """Handlers that raise."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.serve(Raises())

    def failed(self, path: str, kind: type[BaseException], handler: str) -> None:
        """Fail unless the request gets 500 without internals, and the failure is logged once with its place."""
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
        self.assertEqual((event["webhook"], event["method"]), (f"Raises:{handler}", "POST"))
        self.assertEqual(event["request_id"], response.header("X-Request-Id"))
        [(hook, request_id, failure)] = self.events.failed
        self.assertEqual((hook, request_id), (f"Raises:{handler}", response.header("X-Request-Id")))
        self.assertIsInstance(failure.value, kind)
        self.events.failed.clear()
        self.assertEqual(self.ask("POST", "/fine").text, "OK")

    def test_raising_handler_gets_500(self) -> None:
        """A handler that raises gets 500; the log has the place, and the bot is notified."""
        for handler in ("blocking", "coroutine", "inline"):
            self.failed(f"/{handler}", RuntimeError, handler)

    def test_failure_on_a_long_path(self) -> None:
        """The log has the first 1,024 characters of the path on which a handler failed."""

        class Fails:
            @webhook("/fails/<name>")
            async def fails(self, payload: Any, name: str) -> None:
                raise ValueError(len(name))

        self.serve(Fails())
        with capturedLogs() as events:
            self.assertEqual(self.ask("POST", f"/fails/{'x' * 5000}").status, 500)
        [path] = [event["path"] for event in events if "webhook" in event]
        self.assertEqual(path, f"/fails/{'x' * 1017}…")
        self.flushLoggedErrors(ValueError)

    def test_error_page_fits_every_failure(self) -> None:
        """The error page states that the handler failed, both if it raised and if it returned an invalid value."""
        for path in ("/coroutine", "/invalid"):
            text = self.ask("GET", path, headers={"Accept": "text/html"}).text
            self.assertIn("the handler failed; the log has the details under this request id", text)
            self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_error_page_for_browsers_is_html(self) -> None:
        """The error page for browsers has the request id."""
        response = self.ask("GET", "/coroutine", headers={"Accept": "text/html"})
        self.assertEqual(response.header("Content-Type"), "text/html; charset=utf-8")
        self.assertIn(str(response.header("X-Request-Id")), response.text)
        self.logged_failures(RuntimeError)

    def test_errors_are_html_only_by_name(self) -> None:
        """Without Accept, or with curl's `*/*`, errors are problem+json, whatever the request contains."""
        for accept in ({}, {"Accept": "*/*"}, {"Accept": "text/*"}):
            response = self.ask("POST", "/nowhere", b"a=b", "application/x-www-form-urlencoded", accept)
            self.assertEqual(response.header("Content-Type"), "application/problem+json")
            self.assertEqual(response.json()["detail"], "there is no webhook at /nowhere")
        response = self.ask("POST", "/nowhere", b"{}", JSON, {"Accept": "application/json, TEXT/html"})
        self.assertEqual(response.header("Content-Type"), "text/html; charset=utf-8")

    def test_system_exit_gets_500(self) -> None:
        """SystemExit in a handler gets 500, as other exceptions do."""
        for how, kind in (("exit", SystemExit), ("interrupt", KeyboardInterrupt), ("generator", GeneratorExit)):
            self.failed(f"/leave/{how}", kind, "leave")
            self.failed(f"/leave-coroutine/{how}", kind, "leave_coroutine")
        # The traceback has to fit into one message between trial's processes, 64 kB.
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(300)
        self.failed("/recursive", RecursionError, "recursive")


class RealReactorTests(TestCase):
    """Handlers that raise on the real reactor."""

    async def test_system_exit_keeps_reactor_running(self) -> None:
        """SystemExit in a handler doesn't stop the reactor."""
        from twisted.internet import reactor

        events = Recorder()
        pool = WorkerPool(reactor, "webhook", 2)  # type: ignore[arg-type]
        self.addCleanup(pool.stop)
        web = WebServer(reactor, Runner(reactor, pool), bot=lambda: BotParts(events))
        self.addCleanup(web.close)
        web.routes.replace("Raises", hooks_of(Raises()))
        for how in ("exit", "interrupt", "generator"):
            response = await web.request("POST", f"/leave-coroutine/{how}")
            self.assertEqual(response.status, 500)
        self.assertEqual((await web.request("POST", "/fine")).text, "OK")
        self.assertEqual(len(events.failed), 3)
        self.assertEqual(len(self.flushLoggedErrors()), 3)


class WaitingTests(WebCase):
    """Handlers that hang, and a pool whose threads are all busy."""

    settings = WebSettings(timeout=60)

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Waits()
        self.addCleanup(self.plugin.gate.set)
        self.serve(self.plugin)

    def test_hanging_handler_gets_504(self) -> None:
        """A handler over its timeout gets 504, is reported once, and keeps its thread."""
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
            [("Waits:blocking", 60), ("Waits:coroutine", 60)],
        )
        self.assertEqual(self.pool.running, 1)
        self.assertEqual(self.runner.running(self.plugin), 2)
        self.plugin.gate.set()
        self.clock.turn()
        self.plugin.waiting[0].callback("too late")
        self.assertEqual(self.plugin.ended, ["blocking", "coroutine"])
        self.assertEqual(self.runner.running(self.plugin), 0)

    def test_timeout_of_one_route(self) -> None:
        """A route may have a timeout of its own."""
        hurried = self.start("POST", "/hurried")
        self.pass_time(5.5)
        self.assertEqual(self.successResultOf(hurried).status, 504)

    def test_late_failure_is_logged(self) -> None:
        """A handler that raises after its timeout is logged and reported."""
        response = self.start("POST", "/coroutine")
        self.pass_time(61)
        self.assertEqual(self.successResultOf(response).status, 504)
        self.plugin.waiting[0].errback(Failure(RuntimeError()))
        self.logged_failures(RuntimeError)
        self.assertEqual(len(self.events.failed), 1)

    def test_handler_continues_after_disconnect(self) -> None:
        """A handler runs to its end if the client disconnects, and nothing is logged."""
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
        """A coroutine responds at once while all threads are busy."""
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
        """Requests over the limits of the queue get 503 with Retry-After."""
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
        """When the bot stops, requests that wait for a thread get 503."""
        waiting = [self.start("POST", "/blocking") for _ in range(25)]
        self.web.refuse_waiting()
        self.assertEqual([self.successResultOf(response).status for response in waiting[20:]], [503] * 5)
        self.plugin.gate.set()
        self.assertEqual({self.response_to(response).status for response in waiting[:20]}, {200})
        self.assertEqual(self.plugin.ended, ["blocking"] * 20)
        self.assertEqual(self.events.failed, [])

    def test_hanging_resource_gets_504(self) -> None:
        """A Twisted resource over the timeout gets 504, and its later bytes are discarded."""
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


class EveryResponseTests(WebCase):
    """Headers of all responses, and methods without a handler."""

    def test_headers_of_every_answer(self) -> None:
        """Each response has a request id, a date and a length, and no Server header."""
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

    def test_methods(self) -> None:
        """OPTIONS and 405 list the methods; HEAD is GET without a body; unknown methods are rejected."""
        self.serve(Raises())
        allow = "GET, HEAD, OPTIONS, POST"
        options = self.ask("OPTIONS", "/fine")
        self.assertEqual((options.status, options.header("Allow")), (200, allow))
        refused = self.ask("PUT", "/fine")
        self.assertEqual((refused.status, refused.header("Allow")), (405, allow))
        head = self.ask("HEAD", "/fine")
        self.assertEqual((head.status, head.header("Content-Length"), head.body), (200, "2", b""))
        self.assertEqual(self.ask("OPTIONS", "/nowhere").status, 404)
        self.assertEqual(self.ask("BREW", "/fine").status, 405)
        self.assertIn(f"the method PUT is not allowed at this path; allowed: {allow}", refused.text)

    def test_start_page(self) -> None:
        """`/` says what the address is, as HTML for browsers, and names no webhooks; other methods get 404."""
        self.serve(Raises())
        said = "This is an errklein bot, and it is running. Its webhooks have addresses of their own."
        page = self.ask("GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})
        self.assertEqual((page.status, page.header("Content-Type")), (200, "text/html; charset=utf-8"))
        self.assertIn(f"<p>{said}</p>", page.text)
        text = self.ask("GET", "/?a=b", headers={"Accept": "*/*"})
        self.assertEqual((text.text, text.header("Content-Type")), (f"{said}\n", "text/plain; charset=utf-8"))
        self.assertEqual((self.ask("HEAD", "/").status, self.ask("HEAD", "/").body), (200, b""))
        self.assertEqual([self.ask("POST", "/").status, self.ask("GET", "/index.html").status], [404, 404])

    def test_start_page_gives_way(self) -> None:
        """A webhook at `/` gets its requests instead; its other methods get 405."""
        self.serve(AtTheTop())
        self.assertEqual(self.ask("POST", "/").text, "top")
        self.assertEqual(self.ask("GET", "/").status, 405)

    def test_path_in_404(self) -> None:
        """A 404 has the path as the client sent it, escaped and without the query, and no more than 200 characters of it."""
        self.serve(Raises())
        browser = {"Accept": "text/html"}
        self.assertIn(
            "<p>there is no webhook at /a%20b%3C</p>", self.ask("POST", "/a%20b%3C?token=x", headers=browser).text
        )
        response = self.connect().send(request("POST", "/<b>//", b"", "Accept: text/html"))
        self.assertIn(b"<p>there is no webhook at /&lt;b&gt;//</p>", response)
        self.assertIn(f"webhook at {'/a' * 100}…</p>", self.ask("POST", "/a" * 200, headers=browser).text)
        detail = self.ask("POST", "/nowhere/../x").json()["detail"]
        self.assertEqual(detail, "there is no webhook at /nowhere/../x")
