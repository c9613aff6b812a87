"""The overview: what came lately, what waits, and what has a problem."""

from __future__ import annotations

from collections.abc import Awaitable

from errklein.console._visit import Values, Visit, page
from errklein.plugins.operations import PluginSummary


@page("/", "overview.html")
async def overview(visit: Visit) -> Values:
    def totals(step: int, number: int) -> Awaitable[object]:
        until = (visit.bot.now() // step + 1) * step
        return visit.perform("webhooks.totals", since=until - number * step, until=until, step=step)

    status = await visit.perform("process.status")
    problems = [(one, text) for one in status.plugins if (text := _problem(one)) is not None]
    values = {"hour": await totals(60, 60), "day": await totals(3600, 24)}
    return {"title": "Overview", "status": status, "problems": problems, **values}


def _problem(plugin: PluginSummary) -> str | None:
    """Return what is wrong with a plugin; None if nothing is. Core plugins that don't apply are inactive."""
    changes = plugin.changes.remarks("reload it") if plugin.changes else ()
    text = "; ".join(filter(None, [plugin.remark, *changes]))
    return None if not text and (plugin.is_active or (plugin.is_core and plugin.letters == "D")) else text
