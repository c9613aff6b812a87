"""GitHub: who did what to what, for the events of repositories, organisations and apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from errklein import verify
from errklein.sources._forges import branch, commits, first, header, listed, pushed, sentence, state, texts
from errklein.sources._payloads import at, when
from errklein.verify import Received
from errklein.webhooks.source import Source, decoded

__all__ = ["SOURCES"]

_TEXTS = texts(__file__)
# What else than a thing of their own some events are about.
_OF_REPOSITORY = ("organization.deleted", "organization.renamed", "public", "repository", "star", "watch")


def _event(received: Received, payload: Any) -> str:
    action = at(payload, "action")
    return header(received, b"x-github-event") + (f".{action}" if action else "")


def _lines(event: str, payload: Any) -> Sequence[str]:
    if not isinstance(payload, Mapping):
        return ()
    kind, _, action = event.partition(".")
    who = "[{sender.login or 'GitHub'}]({sender.html_url})"
    place = when(payload, "[{repository.full_name}]({repository.html_url})") or when(payload, "{organization.login}")
    if kind == "ping":
        return [sentence(payload, who, "connected this room to the events", place, " of "), "> {zen}"]
    if kind in _TEXTS["states"]:
        return [state(payload, _TEXTS["states"][kind], place)]
    if kind == "push":
        return [sentence(payload, who, f"{pushed(payload)} [{{branch}}]({{compare}})", place), *commits(payload)]
    if kind == "gollum":
        pages = listed(payload, "pages", "{ITEM.action} [{ITEM.title}]({ITEM.html_url})")
        return [sentence(payload, who, "edited the wiki", place), *pages]
    if kind == "pull_request" and action == "closed" and at(payload, "pull_request.merged_at"):
        action = "merged"
    elif kind == "pull_request_review" and action == "submitted":
        action = at(payload, "review.state")
    verb = first(_TEXTS["verbs"], f"{kind}.{action}", action, kind) or "{action or 'sent'}"
    thing = _TEXTS["things"].get(kind, "{event}")
    if kind in _OF_REPOSITORY or event in _OF_REPOSITORY:
        thing, place = place, ""
    elif kind == "issue_comment" and at(payload, "issue.pull_request.url"):
        thing = f"pull request {thing.partition(' ')[2]}"
    what = f"{verb} {thing}{when(payload, _TEXTS['more'].get(action, ''))}"
    lines = [sentence(payload, who, what, place, first(_TEXTS["between"], verb, action, kind) or " in ")]
    if kind == "installation_repositories":
        for key in ("repositories_added", "repositories_removed"):
            lines += listed(payload, key, "{ITEM.full_name}")
    return [*lines, _TEXTS["quotes"].get(event, "")]


SOURCES: Mapping[str, Source] = {
    "github": Source(
        "github",
        "GitHub",
        _lines,
        verify.github,
        event=_event,
        parse=decoded(form_param="payload"),
        values=branch,
        signs=True,
        setup=(
            "In the settings of the repository or organization on GitHub, open Webhooks and select Add webhook.",
            "Enter this URL and this secret, and select the content type application/json.",
            "Select the events that you want in the room, and then Add webhook.",
        ),
        example="push.json",
    )
}
