"""The pipeline of a request for a webhook, from its route to its response.

`ack="after"`: route → limits → verify → run → respond → record.
`ack="now"`: route → limits → verify → deduplicate → record → respond with 202 → run.

While the plugin is inactive, verified webhooks of WEBHOOKS take these steps, too, but don't run: `ack="after"` gets 503.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from errklein.verify import ImmediateResponse
from errklein.web._delivery import Delivery
from errklein.web._error_pages import Problem, retry_after
from errklein.web._routes import Route
from errklein.web._services import WebServices
from errklein.web._stock_request import WebhookRequest
from errklein.webhooks import Hook


class Intake(Resource):
    """A request for a webhook that has options. It may wait for a thread or the disk, and a stop of the service waits for it.

    When the time for a response has passed, such as on a disk that hangs, the client gets 503. What was begun goes on.
    """

    isLeaf = True

    def __init__(
        self, services: WebServices, route: Route, hook: Hook, request: WebhookRequest, captures: Mapping[str, Any]
    ) -> None:
        self._services, self._request = services, request
        self._route, self._hook, self._captures = route, hook, captures
        self.deadline = request.begun + services.settings.timeout

    def render(self, request: object) -> int:
        """Begin to handle the request."""
        self._services.in_flight.enter()
        self._request.hold_body()
        received = Deferred.fromCoroutine(self._receive()).addErrback(self._request.processingFailed)
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

    async def _receive(self) -> None:
        """Take the steps of the pipeline."""
        checks, recording, hook, request = self._services.checks, self._services.recording, self._hook, self._request
        try:
            checks.client_rate(hook, request)
            body, request.source_id, answer = await checks.verify(hook, request)
            checks.route_rate(hook)
            if answer is None and recording.runs_later(hook):
                answer = await recording.accept(hook, request, body)
            if answer is None and not hook.active:
                raise Problem(503, "the plugin of this webhook is not active", retry_after(60.0))
            begun = answer or await recording.begin(hook, request, body)
        except Problem as problem:
            # Nothing is read for a client that sends too much.
            if not request.source_id and problem.status != 429:
                request.source_id = checks.source_id(hook, request)
            self._services.refuse(hook, request, problem)
            return
        if isinstance(begun, ImmediateResponse):
            request.send_response(begun.status, list(begun.headers), begun.body)
        else:
            request.admitted = hook.declaration
            Delivery(self._services, self._route, request, self._captures, begun).render(request)
