"""Deliveries as text: one line in a list, and JSON for programs and tests."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from operator import attrgetter
from typing import Any

from errklein.text.masking import SHOWN_TARGET, SHOWN_VALUE, masker
from errklein.webhooks.deliveries import DeliveryState, FailureGroup, Outcome, StoredDelivery, StoredRequest

VERSION = 2  # the version of the JSON format, which changes if a program that reads it must change
_AS_THEY_ARE = ("id", "webhook", "state", "received_at", "request_id", "ack", "attempt", "origin")
_OF_REQUESTS = ("method", "target", "headers", "client", "secure", "server", "base_path")
_VARIABLE = re.compile(r"""(?<!\w)'[^']*'|"[^"]*"|`[^`]*`|(?<![0-9A-Fa-f-])[A-Fa-f-]*[0-9][0-9A-Fa-f-]*""")
_LAST = attrgetter("last")


class InvalidExport(ValueError):
    """The text isn't an exported delivery with a request. The text of the error is one line with the reason."""


def summary(delivery: StoredDelivery) -> str:
    """Return a delivery as one line, such as `4711 failed 2026-11-28T18:56:06+01:00 Github:notification 500 after 0.2 s`. The time
    is in the local time zone. The source's id and the reason may contain text from outside."""
    parts = [str(delivery.id), delivery.state, shown_time(delivery.received_at), delivery.webhook]
    parts += [f"({delivery.origin})"] if delivery.origin else []
    parts += [f"source-id {_one_line(delivery.key)}"] if delivery.key else []
    parts += [f"(superseded by {delivery.superseded_by})"] if delivery.superseded_by else []
    return " ".join([*parts, *([described(delivery.outcome)] if delivery.outcome else ())])


def grouped(deliveries: Iterable[StoredDelivery]) -> list[str]:
    """Return lines about groups of deliveries that differ only in numbers and quoted words of their reasons, with what can be done."""
    groups = [
        FailureGroup(
            *(one.webhook, one.state, *(one.outcome or Outcome(0))[:2], 1, bool(one.superseded_by)),
            *(one.received_at, one.received_at, "", [one.id], [] if one.superseded_by else [one.key]),
        )
        for one in sorted(deliveries, key=lambda one: one.superseded_by > 0)
    ]
    return [line for group in merged(groups) for line in group_lines(group)]


def group_lines(group: FailureGroup) -> list[str]:
    """Return lines about a group with its ids, with what can be done about it."""
    outcome = f"{group.status or 'no response'}: {_one_line(group.reason)}" if group.status or group.reason else ""
    period = f"{shown_time(group.first)} to {shown_time(group.last)}"
    lines = [f"{group.number} {group.state} {group.webhook}, {period}, {outcome}".rstrip(", :")]
    if group.repeated:
        lines.append(f"  the source has repeated {group.repeated} of them")
    left = group.number - group.repeated
    if left and group.state is DeliveryState.REFUSED:
        ids = ", ".join(dict.fromkeys(_one_line(key) or "unknown" for key in reversed(group.sources)))
        lines.append(f"  not stored: the source must send {left} again, with source-id: {ids}")
    elif left and group.state in (DeliveryState.FAILED, DeliveryState.DEAD):
        lines.append(f"  to replay: {' '.join(map(str, reversed(group.ids[:left])))}")
    return lines


def merged(groups: Iterable[FailureGroup]) -> list[FailureGroup]:
    """Return one group for those whose reasons differ only in numbers and quoted words, the latest first."""
    found: dict[tuple[object, ...], list[FailureGroup]] = {}
    for one in groups:
        found.setdefault((one.webhook, one.state.value, one.status, shape_of(one.reason)), []).append(one)
    merged = [
        max(same, key=_LAST)._replace(
            number=sum(one.number for one in same),
            repeated=sum(one.repeated for one in same),
            first=min(one.first for one in same),
            key=sha256(repr(cause).encode()).hexdigest()[:16],
            ids=[number for one in same for number in one.ids],
            sources=[source for one in same for source in one.sources],
        )
        for cause, same in found.items()
    ]
    return sorted(merged, key=_LAST, reverse=True)


def shape_of(reason: str) -> str:
    """Return the reason without what differs between failures of the same cause: numbers, hexadecimal ids and quoted words."""
    return _VARIABLE.sub("…", reason)


def not_recorded(number: int) -> list[str]:
    """Return the line about deliveries that were only counted; none if there are none."""
    return [f"and {number} not recorded: successful ones above WEBHOOK_LOG_RATE"] if number else []


