"""The records of requests: what a request and its outcome become in the journal, and the request that is made of a record again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.web.http import HTTPChannel

from errklein.listening import address_of
from errklein.ports.journal import JournalError
from errklein.running import RateLimit, TokenBuckets
from errklein.verify import ImmediateResponse
from errklein.web._error_pages import Problem, retry_after
from errklein.web._http1 import Head
from errklein.web._settings import BotParts, WebSettings
from errklein.web.facade.request import DeliveryInfo
from errklein.web.request import HTTPRequest, WebhookRequest
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import MAX_LOGGED_BODY, DeliveryState, Outcome, StoredDelivery, StoredRequest
from errklein.webhooks.source import ACCEPTED

if TYPE_CHECKING:
    from errklein.web._delivery import Delivery
    from errklein.web._site import Site

_RETRY_AFTER = 10.0
_FOREVER = 1e9  # the lease of a delivery that only this process can end, in seconds


class Recording:
    """Writes the requests for webhooks and their outcomes to the journal. Without a journal, nothing is recorded, and
    requests that must be recorded get 503."""

    _logger = Logger(namespace="errklein.web")

    def __init__(self, settings: WebSettings, bot: BotParts, now: Callable[[], float]) -> None:
        self._journal, self._later, self._waits = bot.journal, bot.later, bot.waits
        self.now = now
        self.next_id: Callable[[], int] = (lambda: 0) if bot.journal is None else bot.journal.next_id
        self.paused: Collection[str] = () if bot.later is None else bot.later.paused  # the webhooks that are paused
        self.overdue: set[int] = set()  # deliveries whose handler runs after 504, so that no replay begins meanwhile
        self.refused: dict[str, StoredDelivery] = {}  # the last refused request of each webhook, logged or not
        self._warnings = RateLimit(now)
        rate = settings.log_rate
        self._logs = bot.journal is not None and settings.delivery_log != "off"
        self._with_bodies = settings.delivery_log == "bodies"
        self._buckets = None if rate is None else TokenBuckets(now, rate.interval, rate.count)

    def look(self) -> None:
        if self._later is not None:
            self._later.look()

    def runs_later(self, hook: Hook) -> bool:
        """Return whether the source gets its response before the handler runs."""
        declaration = hook.declaration
        return declaration.may_be_recorded and (declaration.ack == "now" or hook.full_name in self.paused)

    async def accept(
        self, hook: Hook, request: WebhookRequest, body: bytes, response: ImmediateResponse = ACCEPTED
    ) -> ImmediateResponse:
        """Record a request whose handler runs later, and return the response, to which the id of the delivery is added. A
        repeated request is recorded as a duplicate, and gets the same response. Raises Problem."""
        if self._later is None:
            raise Problem(503, "the journal is not available", retry_after(_RETRY_AFTER))
        received = self._record_of(hook, request, DeliveryState.RECEIVED, body, None)
        # A delivery of a paused webhook has the same promise.
        delivery = received._replace(ack="now", answered=0 if request.origin else response.status)
        try:
            await self._later.accept(delivery, hook.declaration.window)
        except JournalError as error:
            raise self._unavailable(error) from error
        headers = (*response.headers, (b"X-Delivery-Id", b"%d" % delivery.id))
        return ImmediateResponse(response.status, headers, response.body)

    async def claim(
        self, hook: Hook, request: WebhookRequest, body: bytes
    ) -> Callable[[Delivery], None] | ImmediateResponse | None:
        """Record a request that runs now, if repeated ones are recognised. Return what records the end of the delivery; the
        response to a repeated request; or None if repeated requests run, too. Raises Problem: the first of repeated requests
        is still being handled, or the request can't be recorded."""
        is_unique = request.source_id and hook.declaration.dedupe and hook.declaration.may_be_recorded
        if not is_unique or self._journal is None or self._later is None:
            return None
        delivery = self._record_of(hook, request, DeliveryState.RECEIVED, body, None)
        try:
            earlier = await self._journal.record(delivery, lease=_FOREVER, window=hook.declaration.window)
        except JournalError as error:
            raise self._unavailable(error) from error
        if earlier is None:
            later = self._later
            return lambda ended: later.finish(delivery.id, ended.outcome())
        if earlier.status_of_repeated == 409:
            raise Problem(409, "the same delivery is still being handled", retry_after(_RETRY_AFTER))
        return ImmediateResponse(earlier.status_of_repeated, (), b"")

    def log(self, hook: Hook, request: WebhookRequest, outcome: Outcome, body: Callable[[], bytes | None]) -> None:
        """Log a request that has its response. If a webhook has very many successful ones, further ones are only counted."""
        journal = self._journal
        if not self._logs or journal is None or not hook.declaration.may_be_recorded:
            return
        if self._buckets is not None and outcome.succeeded and self._buckets.bucket(hook.full_name).take():
            journal.count(hook.full_name)
            return
        state = DeliveryState.DONE if outcome.succeeded else DeliveryState.FAILED
        stored = body() if self._with_bodies and request.body_size <= MAX_LOGGED_BODY else None
        journal.log(self._record_of(hook, request, state, stored, outcome))

    def log_refused(self, hook: Hook, request: WebhookRequest, problem: Problem) -> None:
        if self._journal is None or not hook.declaration.may_be_recorded or problem.status == 409:
            return
        cause = f": {problem.__cause__}" if isinstance(problem.__cause__, JournalError) else ""
        outcome = Outcome(problem.status, problem.detail + cause)
        refused = self._record_of(hook, request, DeliveryState.REFUSED, None, outcome)
        if self._logs:
            self._journal.log(refused)
        assert refused.request is not None
        self.refused[hook.full_name] = refused._replace(request=refused.request._replace(headers=(), target=""))

    def info(self, request: WebhookRequest) -> DeliveryInfo:
        assert request.received_at is not None
        attempt = 1 if request.recorded is None else request.recorded.attempt
        time = datetime.fromtimestamp(request.received_at, UTC)
        number = request.delivery_id
        return DeliveryInfo(number, attempt, time, request.origin, partial(self._once, number))

    def _once(self, delivery_id: int, key: str) -> Any:
        if self._journal is None or self._waits is None:
            raise JournalError("the journal is not available")
        return self._waits.result_of(self._journal.once, delivery_id, key)

    def _record_of(
        self, hook: Hook, request: WebhookRequest, state: DeliveryState, body: bytes | None, outcome: Outcome | None
    ) -> StoredDelivery:
        head, client, server, verification = request.head, request.client, request.host, hook.declaration.verify
        assert request.received_at is not None
        return StoredDelivery(
            id=request.delivery_id,
            webhook=hook.full_name,
            state=state,
            received_at=request.received_at,
            request_id=request.request_id,
            ack=hook.declaration.ack,
            attempt=0 if outcome is None or state is DeliveryState.REFUSED else 1,
            origin=request.origin,
            key=request.source_id,
            outcome=outcome,
            request=StoredRequest(
                method=request.method.decode("ascii"),
                target=request.uri.decode("latin-1"),
                headers=tuple(zip(head.names, head.values, strict=True)),
                body=body,
                client=getattr(client, "host", ""),
                secure=request.secure,
                server=(getattr(server, "host", "localhost"), getattr(server, "port", 0)),
                base_path=request.base_path,
                secret_headers=frozenset() if verification is None else verification.secret_headers,
            ),
            verified=verification is not None,
            # The response to a test isn't one to the source.
            answered=0 if request.origin or outcome is None else outcome.status,
        )

    def _unavailable(self, error: JournalError) -> Problem:
        if self._warnings.allows(str(error)):
            self._logger.warn("Webhooks can't be recorded, and get 503: {reason}", reason=str(error))
        return Problem(503, "the request could not be recorded", retry_after(_RETRY_AFTER))


