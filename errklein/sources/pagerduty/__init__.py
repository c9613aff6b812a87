"""PagerDuty: incidents and what happens to them, as webhooks of version 3 report them."""

from __future__ import annotations

from typing import Any

from errklein import verify
from errklein.sources._payloads import at, described, found, items, json_object, when
from errklein.verify import Received
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_STATES = {
    "acknowledged": "👀 **Acknowledged**",
    "annotated": "📝 **Note**",
    "escalated": "⏫ **Escalated**",
    "reassigned": "👤 **Reassigned**",
    "reopened": "🔥 **Reopened**",
    "resolved": "✅ **Resolved**",
    "responder.added": "👤 **Responder asked**",
    "status_update_published": "📝 **Update**",
    "triggered": "🔥 **Triggered**",
}
_MOST = 5


def event(received: Received, payload: Any) -> str:
    """Return the type of the event, such as "incident.triggered"."""
    return at(payload, "event.event_type")


def lines(event: str, payload: Any) -> list[str]:
    """Return the incident with a link, what has happened to it, its service, and who has done it."""
    data = "event.data"
    if not found(payload, data):
        return described(payload)
    # Notes, responders and updates refer to their incident.
    incident = f"{data}.incident" if found(payload, f"{data}.incident") else data
    state = _STATES.get(event.removeprefix("incident."), "**{event.event_type}**")
    label = when(payload, f"#{{{incident}.number}} ") + f"{{{incident}.title or {incident}.summary}}"
    service = when(payload, f" in {{{incident}.service.summary}}")
    who = when(payload, " by {event.agent.summary}")
    assignees = ", ".join(f"{{{path}.summary}}" for path in items(payload, f"{incident}.assignees", _MOST))
    facts = (
        f"assigned to {assignees}" if assignees else "",
        when(payload, f"priority {{{incident}.priority.summary}}"),
        when(payload, f"urgency {{{incident}.urgency}}"),
    )
    return [
        f"{state} [{label}]({{{incident}.html_url}}){service}{who}",
        ", ".join(filter(None, facts)),
        f"> {{{data}.content or {data}.message}}",
    ]


SOURCES = {
    "pagerduty": Source(
        "pagerduty",
        "PagerDuty",
        lines,
        verify.pagerduty,
        event=event,
        parse=json_object,
        signs=True,
        issues_secret=True,
        setup=(
            "In PagerDuty, open Integrations > Generic Webhooks (v3), choose New Webhook, and enter this URL as its Webhook URL.",
            "Choose the scope and the events, and add it. The signing secret that PagerDuty then shows, only once, is the secret of the webhook.",
        ),
        example="incident.triggered.json",
    )
}
