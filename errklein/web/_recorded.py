"""Requests from the journal, which are run again without a client."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from errklein.listening import address_of
from errklein.web._http1 import Head
from errklein.web._router import Router
from errklein.web._site import Site
from errklein.web.request import HTTPRequest
from errklein.webhooks.deliveries import Outcome, Postponed, StoredDelivery, StoredRequest

_INACTIVE = Postponed("the webhook is not active", 60.0)


class RecordedRequest(HTTPRequest):
    """A request that was received earlier. Its response is discarded, and `ended` fires when the handler has ended."""

    recorded: StoredDelivery

    def __init__(self, site: Site, recorded: StoredDelivery) -> None:
        stored = recorded.request
        assert stored is not None and stored.body is not None
        super().__init__(_NoConnection(stored), site, _head_of(stored), recorded.request_id)  # type: ignore[arg-type]
        self.recorded = recorded
        self.ended: Deferred[Outcome | Postponed] = Deferred()
        # These are the client's, as proxies have reported them.
        self.client, self.secure = address_of(stored.client, 0), stored.secure
        self.host, self.base_path = address_of(*stored.server), stored.base_path
        self._body, self.body_size = stored.body, len(stored.body)
        self.delivery_id = recorded.id

    def end(self, outcome: Outcome | Postponed) -> None:
        """Note the outcome of the attempt. Only the first one counts."""
        if not self.ended.called:
            self.ended.callback(outcome)

    def _log(self) -> None:
        """Write no line, since the access log has that of the request."""


class _NoConnection:
    """The connection of a recorded request: it accepts everything that is written, and forgets it."""

    persistent = False
    origin = "replay"
    transport = None
    _requestProducer = None

    def __init__(self, stored: StoredRequest) -> None:
        self.peer = address_of(stored.client, 0)
        self.host = address_of(*stored.server)
        self.plain = not stored.secure

    def requestDone(self, request: RecordedRequest) -> None:
        """Note that the request has a response. Unless a webhook has accepted it, that is the end."""
        if request.admitted is None:
            request.end(_INACTIVE)

    def write(self, data: Any) -> None:
        """Do nothing."""

    writeSequence = write

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Do nothing, since nothing is ever full."""

    def unregisterProducer(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


def _head_of(stored: StoredRequest) -> Head:
    names, values = zip(*stored.headers, strict=True) if stored.headers else ((), ())
    method, target = stored.method.encode("ascii"), stored.target.encode("ascii")
    return Head(method, target, b"HTTP/1.1", names, values, len(stored.body or b""), False, False)


def run_recorded(site: Site, router: Router, recorded: StoredDelivery) -> Deferred[Outcome | Postponed]:
    """Call the handler of a recorded request. The Deferred fires when it has ended."""
    request = RecordedRequest(site, recorded)
    router.dispatch(request)
    return request.ended
