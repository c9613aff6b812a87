"""The checks of a request for a webhook: limits of rates, and the verification of its source. And its record: what a request and
its outcome become in the journal, and the request that is made of a record again."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from twisted.logger import Logger
from twisted.web.http import HTTPChannel

from errklein.config.secrets import SecretError, read_secrets
from errklein.listening import address_of, client_of
from errklein.ports.journal import JournalError
from errklein.running import Overloaded, RateLimit, TokenBucket, TokenBuckets
from errklein.verify import Expired, Header, ImmediateResponse, Received, Refused, UnusableSecret
from errklein.web._delivery import Lanes, takes_long_to_decode
from errklein.web._error_pages import Problem, retry_after
from errklein.web._http1 import Head
from errklein.web._settings import BotParts, WebSettings
from errklein.web._site import REFUSALS
from errklein.web.facade.request import DeliveryInfo
from errklein.web.request import HTTPRequest, WebhookRequest
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import MAX_LOGGED_BODY, DeliveryState, Outcome, StoredDelivery, StoredRequest
from errklein.webhooks.option_values import Rate
from errklein.webhooks.payload import BadPayload
from errklein.webhooks.source import ACCEPTED, wanted

if TYPE_CHECKING:
    from errklein.web._delivery import Delivery
    from errklein.web._site import Site


class Checked(NamedTuple):
    body: bytes
    source_id: str  # what identifies repeated requests; empty if nothing does
    answer: ImmediateResponse | None  # the response to send instead of the handler's, if any
    response: ImmediateResponse  # the response as soon as the request is recorded
    ignored: str = ""  # why the handler isn't called; "" if it is, or if the response is that of the verification


_UNAVAILABLE = "the secret of this webhook is not available; the log has the details"
_KINDS = {408: "slow", 413: "size", 429: "rate"}
_CHALLENGES = {"basic": b'Basic realm="errklein"', "bearer": b"Bearer"}


class Checks:
    """Checks the requests for webhooks that have a verification or a limit. Each check raises Problem."""

    log = Logger(namespace="errklein.web")

    def __init__(
        self, settings: WebSettings, lanes: Lanes, bot: BotParts, clock: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self._public_url = settings.public_url and settings.public_url + settings.base_path
        self._settings, self._large = settings, settings.off_reactor_size
        self._lanes, self._bot = lanes, bot
        self._clock, self._now = clock, now
        self.limit_clients(settings.client_rate)
        self._rates: WeakKeyDictionary[Hook, TokenBucket] = WeakKeyDictionary()
        self._secrets: WeakKeyDictionary[Hook, list[bytes]] = WeakKeyDictionary()
        self._warnings = RateLimit(clock)
        self.unusable: dict[str, str] = {}  # why webhooks respond with 503 to all requests, by their names
        # When each secret has last verified a request since the start, by the webhook's name and `Verification.match`.
        self.matched: dict[tuple[str, str], float] = {}

    def limit_clients(self, rate: Rate | None) -> None:
        self._clients = None if rate is None else TokenBuckets(self._clock, rate.interval, rate.count)

    def prepare(self, hook: Hook) -> Sequence[bytes]:
        """Read the secrets of a webhook that is being installed, and return them. Administrators are notified of missing ones."""
        self.unusable.pop(hook.full_name, None)
        declaration = hook.declaration
        if (rate := declaration.rate) is not None:
            self._rates[hook] = TokenBucket(self._clock, rate.interval, rate.count)
        if declaration.verify is None:
            return ()
        self._secrets[hook] = []
        try:
            self._secrets[hook] = read_secrets(declaration.verify, self._settings.secrets_in)
        except SecretError as error:
            reason = self.unusable[hook.full_name] = str(error)
            # Those of rooms may be thousands, which one notice names after a restore.
            if hook.owner and not hook.elsewhere:
                self._bot.report(lambda events: events.hook_unusable(hook, reason))
        return self._secrets[hook]

    def has_same_secrets(self, hook: Hook | None) -> bool:
        """Return whether the secrets of a webhook are still those that were read for it."""
        if hook is None:
            return False
        with suppress(SecretError):
            return read_secrets(hook.declaration.verify, self._settings.secrets_in) == self._secrets.get(hook)
        return False

    def client_rate(self, hook: Hook, request: WebhookRequest) -> None:
        """Limit the requests of a client that aren't verified, also those for `/echo`. `verify` gives a token back."""
        declaration = hook.declaration
        if self._clients is not None and (declaration.verify is not None or not declaration.may_be_recorded):
            _limit(self._clients.bucket(client_of(_host(request))))

    def route_rate(self, hook: Hook) -> None:
        """Limit the requests of all clients that may be handled."""
        if (bucket := self._rates.get(hook)) is not None:
            _limit(bucket)

    def note_refusal(self, hook: Hook, request: WebhookRequest, problem: Problem) -> None:
        """Count a request that is refused. Report it, and log it once a minute, unless that is due to the connection or to errklein."""
        # With 409, the first of the same requests is being handled.
        if problem.status == 409:
            return
        kind = problem.kind or _KINDS.get(problem.status, "unavailable")
        request.site.counts.add_refused(hook.full_name, kind)
        if kind in ("slow", "unavailable"):
            return
        client = _host(request)
        if self._warnings.allows((hook.full_name, kind)):
            text = "A request for {webhook} from {client} was refused: {reason} (request {request_id}; "
            fields = {"webhook": hook.full_name, "client": client, "reason": problem.detail}
            ending = "others within a minute are not logged)"
            self.log.warn(text + ending, **fields, request_id=request.request_id)
        self._bot.report(lambda events: events.request_refused(hook, kind, problem.detail, client_of(client)))

    async def verify(self, hook: Hook, request: WebhookRequest) -> Checked:
        """Verify the source of a request, and parse its body if the webhook names the source."""
        declaration, verification = hook.declaration, hook.declaration.verify
        if hook.stands_by and hook not in self._secrets:
            self.prepare(hook)
        secrets = self._secrets.get(hook, [])
        if verification is not None and ((verification.secrets and not secrets) or verification.unusable):
            raise Problem(503, _UNAVAILABLE)

        def check() -> Checked:
            received, source = self.received(request), declaration.source
            answer = None
            if verification is not None:
                answer = verification.verify(received, secrets)
                one, *others = verification.secrets or ("",)
                by = verification.match(received, secrets) if others or not one else one
                self.matched[hook.full_name, by] = received.now
            response, ignored = declaration.response or ACCEPTED, ""
            if source is not None and answer is None:
                response = declaration.response or source.respond(received)
                event = source.read(received).name
                if not wanted(event, declaration.events):
                    answer, ignored = response, f"event {event!r} is not among its events"
            return Checked(received.body, _key(hook, received), answer, response, ignored)

        is_slow = request.on_disk or request.body_size > self._large
        try:
            if is_slow or (declaration.source is not None and takes_long_to_decode(request, self._large)):
                checked: Checked = await self._lanes.run(request, check, lambda result: result)
            else:
                checked = check()
        except UnusableSecret as error:
            reason = str(error)
            if self._warnings.allows((hook.full_name, reason)):
                self._bot.report(lambda events: events.hook_unusable(hook, reason))
            raise Problem(503, _UNAVAILABLE) from None
        except Expired as expired:
            raise Problem(410, str(expired)) from None
        except Refused as refused:
            challenge = None if verification is None else _CHALLENGES.get(verification.scheme)
            headers = () if challenge is None else ((b"WWW-Authenticate", challenge),)
            kind = refused.kind if refused.kind in REFUSALS else "signature"
            raise Problem(401, f"the source could not be verified: {refused}", headers, kind) from None
        except BadPayload as bad:
            raise Problem(bad.status, bad.detail, kind="payload") from None
        except Overloaded as overloaded:
            raise Problem(503, str(overloaded), retry_after(overloaded.retry_after)) from None
        if self._clients is not None and verification is not None:
            self._clients.bucket(client_of(_host(request))).give_back()
        return checked

    def source_id(self, hook: Hook, request: WebhookRequest) -> str:
        """Return the id that the source has given a request that is refused; empty if it is unknown, or if the body is large."""
        if request.on_disk or request.body_size > self._large:
            return ""
        try:
            return _source_id(hook, self.received(request))
        except Exception:
            # A plugin's own function may rely on a body that is verified.
            return ""

    def sign(
        self, hook: Hook, method: str, target: str, headers: Sequence[Header], body: bytes, host: str
    ) -> Sequence[Header]:
        """Return the headers of the signature with which a test's request passes the webhook's verification. Raises SecretError:
        the secret is missing. ValueError: the request can't be signed."""
        verification, secrets = hook.declaration.verify, self._secrets.get(hook, [])
        assert verification is not None
        if verification.secrets and not secrets:
            raise SecretError(f"{' or '.join(verification.secrets)} was missing when {hook} was activated")
        url = (self._public_url or f"http://{host}{self._settings.base_path}") + target
        received = Received(method, url, headers, body, "", self._now())
        return verification.sign(received, secrets[0] if secrets else b"")

    def received(self, request: WebhookRequest) -> Received:
        scheme, host = "https" if request.secure else "http", request.first_header(b"host").decode("latin-1")
        site = self._public_url or f"{scheme}://{host}{request.base_path}"
        headers = tuple(zip(request.head.names, request.head.values, strict=True))
        # Not the target, which may be absolute, or without the base path, which a proxy has removed.
        target = request.path + (b"?" + request.query if request.query else b"")
        url = site + target.decode("latin-1")
        method, host = request.method.decode("ascii"), _host(request)
        return Received(method, url, headers, request.body(), host, self._now(), request.path_token)


