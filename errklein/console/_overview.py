"""The overview: what came lately, what waits, and what has a problem."""

from __future__ import annotations

from errklein.console._visit import Values, Visit, page


@page("/", "overview.html")
async def overview(visit: Visit) -> Values:
    return {"title": "Overview", "status": await visit.perform("process.status")}
