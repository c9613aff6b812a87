"""The pages of deliveries: lists, groups of failures, and one delivery."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial

from errklein.console._shown import SHOWN_BODY, curl, exported, shown_body, shown_headers
from errklein.console._visit import ACTIONS, OtherResponse, Values, Visit, page
from errklein.journal.operations import ReplayResult, shown_wait
from errklein.listening import endpoint_url
from errklein.text.masking import masker
from errklein.webhooks.deliveries import DeliveryState, FailureGroup, StoredDelivery
from errklein.webhooks.delivery_words import parse_time
from errklein.webhooks.exported import body_text

_PAGE = 50  # the deliveries of a page
_FIELDS = ("webhook", "state", "answered", "status", "reason", "since", "until", "source-id", "before", "words")
_WITHOUT_KEYWORD = ("webhook", "state")


@page("/deliveries", "deliveries.html")
async def deliveries(visit: Visit) -> Values:
    given = [(name, one) for name in _FIELDS for one in visit.values(name) if one.strip()]
    shown = {"title": "Deliveries", "given": given, "text": visit.field("text").strip(), "states": list(DeliveryState)}
    try:
        if shown["text"]:
            before = int(visit.field("before") or 0) or None
            found, low = await visit.perform("webhooks.search", text=shown["text"], before=before)
            return {**shown, "found": found, "counted": 0, "older": low, "problem": ""}
        words: list[str] = []
        for name, one in given:
            words += shlex.split(one) if name == "words" else [one] if name in _WITHOUT_KEYWORD else [name, one]
        listed = await visit.perform("webhooks.deliveries", words=words, most=_PAGE)
    except ValueError as error:
        return {**shown, "found": (), "counted": 0, "older": 0, "problem": str(error)}
    older = listed.deliveries[-1].id if listed.older else 0
    return {**shown, "found": listed.deliveries, "counted": listed.counted, "older": older, "problem": ""}


@page("/failures", "failures.html")
async def failures(visit: Visit) -> Values:
    since = visit.field("since") or "1d"
    shown = {"title": "Failures", "webhook": visit.field("webhook"), "since": since, "groups": (), "problem": ""}
    try:
        return {**shown, "groups": await _groups(visit)}
    except ValueError as error:
        return {**shown, "problem": str(error)}


@page("/failures/<key>", "failure.html")
async def failure(visit: Visit, key: str) -> Values:
    group, plan = next(iter(await _groups(visit, key)), None), None
    force = bool(visit.field("force"))
    if group is not None and group.state is not DeliveryState.REFUSED and not visit.is_following:
        words = [*map(str, group.ids), *["force"] * force]
        if await visit.may("webhooks.replay", words=words):
            plan = await visit.perform("webhooks.replay", words=words, dry=True)
    return {"title": "Failures with the same cause", "group": group, "plan": plan, "force": force}


async def _groups(visit: Visit, key: str = "") -> Sequence[FailureGroup]:
    since = parse_time(visit.field("since") or "1d", visit.bot.now())
    found: Sequence[FailureGroup] = await visit.perform(
        "webhooks.failures", since=since, webhook=visit.field("webhook"), key=key
    )
    return found


@page("/deliveries/<int:id>", "delivery.html")
async def delivery(visit: Visit, id: int) -> Values:
    one, subject = await _delivery(visit, id), str(id)
    may_ask = await visit.may("webhooks.why", subject=subject)
    if not may_ask and visit.is_following:
        raise OtherResponse(406, "Events of this page are for those who may use the command why.")
    ended = one.outcome if one.state is not DeliveryState.RUNNING else None
    values = {
        "title": f"Delivery {id}",
        "one": one,
        "attempts": [*one.attempts, *([(one.attempt, one.began_at, ended)] if one.attempt else ())],
        "shown_wait": shown_wait,
        "explained": await visit.perform("webhooks.why", subject=subject) if may_ask else (),
        "may_replay": await visit.may("webhooks.replay", words=[subject]),
    }
    if (request := one.request) is None:
        return values
    endpoints = map(endpoint_url, visit.bot.web.listeners.open_now)
    site = visit.bot.bot_config.PUBLIC_URL or next(endpoints, "https://YOUR-HOST").partition(" ")[0]
    declaration, (described, text) = visit.bot.web.routes.declaration(one.webhook), body_text(request)
    verification = None if declaration is None else declaration.verify
    return {
        **values,
        # These look for secrets, which takes a while, so the template calls them in its thread.
        "headers": partial(shown_headers, request),
        "body": (described, partial(masker.part, text, 0, SHOWN_BODY), len(text) > SHOWN_BODY),
        "curl": partial(curl, request, site, verification, f"delivery-{id}-body"),
    }


@page("/deliveries/<int:id>/<any(body, export):what>", "")
async def attachment(visit: Visit, id: int, what: str) -> Values:
    one = await _delivery(visit, id)
    if what == "export":
        raise OtherResponse(200, file=(f"delivery-{id}.json", partial(exported, one)))
    if one.request is None or one.request.body is None:
        raise OtherResponse(404, "The body is not stored.")
    raise OtherResponse(200, file=(f"delivery-{id}-body", partial(shown_body, one.request)))


async def _delivery(visit: Visit, id: int) -> StoredDelivery:
    found: StoredDelivery | None = await visit.perform("webhooks.delivery", id=id)
    if found is None:
        raise OtherResponse(404, f"There is no delivery {id}.")
    return found


def _replayed(visit: Visit, result: ReplayResult, values: Values) -> str:
    number, repeated, others = len(result.begun), len(result.repeated), len(result.others)
    text = f"Replaying {number} {'delivery' if number == 1 else 'deliveries'}."
    text += f" The source has sent {repeated} again, which are not replayed." * bool(repeated)
    reasons = "unknown, due or running already, or without a stored body"
    return text + f" {others} can't be replayed: {reasons}." * bool(others)


ACTIONS["webhooks.replay"] = _replayed
