"""The commands `!status`, `!uptime`, `!config reload`, `!restart` and `!shutdown`, and `!backup`."""

from __future__ import annotations

import gc
import os
from datetime import datetime

from errklein.chat import Message
from errklein.commands import CommandError, botcmd, concurrent
from errklein.config import ConfigError
from errklein.core_plugins import CorePlugin, shown_lines
from errklein.ports.journal import JournalError
from errklein.running.reactors import CannotRestart
from errklein.storage import StorageError
from errklein.text import beginning, code, plain
from errklein.webhooks.delivery_words import InvalidWords

_MOST_SOURCES = 10


class Health(CorePlugin):
    """Show the bot's status, reload its configuration, and restart or stop it."""

    refusals, failure = (ConfigError, StorageError), "The configuration stays as it was"

    @botcmd
    async def status(self, msg: Message, args: str) -> str:
        """Show the status in four lines, and where the details are."""
        by = self.actor(msg)
        found = await self.host.process.status(by)
        # Core plugins that don't apply are inactive.
        others = [one for one in found.plugins if not (one.is_active or (one.is_core and one.letters == "D"))]
        waiting = sum(sum(pool.waiting.values()) for pool in found.pools)
        errors = [f"{source} ({count})" if by.reads_details else str(count) for source, count in found.errors.items()]
        values = {
            "found": found,
            "inactive": [f"{one.name} ({one.letters})" for one in others],
            "changed": [one.name for one in found.plugins if one.changes and any(one.changes.remarks(""))],
            "errors": beginning(errors, _MOST_SOURCES),
            "threads": f"{sum(len(pool.uses) for pool in found.pools)} busy{f', {waiting} jobs waiting' * bool(waiting)}",
            "beginning": beginning,
            "prefix": self.host.prefix,
        }
        return self.render("status", values)

    @botcmd
    async def status_plugins(self, msg: Message, args: str) -> str:
        """Show the state of plugins, those with a problem first."""
        by = self.actor(msg)
        found = await self.host.plugins.plugins(by)
        others: dict[tuple[str, str], list[str]] = {}
        active, active_core = list[str](), list[str]()
        for one in found:
            reload = f"{self.host.prefix}plugin reload {one.name}"
            changes = one.changes.remarks(reload) if one.changes else ()
            remark = "; ".join(filter(None, [one.remark, *changes]))
            if one.is_active and not remark:
                (active_core if one.is_core else active).append(one.name)
            else:
                others.setdefault((one.letters, remark), []).append(one.name)
        values = {
            # Those with a problem come first, and those that were deactivated last.
            "others": [(*key, others[key]) for key in sorted(others, key=lambda key: (not key[1], "D" in key[0]))],
            "active": active,
            "active_core": active_core,
            "compared": all(one.changes is not None for one in found),
            "unusable": [*map(plain, self.host.plugins.unusable(by))],
            "prefix": self.host.prefix,
        }
        return self.render("status_plugins", values)

    @botcmd
    async def status_load(self, msg: Message, args: str) -> str:
        """Show the machine's load and the busy threads."""
        loads = [f"{average:.2f}" for average in os.getloadavg()]
        return self.render("status_load", {"loads": loads, "pools": self.host.process.load(self.actor(msg))})

    @botcmd
    async def status_gc(self, msg: Message, args: str) -> str:
        """Show the counters of Python's garbage collector."""
        return self.render("status_gc", {"gc": gc.get_count()})

    @botcmd
    async def uptime(self, msg: Message, args: str) -> str:
        """Show how long the bot has been running."""
        since = self.host.process.started_at(self.actor(msg))
        return self.render("uptime", {"since": since, "seconds": (datetime.now() - since).total_seconds()})

    @concurrent
    @botcmd(admin_only=True)
    async def restart(self, msg: Message, args: str) -> str:
        """Restart the bot with the same command line.

        The bot goes on if config.py has an error."""
        try:
            await self.host.process.restart(self.actor(msg))
        except CannotRestart as error:
            raise CommandError(f"The bot can't restart itself: {plain(str(error))}.") from error
        return "Restarting."

    @concurrent
    @botcmd(admin_only=True, syntax="[--force]")
    async def config_reload(self, msg: Message, args: str) -> str:
        """Read the configuration again, and apply most of it.

        An error changes nothing, and what needs a restart is named. --force also removes the last administrator of a network, or a webhook's verification.
        """
        by = self.actor(msg)
        changes = await self.host.process.reload_config(by, args.strip())
        lines = [one.line(details=by.reads_details) for one in changes]
        return "\n".join(shown_lines(lines, 1000)) or "Nothing has changed."

    @concurrent
    @botcmd(admin_only=True, syntax="PROCESS")
    async def drain(self, msg: Message, args: str) -> str:
        """Stop one of several processes without refusing requests.

        `!status` shows the processes of a bot on PostgreSQL."""
        if not args.strip():
            raise CommandError(f"Usage: {code(f'{self.host.prefix}drain PROCESS')}")
        try:
            node = await self.host.process.drain(self.actor(msg), args.strip())
        except (InvalidWords, JournalError) as error:
            raise CommandError(f"{plain(str(error))}.") from error
        return f"The process {code(node.name)} takes no new work, and stops soon."

    @concurrent
    @botcmd(admin_only=True, syntax="--confirm [--kill]")
    async def shutdown(self, msg: Message, args: str) -> str:
        """Stop the bot.

        With --kill the process ends at once: running commands and webhooks don't finish."""
        given = args.split()
        if unknown := [word for word in given if word not in ("--confirm", "--kill")]:
            raise CommandError(f"Unknown option {plain(' '.join(unknown))}; valid options are --confirm and --kill.")
        if "--confirm" not in given:
            return f"To stop the bot, use {code(f'{self.host.prefix}shutdown --confirm')}."
        if "--kill" in given:
            self.host.process.kill(self.actor(msg))
            return "Killing the process."
        self.host.process.shut_down(self.actor(msg))
        return "Shutting down."


class Backup(CorePlugin):
    """Write backups, which `errklein restore` reads."""

    refusals, failure = (StorageError,), "The backup failed"

    @botcmd(admin_only=True)
    def backup(self, msg: Message, args: str) -> str:
        """Back up all stored data, secrets included, to files.

        The files are backup.jsonl and backup.journal.sqlite in BOT_DATA_DIR. `errklein restore` reads them.
        With ERRKLEIN_DATABASE, deliveries and messages are copied by pg_dump instead."""
        path, count = self.host.process.back_up(self.actor(msg))
        return f"Backup of {count} values written to {code(str(path))}. It contains their secrets."
