"""GitLab: who did what to what, for the events of projects and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from errklein import verify
from errklein.sources._forges import branch, commits, header, pushed, sentence, state, texts
from errklein.sources._payloads import at, found, items, when
from errklein.verify import Header, ImmediateResponse, Received, Verification
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_SIGNING = b"whsec_"
_TEXTS = texts(__file__)
_ACTION = "object_attributes.action or action or object_attributes.status or status or build_status"


def _event(received: Received, payload: Any) -> str:
    kind, action = at(payload, "object_kind or event_name"), at(payload, f"{_ACTION} or object_attributes.state")
    return f"{kind}.{action}" if kind and action else kind


def _lines(event: str, payload: Any) -> Sequence[str]:
    if not isinstance(payload, Mapping):
        return ()
    kind, _, action = event.partition(".")
    who = "{user.name or user_name or 'GitLab'}"
    place = when(payload, "[{project.path_with_namespace}]({project.web_url})")
    place = place or when(payload, "{group.full_path or group_path or path_with_namespace or full_path}")
    if kind in ("push", "tag_push"):
        return [sentence(payload, who, f"{pushed(payload)} {{branch}}", place), *commits(payload)]
    if kind in _TEXTS["states"]:
        failed = [job for job in items(payload, "builds", 100) if _has_failed(found(payload, job))]
        jobs = (f"- {{{job}.stage}}: {{{job}.name}}" for job in failed)
        return [state(payload, _TEXTS["states"][kind], place), *jobs]
    if kind == "note":
        thing = _TEXTS["notes"].get(at(payload, "object_attributes.noteable_type"), "[this]({object_attributes.url})")
        verb = "edited a comment on" if action == "update" else "commented on"
        return [sentence(payload, who, f"{verb} {thing}", place), "> {object_attributes.note|line}"]
    if kind in _TEXTS["members"]:
        return [sentence(payload, who, _TEXTS["members"][kind], place, " ")]
    verb = _TEXTS["verbs"].get(action) or f"{{{_ACTION} or object_attributes.state or 'reported'}}"
    if action == "update":
        verb = next((text for path, text in _TEXTS["updates"].items() if found(payload, path)), verb)
    elif kind == "feature_flag":
        verb = "turned on" if found(payload, "object_attributes.active") is True else "turned off"
    text = "> {object_attributes.description or description|line}" if action in ("open", "opened", "create") else ""
    return [sentence(payload, who, f"{verb} {_TEXTS['things'].get(kind, '{event}')}", place), text]


def _has_failed(job: object) -> bool:
    return isinstance(job, Mapping) and job.get("status") == "failed" and job.get("allow_failure") is not True


def _verification(*, secret: str | Sequence[str]) -> Verification:
    """Return the verification by a token, or with a secret that begins with "whsec_" by the signature."""
    token, signed = verify.gitlab(secret=secret), verify.gitlab(secret=secret, signed=True)

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        signing = [one for one in secrets if one.startswith(_SIGNING)]
        if signing and header(received, b"webhook-signature"):
            return signed.check(received, signing)
        return token.check(received, [one for one in secrets if one not in signing])

    def sign(received: Received, secret: bytes) -> Sequence[Header]:
        return (signed if secret.startswith(_SIGNING) else token).sign(received, secret)

    headers = token.secret_headers | signed.secret_headers
    return replace(token, check=check, signer=sign, secret_headers=headers)


SOURCES: Mapping[str, Source] = {
    "gitlab": Source(
        "gitlab",
        "GitLab",
        _lines,
        _verification,
        event=_event,
        values=branch,
        signs=True,
        setup=(
            "In the settings of the project or group on GitLab, open Webhooks and select Add new webhook.",
            "Enter this URL, and this secret as the secret token.",
            "Select the events that you want in the room, and then Add webhook.",
        ),
        example="merge_request.json",
    )
}
