"""Messages about events of GitHub, GitLab and Gitea: each source has tables of texts in the file `texts.toml` beside its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from errklein.sources._payloads import at, described, event_in, found, items, json_object, when
from errklein.verify import Received, Verification
from errklein.webhooks.payload import BadPayload, parse_urlencoded
from errklein.webhooks.source import Source, header

_MOST_ITEMS, _MOST_COUNTED = 5, 1_000_000
_SIGNS = {"success": "✅", **dict.fromkeys(("error", "failed", "failure", "startup_failure", "timed_out"), "❌")}


def lines_of(
    texts: Mapping[str, Any], payload: Any, kind: str, action: str, verb: str = "", thing: str = ""
) -> list[str]:
    """Return who did what where, or what has which state, with one link; then lists of what belongs to it, and a quote.
    The texts of a table are those for the kind and action of the event, its kind, or its action. The link is that of
    what was done, else that of the place, else that of the person."""

    def text(table: str, *keys: str) -> str:
        found = texts.get(table, {})
        return next((found[key] for key in (*keys, f"{kind}.{action}", kind, action) if key in found), "")

    if not kind:
        return described(payload)
    who, between = texts["who"], " in "
    place = next(filter(None, (when(payload, place) for place in texts["places"])), "")
    if what := texts["states"].get(kind, ""):
        who = _SIGNS.get(at(payload, what.partition(": {")[2].partition("}")[0]), "")
    elif thing := thing or text("things"):
        verb = verb or (_pushed(payload) if "push" in kind.split("_") else text("verbs") or texts["verb"])
        what = f"{verb} {thing}{when(payload, text('more'))}"
        between = text("between", verb) or between
    else:
        what = texts["unknown"]
    if thing == "HERE":
        what, place = what.replace(thing, place), ""
    if _has_link(payload, what):
        who, place = _label(who), _label(place)
    elif _has_link(payload, place):
        who = _label(who)
    lists = texts["lists"].get(kind, {}).items()
    return [
        f"{who} {what}{between * bool(place)}{place}".strip(),
        *(line for key, item in lists for line in _listed(payload, key, item)),
        text("quotes"),
    ]


def as_github(
    name: str, title: str, texts: Mapping[str, Any], verification: Callable[..., Verification], *event_headers: bytes
) -> Source:
    """Return a source in GitHub's form, which Gitea has taken over."""
    return Source(
        name,
        title,
        partial(_lines_of_github, texts),
        verification,
        event=partial(event_in, event_headers),
        # What is signed is what is read, also if a form has several fields.
        parse=lambda received: json_object(json_part(received)),
        values=branch,
        signs=True,
        setup=texts["setup"],
        example="push.json",
    )


def _lines_of_github(texts: Mapping[str, Any], event: str, payload: Any) -> list[str]:
    kind, _, action = event.partition(".")
    if kind == "pull_request" and action == "closed" and at(payload, "pull_request.merged_at"):
        action = "merged"
    elif kind == "pull_request_review" and action == "submitted":
        action = at(payload, "review.state")
    is_on_pull_request = kind == "issue_comment" and found(payload, "issue.pull_request")
    thing = texts["things"]["pull_request_comment"] if is_on_pull_request else ""
    return lines_of(texts, payload, kind, action, thing=thing)


def json_part(received: Received) -> Received:
    """Return the request with the JSON as its body, also if that is the field `payload` of a form."""
    if not header(received, b"content-type").lower().startswith("application/x-www-form-urlencoded"):
        return received
    try:
        fields = parse_urlencoded(received.body.decode("utf-8", "replace").encode(), errors="replace")
    except BadPayload:
        fields = []
    payload = next((value for name, value in fields if name == "payload"), "")
    return replace(received, body=payload.encode("utf-8", "replace"))


def branch(payload: Any) -> Mapping[str, str]:
    return {"branch": at(payload, "ref").removeprefix("refs/heads/").removeprefix("refs/tags/")}


def _has_link(payload: Any, text: str) -> bool:
    return at(payload, text.partition("]({")[2].partition("}")[0]).startswith(("https://", "http://"))


def _label(text: str) -> str:
    return text[1:].partition("](")[0] if text.startswith("[") else text


def _listed(payload: Any, key: str, text: str) -> list[str]:
    """Return a line for each of the first items of a list, whose path is `ITEM` in the text, and how many there are beyond."""
    lines = [f"- {text.replace('ITEM', path)}" for path in items(payload, key, _MOST_ITEMS)]
    more = _count(payload, key) - len(lines)
    return [*lines, f"… and {more} more"] if more else lines


def _pushed(payload: Any) -> str:
    kind = "tag" if at(payload, "ref").startswith("refs/tags/") else "branch"
    before, after, count = at(payload, "before"), at(payload, "after"), _count(payload, "commits")
    if after and not after.strip("0"):
        return f"deleted {kind}"
    if count:
        forced = "force-" * (payload.get("forced") is True)
        return f"{forced}pushed {count} commit{'s' * (count > 1)} to"
    return f"created {kind}" if before and not before.strip("0") else f"pushed {kind}"


def _count(payload: Any, key: str) -> int:
    """Return the number of items of a list, also of a push's commits that the source has left out."""
    given = found(payload, key)
    count = len(given) if isinstance(given, list) else 0
    total = payload.get(f"total_{key}_count", payload.get(f"total_{key}"))
    return total if type(total) is int and 0 < count < total < _MOST_COUNTED else count
