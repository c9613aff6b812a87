"""Tests for the Klein application of the webhooks, under errklein's own site and under a stock Twisted site.

One suite covers both, in memory and over sockets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from treq.client import HTTPClient
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.server import Site

from errklein.running import Runner, WorkerPool
from errklein.web import BotParts, WebServer, WebSettings, facade
from errklein.webhooks import webhook
from tests import needs_network
from tests.web.kit import Recorder, hooks_of


class Shop:
    """A plugin with a webhook of each kind."""

    @webhook
    def plain(self, payload: Any) -> Any:
        return {"got": payload}

    @webhook
    async def quick(self, payload: Any) -> str:
        return f"quick {payload}"

    @webhook
    def later(self, payload: Any) -> Deferred[str]:
        return deferLater(reactor, 0, lambda: "later")  # type: ignore[arg-type]

    @webhook("/orders/<int:number>", methods=["PUT"])
    async def order(self, payload: Any, number: int) -> tuple[str, int, dict[str, str]]:
        return f"order {number}", 201, {"X-Number": str(number)}

    @webhook(form_param="payload")
    async def form(self, payload: Any) -> str:
        return str(payload["zen"])

    @webhook(raw=True)
    async def raw(self, raw_request: Any) -> str:
        return f"{raw_request.method} {raw_request.path}?{raw_request.query_string.decode()} {raw_request.get_data()!r}"

    @webhook
    async def headers(self, payload: Any) -> str:
        @facade.after_this_request
        def mark(response: facade.Response) -> None:
            response.headers["X-Marked"] = "yes"

        return f"{facade.request.headers['X-Sent']} from {facade.request.remote_addr}"

    @webhook
    async def refusal(self, payload: Any) -> None:
        facade.abort(403, "not you")

    @webhook
    async def failure(self, payload: Any) -> None:
        raise ZeroDivisionError("a bug")

    @webhook
    async def stream(self, payload: Any) -> AsyncIterator[str]:
        async def items() -> AsyncIterator[str]:
            for number in range(3):
                yield f"item {number}\n"

        return items()

    @webhook(max_body=10)
    async def small(self, payload: Any) -> str:
        return "small enough"

    @webhook
    async def nothing(self, payload: Any) -> tuple[str, int]:
        return "", 204


Answer = tuple[int, dict[str, str], bytes]


class WebhookContract:
    """What a client notices of the webhooks, whatever site serves them and whatever carries the bytes."""

    web: WebServer

    def setUp(self) -> None:
        """Serve the plugin."""
        pool = WorkerPool(reactor, "webhook", 2)
        self.addCleanup(pool.stop)  # type: ignore[attr-defined]
        self.events = Recorder()
        self.web = WebServer(reactor, Runner(reactor, pool), WebSettings(), bot=lambda: BotParts(self.events))
        self.web.routes.replace("Shop", hooks_of(Shop()))
        self.addCleanup(self.web.close)  # type: ignore[attr-defined]
        self.client = self.make_client()

    def make_client(self) -> Any:
        """Return a client with treq's interface."""
        raise NotImplementedError

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Return the status, the headers and the body of a response."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.request(method, f"http://127.0.0.1{path}", data=body, headers=named)
        pairs = {name.decode().lower(): values[0].decode() for name, values in response.headers.getAllRawHeaders()}
        return response.code, pairs, await response.content()

    async def test_payloads(self) -> None:
        """JSON, text and forms reach blocking and coroutine handlers decoded."""
        as_json = {"Content_Type": "application/json"}
        status, headers, body = await self.ask("POST", "/plain", b'{"n": 1}', **as_json)
        self.assertEqual((status, headers["content-type"], body), (200, "application/json", b'{"got":{"n":1}}\n'))
        self.assertEqual((await self.ask("POST", "/quick", b"[1, 2]", **as_json))[2], b"quick [1, 2]")
        self.assertEqual((await self.ask("POST", "/quick", b"text"))[2], b"quick text")
        form = b"payload=%7B%22zen%22%3A+%22calm%22%7D"
        answer = await self.ask("POST", "/form", form, Content_Type="application/x-www-form-urlencoded")
        self.assertEqual(answer[2], b"calm")

    async def test_invalid_payloads(self) -> None:
        """Invalid JSON and a missing form field get 400."""
        self.assertEqual((await self.ask("POST", "/quick", b"{", Content_Type="application/json"))[0], 400)
        self.assertEqual((await self.ask("POST", "/plain", b"{", Content_Type="application/json"))[0], 400)
        self.assertEqual((await self.ask("POST", "/form", b"x=1"))[0], 400)

    async def test_deferred(self) -> None:
        """The response waits for a handler's Deferred."""
        self.assertEqual((await self.ask("POST", "/later"))[2], b"later")

    async def test_variables_status_and_headers(self) -> None:
        """Variables of the rule are passed, and the handler's status and headers are sent."""
        status, headers, body = await self.ask("PUT", "/orders/7", b"")
        self.assertEqual((status, headers["x-number"], body), (201, "7", b"order 7"))

    async def test_raw_request(self) -> None:
        """A raw handler gets method, path, query and the unchanged body."""
        self.assertEqual((await self.ask("POST", "/raw?a=b%20c", b"x\0y"))[2], b"POST /raw?a=b%20c b'x\\x00y'")

    async def test_flask_request(self) -> None:
        """`flask.request` has the headers and the client's address, and `after_this_request` works."""
        _, headers, body = await self.ask("POST", "/headers", X_Sent="this")
        self.assertEqual((headers["x-marked"], body), ("yes", b"this from 127.0.0.1"))
        self.assertIn("x-request-id", headers)

    async def test_errors(self) -> None:
        """An `abort` gets its status. A bug gets 500 without details, is logged, and is reported to the bot."""
        self.assertEqual((await self.ask("POST", "/refusal"))[0], 403)
        status, _, body = await self.ask("POST", "/failure")
        self.assertEqual(status, 500)
        self.assertNotIn(b"ZeroDivisionError", body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)  # type: ignore[attr-defined]
        self.assertEqual([hook for hook, _, _ in self.events.failed], ["Shop:failure"])

    async def test_unknown_paths_and_methods(self) -> None:
        """An unknown path gets 404, and a method that no handler takes gets 405 with the allowed ones."""
        self.assertEqual((await self.ask("GET", "/unknown"))[0], 404)
        status, headers, _ = await self.ask("DELETE", "/orders/7")
        self.assertEqual(status, 405)
        self.assertIn("PUT", headers["allow"])

    async def test_streams(self) -> None:
        """The items of an asynchronous generator are sent one after the other."""
        self.assertEqual((await self.ask("GET", "/stream"))[2], b"item 0\nitem 1\nitem 2\n")

    async def test_large_body(self) -> None:
        """A body above the handler's limit gets 413."""
        self.assertEqual((await self.ask("POST", "/small", b"0123456789"))[2], b"small enough")
        self.assertEqual((await self.ask("POST", "/small", b"0123456789+"))[0], 413)

    async def test_responses_without_body(self) -> None:
        """A 204 has no body, and a response to HEAD has only headers."""
        status, headers, body = await self.ask("POST", "/nothing")
        self.assertEqual((status, headers.get("content-length"), body), (204, None, b""))
        self.assertEqual((await self.ask("HEAD", "/quick"))[2], b"")

    async def test_reload(self) -> None:
        """After a change of the plugin's webhooks, the same application serves the new ones."""
        hooks = [hook for hook in hooks_of(Shop()) if hook.name == "quick"]
        self.web.routes.replace("Shop", hooks)
        self.assertEqual((await self.ask("POST", "/quick", b"x"))[0], 200)
        self.assertEqual((await self.ask("POST", "/plain", b"x"))[0], 404)
        self.web.routes.remove("Shop")
        self.assertEqual((await self.ask("POST", "/quick", b"x"))[0], 404)


