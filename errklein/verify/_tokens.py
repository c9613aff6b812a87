"""Tokens that the source puts into a header: the secret itself, without a signature of the body."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from errklein.verify._references import Secrets, references
from errklein.verify._signed_body import match, required
from errklein.verify._values import Header, Received
from errklein.verify._verification import Verification


def token_in_header(
    scheme: str, header: bytes, secret: Secrets, delivery_id: Callable[[Received], str | None]
) -> Verification:
    """Return the verification of a header whose value is the secret."""

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        match([required(received, header)], secrets)

    def sign(received: Received, token: bytes) -> Sequence[Header]:
        return [(header, token)]

    return Verification(
        scheme, check, references(secret), delivery_id=delivery_id, secret_headers=frozenset({header}), signer=sign
    )
