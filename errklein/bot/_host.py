"""The part of the bot that core plugins use."""

from __future__ import annotations

from dataclasses import dataclass

from errklein.chat import Message
from errklein.commands.operations import Actor
from errklein.config import Config
from errklein.dispatch import Dispatcher, Networks
from errklein.journal.operations import WebhookOperations


@dataclass(frozen=True)
class CoreHost:
    """The operations of administrators, and what core plugins read of the bot. Other plugins use `self._bot`."""

    networks: Networks
    dispatcher: Dispatcher
    webhooks: WebhookOperations

    @property
    def prefix(self) -> str:
        """The prefix of commands on the network of the message being handled."""
        return self.networks.prefix

    @property
    def config(self) -> Config:
        """The configuration of the network of the message being handled."""
        return self.networks.config(self.networks.current)

    def actor(self, message: Message) -> Actor:
        """Return the sender of a message, who reads texts of exceptions only in private, and only as an administrator."""
        return Actor(str(message.frm), self.dispatcher.disclosure.allowed(self.networks.current, message))
