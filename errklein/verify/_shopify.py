"""Shopify: https://shopify.dev/docs/apps/build/webhooks/verify-deliveries."""

from __future__ import annotations

from base64 import b64encode

from errklein.verify._delivery_ids import id_in_header
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody
from errklein.verify._verification import Verification


def shopify(*, secret: Secrets) -> Verification:
    """Return the verification of Shopify's webhooks and events, by the HMAC-SHA256 of the body in `X-Shopify-Hmac-SHA256`.

    The secret is the client secret of the app. The names of the headers of events have no `X-`.
    """
    form = SignedBody((b"x-shopify-hmac-sha256", b"shopify-hmac-sha256"), encode=b64encode)
    return form.verification("shopify", secret, id_in_header(b"x-shopify-webhook-id", b"shopify-webhook-id"))