class RecordedRequest(HTTPRequest):
    """A request that was received earlier. Its response is discarded."""

    recorded: StoredDelivery

    def __init__(self, site: Site, recorded: StoredDelivery) -> None:
        stored = recorded.request
        assert stored is not None and stored.body is not None
        connection: Any = _NoConnection(stored, recorded.origin)
        names, values = zip(*stored.headers, strict=True) if stored.headers else ((), ())
        method, target = stored.method.encode("ascii"), stored.target.encode("latin-1")
        head = Head(method, target, b"HTTP/1.1", names, values, len(stored.body), False, False)
        super().__init__(connection, site, head, recorded.request_id)
        self.recorded, self.delivery_id, self.received_at = recorded, recorded.id, recorded.received_at
        self.base_path = stored.base_path
        self._body, self.body_size = stored.body, len(stored.body)

    def _log_response(self) -> None:
        """Write no line, since the access log has that of the request."""


class _NoConnection(HTTPChannel):
    """The connection of a recorded request: it accepts everything that is written, and forgets it. Twisted's resources
    are asked for their response as on other connections, since a delivery ends with it. The addresses are the client's,
    as proxies have reported them."""

    def __init__(self, stored: StoredRequest, origin: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.origin = origin
        self.peer = address_of(stored.client, 0)
        self.host = address_of(*stored.server)
        self.plain = not stored.secure

    def write(self, *data: Any) -> None:
        """Do nothing."""

    writeSequence = writeHeaders = abort = requestDone = write
