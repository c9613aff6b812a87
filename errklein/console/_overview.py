"""The overview: what came lately, what waits, and what has a problem."""

from __future__ import annotations

from collections.abc import Awaitable

from errklein.console._visit import Values, Visit, page


@page("/", "overview.html")
async def overview(visit: Visit) -> Values:
    def totals(step: int, number: int) -> Awaitable[object]:
        until = (visit.bot.now() // step + 1) * step
        return visit.perform("webhooks.totals", since=until - number * step, until=until, step=step)

    status = await visit.perform("process.status")
    return {"title": "Overview", "status": status, "hour": await totals(60, 60), "day": await totals(3600, 24)}
