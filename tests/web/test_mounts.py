"""Tests for mounted Twisted resources and Klein applications."""

from __future__ import annotations

from typing import Any

from klein import Klein
from treq.testing import StubTreq
from twisted.internet.address import UNIXAddress
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import Data
from twisted.web.websocket import WebSocketResource, WebSocketTransport

from errklein.webhooks import webhook
from tests.web.kit import Connection, WebCase, hooks_of, request


class Board:
    """A plugin with a webhook below the path of its mount."""

    @webhook("/board/hook", methods=["POST"])
    async def hook(self, payload: Any) -> str:
        return "the webhook"

    @webhook("/any/<path:rest>")
    async def any(self, payload: Any, rest: str) -> str:
        return f"any {rest}"


class Waiting(Resource):
    """A resource whose response waits for the test."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.ends: list[Any] = []

    def render(self, request: Any) -> int:
        self.requests.append(request)
        request.notifyFinish().addBoth(self.ends.append)
        return NOT_DONE_YET


class Echo:
    """A WebSocket that returns each text in upper case."""

    lost: list[Failure] = []

    @classmethod
    def buildProtocol(cls, request: Any) -> Echo:
        return cls()

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        self.transport = transport
        self.lost.clear()

    def negotiationFinished(self) -> None:
        self.transport.sendTextMessage("welcome")

    def textMessageReceived(self, message: str) -> None:
        self.transport.sendTextMessage(message.upper())

    def bytesMessageReceived(self, data: bytes) -> None: ...

    def pongReceived(self, payload: bytes) -> None: ...

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


def board() -> Klein:
    """Return a Klein application with two routes."""
    app = Klein()

    @app.route("/")
    def index(request: Any) -> str:
        return "index"

    @app.route("/card/<int:number>", methods=["GET", "POST"])
    def card(request: Any, number: int) -> str:
        return f"card {number} {request.args.get(b'title', [b''])[0].decode()}"

    return app


class MountTests(WebCase):
    """Resources below a path."""

    def mount(self, **resources: Any) -> None:
        """Mount resources by name of their path, beside the plugin's webhooks."""
        self.web.routes.replace("Board", hooks_of(Board()), mounts={f"/{name}": res for name, res in resources.items()})

    def test_klein_application(self) -> None:
        """A mounted Klein application gets the requests below its path, with the path from there on."""
        self.mount(board=board().resource())
        self.assertEqual(self.ask("GET", "/board/").text, "index")
        self.assertEqual(self.ask("GET", "/board").header("location"), "http://localhost/board/")
        self.assertEqual(self.ask("GET", "/board/card/7?title=x").text, "card 7 x")
        self.assertEqual(self.ask("GET", "/board/unknown").status, 404)
        self.assertEqual(self.ask("GET", "/boards").status, 404)

    def test_form(self) -> None:
        """A mounted resource has the fields of a form in `request.args`, as under Twisted's own site."""
        self.mount(board=board().resource())
        form = "application/x-www-form-urlencoded"
        self.assertEqual(self.ask("POST", "/board/card/7", b"title=from+a+form", form).text, "card 7 from a form")

    def test_fields_that_are_not_ascii(self) -> None:
        """Fields of a query and of a form may contain any bytes, escaped or not."""
        self.mount(board=board().resource())
        self.assertEqual(self.ask("GET", "/board/card/7?title=%C3%A9").text, "card 7 é")
        form = "application/x-www-form-urlencoded"
        for body in ("title=%C3%A9", "title=é"):
            self.assertEqual(self.ask("POST", "/board/card/7", body.encode(), form).text, "card 7 é")

    def test_unix_socket_without_host(self) -> None:
        """A Klein application gets a request without a Host header that arrives on a Unix socket."""
        self.mount(board=board().resource())
        connection = self.connect()
        connection.channel.host = UNIXAddress("/run/errklein/web")
        self.assertIn(b"card 7", connection.send(b"GET /board/card/7 HTTP/1.0\r\n\r\n"))

    def test_resource_tree(self) -> None:
        """A mounted tree of resources is entered by the segments of the path, unescaped."""
        root = Resource()
        root.putChild(b"a b", Data(b"leaf", "text/plain"))
        self.mount(files=root)
        self.assertEqual(self.ask("GET", "/files/a%20b").text, "leaf")
        self.assertEqual(self.ask("GET", "/files/b").status, 404)

    def test_webhooks_take_precedence(self) -> None:
        """A webhook below a mount's path gets its requests, also by a less specific rule."""
        self.mount(board=board().resource(), any=Data(b"mounted", "text/plain"))
        self.assertEqual(self.ask("POST", "/board/hook").text, "the webhook")
        self.assertEqual(self.ask("POST", "/any/thing").text, "any thing")
        self.assertEqual(self.ask("GET", "/any").text, "mounted")

    def test_longest_path(self) -> None:
        """Of two mounts, that with the longer path gets a request."""
        self.mount(**{"a": Data(b"short", "text/plain"), "a/b": Data(b"long", "text/plain")})
        self.assertEqual([self.ask("GET", path).text for path in ("/a", "/a/b")], ["short", "long"])

    def test_removal(self) -> None:
        """A mount disappears with its plugin."""
        self.mount(board=board().resource())
        self.assertEqual([(mount.owner, mount.path) for mount in self.web.routes.mounts], [("Board", "/board")])
        self.web.routes.remove("Board")
        self.assertEqual(self.ask("GET", "/board").status, 404)

    def test_removal_while_a_body_arrives(self) -> None:
        """A request whose body arrives after the mount was removed gets 404."""
        self.mount(board=board().resource())
        connection = self.connect()
        sent = request("POST", "/board/card/1", b"title=x")
        connection.send(sent[:-1])
        self.web.routes.remove("Board")
        self.assertIn(b" 404 ", connection.send(sent[-1:]))

    def test_time_limit(self) -> None:
        """A resource that doesn't respond in time gets its client 504."""
        waiting = Waiting()
        self.mount(slow=waiting)
        connection = self.connect()
        connection.send(request("GET", "/slow"))
        self.pass_time(self.settings.timeout + 1)
        self.assertIn(b" 504 ", connection.received())
        self.assertEqual(waiting.ends, [None])

    def test_no_time_limit_after_the_head(self) -> None:
        """After the head of its response, a resource may send for any time, such as events."""
        waiting = Waiting()
        self.mount(events=waiting)
        connection = self.connect()
        connection.send(request("GET", "/events"))
        waiting.requests[0].write(b"data: 1\n\n")
        self.pass_time(self.settings.timeout * 2)
        waiting.requests[0].write(b"data: 2\n\n")
        self.assertIn(b"data: 2", connection.received())
        self.assertFalse(connection.closed)

    def test_end(self) -> None:
        """When the plugin is deactivated, a response that has begun is aborted, and others continue."""
        waiting = Waiting()
        self.mount(events=waiting)
        begun, not_begun = self.connect(), self.connect()
        for connection in (begun, not_begun):
            connection.send(request("GET", "/events"))
        waiting.requests[0].write(b"data: 1\n\n")
        self.web.routes.end_streams("Board")
        self.assertTrue(begun.disconnected)
        waiting.requests[1].finish()
        self.assertIn(b" 200 ", not_begun.received())

    def test_stop(self) -> None:
        """When the service stops, it doesn't wait for streams of events, but for other responses."""
        waiting = Waiting()
        self.mount(events=waiting)
        events, other = self.connect(), self.connect()
        for connection in (events, other):
            connection.send(request("GET", "/events"))
        waiting.requests[0].setHeader("Content-Type", "text/event-stream")
        for sent in waiting.requests:
            sent.write(b"data: 1\n\n")
        self.web.begin_stopping()
        self.assertEqual((events.disconnected, other.disconnected), (True, False))

    def test_disconnect(self) -> None:
        """The resource notices when the client disconnects."""
        waiting = Waiting()
        self.mount(events=waiting)
        connection = self.connect()
        connection.send(request("GET", "/events"))
        connection.channel.connectionLost(Failure(ConnectionError("gone")))
        self.assertIsInstance(waiting.ends[0], Failure)
        self.successResultOf(self.web.when_idle())

    def test_errors(self) -> None:
        """A resource that raises gets its client 500, and the error is logged."""
        broken = Resource()
        broken.isLeaf = True
        broken.render = lambda request: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        self.mount(broken=broken)
        self.assertEqual(self.ask("GET", "/broken").status, 500)
        self.logged_failures(ZeroDivisionError)

    def test_body_limit(self) -> None:
        """A body above the limit gets 413."""
        self.mount(board=board().resource())
        head = f"POST /board HTTP/1.1\r\nHost: x\r\nContent-Length: {self.settings.max_body + 1}\r\n\r\n"
        self.assertIn(b" 413 ", self.connect().send(head.encode()))

    def test_stock_site(self) -> None:
        """Mounts are served under a stock Twisted site, too."""
        self.mount(board=board().resource(), any=Data(b"mounted", "text/plain"))
        stub = StubTreq(self.web.app.resource())
        for path, body in (
            ("/board/card/7", b"card 7 "),
            ("/any", b"mounted"),
            ("/any/x", b"any x"),
            ("/board", b"index"),
        ):
            response = self.successResultOf(stub.get(f"http://127.0.0.1{path}"))
            self.assertEqual(self.successResultOf(response.content()), body)
        self.assertEqual(self.successResultOf(stub.get("http://127.0.0.1/unknown")).code, 404)

    def test_client_disconnects_during_a_reload(self) -> None:
        """A request that waits for a reload isn't rendered after its client has disconnected, and a stop doesn't wait for it."""
        waiting = Waiting()
        self.mount(board=waiting)
        self.web.routes.hold("Board")
        connection = self.connect()
        connection.send(request("GET", "/board"))
        connection.channel.connectionLost()
        self.mount(board=waiting)
        self.assertEqual(waiting.requests, [])
        self.successResultOf(self.web.when_idle())


