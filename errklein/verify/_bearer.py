"""Bearer tokens: RFC 6750, section 2.1."""

from __future__ import annotations

from collections.abc import Sequence

from errklein.verify._references import Secrets, references
from errklein.verify._signed_body import match, required
from errklein.verify._values import Received, Refused
from errklein.verify._verification import Verification


def bearer(*, secret: Secrets) -> Verification:
    """Return the verification by the header `Authorization: Bearer TOKEN`."""
    return Verification("bearer", _check, references(secret), secret_headers=frozenset({b"authorization"}))


def _check(received: Received, secrets: Sequence[bytes]) -> None:
    kind, _, token = required(received, b"authorization").partition(b" ")
    if kind.lower() != b"bearer":
        raise Refused("the header authorization has no bearer token")
    match([token.strip(b" ")], secrets)
