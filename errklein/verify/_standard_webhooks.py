"""Standard Webhooks, which many sources use, also through Svix: https://www.standardwebhooks.com."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from errklein.verify._algorithms import NO_MATCH, check_time, check_tolerance, load_key, matches, required, verifies
from errklein.verify._verification import (
    Header,
    HeaderId,
    Received,
    Refused,
    Secrets,
    UnusableSecret,
    Verification,
    references,
    scheme,
)

_MOST_SIGNATURES = 10
"""A source has one key, and for a while two. More signatures would cost time."""


@scheme
def standard_webhooks(
    *, secret: Secrets = (), public_key: str | Sequence[str] = (), prefix: str = "webhook", tolerance: float = 300.0
) -> Verification:
    """Return the verification of Standard Webhooks, by a signature of id, time and body in `webhook-signature`.

    :param secret: References to secrets, "whsec_…", for signatures of the kind v1.
    :param public_key: Public keys, "whpk_…", for signatures of the kind v1a.
    :param prefix: The beginning of the headers' names; "svix" for older sources.
    :param tolerance: The greatest difference of the signed time to the present time, in seconds.
    """
    if not isinstance(prefix, str) or not prefix.isascii():
        raise ValueError(f"invalid prefix of headers: {prefix!r}; expected 'webhook' or 'svix'")
    given = (public_key,) if isinstance(public_key, str) else public_key
    keys = tuple(load_key(b64decode, key.removeprefix("whpk_")) for key in given)
    return StandardWebhooks(tolerance, prefix.lower().encode(), keys).verification("standard_webhooks", secret)


@dataclass(frozen=True)
class StandardWebhooks:
    """The form of the signature: the tolerance in seconds, the prefix of the headers, and keys for v1a."""

    tolerance: float
    prefix: bytes = b"webhook"
    keys: tuple[Ed25519PublicKey, ...] = ()

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    def verification(self, scheme: str, secret: Secrets, event_header: str = "") -> Verification:
        """Return the verification of signatures of this form."""
        return Verification(
            scheme,
            self.check,
            references(secret) if secret or not self.keys else (),
            delivery_id=HeaderId(self._name(b"id")),
            secret_headers=frozenset({self._name(b"signature")}),
            signer=self.sign,
            event_header=event_header,
        )

    def check(self, received: Received, secrets: Sequence[bytes]) -> None:
        """Raise Refused unless the request has a signature with one of the secrets or keys."""
        ident, timestamp, given = (required(received, self._name(part)) for part in (b"id", b"timestamp", b"signature"))
        check_time(timestamp, received.now, self.tolerance)
        signatures = given.split(b" ")
        # With a full stop in the id, another division of the signed text would have the same signature.
        if b"." in ident or len(signatures) > _MOST_SIGNATURES:
            raise Refused("the id is invalid, or there are too many signatures", "malformed")
        message = b".".join((ident, timestamp, received.body))
        by_secret = matches(signatures, [_signature(message, secret) for secret in secrets])
        by_key = any(
            verifies(key, b64decode, b64encode, one.removeprefix(b"v1a,"), message)
            for one in signatures
            if one.startswith(b"v1a,")
            for key in self.keys
        )
        if not (by_secret or by_key):
            raise Refused(NO_MATCH)

    def sign(self, received: Received, secret: bytes) -> Sequence[Header]:
        """Return the headers of a request that is signed now. An id that it has already is kept."""
        timestamp = b"%d" % received.now
        made_up = b"msg_" + hashlib.sha256(timestamp + received.body).hexdigest()[:24].encode()
        ident = received.header(self._name(b"id"))
        signature = _signature(b".".join((ident or made_up, timestamp, received.body)), secret)
        named = [] if ident else [(self._name(b"id"), made_up)]
        return [*named, (self._name(b"timestamp"), timestamp), (self._name(b"signature"), signature)]

    def _name(self, part: bytes) -> bytes:
        return self.prefix + b"-" + part


def _signature(message: bytes, secret: bytes) -> bytes:
    try:
        encoded = secret.removeprefix(b"whsec_")
        key = b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise UnusableSecret("the secret isn't in Base64, with or without whsec_ before it")
    return b"v1," + b64encode(hmac.digest(key, message, "sha256"))
