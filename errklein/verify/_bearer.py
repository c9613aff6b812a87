"""Bearer tokens, RFC 6750, section 2.1, and HTTP's Basic authentication, RFC 7617."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from errklein.verify._references import Secrets, references
from errklein.verify._signed_body import match, required
from errklein.verify._values import Header, Received, Refused
from errklein.verify._verification import Verification

_HEADER = b"authorization"


def bearer(*, secret: Secrets) -> Verification:
    """Return the verification by the header `Authorization: Bearer TOKEN`. The secret is the token."""

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        match([_credentials(received, b"bearer")], secrets)

    def sign(received: Received, token: bytes) -> Sequence[Header]:
        return [(_HEADER, b"Bearer " + token)]

    return Verification("bearer", check, references(secret), secret_headers=frozenset({_HEADER}), signer=sign)


def basic(*, user: str, secret: Secrets) -> Verification:
    """Return the verification by the header `Authorization: Basic …`, with a user name and, as the secret, a password."""
    if not isinstance(user, str) or ":" in user:
        raise ValueError(f"invalid user name: {user!r}; expected a text without a colon")

    def encoded(password: bytes) -> bytes:
        return b64encode(user.encode() + b":" + password)

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        match([_credentials(received, b"basic")], [encoded(password) for password in secrets])

    def sign(received: Received, password: bytes) -> Sequence[Header]:
        return [(_HEADER, b"Basic " + encoded(password))]

    return Verification("basic", check, references(secret), secret_headers=frozenset({_HEADER}), signer=sign)


def _credentials(received: Received, kind: bytes) -> bytes:
    given, _, credentials = required(received, _HEADER).partition(b" ")
    if given.lower() != kind:
        raise Refused(f"the header authorization has no {kind.decode()} credentials", "malformed")
    return credentials.strip(b" ")
