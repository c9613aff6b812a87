"""The deliveries, messages and webhooks of the running bot."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from errklein.chat.outgoing import MessageRecord, Wait
from errklein.journal import log_replay
from errklein.plugins.plugin import UnknownPlugin
from errklein.ports.chat import Backend, ExplainsWaits
from errklein.ports.journal import JournalError
from errklein.running import TimedOut, result_within
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.precedence import RouteInfo

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

_LONGEST_WRITE = 3.0
"""The seconds after which a disk that does not respond is a problem."""


class RunningRecords:
    """Implements `webhooks.explained.Records` for a running bot."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    @property
    def site(self) -> str:
        """PUBLIC_URL and WEBHOOK_BASE_PATH."""
        return str(self._bot.bot_config.PUBLIC_URL + self._bot.bot_config.WEBHOOK_BASE_PATH)

    @property
    def networks(self) -> Mapping[str, Backend]:
        """The backends by the names of their networks."""
        return self._bot.backends

    @property
    def paused(self) -> Collection[str]:
        """The webhooks that are paused."""
        return self._bot.delivery_queue.paused

    @property
    def refused(self) -> Mapping[str, StoredDelivery]:
        """The last refused request of each webhook."""
        return self._bot.web.refused

    def now(self) -> float:
        """Return the Unix time."""
        return self._bot.now()

    def routes(self) -> Sequence[RouteInfo]:
        """Return the webhooks of active plugins."""
        return self._bot.web.routes.hooks()

    def responses(self, webhook: str) -> int:
        """Return the number of the webhook's responses since the start."""
        return sum(count for (name, _), count in self._bot.web.counts.responses.items() if name == webhook)

    def get(self, id: int) -> Awaitable[StoredDelivery | None]:
        """See `Journal.get`."""
        return self._bot.journal.get(id)

    def find(self, query: DeliveryQuery) -> Awaitable[Sequence[StoredDelivery]]:
        """See `Journal.find`."""
        return self._bot.journal.find(query)

    def counted(self, query: DeliveryQuery) -> Awaitable[int]:
        """See `Journal.counted`."""
        return self._bot.journal.counted(query)

    def webhooks(self) -> Awaitable[Sequence[str]]:
        """See `Journal.webhooks`."""
        return self._bot.journal.webhooks()

    def messages(self, delivery: int = 0, recipient: str = "") -> Awaitable[Sequence[MessageRecord]]:
        """See `OutboxStore.find`."""
        return self._bot.journal.outbox.find(delivery, recipient)

    async def replay(self, ids: Sequence[int], force: bool, user: str) -> Sequence[int]:
        """Let deliveries run once more; see `Journal.replay`."""
        replayed = await self._bot.journal.replay(ids, force)
        self._bot.delivery_queue.look()
        if replayed:
            log_replay(sorted(replayed), user)
        return replayed

    def pause(self, webhook: str, paused: bool) -> Awaitable[None]:
        """Let the deliveries of a webhook wait, or no longer."""
        queue = self._bot.delivery_queue
        return queue.pause(webhook) if paused else queue.resume(webhook)

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
        return Wait(
            "paused: requests are accepted and wait for `webhook resume`" if webhook in self.paused else "active"
        )

    def room_status(self, network: str, name: str) -> Wait | None:
        """Return whether the bot is in a room, and why not; None if it should not be there."""
        backend = self.networks.get(network)
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
        backend = self.networks.get(record.network)
        if backend is None:
            return Wait(f"the bot has no network {record.network} in NETWORKS")
        return backend.wait_of(record) if isinstance(backend, ExplainsWaits) else None
