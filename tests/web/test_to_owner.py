"""Tests for requests that a process passes on to the one that owns the plugins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from errklein.ports.nodes import ROLES, Node
from errklein.running import Runner, WorkerPool
from errklein.web import BotParts, ToOwner, WebServer, WebSettings
from errklein.web._to_owner import NODE
from errklein.webhooks import webhook
from errklein.webhooks.forwarding import TrustedProxies
from tests import needs_network
from tests.web.kit import Recorder, SocketClient, hooks_of, port_of, request

SECRET = b"of the nodes"
ENDPOINT = "tcp:0:interface=127.0.0.1"


class Owner:
    """A plugin of the owner."""

    @webhook(raw=True)
    async def shown(self, request: Any) -> dict[str, Any]:
        """Return what the handler sees."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.get_data(as_text=True)
        seen = request.method, request.full_path, request.remote_addr, request.scheme, request.host, body
        return {"seen": seen, "headers": headers, "url": request.url}

    @webhook
    async def refuses(self, payload: Any) -> Any:
        """Respond with an error of its own."""
        return "no tea", 418, {"X-Pot": "small"}


class Pages(Resource):
    """A page that is written in two parts, and ends when the test wants it to."""

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        """Write a part."""
        request.setHeader(b"content-type", b"text/plain")
        request.write(b"first ")
        self.request = request
        return NOT_DONE_YET


class Endless(Resource):
    """A page that the test begins, and that has no end."""

    isLeaf = True
    arrived: Deferred[None]
    ended: Deferred[None]

    def render_GET(self, request: Any) -> int:
        """Wait for the test, and note when the connection has ended."""
        self.request = request
        request.notifyFinish().addErrback(lambda _: self.ended.callback(None))
        self.arrived.callback(None)
        return NOT_DONE_YET


