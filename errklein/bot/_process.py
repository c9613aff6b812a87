"""What administrators do with the running bot, in a chat and on a web page."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ReactorNotRunning

from errklein.commands.operations import Actor, operation
from errklein.journal import back_up
from errklein.plugins.operations import PluginList
from errklein.ports.chat import QueuesMessages
from errklein.ports.journal import JournalError
from errklein.ports.outbox import OutboxStatus
from errklein.running import PoolStatus, TimedOut, result_within
from errklein.storage import BACKUP_NAME, rows_of, write_backup
from errklein.webhooks.deliveries import QueueDepth

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

_LONGEST_READ = 3.0
"""The seconds to wait for the disk."""


@dataclass(frozen=True)
class NetworkStatus:
    """The connection of a network.

    :param connected_for: The seconds since it was established; None without one.
    :param ended: Whether the network has ended.
    :param waiting: What waits in the outbox; None for a network without one.
    :param oldest_for: The seconds since the oldest message was accepted that doesn't wait for a room; None without one.
    """

    name: str
    connected_for: float | None
    ended: bool
    reconnects: int
    waiting: OutboxStatus | None
    oldest_for: float | None


@dataclass(frozen=True)
class BotStatus:
    """The state of the running bot.

    :param endpoints: The addresses that are listened on.
    :param depth: The number of deliveries that wait, run or were given up; None if the journal can't be read.
    :param paused: The number of paused webhooks.
    :param errors: The number of errors of the last hour by source; with a single source "" for people who may not read details.
    """

    networks: Sequence[NetworkStatus]
    endpoints: Sequence[str]
    depth: QueueDepth | None
    paused: int
    plugins: PluginList
    errors: Mapping[str, int]
    pools: Sequence[PoolStatus]


@dataclass(frozen=True)
class WrittenBackup:
    """A backup, and the number of the values in it."""

    path: Path
    count: int


class ProcessOperations:
    """Shows, backs up, restarts and stops the bot."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    @operation("status")
    async def status(self, by: Actor) -> BotStatus:
        """Return the state of the bot."""
        bot, errors = self._bot, self._bot.recent_errors.counts()
        try:
            depth = await result_within(bot.reactor, _LONGEST_READ, bot.journal.depth())
        except (JournalError, TimedOut):
            depth = None
        return BotStatus(
            [self._network(name) for name in bot.backends],
            bot.web.listeners.open_now,
            depth,
            len(bot.delivery_queue.paused),
            await bot.core_host.plugins.plugins(by),
            errors if by.reads_details or not errors else {"": sum(errors.values())},
            self.load(by),
        )

    @operation("status_load")
    def load(self, by: Actor) -> list[PoolStatus]:
        """Return the state of the pools of threads."""
        return [pool.status() for pool in self._bot.pools]

    @operation("uptime")
    def started_at(self, by: Actor) -> datetime:
        """Return the time of the start."""
        return self._bot.startup_time

    @operation("backup")
    def back_up(self, by: Actor) -> WrittenBackup:
        """Write all stored values, secrets included, and the journal to files. Call it in a thread.

        Raises StorageError or DatabaseError.
        """
        bot = self._bot
        path = Path(bot.bot_config.BOT_DATA_DIR) / BACKUP_NAME
        # Third-party storages can't list their namespaces.
        backends = (f"{backend.mode}_backend" for backend in bot.backends.values())
        names = {"core", "repomgr", *backends, *(plugin.name for plugin in bot.plugin_manager.found)}
        count = write_backup(path, rows_of(bot.storage, names))
        if bot.bot_config.STORAGE != "Memory":
            back_up(path.parent, path)
        return WrittenBackup(path, count)

    @operation("restart")
    async def restart(self, by: Actor) -> None:
        """Restart the bot with the same command line. Raises CannotRestart."""
        await maybeDeferred(self._bot.restart)

    @operation("shutdown", "--confirm")
    def shut_down(self, by: Actor) -> None:
        """Stop the bot, soon after the call."""
        self._bot.reactor.callLater(0, self._stop)

    @operation("shutdown", "--confirm", "--kill")
    def kill(self, by: Actor) -> None:
        """End the process, soon after the call: running commands and webhooks don't finish."""
        self._bot.reactor.callLater(0, os.kill, os.getpid(), signal.SIGKILL)

    def _stop(self) -> None:
        # Another command or a signal may have stopped the reactor meanwhile.
        with suppress(ReactorNotRunning):
            self._bot.reactor.stop()

    def _network(self, name: str) -> NetworkStatus:
        backend, state = self._bot.backends[name], self._bot.events.states[name]
        waiting, now = backend.outbox_status if isinstance(backend, QueuesMessages) else None, self._bot.now()
        connected_for = None if state.connected_at is None else now - state.connected_at
        oldest_for = now - waiting.oldest_at if waiting is not None and waiting.oldest_at else None
        return NetworkStatus(name, connected_for, state.ended, state.reconnects, waiting, oldest_for)
