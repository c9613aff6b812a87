"""The protocol of the bot as plugins use it, in `self._bot`."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from errklein.chat import Card, Identifier, Message, Room
from errklein.http_client import HTTPClients
from errklein.plugins.names import Named
from errklein.ports.chat import Reacts, SendsStreams
from errklein.ports.values import Storage
from errklein.running import Runner, ThreadWaits, WorkerPool

if TYPE_CHECKING:
    from errklein.dispatch.conversations import Conversations
    from errklein.plugins.botplugin import BotPlugin
    from errklein.plugins.manager import PluginManager


class PluginHost(SendsStreams, Protocol):
    """The part of the bot that BotPlugin and BotFlow use. Plugins may use all other attributes of the bot, too."""

    reactor: Any
    runner: Runner
    plugin_pool: WorkerPool
    storage: Storage
    http_clients: HTTPClients
    waits: ThreadWaits
    bot_config: Any

    @property
    def conversations(self) -> Conversations: ...
    @property
    def plugin_manager(self) -> PluginManager: ...
    @property
    def mode(self) -> str: ...
    @property
    def bot_identifier(self) -> Identifier | None: ...
    @property
    def plugins_directory(self) -> Path: ...

    def inject_commands_from(self, plugin: BotPlugin) -> None: ...
    def remove_commands_from(self, plugin: BotPlugin) -> None: ...
    def inject_command_filters_from(self, plugin: BotPlugin) -> None: ...
    def remove_command_filters_from(self, plugin: BotPlugin) -> None: ...
    def inject_flows_from(self, flows: Named) -> None: ...
    def remove_flows_from(self, flows: Named) -> None: ...

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        **options: bool,
    ) -> Awaitable[None] | None: ...
    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        plugin_name: str | None = None,
        **options: bool,
    ) -> Awaitable[None] | None: ...
    def send_card(self, card: Card) -> Awaitable[None] | None: ...
    def reacting(self, message: Message) -> Reacts: ...
    def build_identifier(self, text: str | tuple[str, str]) -> Identifier: ...
    def warn_admins(self, warning: str) -> None: ...
    def change_presence(self, status: str, message: str) -> None: ...
    def rooms(self) -> list[Room]: ...
    def query_room(self, name: str) -> Room: ...

    def __getattr__(self, name: str) -> Any: ...
