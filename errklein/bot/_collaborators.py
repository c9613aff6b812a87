"""Dataclasses that group the constructor arguments of `Bot`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from errklein.http_client import HTTPClients
from errklein.plugins import BotPlugin
from errklein.plugins.manager import PluginManager
from errklein.ports.chat import Backend
from errklein.ports.journal import Journal
from errklein.ports.values import Storage
from errklein.web import WebServer

if TYPE_CHECKING:
    from errklein.bot._bot import Bot


@dataclass(frozen=True)
class Adapters:
    """The bot's connections. `backends` maps network names to backends; the first network is the default."""

    backends: Mapping[str, Backend]
    storage: Storage
    web: WebServer
    http_clients: HTTPClients
    journal: Journal


@dataclass(frozen=True)
class PluginSources:
    """Directories that are searched for plugins, and classes that are used without a `.plug` file.

    `make_manager` creates the plugin manager. It is called before the bot has the parts that send messages.
    """

    make_manager: Callable[[Bot], PluginManager]
    roots: Iterable[Path]
    classes: Iterable[type[BotPlugin]]


@dataclass(frozen=True)
class ProcessCalls:
    """Functions that act on the process.

    `ended` is called when all networks have ended, the web server does not listen, and no reply is pending. `restart` stops
    the bot in order and starts the process again; it may be called from any thread, and raises CannotRestart where a restart
    is impossible; its Deferred fails with CannotRestart if the configuration is invalid. `now` returns the Unix time in seconds.
    """

    ended: Callable[[], None]
    restart: Callable[[], Deferred[None]]
    now: Callable[[], float]