def frame(data: bytes, beginning: int = 0x81) -> bytes:
    """Return a frame as clients send it. By default it is a text message."""
    length = bytes([0x80 + len(data)]) if len(data) < 126 else b"\xff" + len(data).to_bytes(8)
    return bytes([beginning]) + length + bytes(4) + data


class WebSocketTests(WebCase):
    """A mounted WebSocket."""

    def setUp(self) -> None:
        """Connect a client."""
        super().setUp()
        self.web.routes.replace("Board", (), mounts={"/chat": WebSocketResource(Echo)})  # type: ignore[arg-type]
        self.client, self.head = self.open()

    def open(self) -> tuple[Connection, bytes]:
        """Return a connection with a WebSocket, and what the server has sent."""
        connection = self.connect()
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        return connection, connection.send(request("GET", "/chat", b"", *upgrade, "Sec-WebSocket-Version: 13"))

    def test_bytes_before_the_response(self) -> None:
        """A client that sends much before its request is handled doesn't stop the server from reading its WebSocket."""
        self.web.routes.hold("Board")
        connection, _ = self.open()
        connection.send(b"x" * 20_000)
        self.web.routes.release("Board")
        self.assertIn(b"101 Switching", connection.received())
        self.assertEqual(connection.producerState, "producing")

    def test_connection(self) -> None:
        """The WebSocket takes the connection over, without a time limit, and notices its end."""
        self.assertIn(b" 101 ", self.head)
        self.assertTrue(self.head.endswith(b"\x81\x07welcome"))
        self.successResultOf(self.web.when_idle())
        self.pass_time(self.settings.timeout * 3)
        self.assertEqual(self.client.send(frame(b"hi")), b"\x81\x02HI")
        self.web.site.drop_connections()
        self.assertTrue(self.client.disconnected)
        self.client.channel.connectionLost()
        self.assertEqual((len(Echo.lost), len(self.web.site.limits.connections)), (1, 0))

    def test_client_that_does_not_read(self) -> None:
        """A client that doesn't read is disconnected after 30 seconds."""
        self.client.channel.pauseProducing()
        self.pass_time(self.settings.read_deadline - 1)
        self.client.channel.resumeProducing()
        self.client.channel.pauseProducing()
        self.pass_time(self.settings.read_deadline - 1)
        self.assertFalse(self.client.closed)
        self.pass_time(2)
        self.assertTrue(self.client.disconnected)

    def test_waiting_bytes(self) -> None:
        """A client is disconnected when more than 1 MiB waits for it, and what is sent then is dropped."""
        half = frame(b"x" * 600_000)
        for _ in range(2):
            self.client.channel.pauseProducing()
            self.client.send(half)
            self.client.channel.resumeProducing()
        self.assertFalse(self.client.closed)
        self.client.channel.pauseProducing()
        self.assertGreater(len(self.client.send(half)), 600_000)
        self.assertEqual(self.client.send(half), b"")
        self.assertTrue(self.client.disconnected)

    def test_producer(self) -> None:
        """A producer of large messages is paused while the client doesn't read."""
        producer = self.connect()
        self.client.channel._websocket.attachProducer(producer)
        self.client.channel.pauseProducing()
        self.assertEqual(producer.producerState, "paused")
        self.client.channel.resumeProducing()
        self.assertEqual(producer.producerState, "producing")

    def test_close(self) -> None:
        """The client's close frame is answered, and what it sends after it is ignored."""
        self.assertEqual(self.client.send(b"\x88\x82\0\0\0\0\x03\xe8"), b"\x88\x02\x03\xe8")
        self.assertTrue(self.client.disconnecting)
        self.assertEqual(self.client.send(frame(b"late")), b"")

    def test_close_without_reading(self) -> None:
        """A client that doesn't read the close frame is disconnected after 30 seconds."""
        self.client.send(b"\x88\x82\0\0\0\0\x03\xe8")
        self.pass_time(self.settings.read_deadline + 1)
        self.assertTrue(self.client.disconnected)

    def test_end(self) -> None:
        """When the plugin is deactivated, its WebSockets are closed with status 1001; those of others stay open."""
        self.web.routes.end_streams("Other")
        self.assertFalse(self.client.closed)
        self.web.routes.end_streams("Board")
        self.assertEqual(self.client.received(), b"\x88\x02\x03\xe9")
        self.assertTrue(self.client.disconnecting)

    def test_stop(self) -> None:
        """When the service stops, WebSockets are closed with status 1001."""
        self.web.begin_stopping()
        self.assertEqual(self.client.received(), b"\x88\x02\x03\xe9")

    def test_end_of_a_closed_connection(self) -> None:
        """A WebSocket that is being closed isn't closed again."""
        self.client.send(b"\x88\x82\0\0\0\0\x03\xe8")
        self.web.routes.end_streams("Board")
        self.assertEqual(self.client.received(), b"")


