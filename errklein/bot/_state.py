"""What the running bot knows about deliveries, messages, webhooks and rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errklein.chat.outgoing import MessageRecord, Wait
from errklein.plugins.plugin import UnknownPlugin
from errklein.ports.chat import ExplainsWaits
from errklein.ports.journal import JournalError
from errklein.running import TimedOut, result_within
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery
from errklein.webhooks.explained import PAUSED_WEBHOOK, BotState
from errklein.webhooks.precedence import RouteInfo

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

_LONGEST_WRITE = 3.0
"""The seconds after which a disk that does not respond is a problem."""


class RunningState(BotState):
    """The state of a running bot."""

    def __init__(self, bot: Bot) -> None:
        site = f"{bot.bot_config.PUBLIC_URL}{bot.bot_config.WEBHOOK_BASE_PATH}"
        super().__init__(bot.backends, bot.delivery_queue.paused, site)
        self._bot = bot

    def now(self) -> float:
        """Return the Unix time."""
        return self._bot.now()

    def refused(self) -> Sequence[StoredDelivery]:
        """Return the last refused request of each webhook since the start."""
        return list(self._bot.web.refused.values())

    def routes(self) -> Sequence[RouteInfo]:
        """Return the webhooks of active plugins."""
        return self._bot.web.routes.hooks()

    def responses(self, webhook: str) -> int:
        """Return the number of the webhook's responses since the start."""
        return sum(count for (name, _), count in self._bot.web.counts.responses.items() if name == webhook)

    async def problem(self) -> str:
        """Return why the journal can't be written; "" if it can."""
        try:
            await result_within(self._bot.reactor, _LONGEST_WRITE, self._bot.journal.check())
        except (JournalError, TimedOut) as error:
            return str(error) or "the disk does not respond"
        return ""

    def webhook_status(self, webhook: str) -> Wait:
        """Return whether a webhook is active, or why its requests don't run."""
        web, name = self._bot.web, webhook.partition(":")[0]
        if web.routes.declaration(webhook) is None:
            try:
                plugin = self._bot.plugin_manager.plugin(name)
            except UnknownPlugin:
                return Wait("not active", cause=f"there is no plugin {name}")
            if plugin.active:
                return Wait("not active", cause=f"the plugin {name} is active, and doesn't have it any more")
            return Wait("not active", cause=f"the plugin {name} isn't active; `status plugins` says why")
        if problem := web.checks.unusable.get(webhook):
            return Wait("all requests get 503", cause=problem)
        for route in self.routes():
            if route.hook.full_name == webhook and route.shadowed_by:
                return Wait("no requests arrive", cause=f"they go to {route.shadowed_by}, which has the same URL")
        return Wait(PAUSED_WEBHOOK if webhook in self.paused else "active")

    def room_status(self, network: str, name: str) -> Wait | None:
        """Return whether the bot is in a room, and why not; None if it should not be there."""
        backend = self._bot.backends.get(network)
        return backend.room_status(name) if isinstance(backend, ExplainsWaits) else None

    def wait_of_delivery(self, delivery: StoredDelivery) -> Wait | None:
        """Return what a delivery that has not ended waits for; None if its handler runs."""
        web, webhook, is_leased = self._bot.web, delivery.webhook, delivery.state is DeliveryState.RUNNING
        if not is_leased and web.routes.declaration(webhook) is None:
            status = self.webhook_status(webhook)
            return status._replace(state=f"the webhook is {status.state}")
        if not is_leased:
            return self._bot.delivery_queue.wait_of(delivery)
        for pool in (pool.status() for pool in web.pools):
            if waiting := pool.waiting.get(f"route:{webhook}", 0):
                busy = ", ".join(dict.fromkeys(use.name for use in pool.uses))
                return Wait("no thread is free", cause=f"{waiting} of the webhook wait, and {busy} run")
        return None

    def wait_of_message(self, record: MessageRecord) -> Wait | None:
        """Return what a message waits for; None if it doesn't wait any more."""
        backend = self._bot.backends.get(record.network)
        if backend is None:
            return Wait(f"the bot has no network {record.network} in NETWORKS")
        return backend.wait_of(record) if isinstance(backend, ExplainsWaits) else None
