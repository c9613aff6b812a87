"""Sentry: https://docs.sentry.io/organization/integrations/integration-platform/webhooks/."""

from __future__ import annotations

from errklein.verify._delivery_ids import id_in_header
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody
from errklein.verify._verification import Verification


def sentry(*, secret: Secrets) -> Verification:
    """Return the verification of Sentry's webhooks, by the HMAC-SHA256 of the body in `Sentry-Hook-Signature`.

    The secret is the client secret of the integration. Sentry waits one second for the response.
    """
    form = SignedBody((b"sentry-hook-signature",))
    return form.verification("sentry", secret, id_in_header(b"request-id"))
