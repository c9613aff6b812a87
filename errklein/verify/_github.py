"""GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries."""

from __future__ import annotations

from errklein.verify._delivery_ids import id_in_header
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody
from errklein.verify._verification import Verification


def github(*, secret: Secrets) -> Verification:
    """Return the verification of GitHub's webhooks, by the HMAC-SHA256 of the body in `X-Hub-Signature-256`.

    GitHub sends no timestamp. A delivery that is sent again has the same `X-GitHub-Delivery`.
    """
    form = SignedBody((b"x-hub-signature-256",), prefix=b"sha256=")
    return form.verification("github", secret, id_in_header(b"x-github-delivery"))
