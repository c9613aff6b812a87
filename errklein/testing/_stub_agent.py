"""The agent of StubHTTP, which passes requests to a web server in memory."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest.mock import patch

from treq.testing import RequestTraversalAgent
from twisted.internet import task
from twisted.internet.defer import Deferred, succeed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from twisted.web.resource import Resource
from zope.interface import implementer

from errklein.testing._http import Answer, OutgoingRequest, StubHTTP


@implementer(IAgent)
class StubAgent:
    """Sends each request to a server that has its declared response, and thus uses the real code for both directions."""

    def __init__(self, reactor: Any, stub: StubHTTP) -> None:
        self._reactor = reactor
        self._stub = stub

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Make a request, and record it."""
        server = _Server(self._stub, uri.decode("ascii"))
        agent = RequestTraversalAgent(server)  # type: ignore[no-untyped-call]
        # Bodies are produced in turns of the global reactor, which a synchronous test doesn't run.
        clock = task.Clock()
        with patch.object(task, "_theCooperator", task.Cooperator(scheduler=partial(clock.callLater, 0))):
            sent: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)  # type: ignore[no-untyped-call]
            while clock.getDelayedCalls():
                clock.advance(0)
        agent.flush()  # type: ignore[no-untyped-call]
        if server.answer.delay:
            sent.addCallback(lambda response: task.deferLater(self._reactor, server.answer.delay, lambda: response))
        return sent.addCallback(_raised, server.answer.error)

    def close(self) -> Deferred[None]:
        """Do nothing, since there are no connections."""
        return succeed(None)


def _raised(response: IResponse, error: BaseException | None) -> IResponse:
    if error is not None:
        raise error
    return response


class _Server(Resource):
    """The only resource of a server in memory. It records a request, and sends the response that is declared for it."""

    isLeaf = True

    def __init__(self, stub: StubHTTP, url: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stub = stub
        self._url = url
        self.answer = Answer()

    def render(self, request: Any) -> bytes:
        """Record the request, and return the body."""
        method = request.method.decode("ascii")
        headers = {
            name.decode("iso-8859-1"): ", ".join(value.decode("iso-8859-1") for value in values)
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self._stub.requests.append(OutgoingRequest(method, self._url, headers, request.content.read()))
        self.answer = self._stub.answer(method, self._url)
        request.setResponseCode(self.answer.status)
        request.defaultContentType = None
        for name, value in self.answer.headers.items():
            request.setHeader(name, value)
        return b"" if method == "HEAD" else self.answer.body
