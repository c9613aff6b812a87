"""Standard Webhooks, which many services send, also through Svix: https://www.standardwebhooks.com."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from errklein import verify
from errklein.sources._payloads import at, described, found, json_object
from errklein.verify import ImmediateResponse, Received, Verification
from errklein.webhooks.source import Source, header

__all__ = ["SOURCES"]


def _verification(*, secret: str | Sequence[str]) -> Verification:
    """Return the verification by headers of the specification, or of Svix, which have another beginning."""
    standard, svix = verify.standard_webhooks(secret=secret), verify.standard_webhooks(secret=secret, prefix="svix")

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        is_of_svix = header(received, b"svix-id") and not header(received, b"webhook-id")
        return (svix if is_of_svix else standard).check(received, secrets)

    ids = [one.delivery_id for one in (standard, svix) if one.delivery_id is not None]
    return replace(
        standard,
        check=check,
        delivery_id=lambda received: next(filter(None, (ident(received) for ident in ids)), None),
        secret_headers=standard.secret_headers | svix.secret_headers,
    )


def lines(event: str, payload: Any) -> list[str]:
    """Return the type of the event, and what its data says."""
    data = found(payload, "data")
    return ["**{type}**", *described(payload, "data.")] if isinstance(data, Mapping) else described(payload)


SOURCES = {
    "standard_webhooks": Source(
        "standard_webhooks",
        "Standard Webhooks",
        lines,
        _verification,
        event=lambda received, payload: at(payload, "type"),
        parse=json_object,
        signs=True,
        issues_secret=True,
        setup=(
            "At the service, add an endpoint with this URL.",
            "The signing secret that the service then shows, whsec_…, is the secret of the webhook.",
        ),
        example="invoice.paid.json",
    )
}
