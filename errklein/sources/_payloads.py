"""Parts of several sources: access to payloads of which nothing is certain, lines that describe a payload of unknown form, alerts
in the form of Alertmanager, and events of GitHub, GitLab and Gitea, whose texts are in the files `texts.toml` beside their
modules."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from errklein.text.masking import is_secret
from errklein.verify import Received, Verification
from errklein.webhooks import source
from errklein.webhooks.payload import BadPayload, decode_payload, parse_urlencoded
from errklein.webhooks.source import Source, header

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_NOT_FACTS = re.compile(r"(?i)(?:[a-z0-9_]*_)?(?:id|uuid|uid)|[a-z]+id|[a-z_]*version|alertname|rulename")
_LONGEST_WORD, _MOST_LEAVES, _MOST_FACTS, _DEPTH = 60, 100, 6, 4
_TITLES = ("title", "subject", "summary", "name", "check_name", "condition_name", "event", "type")
_TEXTS = ("message", "msg", "text", "description", "details", "detail", "body", "content", "reason", "info")
_LINKS = ("html_url", "web_url", "url", "link", "permalink", "href")
_JSON = ('{"', "{}", "[{", '["', "[]")


def texts_beside(module: str) -> Mapping[str, Any]:
    return tomllib.loads(Path(module).with_name("texts.toml").read_text(encoding="utf-8"))


def json_value(received: Received) -> Any:
    """Return the decoded JSON of a request, whatever its Content-Type, since not every sender sets it. Raises BadPayload."""
    if not received.body:
        raise BadPayload(400, "the body is empty; expected JSON")
    return decode_payload(received.body, "application/json")


def json_object(received: Received) -> Mapping[str, Any]:
    payload = json_value(received)
    if not isinstance(payload, Mapping):
        raise BadPayload(400, "the body must be a JSON object")
    return payload


def event_in(headers: Sequence[bytes], received: Received, payload: Any) -> str:
    """Return the name of an event: the first of these headers that the request has, and the action of the payload."""
    kind = next(filter(None, (header(received, name) for name in headers)), "")
    return ".".join(filter(None, (kind, at(payload, "action"))))


def found(payload: Any, path: str) -> Any:
    return source.found(payload, filter(None, path.split(".")))


def at(payload: Any, paths: str) -> str:
    """Return the first text or number at paths such as "title or data.title", as a text; else ""."""
    shown = (one for path in paths.split(" or ") if _is_shown(one := found(payload, path)))
    return str(next(shown, ""))


def when(payload: Any, text: str) -> str:
    """Return the text if the payload has a value for its first placeholder, else ""."""
    return text if at(payload, text.partition("{")[2].partition("}")[0]) else ""


def items(payload: Any, path: str, most: int) -> Sequence[str]:
    """Return the paths of the first items of the list at a path."""
    given = found(payload, path)
    return [f"{path}.{number}" for number in range(min(len(given), most))] if isinstance(given, list) else []


def pairs(payload: Any, path: str, most: int) -> str:
    """Return a text with the names and values in the mapping at a path, such as "A = {values.A}, C = {values.C}"."""
    return ", ".join(f"{key} = {{{path}.{key}}}" for key in islice(_facts(found(payload, path)), most))


def described(payload: Any, root: str = "") -> list[str]:
    """Return lines for a payload of unknown form: its title with a link, its text, and some of its fields, but no secrets. `root` is
    the path of the part that is described, with a full stop at its end."""
    leaves = dict(islice(_leaves(found(payload, root), root), _MOST_LEAVES))
    title, text = (_named(leaves, names) for names in (_TITLES, _TEXTS))
    link = _named([path for path, given in leaves.items() if _is_address(given)], _LINKS)
    if not leaves:
        return ["A request without any text or number."]
    head = f"**{{{title}}}**" if title else "Link" if link else ""
    facts = (path for path, given in leaves.items() if path not in (title, text) and not _is_address(given))
    return [
        f"[{head}]({{{link}}})" if link else head,
        f"{{{text}}}" if text else "",
        *(f"- {path.removeprefix(root).replace('.', ' ')}: {{{path}}}" for path in islice(facts, _MOST_FACTS)),
    ]


def _leaves(payload: Any, root: str) -> Iterator[tuple[str, Any]]:
    level = [(root, payload)]
    for _ in range(_DEPTH):
        inner: list[tuple[str, Any]] = []
        for path, given in level:
            yield from ((f"{path}{key}", given[key]) for key in _facts(given))
            inner += [(f"{path}{key}.", given[key]) for key in _keys(given)]
            if isinstance(given, list):
                inner += [(f"{path}{number}.", one) for number, one in enumerate(given[:3])]
            if len(inner) > _MOST_LEAVES:
                break
        level = inner


def _keys(given: Any) -> Iterator[str]:
    keys = islice(given, _MOST_LEAVES) if isinstance(given, Mapping) else ()
    return (key for key in keys if _KEY.fullmatch(key) and not is_secret(key))


def _facts(given: Any) -> Iterator[str]:
    """Yield the keys of a mapping whose values say something to a person."""
    for key in _keys(given):
        value = given[key]
        is_word = _is_address(value) or not isinstance(value, str) or " " in value or len(value) <= _LONGEST_WORD
        if is_word and _is_shown(value) and not _NOT_FACTS.fullmatch(key):
            yield key


def _is_shown(given: object) -> bool:
    if isinstance(given, str):
        return bool(given.strip()) and not given.lstrip().startswith(_JSON)
    return isinstance(given, (int, float)) and not isinstance(given, bool)


def _is_address(given: object) -> bool:
    return isinstance(given, str) and given.startswith(("http://", "https://"))


def _named(paths: Iterable[str], names: Sequence[str]) -> str:
    """Return the path whose last key is the first of these names that there is; "" if there is none."""
    keys = {path.rpartition(".")[2].lower(): path for path in reversed([*paths])}
    return next((keys[name] for name in names if name in keys), "")


FIRING, RESOLVED = "🔥 **FIRING**", "✅ **Resolved**"
# The names of alerts by which Grafana says that it can't evaluate a rule.
_STATES_BY_NAME = {"DatasourceError": "⚠️ **Error**", "DatasourceNoData": "❔ **No data**"}
_MOST_ALERTS = 9


def alert_lines(event: str, payload: Any) -> list[str]:
    shown = items(payload, "alerts", _MOST_ALERTS)
    if not shown:
        return [_alert_line(payload, "")] if at(payload, "status") in ("firing", "resolved") else described(payload)
    truncated = at(payload, "truncatedAlerts")
    more = len(found(payload, "alerts")) - len(shown)
    more += int(truncated) if truncated.isdecimal() and len(truncated) < 6 else 0
    return [
        *(_alert_line(payload, f"{path}.") for path in shown),
        f"… and {more} more alert{'s' * (more > 1)}" if more else "",
    ]


def _alert_line(payload: Any, alert: str) -> str:
    def of(kind: str, *keys: str) -> str:
        places = (f"{alert}{kind.lower()}.", f"common{kind}.")
        return " or ".join(f"{place}{key}" for place in places for key in keys)

    is_resolved = at(payload, f"{alert}status") == "resolved"
    state = RESOLVED if is_resolved else _STATES_BY_NAME.get(at(payload, f"{alert}labels.alertname"), FIRING)
    links = " or ".join(f"{alert}{key}" for key in ("panelURL", "dashboardURL", "generatorURL"))
    name = f"[{{{of('Labels', 'rulename', 'alertname')} or 'alert'}}]({{{links} or externalURL}})"
    summary = when(payload, f"{{{of('Annotations', 'summary', 'description', 'message', 'Error')}}}")
    target = when(payload, f"{{{of('Labels', 'instance', 'pod', 'host', 'service', 'job')}}}")
    facts = f"{target}, {{{alert}labels.severity}}" if target else pairs(payload, f"{alert}labels", 3)
    runbook = f" · [runbook]({{{alert}annotations.runbook_url}})"
    silence = "" if is_resolved else f" · [silence]({{{alert}silenceURL}})"
    details = summary or pairs(payload, f"{alert}values", 3)
    facts, details = f" ({facts})" if facts else "", f": {details}" if details else ""
    return f"{state} {name}{details}{facts}{runbook}{silence}"


_MOST_ITEMS, _MOST_COUNTED = 5, 1_000_000
_SIGNS = {"success": "✅", **dict.fromkeys(("error", "failed", "failure", "startup_failure", "timed_out"), "❌")}


def lines_of(
    tables: Mapping[str, Any], payload: Any, kind: str, action: str, verb: str = "", thing: str = ""
) -> list[str]:
    """Return who did what where, or what has which state, with one link; then lists of what belongs to it, and a quote.
    The texts of a table are those for the kind and action of the event, its kind, or its action. The link is that of
    what was done, else that of the place, else that of the person."""

    def text(table: str, *keys: str) -> str:
        found = tables.get(table, {})
        return next((found[key] for key in (*keys, f"{kind}.{action}", kind, action) if key in found), "")

    if not kind:
        return described(payload)
    who, between = tables["who"], " in "
    place = next(filter(None, (when(payload, place) for place in tables["places"])), "")
    if what := tables["states"].get(kind, ""):
        who = _SIGNS.get(at(payload, what.partition(": {")[2].partition("}")[0]), "")
    elif thing := thing or text("things"):
        verb = verb or (_pushed(payload) if "push" in kind.split("_") else text("verbs") or tables["verb"])
        what = f"{verb} {thing}{when(payload, text('more'))}"
        between = text("between", verb) or between
    else:
        what = tables["unknown"]
    if thing == "HERE":
        what, place = what.replace(thing, place), ""
    if _has_link(payload, what):
        who, place = _label(who), _label(place)
    elif _has_link(payload, place):
        who = _label(who)
    lists = tables["lists"].get(kind, {}).items()
    return [
        f"{who} {what}{between * bool(place)}{place}".strip(),
        *(line for key, item in lists for line in _listed(payload, key, item)),
        text("quotes"),
    ]


def as_github(
    name: str, title: str, tables: Mapping[str, Any], verification: Callable[..., Verification], *event_headers: bytes
) -> Source:
    """Return a source in GitHub's form, which Gitea has taken over."""
    return Source(
        name,
        title,
        partial(_lines_of_github, tables),
        verification,
        event=partial(event_in, event_headers),
        # What is signed is what is read, also if a form has several fields.
        parse=lambda received: json_object(json_part(received)),
        values=branch,
        signs=True,
        setup=tables["setup"],
        example="push.json",
    )


def _lines_of_github(tables: Mapping[str, Any], event: str, payload: Any) -> list[str]:
    kind, _, action = event.partition(".")
    if kind == "pull_request" and action == "closed" and at(payload, "pull_request.merged_at"):
        action = "merged"
    elif kind == "pull_request_review" and action == "submitted":
        action = at(payload, "review.state")
    is_on_pull_request = kind == "issue_comment" and found(payload, "issue.pull_request")
    thing = tables["things"]["pull_request_comment"] if is_on_pull_request else ""
    return lines_of(tables, payload, kind, action, thing=thing)


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
