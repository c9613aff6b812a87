"""Requests that wait before their handler runs."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from errklein.web._error_pages import Problem, retry_after
from errklein.web._services import WebServices
from errklein.web._stock_request import WebhookRequest


class PendingRequest(Resource):
    """A request that may wait for a thread or for the disk. A stop of the service waits for it.

    When the time for a response has passed, such as on a disk that hangs, the client gets 503. What was begun goes on.
    """

    isLeaf = True

    def __init__(self, services: WebServices, request: WebhookRequest) -> None:
        self._services = services
        self._request = request
        self.deadline = request.begun + services.settings.timeout

    async def receive(self) -> None:
        """Respond to the request, or pass it to its handler."""
        raise NotImplementedError

    def render(self, request: object) -> int:
        """Begin to handle the request."""
        self._services.in_flight.enter()
        self._request.hold_body()
        received = Deferred.fromCoroutine(self.receive()).addErrback(self._request.processingFailed)
        if not received.called:
            self._services.sweeper.watch(self)
        received.addBoth(self._received)
        return NOT_DONE_YET

    def deadline_passed(self) -> None:
        """Respond with 503. The sweeper calls this."""
        self._services.sweeper.forget(self)
        self._request.fail(Problem(503, "the request could not be recorded in time", retry_after(10.0)))

    def _received(self, _: Any) -> None:
        self._services.sweeper.forget(self)
        self._request.drop_body()
        self._services.in_flight.leave()
