"""Gitea, Forgejo and Gogs: who did what to what, for the events of repositories and organisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from errklein import verify
from errklein.sources._forges import branch, commits, first, header, pushed, sentence, state, texts
from errklein.sources._payloads import at, json_value, when
from errklein.verify import ImmediateResponse, Received, Refused, Verification
from errklein.webhooks.payload import BadPayload, parse_urlencoded
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_TEXTS = texts(__file__)


def _event(received: Received, payload: Any) -> str:
    kind, action = header(received, b"x-gitea-event", b"x-forgejo-event", b"x-gogs-event"), at(payload, "action")
    return f"{kind}.{action}" if action else kind


def _lines(event: str, payload: Any) -> Sequence[str]:
    if not isinstance(payload, Mapping):
        return ()
    kind, _, action = event.partition(".")
    who = "[{sender.login or sender.username or 'Gitea'}]({sender.html_url})"
    place = when(payload, "[{repository.full_name}]({repository.html_url})") or when(payload, "{organization.username}")
    if kind in _TEXTS["states"]:
        return [state(payload, _TEXTS["states"][kind], place)]
    if kind == "push":
        return [sentence(payload, who, f"{pushed(payload)} [{{branch}}]({{compare_url}})", place), *commits(payload)]
    if kind == "pull_request" and action == "closed" and at(payload, "pull_request.merged_at"):
        action = "merged"
    verb = first(_TEXTS["verbs"], event, kind, action) or "{action or 'sent'}"
    if kind == "repository":
        return [sentence(payload, who, f"{verb} {place}", "")]
    if kind == "fork":
        return [sentence(payload, who, "forked {forkee.full_name}", place, " to ")]
    what = f"{verb} {_TEXTS['things'].get(kind, '{event}')}"
    text = {"issues": "issue.body", "pull_request": "pull_request.body"}.get(kind) if action == "opened" else ""
    text = text or "comment.body or review.content or release.body"
    return [sentence(payload, who, what, place), "" if action == "deleted" else f"> {{{text}|line}}"]


def _signed_part(received: Received) -> Received:
    """Return the request with the JSON as its body, also if that is a field of a form: Gitea signs the JSON in either case."""
    if not header(received, b"content-type").lower().startswith("application/x-www-form-urlencoded"):
        return received
    fields = parse_urlencoded(received.body, errors="replace")
    payload = next((value for name, value in fields if name == "payload"), "")
    return replace(received, body=payload.encode("utf-8", "replace"))


def _verification(*, secret: str | Sequence[str]) -> Verification:
    verification = verify.gitea(secret=secret)

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        try:
            return verification.check(_signed_part(received), secrets)
        except BadPayload as error:
            raise Refused(error.detail, "malformed") from None

    return replace(verification, check=check)


_GITEA = Source(
    "gitea",
    "Gitea",
    _lines,
    _verification,
    event=_event,
    # What is signed is what is read, also if a form has several fields.
    parse=lambda received: json_value(_signed_part(received)),
    values=branch,
    signs=True,
    setup=(
        "In the settings of the repository or organization, open Webhooks, select Add Webhook and then Gitea or Forgejo.",
        "Enter this URL as the target URL, and this secret. Keep the method POST.",
        "Select the events that you want in the room, and then Add Webhook.",
    ),
    example="push.json",
)

SOURCES: Mapping[str, Source] = {"gitea": _GITEA, "forgejo": replace(_GITEA, name="forgejo", title="Forgejo")}