def _host(request: WebhookRequest) -> str:
    return str(getattr(request.client, "host", ""))


def _limit(bucket: TokenBucket) -> None:
    if seconds := bucket.take():
        raise Problem(429, "too many requests", retry_after(seconds))


def _key(hook: Hook, received: Received) -> str:
    if hook.declaration.dedupe == "content":
        content = b"%b %b\n%b" % (received.method.encode(), received.url.encode(), received.body)
        return hashlib.sha256(content).hexdigest()
    return _source_id(hook, received)


def _source_id(hook: Hook, received: Received) -> str:
    dedupe, verification = hook.declaration.dedupe or "", hook.declaration.verify
    if dedupe.startswith("header:"):
        name = dedupe.removeprefix("header:").lower().encode()
        # If the header is repeated, its values are the key together.
        return b",".join(value for key, value in received.headers if key == name).decode("latin-1")
    if verification is None or verification.delivery_id is None:
        return ""
    return verification.delivery_id(received) or ""


_RETRY_AFTER = 10.0
_FOREVER = 1e9  # the lease of a delivery that only this process can end, in seconds


class Recording:
    """Writes requests for webhooks and their outcomes to the journal. Without one, requests that must be recorded get 503."""

    _logger = Logger(namespace="errklein.web")

    def __init__(self, settings: WebSettings, bot: BotParts, now: Callable[[], float]) -> None:
        self._journal, self._later, self._waits = bot.journal, bot.later, bot.waits
        self.now = now
        self.next_id: Callable[[], int] = (lambda: 0) if bot.journal is None else bot.journal.next_id
        self.paused: Collection[str] = () if bot.later is None else bot.later.paused  # the webhooks that are paused
        self._unsure: deque[int] = deque(maxlen=10_000)  # claims that failed, though they may be stored
        self.overdue: set[int] = set()  # deliveries whose handler runs after 504, so that no replay begins meanwhile
        self.refused: dict[str, StoredDelivery] = {}  # the last refused request of each webhook, logged or not
        self._warnings = RateLimit(now)
        rate = settings.log_rate
        self._logs = bot.journal is not None and settings.delivery_log != "off"
        self._with_bodies = settings.delivery_log == "bodies"
        self._buckets = None if rate is None else TokenBuckets(now, rate.interval, rate.count)

    def runs_later(self, hook: Hook) -> bool:
        """Return whether the source gets its response before the handler runs."""
        declaration = hook.declaration
        return declaration.may_be_recorded and (declaration.ack == "now" or hook.full_name in self.paused)

    async def accept(
        self, hook: Hook, request: WebhookRequest, body: bytes, response: ImmediateResponse = ACCEPTED
    ) -> ImmediateResponse:
        """Record a request whose handler runs later, as a duplicate if it is repeated. Return the response with the id. Raises
        Problem."""
        if self._later is None:
            raise Problem(503, "the journal is not available", retry_after(_RETRY_AFTER))
        received = self._record_of(hook, request, DeliveryState.RECEIVED, body, None)
        # A delivery of a paused webhook has the same promise.
        delivery = received._replace(ack="now", answered=0 if request.origin else response.status)
        try:
            await self._later.accept(delivery, hook.declaration.window)
        except JournalError as error:
            raise self.unavailable(error) from error
        headers = (*response.headers, (b"X-Delivery-Id", b"%d" % delivery.id))
        return ImmediateResponse(response.status, headers, response.body)

    async def claim(
        self, hook: Hook, request: WebhookRequest, body: bytes
    ) -> Callable[[Delivery], None] | ImmediateResponse | None:
        """Record a request that runs now, if repeated ones are recognised. Return what records the end of the delivery, or the
        response to a repeated request; None if repeated requests run, too. Raises Problem, also while the first one is still
        being handled."""
        is_unique = request.source_id and hook.declaration.dedupe and hook.declaration.may_be_recorded
        if not is_unique or self._journal is None or self._later is None:
            return None
        delivery = self._record_of(hook, request, DeliveryState.RECEIVED, body, None)
        try:
            earlier = await self._journal.record(delivery, lease=_FOREVER, window=hook.declaration.window)
        except JournalError as error:
            self._unsure.append(delivery.id)
            raise self.unavailable(error) from error
        if earlier is None:
            later = self._later
            return lambda ended: later.finish(delivery.id, ended.outcome())
        if earlier.status_of_repeated == 409:
            if earlier.id in self._unsure:
                self._unsure.remove(earlier.id)
                # It never ran, so a further request may.
                self._later.finish(earlier.id, Outcome(503, "the request could not be recorded"))
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
        number, time = request.delivery_id, datetime.fromtimestamp(request.received_at, UTC)

        def once(key: str) -> Any:
            if self._journal is None or self._waits is None:
                raise JournalError("the journal is not available")
            return self._waits.result_of(self._journal.once, number, key)

        return DeliveryInfo(number, attempt, time, request.origin, once)

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

    def unavailable(self, error: JournalError) -> Problem:
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
    """The connection of a recorded request: it accepts everything that is written, and forgets it. A delivery by Twisted's
    resources ends with their response. The addresses are the client's, as proxies have reported them."""

    def __init__(self, stored: StoredRequest, origin: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.origin = origin
        self.peer = address_of(stored.client, 0)
        self.host = address_of(*stored.server)
        self.plain = not stored.secure

    def write(self, *data: Any) -> None:
        """Do nothing."""

    writeSequence = writeHeaders = abort = requestDone = write
