"""Linear: https://linear.app/developers/webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errklein.verify._delivery_ids import id_in_header, json_of
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody, check_time, check_tolerance
from errklein.verify._values import Received
from errklein.verify._verification import Verification


def linear(*, secret: Secrets, tolerance: float = 60.0) -> Verification:
    """Return the verification of Linear's webhooks, by the HMAC-SHA256 of the body in `Linear-Signature`.

    :param tolerance: The greatest difference of `webhookTimestamp` in the body to the present time, in seconds.
    """
    form = SignedBody((b"linear-signature",))
    check_tolerance(tolerance)

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        form.check(received, secrets)
        body = json_of(received.body)
        milliseconds = body.get("webhookTimestamp") if isinstance(body, dict) else None
        seconds = b"%d" % (milliseconds // 1000) if isinstance(milliseconds, int) else b""
        check_time(seconds, received.now, tolerance)

    return replace(form.verification("linear", secret, id_in_header(b"linear-delivery")), check=check)
