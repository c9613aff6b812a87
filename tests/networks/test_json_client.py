"""Tests of the client for a network's HTTP interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from klein import Klein
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import Site

from errklein.http_client import BodyTooLarge, HTTPClients
from errklein.networks.json_client import File, JSONClient, RequestRefused
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.running import register_reactor_thread
from errklein.testing import TestReactor
from errklein.testing._surroundings import StubHTTP
from tests import needs_network

BASE = "https://chat.example.org/api/bot-S3CRET"
URL = BASE + "/sendMessage"


class JSONClientTests(SynchronousTestCase):
    """Requests to a server that is played in memory."""

    def setUp(self) -> None:
        """Make the client."""
        super().setUp()
        self.reactor: Any = TestReactor()
        register_reactor_thread(self.reactor)
        self.http = StubHTTP()
        self.client = self.client_with()

    def client_with(self, **options: Any) -> JSONClient:
        """Return a client with further options."""
        clients = HTTPClients(self.reactor, self.http.agent)
        return JSONClient(clients.client(), BASE, {"Authorization": "Bearer S3CRET"}, **options)

    def call(self, client: JSONClient | None = None, **options: Any) -> Any:
        """Return the result of a call whose response has been declared."""
        return self.successResultOf((client or self.client).call("POST", "sendMessage", {"text": "hi"}, **options))

    def error(self, error: type[Exception], client: JSONClient | None = None, **options: Any) -> Any:
        """Return the error of a call, whose text has no secret and no path."""
        failed = self.failureResultOf((client or self.client).call("POST", "sendMessage", {}, **options), error)
        for text in (str(failed.value), repr(failed.value), failed.getErrorMessage()):
            self.assertNotIn("S3CRET", text)
            self.assertNotIn("sendMessage", text)
        return failed.value

    def test_call(self) -> None:
        """A call sends the headers and the JSON, and returns the JSON of the response."""
        self.http.respond("POST", URL, json={"id": "m1"})
        self.assertEqual(self.call(params={"wait": "1 s"}), {"id": "m1"})
        (request,) = self.http.requests
        self.assertEqual(request.json(), {"text": "hi"})
        self.assertEqual(request.params, {"wait": "1 s"})
        self.assertEqual(request.header("Authorization"), "Bearer S3CRET")

    def test_quoted_path(self) -> None:
        """What is quoted in a path stays so."""
        self.http.respond("GET", f"{BASE}/rooms/%23ops%3Ahs/a%2Fb", json=None)
        self.assertIsNone(self.successResultOf(self.client.call("GET", "/rooms/%23ops%3Ahs/a%2Fb")))
        self.assertEqual(self.http.requests[0].url, f"{BASE}/rooms/%23ops%3Ahs/a%2Fb")

    def test_empty_response(self) -> None:
        """A response without a body is None."""
        self.http.respond("POST", URL, status=204)
        self.assertIsNone(self.call())

    def test_stored_file(self) -> None:
        """A server may say in its own words that it has stored a file."""
        self.http.respond("POST", URL, status=201, body="Created.")
        self.assertIsNone(self.call())

    def test_values_that_python_cannot_read(self) -> None:
        """What others have nested too deeply, or made too long, keeps nobody from reading the rest of a response."""
        for value, read in (
            (b"[" * 50_000 + b'"]", {}' + b"]" * 50_000, None),
            (b'{"a": ' * 50_000 + b'"\\"}"' + b"}" * 50_000, None),
            (b"-" + b"1" * 5_000, int("-" + "1" * 999)),
        ):
            text = b'{"deep": [[' + value + b'], {}], "text": "[\\"{", "last": [1]}'
            self.http.respond("POST", URL, body=text)
            found = self.call()
            self.assertEqual((found["text"], found["last"], found["deep"][1]), ('["{', [1], {}))
            while isinstance(value := found["deep"], (list, dict)):
                found = {"deep": value[0] if isinstance(value, list) else value["a"]}
            self.assertEqual(value, read)
        self.http.respond("POST", URL, body="[" * 50_000)
        self.error(NotConfirmed)

    def test_retry_later(self) -> None:
        """Status 429 and a 503 with a time ask for a later attempt."""
        seconds: list[tuple[int, Mapping[str, str], Any, float, str]] = [
            (429, {"Retry-After": "7"}, {}, 7.0, "recipient"),
            (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}, 5.0, "recipient"),
            (429, {}, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}, 1.5, "recipient"),
            (429, {}, {}, 5.0, "recipient"),
            (429, {"Retry-After": "nan"}, [], 5.0, "recipient"),
            (503, {"Retry-After": "30"}, {}, 30.0, "network"),
        ]
        for status, headers, body, expected, scope in seconds:
            self.http.respond("POST", URL, status=status, headers=headers, json=body)
            error = self.error(RetryLater)
            self.assertEqual((error.seconds, error.scope), (expected, scope))

    def test_refused(self) -> None:
        """A refusal has the network's code and reason, in one line."""
        body = {"errcode": "M_FORBIDDEN", "error": "You are\nnot in the room"}
        self.http.respond("POST", URL, status=403, json=body)
        error = self.error(RequestRefused)
        self.assertEqual((error.status, error.code, str(error)), (403, "M_FORBIDDEN", "You are not in the room"))
        self.http.respond("POST", URL, status=404, body="<html>")
        self.assertIn("404", str(self.error(RequestRefused)))
        self.http.respond("POST", URL, status=302, headers={"Location": "https://evil.example.org/"})
        self.assertEqual(self.error(RequestRefused).status, 302)

    def test_not_confirmed(self) -> None:
        """Errors of the server and broken connections leave open what the network has done."""
        self.http.respond("POST", URL, status=500, json={})
        self.assertIn("chat.example.org has answered with status 500", str(self.error(NotConfirmed)))
        self.http.respond("POST", URL, status=503, json={})
        self.error(NotConfirmed)
        self.http.respond("POST", URL, body="<html>please log in</html>")
        self.assertIn("JSON", str(self.error(NotConfirmed)))
        self.http.fail("POST", URL, ConnectionRefusedError("nobody listens"))
        self.assertIn("chat.example.org: nobody listens", str(self.error(NotConfirmed)))

    def test_time_limit(self) -> None:
        """Without a response in time, nothing is confirmed."""
        self.http.respond("POST", URL, json={}, delay=60)
        result = self.client.call("POST", "sendMessage", timeout=10)
        self.reactor.advance(10)
        error = self.failureResultOf(result, NotConfirmed).value
        self.assertEqual(str(error), "chat.example.org: no response within 10 s")
        self.reactor.advance(60)

    def test_cancelled(self) -> None:
        """A call that is cancelled says just that."""
        self.http.respond("POST", URL, json={}, delay=60)
        result = self.client.call("POST", "sendMessage")
        result.cancel()
        self.failureResultOf(result, CancelledError)

    def test_own_errors(self) -> None:
        """A network's own reading of a response comes first, also with status 200."""

        def read(status: int, headers: Mapping[str, str], body: Any) -> Exception | None:
            if isinstance(body, dict) and body.get("ok") is False:
                return RetryLater(float(headers["x-wait"]), "part")
            return None

        client = self.client_with(read_failure=read)
        self.http.respond("POST", URL, json={"ok": False}, headers={"X-Wait": "2"})
        self.assertEqual(self.error(RetryLater, client).scope, "part")
        self.http.respond("POST", URL, json={"ok": True})
        self.assertEqual(self.call(client), {"ok": True})

    def test_upload(self) -> None:
        """A file is the body, or a part of a form."""
        self.http.respond("POST", f"{BASE}/upload", json="mxc://1")
        file = File(b"\x89PNG", "graph.png", "image/png")
        self.assertEqual(self.successResultOf(self.client.upload("POST", "upload", file)), "mxc://1")
        self.successResultOf(self.client.upload("POST", "upload", file, {"chat_id": "7"}))
        raw, form = self.http.requests
        self.assertEqual((raw.body, raw.header("Content-Type")), (b"\x89PNG", "image/png"))
        self.assertTrue((form.header("Content-Type") or "").startswith("multipart/form-data"))
        for part in (b'name="file"; filename="graph.png"', b"image/png", b"\x89PNG", b'name="chat_id"', b"7"):
            self.assertIn(part, form.body)
        self.assertEqual(raw.header("Authorization"), "Bearer S3CRET")

    def test_fetch(self) -> None:
        """A file is read up to its limit, from the network's host or a named one, without others getting the token."""
        self.http.respond("GET", f"{BASE}/files/1", body=b"12345")
        self.assertEqual(self.successResultOf(self.client.fetch("files/1", 5)), b"12345")
        self.failureResultOf(self.client.fetch("files/1", 4), BodyTooLarge)
        self.http.respond("GET", "https://files.example.org/1", body=b"other")
        for elsewhere in ("https://files.example.org/1", "http://chat.example.org/x", "file:///etc/passwd"):
            error = self.failureResultOf(self.client.fetch(elsewhere, 5), RequestRefused).value
            self.assertNotIn("example", str(error))
        hosts = ("files.example.org",)
        self.http.respond("GET", f"{BASE}/files/2", status=302, headers={"Location": "https://files.example.org/1"})
        self.failureResultOf(self.client.fetch("files/2", 5), RequestRefused)
        self.assertEqual(self.successResultOf(self.client.fetch("files/2", 5, hosts)), b"other")
        self.http.respond("GET", f"{BASE}/files/3", status=302, headers={"Location": f"{BASE}/files/3"})
        self.assertIn("redirects", str(self.failureResultOf(self.client.fetch("files/3", 5), RequestRefused).value))
        self.http.respond("GET", f"{BASE}/files/4", status=404, json={"error": "gone"})
        self.assertEqual(str(self.failureResultOf(self.client.fetch("files/4", 5), RequestRefused).value), "gone")


