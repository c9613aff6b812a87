"""Verification of the sources of webhooks, as pure functions of a request and secrets. Each scheme is a function that
returns a `Verification`, for `@webhook("/github", verify=github(secret="env:GH_SECRET"))`, with the page of the service that describes it."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from binascii import hexlify, unhexlify
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit, urlunsplit

from errklein.verify import _verification as forms
from errklein.verify._verification import (
    ADDRESS_SCHEME,
    SCHEMES,
    Expired,
    Header,
    ImmediateResponse,
    Received,
    Refused,
    Secrets,
    UnusableSecret,
    Verification,
    digest_of,
    hmac_signature,
    parse_reference,
    references,
    scheme,
    standard_webhooks,
    url_token,
    verification,
)

__all__ = [
    "ADDRESS_SCHEME",
    "SCHEMES",
    "Expired",
    "Header",
    "ImmediateResponse",
    "Received",
    "Refused",
    "Secrets",
    "UnusableSecret",
    "Verification",
    "addresses",
    "basic",
    "bearer",
    "bitbucket",
    "digest_of",
    "discord",
    "gitea",
    "github",
    "gitlab",
    "hmac_signature",
    "linear",
    "pagerduty",
    "parse_reference",
    "references",
    "sentry",
    "shopify",
    "slack",
    "standard_webhooks",
    "stripe",
    "telegram",
    "twilio",
    "url_token",
    "verification",
]


@scheme
def addresses(*, allowed: str | Sequence[str]) -> Verification:
    """Return the verification by the client's address, for sources that have no secret but publish their addresses. `allowed` are
    addresses and ranges, such as "192.0.2.7", "198.51.100.0/24" and "2001:db8::/32". Behind a proxy, the address is the one that
    trusted proxies report; see TRUSTED_PROXIES."""
    given = (allowed,) if isinstance(allowed, str) else tuple(allowed)
    if not given:
        raise ValueError("no address is allowed; name addresses or ranges, such as '198.51.100.0/24'")
    try:
        networks = [ip_network(one) for one in given]
    except ValueError as error:
        raise ValueError(f"invalid address or range: {error}") from None

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        try:
            peer = ip_address(received.peer)
        except ValueError:
            raise Refused("the client's address is unknown", "address") from None
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped:
            peer = peer.ipv4_mapped
        if not any(peer in network for network in networks):
            raise Refused("the client's address isn't allowed", "address")

    return Verification("addresses", check)


@scheme
def basic(*, user: str, secret: Secrets) -> Verification:
    """Return the verification by the header `Authorization: Basic …` (RFC 7617), with a user name and, as the secret, a
    password."""
    if not isinstance(user, str) or ":" in user:
        raise ValueError(f"invalid user name: {user!r}; expected a text without a colon")

    def encode(password: bytes) -> bytes:
        return b64encode(user.encode() + b":" + password)

    return forms.token_in_header("basic", b"authorization", secret, kind=b"Basic", encode=encode)


@scheme
def bearer(*, secret: Secrets) -> Verification:
    """Return the verification by the header `Authorization: Bearer TOKEN` (RFC 6750, 2.1). The secret is the token."""
    return forms.token_in_header("bearer", b"authorization", secret, kind=b"Bearer")


@scheme
def bitbucket(*, secret: Secrets) -> Verification:
    """Return the verification of Bitbucket's and Jira's webhooks, by the HMAC-SHA256 of the body in `X-Hub-Signature`.
    GitHub's header of this name has an HMAC-SHA1. See
    https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/."""
    form, ident = (
        forms.SignedBody((b"x-hub-signature",), prefix=b"sha256="),
        forms.HeaderId(b"x-request-uuid", b"x-request-id"),
    )
    return form.verification("bitbucket", secret, ident, "X-Event-Key")


_OF_DISCORD = b"x-signature-ed25519"


@scheme
def discord(*, public_key: str | Sequence[str], tolerance: float = 300.0) -> Verification:
    """Return the verification of Discord's interactions and webhook events, by the Ed25519 signature of time and body. `public_key` is
    the application's in hexadecimal, which isn't secret; or several. `tolerance` is the greatest difference of the signed time to the
    present time, in seconds. Discord's PING, with which it verifies a URL, gets its response. See
    https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint."""
    given = (public_key,) if isinstance(public_key, str) else public_key
    keys = [forms.load_key(bytes.fromhex, key) for key in given]
    if not keys:
        raise ValueError("no public key is given; Discord shows that of the application")
    forms.check_tolerance(tolerance)

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        timestamp, signature = forms.required(received, b"x-signature-timestamp"), forms.required(received, _OF_DISCORD)
        forms.check_time(timestamp, received.now, tolerance)
        if not any(forms.verifies(key, unhexlify, hexlify, signature, timestamp + received.body) for key in keys):
            raise Refused(forms.NO_MATCH)
        # A PING has the type 1 of interactions, or the type 0 of webhook events, whose type 1 is an event.
        payload = forms.json_of(received.body)
        kind = payload.get("type") if isinstance(payload, dict) else None
        if kind == 1 and "event" not in payload:
            return ImmediateResponse(200, [(b"content-type", b"application/json")], b'{"type":1}')
        return ImmediateResponse(204, [], b"") if kind == 0 else None

    return Verification("discord", check, delivery_id=forms.id_in_json("id"), secret_headers=frozenset({_OF_DISCORD}))


@scheme
def gitea(*, secret: Secrets) -> Verification:
    """Return the verification of webhooks of Gitea, Forgejo and Gogs, by the HMAC-SHA256 of the body. The three send the
    same signature, under several names of headers. See https://docs.gitea.com/usage/webhooks and
    https://forgejo.org/docs/latest/user/webhooks/."""
    form = forms.SignedBody((b"x-gitea-signature", b"x-forgejo-signature", b"x-gogs-signature"))
    ident = forms.HeaderId(b"x-gitea-delivery", b"x-forgejo-delivery", b"x-gogs-delivery")
    return form.verification("gitea", secret, ident, "X-Gitea-Event")


