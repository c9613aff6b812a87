"""The records of deliveries: what a request and its outcome become in the journal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from twisted.logger import Logger

from errklein.ports.journal import Journal, JournalError, LaterDeliveries
from errklein.running import TokenBuckets
from errklein.running.rate_limit import RateLimit
from errklein.running.threads import ThreadWaits
from errklein.verify import ImmediateResponse
from errklein.web._delivery import Delivery, OutcomeRecorder
from errklein.web._error_pages import Problem, retry_after
from errklein.web._stock_request import WebhookRequest
from errklein.web.facade.delivery import DeliveryInfo
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import MAX_LOGGED_BODY, DeliveryState, Outcome, StoredDelivery, StoredRequest
from errklein.webhooks.rates import Rate

_RETRY_AFTER = 10.0
_FOREVER = 1e9
"""The lease of a delivery that only this process can end, in seconds."""


class Recording:
    """Writes the deliveries of requests to the journal.

    :param journal: The journal; without it, nothing is recorded, and requests that must be recorded get 503.
    :param later: Runs the deliveries of `ack="now"`.
    :param waits: Lets plugins' threads wait for the journal.
    :param now: Returns the Unix time in seconds.
    :param level: The setting WEBHOOK_LOG.
    :param rate: The setting WEBHOOK_LOG_RATE.
    """

    log = Logger(namespace="errklein.web")

    def __init__(
        self,
        now: Callable[[], float],
        journal: Journal | None = None,
        later: LaterDeliveries | None = None,
        waits: ThreadWaits | None = None,
        level: str = "off",
        rate: Rate | None = None,
    ) -> None:
        self._journal = journal
        self._later = later
        self._waits = waits
        self._now = now
        self._warnings = RateLimit(now)
        self.running: set[int] = set()
        """The ids of logged deliveries whose handler is running after the response, so that no replay begins meanwhile."""
        self.refused: dict[str, StoredDelivery] = {}
        """The last refused request of each webhook, recorded or not."""
        self._with_bodies = level == "bodies"
        self._buckets = None if rate is None else TokenBuckets(now, rate.interval, rate.count)
        self._logged = _Logged(self) if journal is not None and level != "off" else None

    def plain(self) -> OutcomeRecorder | None:
        """Return the recorder for a delivery that is only logged."""
        return self._logged

    def look(self) -> None:
        """Look for deliveries that can run now, since a plugin was activated."""
        if self._later is not None:
            self._later.look()

    def runs_later(self, hook: Hook) -> bool:
        """Return whether the source gets its response before the handler runs."""
        declaration = hook.declaration
        is_paused = self._later is not None and hook.full_name in self._later.paused
        return declaration.recorded and (declaration.ack == "now" or is_paused)

    async def accept(self, hook: Hook, request: WebhookRequest, body: bytes) -> ImmediateResponse:
        """Record a request whose handler runs later, and return the response.

        A repeated request is recorded as a duplicate, and gets the same response.

        :param body: The body of the request.
        :raises Problem: The request can't be recorded.
        """
        if self._later is None:
            raise Problem(503, "the journal is not available", retry_after(_RETRY_AFTER))
        # A delivery of a paused webhook has the same promise.
        delivery = self._delivery(hook, request, DeliveryState.RECEIVED, body, ack="now")
        try:
            await self._later.accept(delivery, hook.declaration.window)
        except JournalError as error:
            raise self._unavailable(error) from error
        return ImmediateResponse(202, ((b"X-Delivery-Id", b"%d" % delivery.id),), b"")

    async def begin(
        self, hook: Hook, request: WebhookRequest, body: bytes
    ) -> OutcomeRecorder | ImmediateResponse | None:
        """Return the recorder for a delivery that runs now, or the response to a repeated request.

        :param body: The body of the request.
        :raises Problem: The first of repeated requests is still being handled, or the request can't be recorded.
        """
        is_unique = request.source_id and hook.declaration.dedupe and hook.declaration.recorded
        if not is_unique or self._journal is None or self._later is None:
            return self._logged
        delivery = self._delivery(hook, request, DeliveryState.RECEIVED, body)
        try:
            earlier = await self._journal.record(delivery, lease=_FOREVER, window=hook.declaration.window)
        except JournalError as error:
            raise self._unavailable(error) from error
        if earlier is None:
            return _Claim(self._later, delivery.id)
        if earlier.outcome is None or earlier.state is not DeliveryState.DONE:
            raise Problem(409, "the same delivery is still being handled", retry_after(_RETRY_AFTER))
        return ImmediateResponse(earlier.outcome.status, (), b"")

    def refuse(self, hook: Hook, request: WebhookRequest, problem: Problem) -> None:
        """Respond with an error, and log the request without its body."""
        if self._journal is not None and hook.declaration.recorded and problem.status != 409:
            cause = f": {problem.__cause__}" if isinstance(problem.__cause__, JournalError) else ""
            outcome = Outcome(problem.status, problem.detail + cause)
            refused = self._delivery(hook, request, DeliveryState.REFUSED, None, outcome=outcome)
            if self._logged is not None:
                self._journal.log(refused)
            assert refused.request is not None
            self.refused[hook.full_name] = refused._replace(request=refused.request._replace(headers=(), target=""))
        request.send_error(problem)

    def responded(self, delivery: Delivery, hook: Hook) -> None:
        """Log a delivery that has its response. If a webhook has very many successful ones, further ones are only counted."""
        request, journal = delivery.request, self._journal
        assert journal is not None
        if not hook.declaration.recorded:
            return
        if self._buckets is not None and 0 < delivery.status < 400 and self._buckets.bucket(hook.full_name).take():
            journal.count(hook.full_name)
            return
        outcome = Outcome(delivery.status, delivery.reason, request.site.now() - request.begun)
        state = DeliveryState.DONE if outcome.succeeded else DeliveryState.FAILED
        body = delivery.body() if self._with_bodies and request.body_size <= MAX_LOGGED_BODY else None
        journal.log(self._delivery(hook, request, state, body, outcome=outcome))

    def identify(self, request: WebhookRequest) -> tuple[float, int]:
        """Return the time and the id of a request's delivery. Both increase with each new request. Called on the reactor."""
        if request.received_at is None:
            request.received_at = self._now()
            request.delivery_id = 0 if self._journal is None else self._journal.next_id()
        return request.received_at, request.delivery_id

    def info(self, request: WebhookRequest) -> DeliveryInfo:
        """Return the delivery of a request, for its handler. May be called in any thread."""
        assert request.received_at is not None
        attempt = 1 if request.recorded is None else request.recorded.attempt
        time = datetime.fromtimestamp(request.received_at, UTC)
        number = request.delivery_id
        return DeliveryInfo(number, attempt, time, request.origin, partial(self._once, number))

    def _once(self, delivery_id: int, key: str) -> Any:
        if self._journal is None or self._waits is None:
            raise JournalError("the journal is not available")
        return self._waits.result_of(self._journal.once, delivery_id, key)

    def _delivery(
        self,
        hook: Hook,
        request: WebhookRequest,
        state: DeliveryState,
        body: bytes | None,
        outcome: Outcome | None = None,
        ack: str = "",
    ) -> StoredDelivery:
        head, client, server, verification = request.head, request.client, request.host, hook.declaration.verify
        # A request that is refused before its body is complete has none yet.
        received_at, number = self.identify(request)
        return StoredDelivery(
            id=number,
            webhook=hook.full_name,
            state=state,
            received_at=received_at,
            request_id=request.request_id,
            ack=ack or hook.declaration.ack,
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
        )

    def _unavailable(self, error: JournalError) -> Problem:
        if self._warnings.allows(str(error)):
            self.log.warn("Webhooks can't be recorded, and get 503: {reason}", reason=str(error))
        return Problem(503, "the request could not be recorded", retry_after(_RETRY_AFTER))


class _Logged:
    """Logs deliveries when they have their response."""

    claims = False

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def responded(self, delivery: Delivery) -> None:
        hook = delivery.matched
        self._recording.running.add(delivery.request.delivery_id)
        if hook is not None:
            self._recording.responded(delivery, hook)

    def ended(self, delivery: Delivery) -> None:
        self._recording.running.discard(delivery.request.delivery_id)


class _Claim:
    """Records the outcome of a delivery whose key was recorded at its begin."""

    claims = True

    def __init__(self, later: LaterDeliveries, delivery_id: int) -> None:
        self._later = later
        self._id = delivery_id

    def responded(self, delivery: Delivery) -> None:
        pass

    def ended(self, delivery: Delivery) -> None:
        request = delivery.request
        self._later.finish(self._id, Outcome(delivery.status, delivery.reason, request.site.now() - request.begun))
