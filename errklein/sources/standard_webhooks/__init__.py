"""Standard Webhooks, which many services send, also through Svix: https://www.standardwebhooks.com."""

from collections.abc import Mapping
from typing import Any

from errklein import verify
from errklein.sources._payloads import at, described, found, json_object
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]


def lines(event: str, payload: Any) -> list[str]:
    """Return the type of the event, and what its data says."""
    data = found(payload, "data")
    return ["**{type}**", *described(payload, "data.")] if isinstance(data, Mapping) else described(payload)


SOURCES = {
    "standard_webhooks": Source(
        "standard_webhooks",
        "Standard Webhooks",
        lines,
        verify.standard_webhooks,
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