@scheme
def github(*, secret: Secrets) -> Verification:
    """Return the verification of GitHub's webhooks, by the HMAC-SHA256 of the body in `X-Hub-Signature-256`. GitHub sends
    no timestamp. A delivery that is sent again has the same `X-GitHub-Delivery`. See
    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries."""
    form, ident = forms.SignedBody((b"x-hub-signature-256",), prefix=b"sha256="), forms.HeaderId(b"x-github-delivery")
    return form.verification("github", secret, ident, "X-GitHub-Event")


@scheme
def gitlab(*, secret: Secrets, signed: bool = False, tolerance: float = 300.0) -> Verification:
    """Return the verification of GitLab's webhooks, by the secret token in `X-Gitlab-Token`, or by a signature. If it is `signed`, the
    secret is a signing token, "whsec_…", the signature is that of Standard Webhooks, and `tolerance` is the greatest difference of the
    signed time to the present time, in seconds. GitLab repeats the `Idempotency-Key` when it sends a delivery again. See
    https://docs.gitlab.com/user/project/integrations/webhooks/."""
    if signed:
        return forms.StandardWebhooks(tolerance).verification("gitlab", secret, "X-Gitlab-Event")
    return forms.token_in_header(
        "gitlab", b"x-gitlab-token", secret, forms.HeaderId(b"idempotency-key"), "X-Gitlab-Event"
    )


