"""The pages of the bot: the overview, webhooks, networks and plugins."""

from __future__ import annotations

from errklein.console._visit import Values, Visit, page


@page("/", "overview.html")
async def overview(visit: Visit) -> Values:
    status = await visit.perform("process.status")
    return {"title": "Overview", "status": status}
