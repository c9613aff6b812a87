"""Tests for the stand-in for the network of `self.http`."""

from __future__ import annotations

import io
import sys
import unittest
from collections.abc import Callable
from subprocess import run
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.testing import PluginTestCase, StubHTTP, TestBot, UnexpectedRequest

URL = "https://api.example.org/status"


class Client(BotPlugin):
    """Sends requests."""

    requested = False

    def activate(self) -> None:
        super().activate()
        if self.requested:
            self.http.get(URL).addErrback(self.log.error)

    @webhook
    async def status(self, payload: Any) -> Any:
        response = await self.http.get(URL, params={"verbose": "1"})
        return await response.content(), response.code

    @webhook
    def deferred(self, payload: Any) -> Any:
        return self.http.get(URL).addCallback(lambda response: response.text())

    @webhook
    async def careless(self, payload: Any) -> str:
        try:
            await self.http.get(URL)
        except Exception:
            return "no status"
        return "a status"

    @webhook
    async def upload(self, payload: Any) -> str:
        response = await self.http.post(
            URL, files={"log": ("log.txt", io.BytesIO(b"x" * 200_000))}, data={"build": "7"}
        )
        return str(response.code)

    @webhook
    async def page(self, payload: Any) -> Any:
        return [(await (await self.http.get(f"{URL}?page={page}")).text()) for page in (1, 2, 3)]

    @webhook(threaded=True)
    def blocking(self, payload: Any) -> str:
        self.http.get(URL)
        return "requested"

    @webhook
    def handing_over(self, payload: Any) -> str:
        results: list[Any] = []
        self._bot.reactor.callFromThread(lambda: self.http.get(URL).addCallback(results.append))
        return str(results[0].code)

    @botcmd
    async def note(self, msg: Any, args: str) -> str:
        """Post a note."""
        response = await self.http.post(URL, json={"note": args}, headers={"X-Token": "secret"})
        return str((await response.json())["id"])


class ResponseTests(PluginTestCase):
    """Declared responses."""

    plugins = (Client,)

    def test_response(self) -> None:
        """The plugin gets the declared status, headers and body, with the usual Content-Type."""
        self.http.respond("get", URL, status=203, body="grün")
        response = self.get("/status")
        self.assertEqual((response.status, response.text), (203, "grün"))
        self.assertEqual(self.get("/deferred").text, "grün")

    def test_request(self) -> None:
        """The test sees the requests in order, each with all its parts."""
        self.http.respond("POST", URL, json={"id": 7})
        self.http.respond("GET", URL)
        self.assertEqual(self.command("!note hello"), "7")
        self.get("/status")
        note, status = self.http.requests
        self.assertEqual((note.method, note.url, note.json()), ("POST", URL, {"note": "hello"}))
        self.assertEqual((note.header("x-token"), note.header("X-Other")), ("secret", None))
        self.assertEqual((str(status), status.params), (f"GET {URL}?verbose=1", {"verbose": "1"}))
        self.assertEqual(status.text, "")

    def test_precedence(self) -> None:
        """A later response takes precedence; one for a number of requests, until it is used up."""
        self.http.respond("GET", URL, body="first")
        self.assertEqual([self.get("/status").text for _ in range(2)], ["first", "first"])
        self.http.respond("GET", URL, body="second")
        self.http.respond("GET", URL, body="third", times=2)
        self.assertEqual([self.get("/status").text for _ in range(4)], ["third", "third", "second", "second"])

    def test_query(self) -> None:
        """A response for a query is preferred to one for any query."""
        self.http.respond("GET", f"{URL}?page=2", body="two")
        self.http.respond("GET", URL, body="other")
        self.assertEqual(self.get("/page").json(), ["other", "two", "other"])

    def test_equal_urls(self) -> None:
        """URLs that differ only in case of the host, default port, empty path or escapes are equal."""
        stub = StubHTTP()
        stub.respond("GET", "https://Example.org:443/a%20b?x=1&y=")
        stub.respond("GET", "http://example.org")
        self.assertIsNone(stub.answer("GET", "https://example.org/a b?y=&x=1").error)
        self.assertIsNone(stub.answer("GET", "http://example.org/?x=1").error)
        for other in ("http://example.org/a%20b?x=1&y=", "https://example.org/a%20b", "https://example.org:1/a%20b"):
            self.assertIsInstance(stub.answer("GET", other).error, UnexpectedRequest, other)

    def test_files(self) -> None:
        """Uploaded files are in the recorded body."""
        self.http.respond("POST", URL, status=201)
        self.assertEqual(self.post("/upload").text, "201")
        (request,) = self.http.requests
        self.assertIn(b'name="build"', request.body)
        self.assertEqual(request.body.count(b"x" * 200_000), 1)

    def test_redirect(self) -> None:
        """The plugin's client follows redirects, whose URLs are declared, too."""
        self.http.respond("GET", URL, status=302, body="moved", headers={"Location": "/new"})
        self.http.respond("GET", "https://api.example.org/new", body="arrived")
        self.assertEqual(self.get("/deferred").text, "arrived")
        self.assertEqual(len(self.http.requests), 2)

    def test_failure(self) -> None:
        """A request fails with the declared exception."""
        self.http.fail("GET", URL, ConnectionRefusedError("nobody listens"))
        self.http.fail("GET", URL, TimeoutError("too late"), times=1)
        self.assertEqual(self.get("/careless").text, "no status")
        self.assertEqual(self.get("/status").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ConnectionRefusedError)), 1)

    def test_delay(self) -> None:
        """A delayed response arrives when its time has passed."""
        self.http.respond("GET", URL, body="late", delay=5)
        waiting = self.bot.get("/status")
        self.bot.advance(4.9)
        self.assertNoResult(waiting)
        self.bot.advance(0.1)
        self.assertEqual(self.successResultOf(waiting).text, "late")

    def test_timeout(self) -> None:
        """A response after the timeout is a TimeoutError, and leaves nothing behind."""
        self.http.respond("GET", URL, delay=31)
        waiting = self.bot.get("/careless")
        self.bot.advance(30)
        self.assertEqual(self.successResultOf(waiting).text, "no status")

    def test_errors(self) -> None:
        """Invalid declarations are errors."""
        with self.assertRaisesRegex(TypeError, "json and body exclude each other"):
            self.http.respond("GET", URL, json={}, body="x")
        with self.assertRaisesRegex(ValueError, "/status has no scheme"):
            self.http.respond("GET", "/status")

    def test_thread(self) -> None:
        """A handler that runs in a thread gets the error that a running bot would raise."""
        self.assertEqual(self.get("/blocking").status, 500)
        (failure,) = self.flushLoggedErrors(RuntimeError)
        self.assertIn("make the handler async def", failure.getErrorMessage())
        self.assertEqual(self.http.requests, [])

    def test_from_a_thread(self) -> None:
        """A handler in a thread may hand a request over to the reactor."""
        self.http.respond("GET", URL, status=204)
        self.assertEqual(self.get("/handing_over").text, "204")


