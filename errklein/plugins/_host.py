"""The protocol of the bot as plugins use it, in `self._bot`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from errklein.chat import Identifier, Room, Stream
from errklein.http_client import HTTPClients
from errklein.ports.receipts import Receipt
from errklein.ports.values import Storage
from errklein.running import Runner, ThreadWaits, WorkerPool

if TYPE_CHECKING:
    from errklein.dispatch.conversations import Conversations
    from errklein.plugins.manager import PluginManager


class MessageChanges(Protocol):
    """What the bot does with messages; messages.py has the parameters."""

    change: Callable[..., Receipt]
    send_file: Callable[..., Receipt]
    change_reaction: Callable[..., None]


class PluginHost(Protocol):
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
    def sending(self) -> MessageChanges: ...
    @property
    def mode(self) -> str: ...
    @property
    def bot_identifier(self) -> Identifier | None: ...
    @property
    def plugins_directory(self) -> Path: ...

    # botplugin.py has the parameters.
    send: Callable[..., Receipt]
    send_templated: Callable[..., Receipt]
    send_card: Callable[..., Receipt]
    send_stream_request: Callable[..., Stream | None]
    build_identifier: Callable[..., Identifier]
    rooms: Callable[[], list[Room]]
    query_room: Callable[[str], Room]

    def __getattr__(self, name: str) -> Any: ...
