"""What a bot is made of from outside, in groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from errklein.plugins import BotPlugin
from errklein.plugins.manager import PluginManager
from errklein.ports import Backend, Storage
from errklein.web import WebServer

if TYPE_CHECKING:
    from errklein.bot._bot import Bot


@dataclass(frozen=True)
class Adapters:
    """The bot's connections. `backends` are by the names of their networks, the first being the default."""

    backends: Mapping[str, Backend]
    storage: Storage
    web: WebServer


@dataclass(frozen=True)
class PluginSources:
    """Directories below which plugins are looked for, and classes that are used as they are.

    `make_manager` is called before the bot has the parts that send messages.
    """

    make_manager: Callable[[Bot], PluginManager]
    roots: Iterable[Path]
    classes: Iterable[type[BotPlugin]]


@dataclass(frozen=True)
class ProcessCalls:
    """Functions by which the bot reaches its process.

    `ended` is called when there will be no more messages, nothing listens, and every message has its reply. `restart`, which
    may be called from any thread, stops the bot in order and starts the process again; it may raise CannotRestart.
    """

    ended: Callable[[], None]
    restart: Callable[[], None]