class StockMemoryTests(WebhookContract, TestCase):
    """A stock Twisted site in memory, as treq's StubTreq has it."""

    def make_client(self) -> Any:
        client = StubTreq(self.web.app.resource())
        flushing = LoopingCall(client.flush)
        flushing.start(0.001, now=False)
        self.addCleanup(flushing.stop)
        return client


class OwnMemoryTests(WebhookContract, TestCase):
    """errklein's site in memory."""

    def make_client(self) -> Any:
        client = StubTreq(self.web.app.resource())
        client._agent._serverFactory = self.web.site
        flushing = LoopingCall(client.flush)
        flushing.start(0.001, now=False)
        self.addCleanup(flushing.stop)
        return client


class OwnSocketTests(WebhookContract, TestCase):
    """errklein's site over sockets."""

    def site(self) -> Any:
        """Return the site to serve."""
        return self.web.site

    def make_client(self) -> Any:
        needs_network()
        port = reactor.listenTCP(0, self.site(), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        pool = HTTPConnectionPool(reactor, persistent=False)
        client = HTTPClient(Agent(reactor, pool=pool))
        number = port.getHost().port

        class Client:
            """treq's client, with the port in each URL."""

            @staticmethod
            def request(method: str, url: str, **options: Any) -> Any:
                return client.request(method, url.replace("127.0.0.1", f"127.0.0.1:{number}"), **options)

        return Client()


class StockSocketTests(OwnSocketTests):
    """A stock Twisted site over sockets."""

    def site(self) -> Any:
        return Site(self.web.app.resource())