class ActivationTests(PluginTestCase):
    """A plugin that sends a request when it is activated."""

    plugins = (Client,)

    def setUp(self) -> None:
        self.patch(Client, "requested", True)
        self.http.respond("GET", URL)
        super().setUp()

    def test_activation(self) -> None:
        """Responses that are declared before setUp() are available in `activate`."""
        self.assertEqual([str(request) for request in self.http.requests], [f"GET {URL}"])


class UnexpectedTests(SynchronousTestCase):
    """Requests without a declared response."""

    def run_case(self, body: Callable[[Any], None]) -> unittest.TestResult:
        """Return the result of a test case with this one test."""

        class Case(PluginTestCase):
            plugins = (Client,)

            def test_it(self) -> None:
                """Run the body."""
                body(self)

        result = unittest.TestResult()
        Case("test_it").run(result)
        return result

    def test_explained(self) -> None:
        """A failed assertion explains what to declare, and what is declared."""

        def body(case: PluginTestCase) -> None:
            case.http.respond("POST", URL)
            case.http.respond("GET", URL, times=1)
            case.assertEqual([case.get("/status").status for _ in range(2)], [200, 200])

        result = self.run_case(body)
        ((_, failed),) = result.failures
        self.assertIn("GET /status: 500, UnexpectedRequest in test_http.py", failed)
        self.assertIn(f'declare its response with self.http.respond("GET", "{URL}?verbose=1", …)', failed)
        self.assertIn(f"declared: POST {URL}, GET {URL} (used up)", failed)

    def test_swallowed(self) -> None:
        """The test fails even if the plugin catches the exception."""
        result = self.run_case(lambda case: case.assertEqual(case.get("/careless").text, "no status"))
        self.assertEqual(result.failures, [])
        ((_, error),) = result.errors
        self.assertIn(f"unexpected request GET {URL}; declare", error)

    def test_repeated(self) -> None:
        """`trial --until-failure`, which runs a test of one instance again, begins without requests."""
        counts = []

        class Case(PluginTestCase):
            plugins = (Client,)

            def test_it(self) -> None:
                """Send a request."""
                self.http.respond("GET", URL)
                self.get("/status")
                counts.append(len(self.http.requests))

        case = Case("test_it")
        for _ in range(2):
            case.run(unittest.TestResult())
        self.assertEqual(counts, [1, 1])


class TestBotTests(SynchronousTestCase):
    """A TestBot without a test case."""

    def test_bot(self) -> None:
        """`TestBot.http` is the stand-in, and `stop` raises UnexpectedRequest."""
        bot = TestBot([Client])
        bot.start()
        bot.http.respond("GET", URL, body="up")
        response: Deferred[Any] = bot.get("/status")
        self.assertEqual(self.successResultOf(response).text, "up")
        bot.http.respond("POST", URL)
        bot.post("/careless")
        bot.bot.plugin_manager.instance("Client").http.delete(URL).addErrback(lambda _: None)
        with self.assertRaisesRegex(UnexpectedRequest, f"unexpected request DELETE {URL}"):
            bot.stop()

    def test_imports(self) -> None:
        """treq is imported when a plugin uses its client, and not before."""
        code = (
            "import sys; from errklein.testing import TestBot; bot = TestBot(); bot.start(); "
            "assert 'treq' not in sys.modules; bot.plugin('Health').http; assert 'treq.testing' in sys.modules; bot.stop()"
        )
        done = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
