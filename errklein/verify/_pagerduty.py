"""PagerDuty: https://developer.pagerduty.com/docs/verifying-webhook-signatures."""

from __future__ import annotations

from errklein.verify._delivery_ids import id_in_json
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody
from errklein.verify._verification import Verification


def pagerduty(*, secret: Secrets) -> Verification:
    """Return the verification of PagerDuty's webhooks, version 3, by an HMAC-SHA256 of the body in `X-PagerDuty-Signature`.

    The header has several signatures while PagerDuty replaces the secret.
    """
    form = SignedBody((b"x-pagerduty-signature",), prefix=b"v1=", separator=b",")
    return form.verification("pagerduty", secret, id_in_json("event", "id"))
