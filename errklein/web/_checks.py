"""The checks of a request for a webhook: limits of rates, and the verification of its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple
from weakref import WeakKeyDictionary

from twisted.logger import Logger

from errklein.config.secrets import SecretError, read_secrets
from errklein.listening import client_of
from errklein.running import Overloaded, RateLimit, TokenBucket, TokenBuckets
from errklein.verify import Expired, Header, ImmediateResponse, Received, Refused, UnusableSecret
from errklein.web._delivery import Lanes, takes_long_to_decode
from errklein.web._error_pages import Problem, retry_after
from errklein.web._settings import BotParts, WebSettings
from errklein.web._site import REFUSALS
from errklein.web.request import WebhookRequest
from errklein.webhooks import Hook
from errklein.webhooks.option_values import Rate
from errklein.webhooks.payload import BadPayload
from errklein.webhooks.source import ACCEPTED, wanted


class Checked(NamedTuple):
    """A request that is authentic."""

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
        self._settings = settings
        self._large = settings.off_reactor_size
        self._lanes = lanes
        self._bot = bot
        self._clock = clock
        self._now = now
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
            read = read_secrets(declaration.verify, self._settings.secrets_in)
        except SecretError as error:
            reason = self.unusable[hook.full_name] = str(error)
            # Those of rooms may be thousands, which one notice names after a restore.
            if hook.owner:
                self._bot.report(lambda events: events.hook_unusable(hook, reason))
            return ()
        self._secrets[hook] = read
        return read

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
        if problem.status == 409:  # The first of the same requests is being handled.
            return
        kind = problem.kind or _KINDS.get(problem.status, "unavailable")
        request.site.counts.add_refused(hook.full_name, kind)
        if kind in ("slow", "unavailable"):
            return
        client = _host(request)
        if self._warnings.allows((hook.full_name, kind)):
            others = "others within a minute are not logged"
            text = (
                f"A request for {{webhook}} from {{client}} was refused: {{reason}} (request {{request_id}}; {others})"
            )
            fields = {"webhook": hook.full_name, "client": client, "reason": problem.detail}
            self.log.warn(text, **fields, request_id=request.request_id)
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

        size = request.body_size
        is_slow = request.on_disk or size > self._large
        try:
            if is_slow or (declaration.source is not None and takes_long_to_decode(request, self._large)):
                client = client_of(_host(request))
                checked: Checked = await self._lanes.lane(size).run(client, size, lambda: check, lambda result: result)
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
        the secret was missing when the webhook was installed. ValueError: the request can't be signed."""
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
