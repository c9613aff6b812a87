"""The protocol of the bot as plugins use it, in `self._bot`."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from errklein.chat import Card, Identifier, Message, Room
from errklein.http_client import HTTPClients
from errklein.ports.chat import Reacts, SendsStreams
from errklein.ports.values import Storage
from errklein.running import Runner, ThreadWaits, WorkerPool

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)


class Questions(Protocol):
    """Asks people questions of plugins."""

    def ask(self, plugin: object, message: Message, text: str, timeout: float | None) -> Deferred[Any]: ...
    def withdraw(self, plugin: object) -> None: ...


class ActivePlugins(Protocol[P_co]):
    """Access to other plugins."""

    def instance(self, name: str) -> P_co: ...
    def callbacks_changed(self) -> None: ...
    def mounts_changed(self, plugin: Any) -> None: ...


class PluginHost(SendsStreams, Protocol[P]):
    """The part of the bot that BotPlugin uses. Plugins may use all other attributes of the bot, too."""

    reactor: Any
    runner: Runner
    plugin_pool: WorkerPool
    storage: Storage
    http_clients: HTTPClients
    waits: ThreadWaits
    bot_config: Any

    @property
    def conversations(self) -> Questions: ...
    @property
    def plugin_manager(self) -> ActivePlugins[P]: ...
    @property
    def mode(self) -> str: ...
    @property
    def bot_identifier(self) -> Identifier | None: ...
    @property
    def plugins_directory(self) -> Path: ...

    def inject_commands_from(self, plugin: P) -> None: ...
    def remove_commands_from(self, plugin: P) -> None: ...
    def inject_command_filters_from(self, plugin: P) -> None: ...
    def remove_command_filters_from(self, plugin: P) -> None: ...
    def inject_flows_from(self, flows: P) -> None: ...
    def remove_flows_from(self, flows: P) -> None: ...

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
