"""Requests from the journal, which are run again without a client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from errklein.listening import address_of
from errklein.web._delivery import Delivery
from errklein.web._http1 import Head
from errklein.web._mounts import Mount
from errklein.web._routes import Route
from errklein.web._services import WebServices
from errklein.web._site import Site
from errklein.web.request import HTTPRequest
from errklein.webhooks.deliveries import Outcome, Postponed, StoredDelivery, StoredRequest

_INACTIVE = Postponed("the webhook is not active", 60.0)


class RecordedRequest(HTTPRequest):
    """A request that was received earlier. Its response is discarded, and `outcome` fires when the handler has ended."""

    recorded: StoredDelivery
    claims = True
    """A delivery whose handler isn't called after all is postponed, since nobody else waits for the outcome."""

    def __init__(self, site: Site, recorded: StoredDelivery) -> None:
        stored = recorded.request
        assert stored is not None and stored.body is not None
        connection: Any = _NoConnection(stored, recorded.origin)
        super().__init__(connection, site, _head_of(stored), recorded.request_id)
        self.recorded = recorded
        self.outcome: Deferred[Outcome | Postponed] = Deferred()
        # These are the client's, as proxies have reported them.
        self.client, self.secure = address_of(stored.client, 0), stored.secure
        self.host, self.base_path = address_of(*stored.server), stored.base_path
        self._body, self.body_size = stored.body, len(stored.body)
        self.delivery_id, self.received_at = recorded.id, recorded.received_at

    def delivery(self, services: WebServices, route: Route | Mount, captures: Mapping[str, Any]) -> IResource:
        """Return the resource that calls the handler. The request was verified and recorded earlier."""
        if isinstance(route, Mount) or (route.hook is not None and route.hook.full_name != self.recorded.webhook):
            self._not_accepted(404, "the URL of the request is another webhook's")
            return _Ended()
        self.admitted = None if route.hook is None else route.hook.declaration
        return Delivery(services, route, self, captures, self)

    def responded(self, delivery: Delivery) -> None:
        """Do nothing, since a handler that has exceeded its deadline may still be running."""

    def ended(self, delivery: Delivery) -> None:
        """Report the outcome."""
        if delivery.retry_after:
            self._end_attempt(Postponed(delivery.reason, delivery.retry_after))
        else:
            self._end_attempt(Outcome(delivery.status, delivery.reason, self.site.now() - self.begun))

    def refused(self) -> None:
        """Report that no webhook accepts the request."""
        if self.admitted is None:
            self._not_accepted(self.code, "the webhook doesn't accept the request any more")

    def _not_accepted(self, status: int, reason: str) -> None:
        # An inactive plugin may return. If it is active, others of its deliveries must not wait for this one.
        active = self.site.router.routes.declaration(self.recorded.webhook) is not None
        self._end_attempt(Outcome(status, reason) if active else _INACTIVE)

    def _end_attempt(self, result: Outcome | Postponed) -> None:
        if not self.outcome.called:
            self.outcome.callback(result)

    def _log_response(self) -> None:
        """Write no line, since the access log has that of the request."""


class _Ended(Resource):
    """The resource of a request whose attempt has ended."""

    def __init__(self) -> None:
        """Have no children."""

    def render(self, request: Any) -> int:
        """Do nothing."""
        return NOT_DONE_YET


class _NoConnection(HTTPChannel):
    """The connection of a recorded request: it accepts everything that is written, and forgets it.

    Twisted's resources are asked for their response as on other connections, since a delivery ends with it.
    """

    def __init__(self, stored: StoredRequest, origin: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.origin = origin
        self.peer = address_of(stored.client, 0)
        self.host = address_of(*stored.server)
        self.plain = not stored.secure

    def requestDone(self, request: Any) -> None:
        """Note that the request has a response."""
        request.refused()

    def write(self, *data: Any) -> None:
        """Do nothing."""

    writeSequence = writeHeaders = abort = write


def _head_of(stored: StoredRequest) -> Head:
    names, values = zip(*stored.headers, strict=True) if stored.headers else ((), ())
    method, target = stored.method.encode("ascii"), stored.target.encode("latin-1")
    return Head(method, target, b"HTTP/1.1", names, values, len(stored.body or b""), False, False)
