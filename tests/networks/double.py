"""Doubles of networks' servers: real HTTP on the loopback interface, with the faults that real servers and networks have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import Factory
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site


@dataclass
class Call:
    """A request to a double. `json` is None, and `body` has the content, if it isn't JSON."""

    method: str
    path: str
    """Quoted, without the query."""
    args: Mapping[str, str]
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes
    json: Any = None


class Answer(Exception):
    """A response with another status than 200, or with another content than JSON. Return it, or raise it."""

    def __init__(self, status: int, content: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"status {status}: {content!r}")
        self.status, self.content, self.headers = status, content, headers or {}


@dataclass
class Fault:
    """What happens to a request instead of, or after, being carried out.

    :param answer: Answer with this, and don't carry it out.
    :param loses_answer: Carry it out, and close the connection without an answer.
    :param hangs: Don't carry it out, and don't answer.
    :param delay: Carry it out after so many seconds.
    """

    answer: Answer | None = None
    loses_answer: bool = False
    hangs: bool = False
    delay: float = 0.0


class Double(Resource):
    """The double of a server. Subclasses define `answer`.

    :ivar calls: All requests, oldest first.
    :ivar unexpected: The failures of the double itself. A test should see that there are none.
    """

    isLeaf = True

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.reactor = reactor
        self.port = 0
        self.calls: list[Call] = []
        self.unexpected: list[Failure] = []
        self.is_silent = False
        """Whether all requests hang, also earlier ones, as on a connection that is half open."""
        self._faults: list[tuple[re.Pattern[str], Fault, list[int]]] = []
        self._connections = WrappingFactory(Factory())
        self._listening: IListeningPort | None = None
        self._timers: set[IDelayedCall] = set()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, call: Call) -> Any:
        """Carry out a request. Return the JSON of the response, an Answer, or a Deferred of either."""
        raise NotImplementedError

    def start(self) -> None:
        """Listen, after a `stop` on the same port again."""
        site = Site(self)
        site.displayTracebacks = False
        self._connections = WrappingFactory(site)
        self._connections.noisy = site.noisy = False
        self._listening = self.reactor.listenTCP(self.port, self._connections, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    def stop(self) -> Deferred[None]:
        """Close all connections as a server that is killed does, and don't accept others."""
        listening, self._listening = self._listening, None
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()
        self.drop_connections()
        return maybeDeferred(listening.stopListening) if listening is not None else maybeDeferred(lambda: None)

    def drop_connections(self) -> None:
        """Close all connections without an answer."""
        for connection in list(self._connections.protocols):
            connection.transport.abortConnection()

    def fail(self, pattern: str, fault: Fault, times: int = 1) -> None:
        """Let so many of the next requests whose `METHOD path` contains the regular expression meet a fault."""
        self._faults.append((re.compile(pattern), fault, [times]))

    def called(self, pattern: str) -> list[Call]:
        """Return the requests whose `METHOD path` contains the regular expression."""
        return [call for call in self.calls if re.search(pattern, f"{call.method} {call.path}")]

    def render(self, request: IRequest) -> Any:
        """Answer a request."""
        body = request.content.read()
        call = Call(
            request.method.decode(),
            request.uri.decode().partition("?")[0],
            {name.decode(): values[-1].decode(errors="replace") for name, values in request.args.items()},
            {name.decode().lower(): values[-1].decode() for name, values in request.requestHeaders.getAllRawHeaders()},
            body,
        )
        try:
            call.json = json.loads(body) if body else None
        except ValueError:
            call.json = None
        self.calls.append(call)
        fault = self._fault(call)
        ended = request.notifyFinish()
        ended.addErrback(lambda _: None)
        if self.is_silent or fault.hangs:
            return NOT_DONE_YET
        if fault.answer is not None:
            self._finish(request, fault.answer, fault)
        elif fault.delay:
            self._timers.add(self.reactor.callLater(fault.delay, self._carry_out, request, call, fault))
        else:
            self._carry_out(request, call, fault)
        return NOT_DONE_YET

    def _fault(self, call: Call) -> Fault:
        for pattern, fault, left in self._faults:
            if left[0] and pattern.search(f"{call.method} {call.path}"):
                left[0] -= 1
                return fault
        return Fault()

    def _carry_out(self, request: IRequest, call: Call, fault: Fault) -> None:
        done = maybeDeferred(self.answer, call)
        done.addErrback(self._failed)
        done.addCallback(lambda content: self._finish(request, content, fault))

    def _failed(self, failure: Failure) -> Answer:
        if isinstance(failure.value, Answer):
            return failure.value
        self.unexpected.append(failure)
        return Answer(500, {"error": failure.getErrorMessage()})

    def _finish(self, request: Any, content: Any, fault: Fault) -> None:
        if self.is_silent or request._disconnected or request.channel is None or self._listening is None:
            return
        if fault.loses_answer:
            request.channel.transport.abortConnection()
            return
        answer = content if isinstance(content, Answer) else Answer(200, content)
        request.setResponseCode(answer.status)
        is_raw = isinstance(answer.content, bytes)
        request.setHeader("Content-Type", "application/octet-stream" if is_raw else "application/json")
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        request.write(answer.content if is_raw else json.dumps(answer.content).encode())
        request.finish()


class Routes:
    """Finds the function for a request by method and path, whose parts in braces match anything but a slash."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = []

    def __call__(self, method: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator for the function of a route."""
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self._routes.append((method, pattern, function))
            return function

        return add

    def find(self, call: Call) -> tuple[Callable[..., Any] | None, dict[str, str], bool]:
        """Return the function and the quoted parts of the path, and whether the path exists with any method."""
        is_path = False
        for method, pattern, function in self._routes:
            if found := pattern.fullmatch(call.path):
                if method == call.method:
                    return function, found.groupdict(), True
                is_path = True
        return None, {}, is_path
