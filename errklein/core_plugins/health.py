"""`!status`, `!uptime` and `!shutdown`."""

from __future__ import annotations

import gc
import os
from datetime import datetime

from errklein import BotPlugin, botcmd
from errklein.chat import Message
from errklein.plugins.plugin import State


class Health(BotPlugin):
    """Tells how the bot is, and stops it."""

    @botcmd
    async def status(self, msg: Message, args: str) -> str:
        """Say whether all is well."""
        return "\n\n".join(
            [
                "Yes I am alive...",
                await self.status_plugins(msg, args),
                await self.status_load(msg, args),
                await self.status_gc(msg, args),
            ]
        )

    @botcmd
    async def status_plugins(self, msg: Message, args: str) -> str:
        """List the plugins, and what is wrong with those that don't work."""
        manager = self._bot.plugin_manager
        rows = ["## Plugins", "", "| Status | Name | Remark |", "| --- | --- | --- |"]
        for plugin in manager.found:
            remark = manager.remark(plugin).replace("|", "\\|")
            rows.append(f"| {manager.state(plugin).value} | {plugin.name} | {remark} |")
        meanings = ", ".join(f"{state.value} = {state.name.lower()}" for state in State)
        return "\n".join(rows) + f"\n\n{meanings}"

    @botcmd
    async def status_load(self, msg: Message, args: str) -> str:
        """Show the load of the machine, and what the bot is doing."""
        load = ", ".join(f"{average:.2f}" for average in os.getloadavg())
        pool = self._bot.command_pool
        return f"Load {load}; {pool.running} of {pool.size} command threads busy, {pool.waiting} commands waiting"

    @botcmd
    async def status_gc(self, msg: Message, args: str) -> str:
        """Show the state of Python's garbage collector."""
        return "GC {}->{}->{}".format(*gc.get_count())

    @botcmd
    async def uptime(self, msg: Message, args: str) -> str:
        """Say since when the bot has been running."""
        since = self._bot.startup_time
        running = datetime.now() - since
        return f"I've been up for {_spoken(int(running.total_seconds()))} (since {since:%A, %b %d at %H:%M})."

    @botcmd(admin_only=True)
    async def shutdown(self, msg: Message, args: str) -> str:
        """Stop the bot; it needs `--confirm`."""
        if "--confirm" not in args.split():
            return f"Say {self._bot.prefix}shutdown --confirm if you mean it."
        self._bot.reactor.callLater(0, self._bot.reactor.stop)
        return "Shutting down."


def _spoken(seconds: int) -> str:
    """A time span in its two largest units."""
    parts = []
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}" + ("s" if count > 1 else ""))
    return " and ".join(parts[:2]) or "less than a second"
