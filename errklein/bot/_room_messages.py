"""The messages of webhooks of rooms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from errklein.dispatch import Networks
from errklein.webhooks.room_webhooks import RoomWebhook
from errklein.webhooks.source import Event
from errklein.webhooks.texts import render

Send = Callable[..., Awaitable[None] | None]


class RoomMessages:
    """Sends what webhooks of rooms receive.

    :param send: Sends a message, as `Bot.send`.
    """

    def __init__(self, networks: Networks, send: Send) -> None:
        self._networks, self._send = networks, send

    def handler(self, webhook: RoomWebhook) -> Callable[[Any], Awaitable[None]]:
        """Return the handler of the webhook's requests."""
        return _RoomHandler(self, webhook).handle

    async def show(self, webhook: RoomWebhook, event: Event) -> None:
        """Send the message of an event to the webhook's room."""
        text = render(webhook.text, event.values) if webhook.text else event.text()
        if text:
            accepted = self._send(self._networks.build_identifier(webhook.room), text)
            if accepted is not None:
                await accepted


@dataclass(frozen=True)
class _RoomHandler:
    # Equal for equal webhooks, so that a request that was admitted before a change of others is still handled.
    messages: RoomMessages
    webhook: RoomWebhook

    async def handle(self, event: Event) -> None:
        """Send the message of an event."""
        await self.messages.show(self.webhook, event)
