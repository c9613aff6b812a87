"""The pages of deliveries: lists, groups of failures, and one delivery."""

from __future__ import annotations

import shlex

from errklein.console._visit import ACTIONS, OtherResponse, Values, Visit, page
from errklein.journal.operations import ReplayResult
from errklein.webhooks.exported import body_text, details

_PAGE = 50  # the deliveries of a page


@page("/deliveries", "deliveries.html")
async def deliveries(visit: Visit) -> Values:
    words = shlex.split(visit.field("words"))
    found = await visit.perform("webhooks.deliveries", words=words, most=_PAGE)
    return {"title": "Deliveries", "words": visit.field("words"), "found": found}


@page("/deliveries/<int:id>", "delivery.html")
async def delivery(visit: Visit, id: int) -> Values:
    found = await visit.perform("webhooks.delivery", id=id)
    if found is None:
        raise OtherResponse(404, f"There is no delivery {id}.")
    body = body_text(found.request) if found.request is not None else ("", "")
    may_replay = await visit.may("webhooks.replay", words=[str(id)])
    return {"title": f"Delivery {id}", "one": found, "lines": details(found), "body": body, "may_replay": may_replay}


def _replayed(visit: Visit, result: ReplayResult, values: Values) -> str:
    number = len(result.begun)
    return f"Replaying {number} {'delivery' if number == 1 else 'deliveries'}."


ACTIONS["webhooks.replay"] = _replayed