def described(outcome: Outcome) -> str:
    """Return an outcome as text, such as `500 after 0.2 s: ValueError`."""
    status = f"{outcome.status or 'no response'} after {outcome.seconds:.1f} s"
    return f"{status}: {_one_line(outcome.reason)}" if outcome.reason else status


def details(delivery: StoredDelivery) -> list[str]:
    """Return a delivery as lines of plain text without its body: the summary, further facts, the attempts, the request,
    its headers. Only the beginning of a long target or header is returned. Mask the lines before they are shown."""
    facts = {"request": delivery.request_id, "ack": delivery.ack, "attempt": delivery.attempt}
    if delivery.due_at and delivery.state is DeliveryState.RETRY:
        facts["next attempt"] = shown_time(delivery.due_at)
    attempts = (f"attempt {n} {shown_time(began)} {described(outcome)}" for n, began, outcome in delivery.attempts)
    lines = [summary(delivery), ", ".join(f"{name} {value}" for name, value in facts.items() if value != ""), *attempts]
    request = delivery.request
    if request is None:
        return [*lines, "The request is not stored."]
    target = masker.cut(request.target, SHOWN_TARGET)
    sent = f"{request.method} {target} from {request.client or 'an unknown address'}"
    return [*lines, sent, *(f"{name}: {masker.cut(value, SHOWN_VALUE)}" for name, value in _decoded(request.headers))]


def body_text(request: StoredRequest) -> tuple[str, str]:
    """Return a description of the body, and the body if it is text in UTF-8."""
    if request.body is None:
        return "The body is not stored.", ""
    try:
        return f"Body ({len(request.body)} bytes):", request.body.decode()
    except UnicodeDecodeError:
        return f"The body has {len(request.body)} bytes, which aren't text in UTF-8.", ""


def shown_time(time: float) -> str:
    """Return a Unix time as text in the local time zone, such as `2026-11-28T18:56:06+01:00`, which selects deliveries, too."""
    return datetime.fromtimestamp(time, UTC).astimezone().isoformat(timespec="seconds")


def as_values(delivery: StoredDelivery) -> dict[str, Any]:
    """Return a delivery, with its request if it has one, as values for JSON, with times in UTC. Secrets in reasons are masked."""
    values = {
        "version": VERSION,
        **{name: getattr(delivery, name) for name in _AS_THEY_ARE},
        "state": str(delivery.state),
        "received_at": _iso(delivery.received_at),
        "source_id": delivery.key,
        "superseded_by": delivery.superseded_by or None,
        "outcome": _outcome_values(delivery.outcome) if delivery.outcome else None,
    }
    if delivery.request is None:
        return values
    ended = delivery.attempts
    attempts = [{"number": n, "began_at": _iso(began), **_outcome_values(outcome)} for n, began, outcome in ended]
    return {**values, "attempts": attempts, "request": _request_values(delivery.request)}


def read_request(text: str | bytes) -> StoredRequest:
    """Return the request of an exported delivery. Raises InvalidExport."""
    try:
        values = json.loads(text)
        if values["version"] != VERSION:
            raise InvalidExport(f"version {values['version']!r} isn't supported; export the delivery again")
        request = values["request"]
        body = b64decode(request["body_base64"]) if "body_base64" in request else request["body"].encode()
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request["headers"]]
        host, port, *_ = request["server"]
        method, target, client = request["method"], request["target"], request["client"]
        return StoredRequest(
            method, target, headers, body, client, request["secure"], (host, port), request["base_path"]
        )
    except InvalidExport:
        raise
    except KeyError as error:
        text = f"{error.args[0]!r} is missing; it isn't a delivery that was exported with its body"
        raise InvalidExport(text) from None
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise InvalidExport(f"it isn't an exported delivery: {error}") from None


def _outcome_values(outcome: Outcome) -> dict[str, Any]:
    return {"status": outcome.status, "reason": masker(outcome.reason), "seconds": round(outcome.seconds, 6)}


def _request_values(request: StoredRequest) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(request, name) for name in _OF_REQUESTS}
    values |= {"headers": _decoded(request.headers), "server": list(request.server)}
    if request.body is not None:
        try:
            values["body"] = request.body.decode()
        except UnicodeDecodeError:
            values["body_base64"] = b64encode(request.body).decode()
    return values


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _decoded(headers: Sequence[tuple[bytes, bytes]]) -> list[list[str]]:
    # Latin-1 keeps every byte, and shows those that sources use.
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
