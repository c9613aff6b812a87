"""The part of the bot that core plugins use."""

from __future__ import annotations

from dataclasses import dataclass

from errklein.bot._process import ProcessOperations
from errklein.chat import Message
from errklein.commands.operations import Actor
from errklein.config import Config
from errklein.dispatch import Dispatcher, Networks, RoomOperations
from errklein.journal.operations import WebhookOperations
from errklein.plugins.manager import PluginManager
from errklein.plugins.operations import PluginOperations
from errklein.plugins.repos.operations import RepoOperations
from errklein.web import WebServer


@dataclass(frozen=True)
class CoreHost:
    """What core plugins use of the bot, and what a console will use. Other plugins use `self._bot`.

    The operations of administrators are in `webhooks`, `plugins`, `repositories`, `rooms` and `process`.
    """

    networks: Networks
    dispatcher: Dispatcher
    plugin_manager: PluginManager
    web: WebServer
    webhooks: WebhookOperations
    plugins: PluginOperations
    repositories: RepoOperations
    rooms: RoomOperations
    process: ProcessOperations

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

    @property
    def plugins_read_messages(self) -> bool:
        """Whether a plugin that isn't a core plugin has a `callback_message`."""
        core = {plugin.name for plugin in self.plugin_manager.found if plugin.plug.core}
        return any(name not in core for name, _ in self.plugin_manager.callbacks("callback_message"))
