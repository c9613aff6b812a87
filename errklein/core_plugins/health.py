"""The commands `!status`, `!uptime`, `!restart` and `!shutdown`."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ReactorNotRunning

from errklein.chat import Message
from errklein.commands import CommandError, botcmd, concurrent
from errklein.core_plugins import CorePlugin
from errklein.ports.chat import QueuesMessages
from errklein.ports.journal import JournalError
from errklein.running import TimedOut, WorkerPool, result_within
from errklein.running.restart import CannotRestart
from errklein.text import code, plain, plain_but_html

_MOST_SOURCES = 10
_MOST_NAMES = 20
_LONGEST_READ = 3.0
"""The seconds that a reply waits for the disk."""


class Health(CorePlugin):
    """Show the bot's status, and restart or stop it."""

    @botcmd
    async def status(self, msg: Message, args: str) -> str:
        """Show the status in four lines, and where the details are."""
        return self._rendered("status", await self._overview(msg))

    @botcmd
    async def status_plugins(self, msg: Message, args: str) -> str:
        """Show the status of each plugin, with its problems."""
        return self._rendered("status_plugins", await self._plugins(msg))

    @botcmd
    async def status_load(self, msg: Message, args: str) -> str:
        """Show the machine's load and the busy threads."""
        return self._rendered("status_load", self._load())

    @botcmd
    async def status_gc(self, msg: Message, args: str) -> str:
        """Show the counters of Python's garbage collector."""
        return self._rendered("status_gc", {"gc": gc.get_count()})

    @botcmd
    async def uptime(self, msg: Message, args: str) -> str:
        """Show how long the bot has been running."""
        since = self._bot.startup_time
        running = datetime.now() - since
        return f"I've been up for {_spoken(int(running.total_seconds()))} (since {since:%A, %b %d at %H:%M})."

    @concurrent
    @botcmd(admin_only=True)
    async def restart(self, msg: Message, args: str) -> str:
        """Restart the bot with the same command line.

        The bot goes on if config.py has an error.
        """
        try:
            await maybeDeferred(self._bot.restart)
        except CannotRestart as error:
            raise CommandError(f"The bot can't restart itself: {error}.") from error
        return "Restarting."

    @concurrent
    @botcmd(admin_only=True, syntax="[--confirm] [--kill]")
    async def shutdown(self, msg: Message, args: str) -> str:
        """Stop the bot.

        Usage: !shutdown --confirm [--kill]

        With --kill the process ends at once: running commands and webhooks don't finish.
        """
        given = args.split()
        unknown = [word for word in given if word not in ("--confirm", "--kill")]
        if unknown:
            options = f"Unknown option {plain(' '.join(unknown))}; valid options are --confirm and --kill."
            raise CommandError(options)
        if "--confirm" not in given:
            return f"To stop the bot, use {code(f'{self._bot.prefix}shutdown --confirm')}."
        if "--kill" in given:
            self._bot.reactor.callLater(0, os.kill, os.getpid(), signal.SIGKILL)
            return "Killing the process."
        self._bot.reactor.callLater(0, self._stop)
        return "Shutting down."

    def _stop(self) -> None:
        # Another command or a signal may have stopped the reactor meanwhile.
        with suppress(ReactorNotRunning):
            self._bot.reactor.stop()

    async def _overview(self, msg: Message) -> Mapping[str, Any]:
        bot = self._bot
        errors = bot.recent_errors.counts()
        counted = str(sum(errors.values())) if errors else "none"
        if errors and bot.disclosure.allowed(bot.backend, msg):
            sources = [f"{source} ({count})" for source, count in [*errors.items()][:_MOST_SOURCES]]
            counted = ", ".join([*sources, *(["…"] if len(errors) > _MOST_SOURCES else [])])
        pools = [pool.status() for pool in bot.pools]
        waiting = sum(sum(pool.waiting.values()) for pool in pools)
        return {
            "networks": [f"{name}: {self._network(name)}" for name in bot.backends],
            "endpoints": bot.web.listeners.open_now,
            "deliveries": await self._deliveries(),
            "plugins": await self._plugin_states(),
            "errors": counted,
            "threads": f"{sum(len(pool.uses) for pool in pools)} busy"
            + (f", {waiting} jobs waiting" if waiting else ""),
            "details": [
                f"{bot.prefix}{name}" for name in ("status plugins", "status load", "webstatus", "delivery list")
            ],
        }

    async def _plugin_states(self) -> str:
        """Return the number of active plugins, the others with their state, and those whose files have changed."""
        manager = self._bot.plugin_manager
        changes = await manager.changed_files.find([plugin.plug for plugin in manager.found])
        letters = {plugin: manager.status.letters(plugin) for plugin in manager.found}
        others = [
            f"{plugin.name} ({letter})"
            for plugin, letter in letters.items()
            # Core plugins that don't apply are inactive.
            if not (plugin.active or (plugin.plug.core and letter == "D"))
        ]
        text = f"{sum(plugin.active for plugin in letters)} active"
        for label, names in (("not active", others), ("files changed", sorted(changes or ()))):
            if names:
                shown = [*names[:_MOST_NAMES], *(["…"] if len(names) > _MOST_NAMES else [])]
                text += f"; {label}: {', '.join(shown)}"
        return text

    def _network(self, name: str) -> str:
        """Return the connection and the outbox of a network."""
        backend, state, now = self._bot.backends[name], self._bot.events.states[name], self._bot.now()
        if state.connected_at is None:
            shown = "ended" if state.ended else "not connected"
        else:
            shown = f"connected for {_spoken(int(now - state.connected_at))}"
        if state.reconnects:
            shown += f", reconnects: {state.reconnects}"
        if isinstance(backend, QueuesMessages) and (outbox := backend.outbox_status).messages:
            oldest = f"the oldest for {_spoken(int(now - outbox.oldest_at))}" if outbox.oldest_at else "only for rooms"
            shown += f", messages waiting: {outbox.messages}, {oldest}"
        return shown

    async def _deliveries(self) -> str:
        try:
            depth = await result_within(self._bot.reactor, _LONGEST_READ, self._bot.journal.depth())
        except (JournalError, TimedOut):
            return "the journal can't be read"
        paused = len(self._bot.delivery_queue.paused)
        return f"deliveries: {depth.waiting} waiting, {depth.running} running, {depth.dead} dead" + (
            f"; paused webhooks: {paused}" if paused else ""
        )

    async def _plugins(self, msg: Message) -> Mapping[str, Any]:
        manager = self._bot.plugin_manager
        details = self._bot.disclosure.allowed(self._bot.backend, msg)
        changes = await manager.changed_files.find([plugin.plug for plugin in manager.found])
        rows, active, active_core = [], list[str](), list[str]()
        for plugin in manager.found:
            remarks = [manager.status.remark(plugin, details=details)]
            if changes is not None and plugin.name in changes:
                reload = f"{self._bot.prefix}plugin reload {plugin.name}"
                remarks.extend(changes[plugin.name].remarks(reload, details=details))
            remark = "; ".join(filter(None, remarks))
            if plugin.active and not remark:
                (active_core if plugin.plug.core else active).append(plugin.name)
                continue
            rows.append((manager.status.letters(plugin), _cell(plugin.name), _cell(remark)))
        headers = ["Status", "Name", "Remark"]
        if not any(remark for _, _, remark in rows):
            headers.pop()
        # Details contain texts of exceptions and paths.
        unusable = [plain(line) for line in manager.unusable] if details else []
        # Imported late: importing Jinja2 is slow.
        from errklein.text.templating import md_table

        table = md_table([row[: len(headers)] for row in rows], headers) if rows else ""
        lists = {"active": active, "active_core": active_core, "unusable": unusable}
        return {"table": table, **lists, "compared": changes is not None}

    def _load(self) -> Mapping[str, Any]:
        loads = [f"{average:.2f}" for average in os.getloadavg()]
        return {"loads": loads, "threads": [_pool(pool) for pool in self._bot.pools]}

    def _rendered(self, template: str, values: Mapping[str, Any]) -> str:
        return self._bot.process_template(template, dict(values), self.name)


def _pool(pool: WorkerPool) -> str:
    status = pool.status()
    running, waiting = sum(status.running.values()), sum(status.waiting.values())
    return f"{status.name} {running} of {status.size} busy" + (f", {waiting} waiting" if waiting else "")


def _cell(text: str) -> str:
    """Return the text escaped for a cell of `md_table`, which itself escapes bars and angle brackets."""
    return plain_but_html(text).replace("\\|", "|").replace("\\>", ">")


def _spoken(seconds: int) -> str:
    """Return a duration in its two largest units."""
    parts = []
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}" + ("s" if count > 1 else ""))
    return " and ".join(parts[:2]) or "less than a second"
