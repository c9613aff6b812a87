"""Handlers of each kind, to which fuzz_http.py sends generated requests."""

import ctypes
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

from klein import Klein
from twisted.web.websocket import WebSocketResource, WebSocketTransport

from errklein import BotPlugin, webhook

METHODS = ["GET", "HEAD", "POST", "PUT"]


class MallocInfo(ctypes.Structure):
    """The result of glibc's `mallinfo2`."""

    _fields_ = [("numbers", ctypes.c_size_t * 10)]


def allocated() -> int:
    """Return the number of kilobytes that `malloc` has given to Python and its libraries, without free ones."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = MallocInfo
    numbers = mallinfo().numbers
    # Bytes that are mapped for large blocks, and bytes in other blocks.
    return int(numbers[4] + numbers[7]) // 1024


class Echo:
    """A WebSocket that returns each text."""

    @classmethod
    def buildProtocol(cls, request: object) -> "Echo":
        """Return the protocol of a new connection."""
        return cls()

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        """Note the transport."""
        self.transport = transport

    def negotiationFinished(self) -> None:
        """Send a first message."""
        self.transport.sendTextMessage("welcome")

    def textMessageReceived(self, message: str) -> None:
        """Return a text."""
        self.transport.sendTextMessage(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        """Ignore bytes."""

    def pongReceived(self, payload: bytes) -> None:
        """Ignore a pong."""

    def connectionLost(self, reason: object) -> None:
        """Ignore the end of the connection."""


def board() -> Klein:
    """Return a Klein application that reads forms and segments of paths."""
    app = Klein()

    @app.route("/card/<name>", methods=METHODS)
    def card(request: Any, name: str) -> str:
        return f"{name!r} {sorted(request.args.items())!r}"

    return app


class Fuzzed(BotPlugin):
    """Handlers that return what they received, as ASCII."""

    def activate(self) -> None:
        """Mount a Klein application and a WebSocket."""
        super().activate()
        self.mount("/board", board().resource())
        self.mount("/socket", WebSocketResource(Echo))

    @webhook(methods=METHODS)
    def plain(self, payload: Any) -> str:
        """Run in a thread."""
        return ascii(payload)

    @webhook("/async", methods=METHODS)
    async def asynchronous(self, payload: Any) -> str:
        """Run on the reactor."""
        return ascii(payload)

    @webhook("/variable/<int:number>/<path:rest>", methods=METHODS)
    async def variable(self, payload: Any, number: int, rest: str) -> str:
        """Receive parts of the path."""
        return ascii((number, rest))

    @webhook(methods=METHODS, form_param="payload")
    async def form(self, payload: Any) -> str:
        """Receive JSON in a field of a form."""
        return ascii(payload)

    @webhook(methods=METHODS, raw=True)
    def raw(self, request: Any) -> str:
        """Read everything that a request has, in a thread."""
        return self._all_of(request)

    @webhook("/raw_async", methods=METHODS, raw=True)
    async def raw_asynchronous(self, request: Any) -> str:
        """Read everything that a request has, on the reactor."""
        return self._all_of(request)

    @webhook(methods=METHODS, max_body=1000)
    async def small(self, payload: Any) -> str:
        """Accept small bodies only."""
        return "OK"

    @webhook(methods=METHODS)
    def generator(self, payload: Any) -> Iterator[str]:
        """Return a stream from a thread."""
        for number in range(20):
            yield f"{number} {payload!a}\n"

    @webhook(methods=METHODS)
    async def stream(self, payload: Any) -> AsyncIterator[bytes]:
        """Return a large stream from the reactor."""
        for _ in range(30):
            yield b"x" * 50_000

    @webhook(methods=METHODS)
    async def large(self, payload: Any) -> str:
        """Return a large body."""
        return "x" * 1_000_000

    @webhook(methods=METHODS)
    async def fails(self, payload: Any) -> str:
        """Fail."""
        raise RuntimeError("fails deliberately")

    @webhook
    def state(self, payload: Any) -> dict[str, int]:
        """Return the numbers that must not grow; this request doesn't count."""
        gc.collect()
        web = self._bot.web
        return {
            "in flight": len(web._open_requests._watched) - 1,
            "connections": len(web.site.limits.connections) - 1,
            "objects": len(gc.get_objects()),
            "kB allocated": allocated(),
        }

    def _all_of(self, request: Any) -> str:
        files = [(name, file.filename, len(file.read())) for name, file in request.files.items(multi=True)]
        parts = (request.args, request.form, files, request.get_json(silent=True), request.get_data(as_text=False))
        return ascii(
            (request.method, request.url, request.remote_addr, dict(request.cookies), request.mimetype, *parts)
        )