class ToOwnerTests(TestCase):
    """An owner and another process, on real sockets. The clients talk to the other one, behind a proxy."""

    async def setUp(self) -> None:
        """Start both."""
        needs_network()
        self.owner_node: Node | None = None
        self.owns = False
        self.owner = await self.server(lambda: True)
        self.owner.routes.replace("Owner", hooks_of(Owner()))
        settings = WebSettings(proxies=TrustedProxies({"127.0.0.1": ["X-Forwarded-For", "X-Forwarded-Proto"]}))
        self.other = await self.server(lambda: self.owns, settings)
        address = f"127.0.0.1:{port_of(self.owner.listeners, ENDPOINT)}"
        self.owner_node = Node(1, "owner", "1", ROLES, address, 0.0, 0.0, owns_since=1.0)
        agent = Agent(reactor)
        self.client = HTTPClient(agent)

    async def server(self, owns: Any, settings: WebSettings | None = None) -> WebServer:
        """Return a server that listens."""
        pool = WorkerPool(reactor, "webhook", 2)
        self.addCleanup(pool.stop)
        nodes = Mock(secret=SECRET, me=Node(2, "other", "1", ROLES, "", 0.0, 0.0))
        to_owner = ToOwner(reactor, nodes, owns)
        type(nodes).owner = property(lambda _: self.owner_node)
        parts = BotParts(Recorder(), to_owner=to_owner)
        web = WebServer(reactor, Runner(reactor, pool), settings, bot=lambda: parts)
        self.addCleanup(web.close)
        self.addCleanup(web.site.sweeper.stop)
        self.addCleanup(to_owner.close)
        await web.listeners.open(ENDPOINT)
        return web

    async def request(self, method: str, path: str, **options: Any) -> tuple[Any, bytes]:
        """Send a request to the other process, and return the response with its body."""
        url = f"http://127.0.0.1:{port_of(self.other.listeners, ENDPOINT)}{path}"
        response = await self.client.request(method, url, **options)
        return response, await treq.content(response)

    async def test_passed_on(self) -> None:
        """The handler sees the method, path, body, client and scheme of the request, and none of what shows nodes."""
        headers = {
            "X-Forwarded-For": "192.0.2.7",
            "X-Forwarded-Proto": "https",
            "Forwarded": "for=192.0.2.66",
            "Host": "bot.example.net",
            "X-Twice": ["1", "2"],
        }
        response, body = await self.request("POST", "/shown?a=%2F&b", data=b"{}", headers=headers)
        self.assertEqual(response.code, 200)
        self.assertIn(b'"POST","/shown?a=%2F&b","192.0.2.7","https","bot.example.net","{}"', body)
        self.assertNotIn(SECRET.hex().encode(), body)
        self.assertNotIn(b"192.0.2.66", body)

    async def test_response(self) -> None:
        """Status, headers and body are those of the owner; the id of the request is the other process's, once."""
        response, body = await self.request("POST", "/refuses", json={})
        self.assertEqual((response.code, body), (418, b"no tea"))
        self.assertEqual(response.headers.getRawHeaders("X-Pot"), ["small"])
        self.assertEqual(len(response.headers.getRawHeaders("X-Request-Id")), 1)
        response, _ = await self.request("GET", "/unknown")
        self.assertEqual(response.code, 404)

    async def test_head(self) -> None:
        """The response to HEAD has no body."""
        response, body = await self.request("HEAD", "/unknown")
        self.assertEqual((response.code, body), (404, b""))

    async def test_stream(self) -> None:
        """A page arrives as it is written. One whose owner goes ends abruptly."""
        page = Pages()
        self.owner.routes.replace_mounts("Owner", {"/page": page})
        url = f"http://127.0.0.1:{port_of(self.other.listeners, ENDPOINT)}/page"
        response = await self.client.get(url)
        parts: list[bytes] = []
        began: Deferred[None] = Deferred()

        def received(part: bytes) -> None:
            parts.append(part)
            if not began.called:
                began.callback(None)

        collected = treq.collect(response, received)
        await began
        self.assertEqual(parts, [b"first "])
        page.request.write(b"second")
        page.request.finish()
        await collected
        self.assertEqual(b"".join(parts), b"first second")

    async def test_client_that_goes(self) -> None:
        """A page without an end is ended when its client goes, also before it begins."""
        page = Endless()
        self.owner.routes.replace_mounts("Owner", {"/page": page})
        for goes_before in (True, False):
            page.arrived, page.ended = Deferred(), Deferred()
            client = await self.connected()
            client.transport.write(request("GET", "/page"))
            await page.arrived
            if not goes_before:
                page.request.write(b"begins")
                await client.begun
            client.transport.loseConnection()
            await client.closed
            if goes_before:
                page.request.write(b"begins")
            await page.ended

    async def test_target_with_the_host(self) -> None:
        """A target that has the host is passed on as the path, and OPTIONS of all isn't."""
        self.owner.routes.replace("Owner", hooks_of(Owner()))
        for method, target, expected in (
            ("POST", "http://bot.example.org/shown?a=1", b'"/shown?a=1","127.0.0.1","http","bot.example.org"'),
            ("OPTIONS", "*", b"Allow: GET, HEAD, OPTIONS, POST"),
        ):
            self.assertIn(expected, await self.raw(request(method, target, b"", "Connection: close")))

    async def test_owner_that_hangs(self) -> None:
        """A request to a process that doesn't respond gets 503 once it doesn't own any more, and 504 in time."""
        page = Endless()
        self.owner.routes.replace_mounts("Owner", {"/page": page})
        for seconds, status in ((60.0, 503), (0.1, 504)):
            page.arrived, page.ended = Deferred(), Deferred()
            self.other.use(replace(self.other.site.settings, timeout=seconds))
            response = Deferred.fromCoroutine(self.request("GET", "/page"))
            await page.arrived
            if status == 503:
                known, self.owner_node = self.owner_node, None
            self.assertEqual((await response)[0].code, status)
            await page.ended
            self.owner_node = known

    async def test_owner_that_hangs_within_a_response(self) -> None:
        """A response that has begun ends abruptly, at both sides, once the process doesn't own any more."""
        page = Endless()
        page.arrived, page.ended = Deferred(), Deferred()
        self.owner.routes.replace_mounts("Owner", {"/page": page})
        client = await self.connected()
        client.transport.write(request("GET", "/page"))
        await page.arrived
        page.request.write(b"begins")
        await client.begun
        self.owner_node = None
        received = await client.closed
        self.assertTrue(received.endswith(b"begins\r\n"), received)
        await page.ended

    async def test_no_owner(self) -> None:
        """Without an owner, with one that can't be reached, and with one that passes requests on itself, the client gets 503."""
        gone = await self.server(lambda: True)
        address = f"127.0.0.1:{port_of(gone.listeners, ENDPOINT)}"
        await gone.listeners.close_all()
        known = self.owner_node
        assert known is not None
        for owner in (None, known._replace(address=""), known._replace(id=2), known._replace(address=address)):
            self.owner_node = owner
            response, _ = await self.request("POST", "/shown", json={})
            self.assertEqual((response.code, response.headers.getRawHeaders("Retry-After")), (503, ["2"]), owner)

    async def test_address_on_another_machine(self) -> None:
        """Nothing is sent to a loopback address of another machine: it would be that of a program on this one. The log has the remedy."""
        known = self.owner_node
        assert known is not None
        self.owner_node = known._replace(name="bot1.example.net:4711")
        with capturedLogs() as events:
            response, _ = await self.request("POST", "/shown", json={})
        self.assertEqual((response.code, response.headers.getRawHeaders("Retry-After")), (503, ["2"]))
        self.assertEqual(self.owner.counts.responses, {})
        [warning] = [text for text in map(formatEvent, events) if "passed on" in text]
        remedy = f"{known.address} is only for the machine of bot1.example.net:4711; start that one with --node"
        self.assertEqual(warning, f"Requests can't be passed on to the owner: {remedy}")

    async def test_owner_without_an_address(self) -> None:
        """The log names the owner and the option that it lacks, not at each request; the client learns neither."""
        assert self.owner_node is not None
        self.owner_node = self.owner_node._replace(name="bot1.example.net:4711", address="")
        with capturedLogs() as events:
            response, body = await self.request("POST", "/shown", json={})
            await self.request("POST", "/shown", json={})
        self.assertEqual((response.code, response.headers.getRawHeaders("Retry-After")), (503, ["2"]))
        self.assertIn(b"the process that owns the plugins can't be reached", body)
        self.assertNotIn(b"bot1", body)
        [warning] = [text for text in map(formatEvent, events) if "passed on" in text]
        self.assertIn("bot1.example.net:4711 has no --node, so other processes can't reach it", warning)

    async def test_no_loop(self) -> None:
        """A request that was passed on isn't passed on again."""
        self.owner_node = (await self._other_as_owner())._replace(id=1)
        response, _ = await self.request("POST", "/shown", json={})
        self.assertEqual(response.code, 503)

    async def _other_as_owner(self) -> Node:
        assert self.owner_node is not None
        return self.owner_node._replace(address=f"127.0.0.1:{port_of(self.other.listeners, ENDPOINT)}")

    async def test_base_path(self) -> None:
        """The handler sees the path that a proxy has removed, in URLs. That of a client that isn't trusted is dropped."""
        self.other.use(replace(self.other.site.settings, proxies=TrustedProxies({"127.0.0.1": ["X-Forwarded-Prefix"]})))
        headers = {"X-Forwarded-Prefix": "/bots/one", "Host": "bot.example.net"}
        for target in ("/shown?a=1", "http://bot.example.net/shown?a=1"):
            body = await self.raw(request("POST", target, b"", "X-Forwarded-Prefix: /bots/one", "Connection: close"))
            self.assertRegex(body, rb'"url":"http://[a-z.]+/bots/one/shown\?a=1"')
        self.other.use(replace(self.other.site.settings, proxies=None))
        _, body = await self.request("POST", "/shown?a=1", data=b"", headers=headers)
        self.assertIn(b'"url":"http://bot.example.net/shown?a=1"', body)
        self.assertNotIn(b"/bots", body)

    async def raw(self, sent: bytes) -> bytes:
        """Send bytes to the other process, and return what it sends until it ends the connection."""
        client = await self.connected()
        client.transport.write(sent)
        return await client.closed

    async def connected(self) -> Any:
        """Return a client with a connection to the other process."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port_of(self.other.listeners, ENDPOINT))
        return await connectProtocol(endpoint, SocketClient())

    async def test_request_without_host(self) -> None:
        """The handler sees the address at which a request without the header Host has arrived, not that of the owner."""
        body = await self.raw(b"POST /shown HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b'"127.0.0.1:%d"' % port_of(self.other.listeners, ENDPOINT), body)

    async def test_upgrade(self) -> None:
        """A request that offers HTTP/2 is passed on without the offer, and a WebSocket is refused."""
        headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAAB"}
        response, body = await self.request("POST", "/shown", data=b"", headers=headers)
        self.assertEqual(response.code, 200)
        self.assertNotIn(b"h2c", body)
        response, _ = await self.request("GET", "/shown", headers={"Connection": "Upgrade", "Upgrade": "WebSocket"})
        self.assertEqual(response.code, 503)

    async def test_forged_client(self) -> None:
        """Whoever doesn't know the secret can't choose a client's address, and the handler doesn't see the attempt."""
        self.owns = True
        self.other.routes.replace("Owner", hooks_of(Owner()))
        for secret in ("", "00", b"of the node".hex()):
            headers = {NODE.decode(): secret, "Forwarded": 'for="192.0.2.66:1"'}
            _, body = await self.request("POST", "/shown", data=b"{}", headers=headers)
            self.assertIn(b'"127.0.0.1","http"', body)
            self.assertNotIn(NODE, body)

    async def test_owner_answers_itself(self) -> None:
        """Once a process owns the plugins, it passes nothing on."""
        self.owns, self.owner_node = True, None
        self.other.routes.replace("Owner", hooks_of(Owner()))
        response, _ = await self.request("POST", "/shown", data=b"{}")
        self.assertEqual(response.code, 200)
