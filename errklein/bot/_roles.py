"""The part of a process in a bot that may run in several, and what these tell each other."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Sequence
from secrets import token_bytes
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein._version import __version__
from errklein.bot._operations import RELOADS, change_config
from errklein.commands.operations import Actor
from errklein.config import ConfigError
from errklein.plugins.manager import INACTIVE
from errklein.ports.nodes import ROLES, WORKER, Node
from errklein.running import RateLimit, SerialQueue, on_reactor_soon
from errklein.storage import StorageError

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

TOGETHER = 0.02  # the seconds for which messages for the owner are collected
INTERVAL = 2.0  # the seconds between two looks at the other processes
SILENT = 5.0  # the seconds after which a worker that hasn't been seen isn't waited for
PATIENCE = 10.0  # the seconds after which the owner runs a delivery that it has left to others


class SingleNode:
    """Implements `ports.nodes.Nodes` for a bot that is one process. It owns everything from the start."""

    def __init__(self) -> None:
        now, name = time.time(), f"{socket.gethostname()}:{os.getpid()}"
        self.me = self.owner = Node(1, name, __version__, ROLES, "", now, now, owns_since=now)
        self.secret, self.owns = token_bytes(32), True

    def start(self, owned: Callable[[], None], lost: Callable[[str], None], drained: Callable[[], None]) -> None:
        """Do nothing."""

    def all(self) -> Deferred[Sequence[Node]]:
        return succeed([self.me])

    def drain(self, id: int) -> Deferred[bool]:
        return succeed(False)

    def changed(self, topic: str) -> None:
        """Do nothing, since nobody else is to know it."""

    def when_changed(self, topic: str, function: Callable[[], None]) -> None:
        """Do nothing."""

    def stop(self) -> Deferred[None]:
        return succeed(None)


class Sharing:
    """What a process does that isn't alone: it decides which deliveries it runs, and follows what the owner changes."""

    log = Logger(namespace="errklein.bot")

    def __init__(self, bot: Bot) -> None:
        self._bot, self._nodes = bot, bot.nodes
        self.runs = WORKER in bot.nodes.me.roles
        self._others_run = self._is_outdated = self._is_to_be_read = False
        self._overdue: Collection[str] = ()  # the webhooks with deliveries that have waited for PATIENCE
        self._reloads = 0
        self._inactive: list[str] | None = None
        self._changes, self._taking = SerialQueue(bot.reactor), SerialQueue(bot.reactor)
        self._is_telling, self._warnings = False, RateLimit(bot.reactor.seconds)
        self._looking = LoopingCall(self._look)
        self._looking.clock = bot.reactor

    def start(self) -> None:
        self._nodes.when_changed("plugins", self._outdated)
        self._nodes.when_changed("deliveries", self._bot.delivery_queue.changed)
        self._nodes.when_changed("outbox", self._take)
        self._looking.start(INTERVAL, now=False)
        # Something may have changed while the plugins were loaded.
        self._outdated()

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    def may_run(self, webhook: str) -> bool:
        """Return whether this process runs a webhook's deliveries. The owner leaves those with `anywhere` to others for PATIENCE."""
        hook, owns = self._bot.web.routes.hook(webhook), self._bot.owns
        if hook is None:
            return owns
        leaves = owns and self._others_run and webhook not in self._overdue
        return not (hook.elsewhere or (leaves and hook.declaration.anywhere))

    def tell_plugins(self) -> None:
        """Let other processes look at the plugins. Deliveries of those that are inactive here wait, wherever they run."""
        manager = self._bot.plugin_manager
        inactive = [plugin.name for plugin in manager.found if not manager.is_active_or_late(plugin)]
        stored = manager.stored_values.set(INACTIVE, inactive) if inactive != self._inactive else succeed(None)
        self._inactive = inactive
        stored.addErrback(self._failed).addBoth(lambda _: self._nodes.changed("plugins"))

    async def stand_in(self) -> None:
        """Serve the webhooks of the owner's plugins."""
        self._reloads = await self._bot.plugin_manager.stored_values.get(RELOADS, 0)
        await self._bot.plugin_manager.stand_in(runs=self.runs)

    def give_messages(self) -> None:
        """Let another process send what is sent here."""
        for backend in self._bot.backends.values():
            backend.outbox.use_store(self._bot.journal.outbox, self._message_given, self._bot.check_ownership)

    def _message_given(self) -> None:
        """Tell the owner of a message when it is on disk: with the end of its delivery, if that is soon. For any thread."""
        on_reactor_soon(self._bot.reactor, self._tell_soon)

    def _tell_soon(self) -> None:
        if not self._is_telling:
            self._is_telling = True
            self._bot.reactor.callLater(TOGETHER, self._tell)

    def _tell(self) -> None:
        self._is_telling = False
        self._bot.journal.outbox.flush().addBoth(lambda _: self._nodes.changed("outbox"))

    def _take(self) -> None:
        if self._bot.owns and self._taking.idle:
            self._taking.run(lambda: Deferred.fromCoroutine(self._bot.take_messages()).addErrback(self._failed))

    def _outdated(self) -> None:
        if not (self._is_outdated or self._bot.owns):
            self._is_outdated = True
            self._changes.run(lambda: Deferred.fromCoroutine(self._read_again()).addErrback(self._not_read))

    def _not_read(self, failure: Failure) -> None:
        self._is_to_be_read = True
        self._failed(failure)

    async def _read_again(self) -> None:
        """Follow what the owner has stored."""
        self._is_outdated = False
        bot = self._bot
        reloads = await bot.plugin_manager.stored_values.get(RELOADS, 0)
        if reloads != self._reloads and (read := bot.read_config) is not None:
            self._reloads = reloads
            try:
                fresh = await bot.plugin_pool.run(lambda: read, name=lambda: "the reload of the configuration")
                change_config(bot, fresh, Actor("the owner"), is_forced=True)
            except (ConfigError, StorageError) as error:
                self.log.error(
                    "The owner has reloaded the configuration, and this process can't: {error}", error=str(error)
                )
        if not bot.owns:
            await bot.room_webhooks.read_again()
        if not bot.owns:
            await bot.plugin_manager.stand_in(runs=self.runs)

    def _look(self) -> None:
        self._take()
        if self._is_to_be_read or self._bot.plugin_manager.is_to_be_tried:
            self._is_to_be_read = False
            self._outdated()
        if self._bot.owns:
            self._nodes.all().addCallbacks(self._note_others, self._failed).addErrback(self._failed)

    def _note_others(self, nodes: Sequence[Node]) -> None:
        latest, own = max(node.seen_at for node in nodes), self._nodes.me.id
        others = [node for node in nodes if node.id != own and not node.draining and node.seen_at >= latest - SILENT]
        before, self._others_run = self._others_run, any(WORKER in node.roles for node in others)
        if before is not self._others_run:
            self._bot.delivery_queue.changed()
        if self._others_run:
            overdue = self._bot.journal.waiting(self._bot.now() - PATIENCE)
            overdue.addCallback(self._note_overdue).addErrback(self._failed)

    def _note_overdue(self, webhooks: Collection[str]) -> None:
        if any(webhook not in self._overdue for webhook in webhooks):
            self._bot.delivery_queue.changed()
        self._overdue = webhooks

    def _failed(self, failure: Failure) -> None:
        if self._warnings.allows("failed"):
            self.log.warn("The other processes can't be followed: {error}", error=failure.getErrorMessage())
