"""PagerDuty: incidents and what happens to them, as webhooks of version 3 report them."""

from typing import Any

from errklein import verify
from errklein.sources._payloads import at, described, found, items, json_object, texts_beside, when
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_TEXTS = texts_beside(__file__)


def lines(event: str, payload: Any) -> list[str]:
    """Return the incident with a link, what has happened to it, its service, and who has done it."""
    data = "event.data"
    if not found(payload, data):
        return described(payload)
    # Notes, responders and updates refer to their incident.
    incident = f"{data}.incident" if found(payload, f"{data}.incident") else data
    state = _TEXTS["states"].get(event.removeprefix("incident."), "**{event.event_type}**")
    label = f"#{{{incident}.number}} {{{incident}.title or {incident}.summary}}"
    service = when(payload, f" in {{{incident}.service.summary or {data}.service.summary}}")
    people = ", ".join(f"{{{path}.summary}}" for path in items(payload, f"{incident}.assignees", 5))
    facts = (
        people and f"assigned to {people}",
        when(payload, f"priority {{{incident}.priority.summary}}"),
        when(payload, f"urgency {{{incident}.urgency}}"),
    )
    return [
        f"{state} [{label}]({{{incident}.html_url}}){service}{when(payload, ' by {event.agent.summary}')}",
        ", ".join(filter(None, facts)),
        f"> {{{data}.content or {data}.message or {data}.incident_workflow.summary}}",
        f"{{{data}.conference_url|link}}",
    ]


SOURCES = {
    "pagerduty": Source(
        "pagerduty",
        "PagerDuty",
        lines,
        verify.pagerduty,
        event=lambda received, payload: at(payload, "event.event_type"),
        parse=json_object,
        signs=True,
        issues_secret=True,
        setup=_TEXTS["setup"],
        example="incident.triggered.json",
    )
}