@scheme
def linear(*, secret: Secrets, tolerance: float = 60.0) -> Verification:
    """Return the verification of Linear's webhooks, by the HMAC-SHA256 of the body in `Linear-Signature`. `tolerance` is the greatest
    difference of `webhookTimestamp` in the body to the present time, in seconds. See https://linear.app/developers/webhooks."""
    form = forms.SignedBody((b"linear-signature",))
    forms.check_tolerance(tolerance)

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        form.check(received, secrets)
        body = forms.json_of(received.body)
        milliseconds = body.get("webhookTimestamp") if isinstance(body, dict) else None
        seconds = b"%d" % (milliseconds // 1000) if isinstance(milliseconds, int) else b""
        forms.check_time(seconds, received.now, tolerance)

    verification = form.verification("linear", secret, forms.HeaderId(b"linear-delivery"), "Linear-Event")
    return replace(verification, check=check)


@scheme
def pagerduty(*, secret: Secrets) -> Verification:
    """Return the verification of PagerDuty's webhooks, version 3, by an HMAC-SHA256 of the body in `X-PagerDuty-Signature`.
    The header has several signatures while PagerDuty replaces the secret. See
    https://developer.pagerduty.com/docs/verifying-webhook-signatures."""
    form = forms.SignedBody((b"x-pagerduty-signature",), prefix=b"v1=", separator=b",")
    return form.verification("pagerduty", secret, forms.id_in_json("event", "id"))


@scheme
def sentry(*, secret: Secrets) -> Verification:
    """Return the verification of Sentry's webhooks, by the HMAC-SHA256 of the body in `Sentry-Hook-Signature`. The secret
    is the client secret of the integration. Sentry waits one second for the response. See
    https://docs.sentry.io/organization/integrations/integration-platform/webhooks/."""
    form = forms.SignedBody((b"sentry-hook-signature",))
    return form.verification("sentry", secret, forms.HeaderId(b"request-id"), "Sentry-Hook-Resource")


@scheme
def shopify(*, secret: Secrets) -> Verification:
    """Return the verification of Shopify's webhooks and events, by the HMAC-SHA256 of the body in `X-Shopify-Hmac-SHA256`.
    The secret is the client secret of the app. The names of the headers of events have no `X-`. See
    https://shopify.dev/docs/apps/build/webhooks/verify-deliveries."""
    form = forms.SignedBody((b"x-shopify-hmac-sha256", b"shopify-hmac-sha256"), encode=b64encode)
    ident = forms.HeaderId(b"x-shopify-webhook-id", b"shopify-webhook-id")
    return form.verification("shopify", secret, ident, "X-Shopify-Topic")


@scheme
def slack(*, secret: Secrets, tolerance: float = 300.0) -> Verification:
    """Return the verification of Slack's requests, by the HMAC-SHA256 of time and body in `X-Slack-Signature`. Slack's
    challenge, with which it verifies a URL of the Events API, is returned to it. See
    https://docs.slack.dev/authentication/verifying-requests-from-slack."""
    form = forms.SignedBody(
        (b"x-slack-signature",),
        prefix=b"v0=",
        signed=b"v0:{timestamp}:{body}",
        timestamp_header=b"x-slack-request-timestamp",
        tolerance=tolerance,
    )

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        form.check(received, secrets)
        event: Any = forms.json_of(received.body) if b"url_verification" in received.body else None
        is_challenge = isinstance(event, dict) and event.get("type") == "url_verification"
        challenge = event.get("challenge") if is_challenge else None
        if not isinstance(challenge, str):
            return None
        kind = b"text/plain; charset=utf-8"
        return ImmediateResponse(200, [(b"content-type", kind)], challenge.encode("utf-8", "replace"))

    return replace(form.verification("slack", secret, forms.id_in_json("event_id")), check=check)


@scheme
def stripe(*, secret: Secrets, tolerance: float = 300.0) -> Verification:
    """Return the verification of Stripe's webhooks, by the HMAC-SHA256 of time and body in `Stripe-Signature`. The secret is used with
    its prefix "whsec_". `tolerance` is the greatest difference of the signed time to the present time, in seconds. The id of a delivery
    is that of the event in its body. See https://docs.stripe.com/webhooks/signature."""
    signed = b"{timestamp}.{body}"
    form = forms.SignedBody(
        (b"stripe-signature",), b"v1=", b",", signed=signed, timestamp_item=b"t=", tolerance=tolerance
    )
    return form.verification("stripe", secret, forms.id_in_json("id"))


@scheme
def telegram(*, secret: Secrets) -> Verification:
    """Return the verification of a Telegram bot's updates, by the `secret_token` that was given to setWebhook. See
    https://core.telegram.org/bots/api#setwebhook."""
    return forms.token_in_header("telegram", b"x-telegram-bot-api-secret-token", secret, forms.id_in_json("update_id"))


_OF_TWILIO = b"x-twilio-signature"
_PORTS = {"http": 80, "https": 443}
_MOST_FIELDS = 1000


@scheme
def twilio(*, secret: Secrets, algorithm: str = "sha1") -> Verification:
    """Return the verification of Twilio's webhooks, by the HMAC of URL and form in `X-Twilio-Signature`. The secret is the auth token,
    with the algorithm "sha1", or the shared key of a webhooks rule, with "sha256" for HMAC_SHA256. The URL is that of PUBLIC_URL. A
    body that isn't a form is verified by its digest in the query, `bodySHA256`. See
    https://www.twilio.com/docs/usage/security#validating-requests."""
    if algorithm not in ("sha1", "sha256"):
        raise ValueError(f"invalid algorithm: {algorithm!r}; expected 'sha1' or 'sha256'")
    find_id, options = forms.HeaderId(b"i-twilio-idempotency-token"), {"algorithm": algorithm}
    signer, names = _sign_for_twilio, frozenset({_OF_TWILIO})
    return Verification("twilio", _check_twilio, references(secret), options, find_id, names, signer)


def _check_twilio(received: Received, secrets: Sequence[bytes], algorithm: str) -> None:
    given, fields = forms.required(received, _OF_TWILIO), _signed_fields(received)
    messages = [url + fields for url in _spellings(received.url)]
    forms.match([given], [_twilio_signature(one, secret, algorithm) for one in messages for secret in secrets])


def _sign_for_twilio(received: Received, secret: bytes, algorithm: str) -> Sequence[Header]:
    return [(_OF_TWILIO, _twilio_signature(_bytes(received.url) + _signed_fields(received), secret, algorithm))]


def _twilio_signature(message: bytes, secret: bytes, algorithm: str) -> bytes:
    return b64encode(hmac.digest(secret, message, algorithm))


def _spellings(url: str) -> Sequence[bytes]:
    """Return the URL as it is, without its port, and with it: Twilio's services differ in what they sign. Raises Refused."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        raise Refused("the URL is invalid", "malformed") from None
    host = parts.netloc.removesuffix(f":{parts.port}") if parts.port else parts.netloc
    both = (urlunsplit(parts._replace(netloc=netloc)) for netloc in (host, f"{host}:{port}"))
    return [_bytes(one) for one in dict.fromkeys((url, *both))]


def _signed_fields(received: Received) -> bytes:
    """Return the form's names and values in order, without separators; b"" for a digest that fits the body. Raises Refused."""
    digests = parse_qs(received.url.partition("?")[2].partition("#")[0]).get("bodySHA256")
    if digests:
        forms.match([_bytes(digests[0])], [hashlib.sha256(received.body).hexdigest().encode()])
        return b""
    if not received.body:
        return b""
    kind = received.header(b"content-type").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise Refused("the body isn't a form, and the query has no digest of it", "malformed")
    try:
        text = received.body.decode("utf-8", "surrogateescape")
        fields = parse_qsl(text, True, errors="surrogateescape", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Refused("the form is invalid", "malformed") from None
    return b"".join(_bytes(name + value) for name, value in sorted(set(fields)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
