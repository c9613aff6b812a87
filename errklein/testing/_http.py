"""StubHTTP, which stands in for the network of `self.http` in tests."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from twisted.internet import task
from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from twisted.web.resource import Resource
from zope.interface import implementer

_UNSET: Any = object()
_PORTS = {"http": 80, "https": 443}


class UnexpectedRequest(AssertionError):
    """A plugin sent a request for which the test has declared no response."""

    # Reports begin with the full name.
    __module__ = "errklein.testing"


@dataclass(frozen=True)
class OutgoingRequest:
    """A request that a plugin has sent with `self.http`. Its `str()` is method and URL, such as "GET https://example.org/".
    `method` is in capital letters, `url` has the query, `headers` has also those that treq adds, and `body` the bytes."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.url}"

    @property
    def text(self) -> str:
        """The body as text, in UTF-8."""
        return self.body.decode()

    @property
    def params(self) -> dict[str, str]:
        """The parameters in the query of the URL."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def json(self) -> Any:
        """Return the body, decoded as JSON."""
        return json_module.loads(self.body)

    def header(self, name: str) -> str | None:
        """Return the value of a header, in any case; None if the request doesn't have it."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


@dataclass
class Answer:
    """What requests with this method and URL get after `delay` seconds: a response, or `error`. `left` is the number of
    requests that can still get it; None for any number."""

    method: str
    url: str
    left: int | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    error: BaseException | None = None
    serve: Callable[[OutgoingRequest], Any] | None = None

    def matches(self, method: str, url: str) -> bool:
        ours, query = _parts(self.url)
        theirs, their_query = _parts(url)
        return self.left != 0 and (self.method, ours) == (method, theirs) and (not query or query == their_query)

    def __str__(self) -> str:
        return f"{self.method} {self.url}" + (" (used up)" if self.left == 0 else "")


class StubHTTP:
    """Stands in for the network of `self.http`: it responds to plugins' requests as the test declares, without sockets.

    A `PluginTestCase`, a `TestBot` and the fixture `testbot` have one as their attribute `http`, as in :doc:`/guides/testing`. A
    request without a declared response raises `UnexpectedRequest` in the plugin, and again at the end of the test."""

    def __init__(self) -> None:
        self.requests: list[OutgoingRequest] = []
        """The requests that plugins have sent, in order."""
        self._declared: list[Answer] = []
        self._unexpected: list[str] = []

    def respond(
        self,
        method: str,
        url: str,
        *,
        status: int = 200,
        json: Any = _UNSET,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        times: int | None = None,
    ) -> None:
        """Declare the response to a request. A later declaration for the same method and URL takes precedence. With `times`,
        the earlier one applies again after so many requests. These are a failure and then a success::

            self.http.respond("GET", URL, json={"up": True})
            self.http.respond("GET", URL, status=503, body="Try again later.", times=1)

        :param url: The URL. Without a query it matches requests with any query; otherwise the query must be the same, with
            the parameters in any order.
        :param json: A value that is sent as JSON, `None` included.
        :param headers: They replace those that errklein would add, such as Content-Type.
        :param delay: The time until the response, in seconds. Use `self.bot.advance` to let it pass."""
        if json is not _UNSET and body:
            raise TypeError("json and body exclude each other; pass one of them as the body of the response")
        default, content = "", body.encode() if isinstance(body, str) else body
        if json is not _UNSET:
            default, content = "application/json", json_module.dumps(json).encode()
        elif isinstance(body, str):
            default = "text/plain; charset=utf-8"
        sent = dict(headers or {})
        if default and "content-type" not in map(str.lower, sent):
            sent["Content-Type"] = default
        self._declare(Answer(method.upper(), url, times, status, sent, content, delay))

    def fail(
        self, method: str, url: str, error: BaseException, *, delay: float = 0.0, times: int | None = None
    ) -> None:
        """Declare that a request fails with an exception after `delay` seconds, such as
        `ConnectionRefusedError("nobody listens")`. See `respond`."""
        self._declare(Answer(method.upper(), url, times, delay=delay, error=error))

    def serve(self, url: str, respond: Callable[[OutgoingRequest], Any]) -> None:
        """Let a function respond to requests whose URLs begin with `url`, unless another response is declared. It returns the
        value of the JSON; or a tuple of status, value and optionally the seconds until the response, as of a long poll."""
        self._declare(Answer("", url, serve=respond))

    def check(self) -> None:
        """Raise UnexpectedRequest if a plugin has sent a request without a declared response. `TestBot.stop` calls it."""
        if self._unexpected:
            raise UnexpectedRequest("\n".join(self._unexpected))

    def agent(self, reactor: Any) -> Any:
        return _StubAgent(reactor, self)

    def answer(self, method: str, url: str) -> Answer:
        """Return the answer to a request. One with a query is preferred to one for any query."""
        found = [declared for declared in reversed(self._declared) if declared.matches(method, url)]
        found += [replace(declared) for declared in self._declared if declared.serve and url.startswith(declared.url)]
        if not found:
            known = ", ".join(map(str, self._declared)) or "none"
            declare = f'declare its response with self.http.respond("{method}", "{url}", …)'
            self._unexpected.append(f"unexpected request {method} {url}; {declare}; declared: {known}")
            return Answer(method, url, error=UnexpectedRequest(self._unexpected[-1]))
        chosen = max(found, key=lambda declared: "?" in declared.url)
        if chosen.left is not None:
            chosen.left -= 1
        return chosen

    def _declare(self, answer: Answer) -> None:
        if not urlsplit(answer.url).scheme:
            raise ValueError(f"{answer.url} has no scheme and host; declare the whole URL: https://example.org/path")
        self._declared.append(answer)


