"""Stripe: https://docs.stripe.com/webhooks/signature."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from errklein.verify._algorithms import check_time, check_tolerance, id_in_json, match, required
from errklein.verify._verification import Header, Received, Refused, Secrets, Verification, references, scheme

_HEADER = b"stripe-signature"


@scheme
def stripe(*, secret: Secrets, tolerance: float = 300.0) -> Verification:
    """Return the verification of Stripe's webhooks, by the HMAC-SHA256 of time and body in `Stripe-Signature`.

    The secret is used with its prefix "whsec_". The id of a delivery is that of the event in its body.

    :param tolerance: The greatest difference of the signed time to the present time, in seconds.
    """
    return Verification(
        "stripe",
        _check,
        references(secret),
        {"tolerance": check_tolerance(tolerance)},
        id_in_json("id"),
        frozenset({_HEADER}),
        _sign,
    )


def _check(received: Received, secrets: Sequence[bytes], tolerance: float) -> None:
    items = [item.split(b"=", 1) for item in required(received, _HEADER).split(b",")]
    times, given = ([item[-1] for item in items if item[0] == name] for name in (b"t", b"v1"))
    if len(times) != 1 or not given:
        raise Refused(f"the header {_HEADER.decode()} is malformed", "malformed")
    check_time(times[0], received.now, tolerance)
    match(given, (_signature(times[0], received.body, secret) for secret in secrets))


def _sign(received: Received, secret: bytes, tolerance: float) -> Sequence[Header]:
    timestamp = b"%d" % received.now
    return [(_HEADER, b"t=" + timestamp + b",v1=" + _signature(timestamp, received.body, secret))]


def _signature(timestamp: bytes, body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, timestamp + b"." + body, "sha256").hex().encode()
