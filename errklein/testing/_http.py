"""StubHTTP, which stands in for the network of `self.http` in tests."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_UNSET: Any = object()
_PORTS = {"http": 80, "https": 443}


class UnexpectedRequest(AssertionError):
    """A plugin sent a request for which the test has declared no response."""

    # Reports begin with the full name.
    __module__ = "errklein.testing"


@dataclass(frozen=True)
class OutgoingRequest:
    """A request that a plugin has sent with `self.http`. Its `str()` is method and URL, such as "GET https://example.org/"."""

    method: str
    """The HTTP method in capital letters."""

    url: str
    """The complete URL, with the query."""

    headers: Mapping[str, str]
    """The headers, with those that treq adds."""

    body: bytes
    """The body."""

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


@dataclass(frozen=True)
class Answer:
    """What a request gets after `delay` seconds: a response, or `error`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    error: BaseException | None = None


@dataclass
class _Declared:
    """The answer to one method and URL. `left` is the number of times that it can still be used; None for any number."""

    method: str
    url: str
    answer: Answer
    left: int | None

    def matches(self, method: str, url: str) -> bool:
        ours, query = _parts(self.url)
        theirs, their_query = _parts(url)
        return self.left != 0 and (self.method, ours) == (method, theirs) and (not query or query == their_query)

    def use(self) -> Answer:
        if self.left is not None:
            self.left -= 1
        return self.answer

    def __str__(self) -> str:
        return f"{self.method} {self.url}" + (" (used up)" if self.left == 0 else "")


class StubHTTP:
    """Stands in for the network of `self.http`: it responds to plugins' requests as the test declares, without sockets.

    A `PluginTestCase`, a `TestBot` and the fixture `testbot` have one as their attribute `http`::

        def test_status(self):
            self.http.respond("GET", "https://status.example.org/api", json={"up": True})
            self.assertEqual(self.command("!status"), "up")
            (request,) = self.http.requests
            self.assertEqual(request.header("Authorization"), "Bearer secret")

    A request without a declared response raises `UnexpectedRequest` in the plugin, and again at the end of the test.
    """

    def __init__(self) -> None:
        self.requests: list[OutgoingRequest] = []
        """The requests that plugins have sent, in order."""
        self._declared: list[_Declared] = []
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
        """Declare the response to a request.

        A later declaration for the same method and URL takes precedence. With `times`, the earlier one applies again after
        so many requests. These are a failure and then a success::

            self.http.respond("GET", URL, json={"up": True})
            self.http.respond("GET", URL, status=503, body="Try again later.", times=1)

        :param method: The HTTP method.
        :param url: The URL. Without a query it matches requests with any query; otherwise the query must be the same, with
            the parameters in any order.
        :param status: The status.
        :param json: A value that is sent as JSON, `None` included.
        :param body: The body, as text or bytes.
        :param headers: Headers. They replace those that errklein would add, such as Content-Type.
        :param delay: The time until the response, in seconds. Use `self.bot.advance` to let it pass.
        :param times: The number of requests that get this response; by default unlimited.
        :raises TypeError: Both `json` and `body` are given.
        """
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
        self._declare(method, url, Answer(status, sent, content, delay), times)

    def fail(
        self, method: str, url: str, error: BaseException, *, delay: float = 0.0, times: int | None = None
    ) -> None:
        """Declare that a request fails; see `respond`.

        For example::

            self.http.fail("GET", URL, ConnectionRefusedError("nobody listens"))

        :param method: The HTTP method.
        :param url: The URL.
        :param error: The exception that the request raises.
        :param delay: The time until then, in seconds.
        :param times: The number of requests that fail; by default unlimited.
        """
        self._declare(method, url, Answer(error=error, delay=delay), times)

    def check(self) -> None:
        """Raise UnexpectedRequest if a plugin has sent a request without a declared response. `TestBot.stop` calls it."""
        if self._unexpected:
            raise UnexpectedRequest("\n".join(self._unexpected))

    def agent(self, reactor: Any) -> Any:
        """Return the agent for the clients of a bot on this reactor."""
        # Imported late: treq's test tools need half as long as all of errklein.
        from errklein.testing._stub_agent import StubAgent

        return StubAgent(reactor, self)

    def answer(self, method: str, url: str) -> Answer:
        """Return the answer to a request. One with a query is preferred to one for any query."""
        found = [declared for declared in reversed(self._declared) if declared.matches(method, url)]
        if found:
            return max(found, key=lambda declared: "?" in declared.url).use()
        self._unexpected.append(_explained(method, url, self._declared))
        return Answer(error=UnexpectedRequest(self._unexpected[-1]))

    def _declare(self, method: str, url: str, answer: Answer, times: int | None) -> None:
        if not urlsplit(url).scheme:
            raise ValueError(
                f"{url} has no scheme and host; declare the complete URL, such as https://example.org/path"
            )
        self._declared.append(_Declared(method.upper(), url, answer, times))


def _parts(url: str) -> tuple[tuple[object, ...], list[tuple[str, str]]]:
    """Return scheme, host, port and path of a URL, and the sorted parameters of its query."""
    parts = urlsplit(url)
    address = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme), quote(unquote(parts.path)) or "/")
    return address, sorted(parse_qsl(parts.query, keep_blank_values=True))


def _explained(method: str, url: str, declared: Iterable[_Declared]) -> str:
    known = ", ".join(map(str, declared)) or "none"
    return (
        f"unexpected request {method} {url}; declare its response with "
        f'self.http.respond("{method}", "{url}", …); declared: {known}'
    )
