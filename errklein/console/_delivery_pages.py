"""The pages of deliveries: lists, groups of failures, and one delivery."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from errklein.console import _shown
from errklein.console._visit import ACTIONS, OtherResponse, Values, Visit, page
from errklein.journal.operations import ReplayResult, shown_wait
from errklein.listening import endpoint_url
from errklein.webhooks.deliveries import DeliveryState, FailureGroup, StoredDelivery
from errklein.webhooks.delivery_words import parse_time

_PAGE = 50  # the deliveries of a page
_FIELDS = ("webhook", "state", "words", "answered", "status", "reason", "since", "until", "source-id", "before")
_WITHOUT_KEYWORD = _FIELDS[:3]
_ONE = "/deliveries/<int(max=9223372036854775807):id>"


@page("/deliveries", "deliveries.html")
async def deliveries(visit: Visit) -> Values:
    given = [(name, one) for name in _FIELDS for one in visit.values(name) if one.strip()]
    text, before = visit.field("text").strip(), visit.field("before")
    values = {"title": "Deliveries", "given": given, "text": text, "counted": 0}
    if text:
        at = int(before[:18]) if before.isdecimal() else None
        found, older = await visit.perform("webhooks.search", text=text, before=at)
        return {**values, "found": found, "older": older}
    words = [word for name, one in given for word in (one.split() if name in _WITHOUT_KEYWORD else (name, one))]
    words += ["limit", str(_PAGE)] * ("limit" not in words)
    listed = await visit.perform("webhooks.deliveries", words=words, most=_PAGE)
    older = listed.deliveries[-1].id if listed.older else 0
    return {**values, "found": listed.deliveries, "counted": listed.counted, "older": older}


@page("/failures", "failures.html")
async def failures(visit: Visit) -> Values:
    given = {name: visit.field(name) for name in ("since", "webhook")}
    return {"title": "Failures", "groups": await _groups(visit), "given": given}


@page("/failures/<key>", "failure.html")
async def failure(visit: Visit, key: str) -> Values:
    group, force, plan = next(iter(await _groups(visit, key)), None), bool(visit.field("force")), None
    if group is not None and group.state is not DeliveryState.REFUSED and not visit.is_following:
        words = [*map(str, group.ids), *["force"] * force]
        if await visit.may("webhooks.replay", words=words):
            plan = await visit.perform("webhooks.replay", words=words, dry=True)
    return {"title": "Failures with the same cause", "group": group, "plan": plan, "force": force}


async def _groups(visit: Visit, key: str = "") -> Sequence[FailureGroup]:
    values = {"since": parse_time(visit.field("since") or "1d", visit.bot.now()), "webhook": visit.field("webhook")}
    found: Sequence[FailureGroup] = await visit.perform("webhooks.failures", **values, key=key)
    return found


@page(_ONE, "delivery.html")
async def delivery(visit: Visit, id: int) -> Values:
    one, may_ask = await _delivery(visit, id), await visit.may("webhooks.why", subject=str(id))
    explained = await visit.perform("webhooks.why", subject=str(id)) if may_ask else ()
    may_replay = await visit.may("webhooks.replay", words=[str(id)])
    values = {"title": f"Delivery {id}", "one": one, "explained": explained, "may_replay": may_replay}
    urls = [visit.bot.bot_config.PUBLIC_URL, *map(endpoint_url, visit.bot.web.listeners.open_now), "https://YOUR-HOST"]
    site, hook = next(filter(None, urls)).partition(" ")[0], visit.bot.web.routes.declaration(one.webhook)
    # The functions of `_shown` look for secrets, which takes a while, so the template calls them in its thread.
    return {**values, "shown": _shown, "shown_wait": shown_wait, "site": site, "hook": hook}


@page(f"{_ONE}/<any(body, export):what>", "")
async def attachment(visit: Visit, id: int, what: str) -> Values:
    one = await _delivery(visit, id)
    if what == "export":
        raise OtherResponse(200, file=(f"delivery-{id}.json", partial(_shown.exported, one)))
    if one.request is None:
        raise OtherResponse(404, "The request is not stored.")
    raise OtherResponse(200, file=(f"delivery-{id}-body", partial(_shown.body, one.request)))


async def _delivery(visit: Visit, id: int) -> StoredDelivery:
    found: StoredDelivery | None = await visit.perform("webhooks.delivery", id=id)
    if found is None:
        raise OtherResponse(404, f"There is no delivery {id}.")
    return found


def _replayed(visit: Visit, result: ReplayResult, values: Values) -> str:
    number, repeated, others = len(result.begun), len(result.repeated), len(result.others)
    text = f"Replaying {number} {'delivery' if number == 1 else 'deliveries'}."
    text += f" The source has sent {repeated} again, which are not replayed." * bool(repeated)
    return text + f" {others} are unknown, due or running already, or have no stored body." * bool(others)


ACTIONS["webhooks.replay"] = _replayed
