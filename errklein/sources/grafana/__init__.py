"""Grafana: its alerts, and those of the older form that it sent up to version 8."""

from functools import partial
from typing import Any

from errklein.sources._payloads import FIRING, RESOLVED, alert_lines, at, found, items, json_object
from errklein.verify import hmac_signature
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_STATES = {"alerting": "firing", "ok": "resolved"}


def lines(event: str, payload: Any) -> list[str]:
    """Return a line for each alert, with a link to its panel or rule and, while it fires, one that silences it."""
    if found(payload, "ruleName") is None:
        return alert_lines(event, payload)
    state = {"firing": FIRING, "resolved": RESOLVED}.get(event, "**{state}**")
    matches = (f"- {{{path}.metric}}: {{{path}.value}}" for path in items(payload, "evalMatches", 5))
    return [f"{state} [{{ruleName or title or 'alert'}}]({{ruleUrl}}): {{message}}", *matches]


SOURCES = {
    "grafana": Source(
        "grafana",
        "Grafana",
        lines,
        partial(
            hmac_signature,
            header="X-Grafana-Alerting-Signature",
            timestamp_header="X-Grafana-Alerting-Timestamp",
            signed="{timestamp}:{body}",
        ),
        event=lambda received, payload: (
            at(payload, "status") or _STATES.get(at(payload, "state"), at(payload, "state"))
        ),
        parse=json_object,
        setup=(
            "In Grafana, open Alerting > Contact points, add one with the integration Webhook, and enter this URL.",
            "If there is a secret here, enter it below HMAC Signature, and X-Grafana-Alerting-Timestamp as the timestamp header.",
            "Choose the contact point in a notification policy. Its button Test sends a message.",
        ),
        example="firing.json",
    )
}
