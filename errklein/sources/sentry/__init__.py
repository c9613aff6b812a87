"""Sentry: issues, alerts, errors and comments, which an internal integration sends."""

from functools import partial
from typing import Any

from errklein import verify
from errklein.sources._payloads import at, described, event_in, found, json_object, texts_beside, when
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_PARTS = ("metric_alert", "event", "error", "issue", "comment", "installation")
_TEXTS = texts_beside(__file__)


def lines(event: str, payload: Any) -> list[str]:
    """Return the issue, alert, error or comment, with a link and who has done it."""
    part, action = next((part for part in _PARTS if found(payload, f"data.{part}")), ""), at(payload, "action")
    if part == "comment":
        project = when(payload, " of {data.project_slug}")
        return [f"💬 **{{actor.name}}** {{action}} a comment on an issue{project}", "> {data.comment}"]
    if part == "installation":
        # Not its other fields: one is a code that grants access.
        app = "{data.installation.app.slug} in {data.installation.organization.slug}"
        return [f"**{{actor.name}}**: {{action}} installation of {app}"]
    if not part:
        return ["**{actor.name}**: {action}", *described(payload, "data.")]
    root = f"data.{part}"
    level = when(payload, f"🔥 **{{{root}.level}}**") if part in ("event", "error") else ""
    title = f"{{{root}.shortId}}: {{data.description_title or {root}.title or {root}.message or 'issue'}}"
    link = f"[{title}]({{{root}.web_url or {root}.permalink or data.web_url}})"
    project = when(payload, f" in {{{root}.project.name or {root}.project.slug}}")
    whom = when(payload, f" to {{{root}.assignedTo.name}}") if action == "assigned" else ""
    who = when(payload, " by {actor.name}") if at(payload, "actor.type") == "user" else ""
    return [
        f"{level or _TEXTS['states'].get(action, '**{action}**')} {link}{project}{whom}{who}",
        f"{{{root}.culprit or data.description_text}}",
        f"Environment: {{{root}.environment}}",
        "Rule: {data.triggered_rule}",
    ]


SOURCES = {
    "sentry": Source(
        "sentry",
        "Sentry",
        lines,
        verify.sentry,
        event=partial(event_in, [b"sentry-hook-resource"]),
        parse=json_object,
        signs=True,
        issues_secret=True,
        setup=_TEXTS["setup"],
        example="issue.created.json",
    )
}
