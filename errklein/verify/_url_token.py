"""The verification by a secret token in the address, for sources that sign nothing and send no header of their own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from errklein.verify._verification import Received, Refused, Secrets, Verification, references

ADDRESS_SCHEME = "token in the address"
"""The name of the scheme."""


def url_token(
    secret: Secrets = (), *, digests: Sequence[str] = (), delivery_id: Callable[[Received], str | None] | None = None
) -> Verification:
    """Return the verification by the token at the end of the address, of which only the SHA-256 digest needs to be known.

    The web server removes the token from the address before anything records or logs it: see `Received.path_token`.

    :param secret: References to tokens.
    :param digests: The hexadecimal SHA-256 digests of further tokens.
    :param delivery_id: See `Verification`.
    """

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        if not received.path_token:
            raise Refused("the address has no token", "malformed")
        given = digest_of(received.path_token)
        known = [*digests, *map(digest_of, secrets)]
        # All are compared, so that the time doesn't tell which one fits.
        if sum([hmac.compare_digest(given, one) for one in known]) == 0:
            raise Refused("the token in the address doesn't match")

    return Verification(ADDRESS_SCHEME, check, references(secret) if secret else (), delivery_id=delivery_id)


def digest_of(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()
