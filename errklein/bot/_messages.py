"""Operations of administrators on the messages that wait to be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from errklein.commands.operations import Actor, operation
from errklein.ports.outbox import NetworkOutbox, RecipientStatus
from errklein.webhooks.delivery_words import InvalidWords

if TYPE_CHECKING:
    from errklein.bot._bot import Bot


class MessageOperations:
    """Lists and drops messages that wait. Both raise InvalidWords for an unknown network."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    @operation("message_list", "network")
    async def waiting(self, by: Actor, network: str = "") -> Mapping[str, Sequence[RecipientStatus]]:
        """Return the recipients for whom messages wait, by network; those of all networks without one."""
        return {name: self._outbox(name).recipients() for name in ([network] if network else self._bot.backends)}

    @operation("message_drop", "network", "recipient", changes=True)
    async def drop(self, by: Actor, network: str, recipient: str) -> int:
        """Drop what waits for a recipient, and return the number of messages. One that is being sent isn't dropped."""
        return self._outbox(network).drop(recipient, f"an administrator has dropped what waits for {recipient}")

    def _outbox(self, network: str) -> NetworkOutbox:
        if (backend := self._bot.backends.get(network)) is None:
            raise InvalidWords(f"there is no network {network!r}; the bot has {', '.join(self._bot.backends)}")
        return backend.outbox