class LargeMessageTests(WebCase):
    """Large messages of clients on a mounted WebSocket, on errklein's site."""

    def site(self) -> Site:
        """Return the site that has the WebSocket."""
        return self.web.site

    def setUp(self) -> None:
        """Mount a WebSocket."""
        super().setUp()
        self.web.routes.replace("Board", (), mounts={"/chat": WebSocketResource(Echo)})  # type: ignore[arg-type]

    def open(self) -> Connection:
        """Return a connection with a WebSocket."""
        connection = Connection()
        connection.channel = self.site().buildProtocol(None)  # type: ignore[assignment]
        connection.channel.makeConnection(connection)  # type: ignore[no-untyped-call]
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        self.assertIn(b" 101 ", connection.send(request("GET", "/chat", b"", *upgrade, "Sec-WebSocket-Version: 13")))
        return connection

    def test_message_in_parts(self) -> None:
        """A message of less than 1 MiB may be sent in parts, and others may follow."""
        client, part = self.open(), b"x" * 600_000
        for _ in range(2):
            self.assertEqual(client.send(frame(part, 0x01)), b"")
            text = part.upper() + b"Y"
            self.assertEqual(client.send(frame(b"y", 0x80)), b"\x81\x7f" + len(text).to_bytes(8) + text)

    def test_large_message(self) -> None:
        """A message above 1 MiB, of text or of bytes, ends the connection with status 1009."""
        part = b"x" * 600_000
        for beginning in (0x01, 0x02):
            client = self.open()
            self.assertEqual(client.send(frame(part, beginning)), b"")
            self.assertEqual(client.send(frame(part, 0x00)), b"\x88\x02\x03\xf1")
            self.assertTrue(client.disconnecting)
            self.assertEqual(client.send(frame(b"late", 0x80)), b"")

    def test_close_in_a_large_message(self) -> None:
        """A close frame within a message above 1 MiB is answered as usual, and what follows is ignored."""
        client = self.open()
        data = frame(b"x" * 600_000, 0x01) + frame(b"x" * 600_000, 0x00) + frame(b"\x03\xe8", 0x88)
        self.assertEqual(client.send(data), b"\x88\x02\x03\xe8")
        self.assertEqual(client.send(frame(b"late")), b"")


class StockLargeMessageTests(LargeMessageTests):
    """Large messages of clients on a mounted WebSocket, on a stock Twisted site."""

    def site(self) -> Site:
        """Return the site that has the WebSocket."""
        return Site(self.web.app.resource(), reactor=self.clock)  # type: ignore[no-untyped-call]
