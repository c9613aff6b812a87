"""What `BotPlugin` and `BotFlow` use of the bot, which they know as `self._bot`."""

# ruff: noqa: D102 - described where the bot has them
from __future__ import annotations

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from twisted.internet.defer import Deferred

from errklein.chat import Card, Identifier, Message, Room, Stream
from errklein.commands import CommandRegistry
from errklein.ports import Reacts, Storage
from errklein.running import Runner, WorkerPool
from errklein.running.threads import ThreadWaits

if TYPE_CHECKING:
    from errklein.plugins.botflow import BotFlow
    from errklein.plugins.botplugin import BotPlugin


class Questions(Protocol):
    """Questions of plugins to people."""

    def ask(self, plugin: object, message: Message, text: str, timeout: float | None) -> Deferred[Any]: ...
    def withdraw(self, plugin: object) -> None: ...


class ActivePlugins(Protocol):
    """The other plugins."""

    def instance(self, name: str) -> BotPlugin: ...
    def callbacks_changed(self) -> None: ...


class PluginHost(Protocol):
    """The bot. Plugins may use everything else that it has, too."""

    reactor: Any
    runner: Runner
    plugin_pool: WorkerPool
    storage: Storage
    waits: ThreadWaits
    bot_config: Any
    registry: CommandRegistry

    @property
    def conversations(self) -> Questions: ...
    @property
    def plugin_manager(self) -> ActivePlugins: ...
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
    def inject_flows_from(self, flows: BotFlow) -> None: ...
    def remove_flows_from(self, flows: BotFlow) -> None: ...

    def send(
        self, identifier: Identifier, text: str, in_reply_to: Message | None = None, groupchat_nick_reply: bool = False
    ) -> Awaitable[None] | None: ...
    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        plugin_name: str | None = None,
    ) -> Awaitable[None] | None: ...
    def send_card(self, card: Card) -> Awaitable[None] | None: ...
    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None: ...
    def reacting(self, message: Message) -> Reacts: ...
    def build_identifier(self, text: str | tuple[str, str]) -> Identifier: ...
    def warn_admins(self, warning: str) -> None: ...
    def change_presence(self, status: str, message: str) -> None: ...
    def rooms(self) -> list[Room]: ...
    def query_room(self, name: str) -> Room: ...

    def __getattr__(self, name: str) -> Any: ...
