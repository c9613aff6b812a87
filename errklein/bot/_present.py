"""The state of the running bot, as far as it explains deliveries, messages, webhooks and rooms."""

from __future__ import annotations

from collections.abc import Mapping

from errklein.chat.outgoing import MessageRecord, Wait
from errklein.journal import DeliveryQueue
from errklein.plugins.manager import PluginManager
from errklein.plugins.plugin import UnknownPlugin
from errklein.ports.chat import Backend, ExplainsWaits, KnowsRooms
from errklein.web import WebServer
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery


class BotPresent:
    """Implements `webhooks.explained.Present` for a running bot."""

    def __init__(
        self, backends: Mapping[str, Backend], queue: DeliveryQueue, web: WebServer, plugins: PluginManager
    ) -> None:
        self.networks = backends
        self._queue = queue
        self._web = web
        self._plugins = plugins

    @property
    def webhooks(self) -> Mapping[str, str]:
        """The webhooks as "Plugin:method", by that name and by the URL path whose requests they get."""
        hooks = self._web.routes.hooks()
        paths = {route.rule: route.hook.full_name for route in hooks if not route.shadowed_by}
        return {route.hook.full_name: route.hook.full_name for route in hooks} | paths

    @property
    def refused(self) -> Mapping[str, StoredDelivery]:
        """The last refused request of each webhook."""
        return self._web.refused

    def webhook_status(self, webhook: str) -> Wait:
        """See `Present.webhook_status`."""
        declaration, name = self._web.routes.declaration(webhook), webhook.partition(":")[0]
        if declaration is None:
            try:
                plugin = self._plugins.plugin(name)
            except UnknownPlugin:
                return Wait("not active", cause=f"there is no plugin {name}")
            if plugin.active:
                return Wait("not active", cause=f"the plugin {name} is active, and doesn't have it any more")
            return Wait("not active", cause=f"the plugin {name} isn't active; `status plugins` says why")
        if problem := self._web.checks.unusable.get(webhook):
            return Wait("all requests get 503", cause=problem)
        for route in self._web.routes.hooks():
            if route.hook.full_name == webhook and route.shadowed_by:
                return Wait("no requests arrive", cause=f"they go to {route.shadowed_by}, which has the same URL")
        return Wait(
            "paused: requests are accepted and wait for `webhook resume`" if webhook in self._queue.paused else "active"
        )

    def room_status(self, network: str, name: str) -> Wait | None:
        """See `Present.room_status`."""
        backend = self.networks.get(network)
        return backend.room_status(name) if isinstance(backend, KnowsRooms) else None

    def wait_of_delivery(self, delivery: StoredDelivery) -> Wait | None:
        """See `Present.wait_of_delivery`."""
        webhook, is_leased = delivery.webhook, delivery.state is DeliveryState.RUNNING
        if not is_leased and self._web.routes.declaration(webhook) is None:
            status = self.webhook_status(webhook)
            return status._replace(state=f"the webhook is {status.state}")
        if not is_leased:
            return self._queue.wait_of(delivery)
        for pool in (pool.status() for pool in self._web.pools):
            if waiting := pool.waiting.get(f"route:{webhook}", 0):
                busy = ", ".join(dict.fromkeys(use.name for use in pool.uses))
                return Wait("no thread is free", cause=f"{waiting} of the webhook wait, and {busy} run")
        return None

    def wait_of_message(self, record: MessageRecord) -> Wait | None:
        """See `Present.wait_of_message`."""
        backend = self.networks.get(record.network)
        if backend is None:
            return Wait(f"the bot has no network {record.network} in NETWORKS")
        return backend.wait_of(record) if isinstance(backend, ExplainsWaits) else None
