"""The overview: what came lately, what waits, and what has a problem."""

from __future__ import annotations

from typing import Any

from errklein.console._visit import Values, Visit, page


@page("/", "overview.html")
async def overview(visit: Visit) -> Values:
    status = await visit.perform("process.status")
    values: dict[str, Any] = {"title": "Overview", "status": status, "hour": (), "day": ()}
    # Without a depth, the journal can't be read, or doesn't respond.
    for name, step, number in (("hour", 60, 60), ("day", 3600, 24)) if status.depth else ():
        until = (visit.bot.now() // step + 1) * step
        since = until - number * step
        values[name] = await visit.perform("webhooks.totals", since=since, until=until, step=step)
    return values