class LoopbackTests(TestCase):
    """Requests through sockets."""

    def setUp(self) -> None:
        """Start a server."""
        needs_network()
        super().setUp()
        self.app = Klein()
        port = the_reactor.listenTCP(0, Site(self.app.resource()), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.port: int = port.getHost().port
        self.stop: Callable[[], Any] = port.stopListening
        register_reactor_thread(the_reactor)
        self.clients = HTTPClients(the_reactor)
        self.addCleanup(port.stopListening)
        self.addCleanup(self.clients.close)
        self.client = JSONClient(self.clients.client(), f"http://127.0.0.1:{self.port}")

    async def test_call_and_cancel(self) -> None:
        """A call gets a response, and one that is cancelled doesn't count as a broken connection."""
        called: Deferred[None] = Deferred()

        @self.app.route("/echo", methods=["PUT"])  # type: ignore[untyped-decorator]
        def echo(request: Any) -> bytes:
            body: bytes = request.content.read()
            return body

        @self.app.route("/wait")  # type: ignore[untyped-decorator]
        def wait(request: Any) -> Deferred[None]:
            called.callback(None)
            never: Deferred[None] = Deferred()
            request.notifyFinish().addErrback(lambda _: never.callback(None))
            return never

        self.assertEqual(await self.client.call("PUT", "echo", {"text": "ü"}), {"text": "ü"})
        waiting = self.client.call("GET", "wait")
        await called
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)

    async def test_nobody_listens(self) -> None:
        """A refused connection is described, with the host."""
        await self.stop()
        error = await self.assertFailure(self.client.call("GET", "x"), NotConfirmed)
        self.assertIn(f"127.0.0.1:{self.port}: Connection was refused", str(error))