def _parts(url: str) -> tuple[tuple[object, ...], list[tuple[str, str]]]:
    parts = urlsplit(url)
    address = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme), quote(unquote(parts.path)) or "/")
    return address, sorted(parse_qsl(parts.query, keep_blank_values=True))


@implementer(IAgent)
class _StubAgent:
    """Sends each request to a server that has its declared response, and thus uses the real code for both directions."""

    def __init__(self, reactor: Any, stub: StubHTTP) -> None:
        # Imported late: treq's test tools need half as long as all of errklein.
        from treq.testing import RequestTraversalAgent

        self._reactor = reactor
        self._stub = stub
        self._agent_for: Any = RequestTraversalAgent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        url = uri.decode("ascii")
        answer = self._stub.answer(method.decode("ascii"), url)
        agent = self._agent_for(_Server(self._stub.requests, url, answer))
        # Bodies are produced in turns of the global reactor, which a synchronous test doesn't run.
        clock = task.Clock()
        with patch.object(task, "_theCooperator", task.Cooperator(scheduler=partial(clock.callLater, 0))):
            sent: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
            while clock.getDelayedCalls():
                clock.advance(0)
        agent.flush()
        if answer.delay:
            sent.addCallback(lambda response: task.deferLater(self._reactor, answer.delay, lambda: response))
        if (error := answer.error) is not None:
            sent.addCallback(lambda _: fail(error))
        return sent

    def close(self) -> Deferred[None]:
        return succeed(None)


class _Server(Resource):
    """The only resource of a server in memory. It records a request, and sends the response of `answer`."""

    isLeaf = True

    def __init__(self, requests: list[OutgoingRequest], url: str, answer: Answer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._requests = requests
        self._url = url
        self._answer = answer

    def render(self, request: Any) -> bytes:
        method = request.method.decode("ascii")
        pairs = request.requestHeaders.getAllRawHeaders()
        headers = {name.decode("iso-8859-1"): b", ".join(values).decode("iso-8859-1") for name, values in pairs}
        self._requests.append(OutgoingRequest(method, self._url, headers, request.content.read()))
        if self._answer.serve is not None:
            result = self._answer.serve(self._requests[-1])
            given = result if isinstance(result, tuple) else (200, result)
            self._answer.status, value, self._answer.delay = (*given, 0.0)[:3]
            self._answer.body = json_module.dumps(value).encode()
        request.setResponseCode(self._answer.status)
        request.defaultContentType = None
        for name, value in self._answer.headers.items():
            request.setHeader(name, value)
        return b"" if method == "HEAD" else self._answer.body
