"""The HTTP client of one plugin."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from errklein.http_client._errors import BodyTooLarge
from errklein.running import may_use_reactor
from errklein.text.masking import masker

if TYPE_CHECKING:
    from hyperlink import DecodedURL, EncodedURL

TIMEOUT = 30.0
"""The default timeout of a request, in seconds."""

LARGEST = 50_000_000
"""The default limit of a body, in bytes."""


class PluginHTTPClient(HTTPClient):
    """A treq client for the reactor: `get`, `head`, `post`, `put`, `patch`, `delete` and `request`.

    The methods take the arguments of `treq's functions <https://treq.readthedocs.io/en/latest/api.html>`__, and return a
    Deferred of treq's response::

        response = await self.http.post(URL, json={"text": "Hello!"}, headers={"X-Token": token})
        if response.code == 200:
            answer = await response.json()

    Four things differ from treq's own client:

    - The timeout is 30 s unless `timeout` is given, in seconds; None removes it. It covers the request, the response
      and its body. After it, `TimeoutError` is raised.
    - The Deferred fires when the body is complete. With `unbuffered=True` it fires when the response begins, and the
      timeout ends there; pass a function to `response.collect` then, which gets the parts of the body.
    - The limit of a body is 50 MB unless `max_body` is given, in bytes. A larger one raises `BodyTooLarge`. The limit
      doesn't apply with `unbuffered=True`.
    - In a thread, the methods raise RuntimeError.

    All plugins share one pool of connections. Each plugin has its own cookies, which the client keeps between requests.
    """

    def __init__(self, reactor: Any, agent: Any, in_flight: set[Deferred[Any]]) -> None:
        super().__init__(agent)
        self._reactor = reactor
        self._in_flight = in_flight

    def request(
        self,
        method: str,
        url: str | bytes | DecodedURL | EncodedURL,
        *,
        timeout: float | None = TIMEOUT,
        max_body: int = LARGEST,
        **options: Any,
    ) -> Deferred[Any]:
        """Make a request; see the class."""
        if not may_use_reactor(self._reactor):
            raise RuntimeError(
                "self.http was used in a thread, but works only on the reactor; make the handler async def and await the "
                "request, mark the handler with @on_reactor, or use a blocking library such as requests"
            )
        response: Deferred[Any] = super().request(method, url, reactor=self._reactor, **options)
        if options.get("unbuffered"):
            response.addCallback(_without_redirects)
        else:
            response.addCallback(_completed, _Body(max_body, f"{method} {_shown(url)}"))
        if timeout is not None:
            response.addTimeout(timeout, self._reactor, partial(_timed_out, f"{method} {_shown(url)}"))
        self._in_flight.add(response)
        return response.addBoth(self._ended, response)

    def _ended(self, result: Any, response: Deferred[Any]) -> Any:
        self._in_flight.discard(response)
        return result


def _shown(url: object) -> str:
    """Return the URL for messages, without the query, which may contain a token."""
    text = url.decode("ascii", "replace") if isinstance(url, bytes) else str(url)
    return masker(text.partition("?")[0])


def _timed_out(request: str, _: object, seconds: float) -> NoReturn:
    raise TimeoutError(f"{request}: no complete response within {seconds:g} s") from None


def _without_redirects(response: Any) -> Any:
    """Read the bodies of redirects, whose connections would stay open otherwise."""
    for redirect in response.history():
        body = _Body(LARGEST, "redirect")
        body.complete.addErrback(lambda _: None)
        redirect.deliverBody(body)
    return response


def _completed(response: Any, body: _Body) -> Deferred[Any]:
    """Return a Deferred that fires with the response when its body has been received, which the response keeps."""
    _without_redirects(response).deliverBody(body)
    return body.complete.addCallback(lambda _: response)


class _Body(Protocol):
    """Waits for the end of a body. The connection is closed if `complete` is cancelled, or if the body is too large."""

    def __init__(self, most: int, request: str) -> None:
        self.complete: Deferred[None] = Deferred(lambda _: self._abort())
        self._most = self._left = most
        self._request = request

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Count the bytes."""
        self._left -= len(data)
        if self._left < 0 and not self.complete.called:
            self._abort()
            text = f"{self._request}: the response is larger than {self._most / 1_000_000:g} MB"
            self.complete.errback(BodyTooLarge(text))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Handle the end of the body, or of the connection. Without a Content-Length, HTTP/1.0 can't tell them apart."""
        if self.complete.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.complete.callback(None)
        else:
            self.complete.errback(reason)
