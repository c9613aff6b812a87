"""The pipeline of a request for a webhook, from its route to its response.

`ack="after"`: route → limits → verify → run → respond → record.
`ack="now"`: route → limits → verify → deduplicate → record → respond with 202 → run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from errklein.verify import ImmediateResponse
from errklein.web._delivery import Delivery
from errklein.web._error_pages import Problem
from errklein.web._routes import Route
from errklein.web._services import WebServices
from errklein.web._stock_request import WebhookRequest
from errklein.webhooks import Hook


class Intake(Resource):
    """A request for a webhook that has options, on its way to its response."""

    isLeaf = True

    def __init__(
        self, services: WebServices, route: Route, hook: Hook, request: WebhookRequest, captures: Mapping[str, Any]
    ) -> None:
        self._services, self._route, self._hook = services, route, hook
        self._request, self._captures = request, captures

    def render(self, request: object) -> int:
        """Handle the request. A stop of the service waits for it."""
        self._services.in_flight.enter()
        self._request.hold_body()
        Deferred.fromCoroutine(self._receive()).addBoth(self._received)
        return NOT_DONE_YET

    async def _receive(self) -> None:
        checks, recording, hook, request = self._services.checks, self._services.recording, self._hook, self._request
        try:
            checks.client_rate(hook, request)
            received, answer = await checks.verify(hook, request)
            checks.route_rate(hook)
            if answer is None and hook.declaration.ack == "now":
                answer = await recording.accept(hook, request, received)
            begun = answer or await recording.begin(hook, request, received)
        except Problem as problem:
            recording.refuse(hook, request, problem)
            request.send_error(problem)
            return
        if isinstance(begun, ImmediateResponse):
            request.send_response(begun.status, list(begun.headers), begun.body)
            return
        request.admitted = hook.declaration
        Delivery(self._services, self._route, request, self._captures, begun).render(request)

    def _received(self, result: Failure | None) -> None:
        if isinstance(result, Failure):
            self._services.events.log.failure("Request {id} failed", result, id=self._request.request_id)
            self._request.fail(Problem(500, "the request could not be handled; the log has the details"))
        self._request.drop_body()
        self._services.in_flight.leave()
