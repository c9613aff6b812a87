"""Facts about the running bot for the operator's console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errklein.chat import Message
from errklein.listening import identify
from errklein.logs import destinations
from errklein.ports.chat import Backend

if TYPE_CHECKING:
    from errklein.bot._bot import Bot

_SCHEMES = {"tcp": "http", "tcp6": "http", "ssl": "https", "tls": "https"}


class Overview:
    """Implements `ports.chat.BotOverview` for one of the bot's backends."""

    def __init__(self, bot: Bot, backend: Backend) -> None:
        self._bot = bot
        self._backend = backend

    @property
    def prefix(self) -> str:
        """BOT_PREFIX of the network."""
        prefix: str = self._bot.networks.config(self._backend).BOT_PREFIX
        return prefix

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses of the open endpoints."""
        return [address(description) for description in self._bot.web.listeners.open_now]

    @property
    def log_file(self) -> str:
        """The path of the first log file, relative if it is below the working directory and that isn't `/`."""
        path, here = next(iter(destinations.files), None), Path.cwd()
        if path is None:
            return ""
        return str(path.relative_to(here) if here.parent != here and path.is_relative_to(here) else path)

    @property
    def plugins_read_messages(self) -> bool:
        """Whether a plugin that isn't a core plugin has a `callback_message`."""
        return self._bot.core_host.plugins_read_messages

    def commands(self, message: Message) -> Sequence[str]:
        """Return the commands that the sender of the message may see, also with names of plugins as arguments."""
        visible = self._bot.dispatcher.permissions.visible(self._backend, message)
        names = [command.name.replace("_", " ") for command in visible]
        plugins = [plugin.name for plugin in self._bot.plugin_manager.found]
        topics = [f"help {topic}" for topic in (*plugins, *names)] if "help" in names else []
        targets = [f"{name} {plugin}" for name in names if name.startswith("plugin ") for plugin in plugins]
        return [self.prefix + text for text in (*names, *topics, *targets)]

    def remaining(self) -> Sequence[str]:
        """Return "webhooks" if an endpoint is open, and the names of the other networks that have not ended."""
        others = [network for network in self._bot.events.open_networks if network != self._backend.network]
        return [*(["webhooks"] if self._bot.web.listeners.open_now else []), *others]


def address(description: str) -> str:
    """Return the URL of a Twisted endpoint string, such as `http://127.0.0.1:3141`.

    Endpoints without a fixed port, and those of kinds other than TCP and TLS, are returned as they are.
    """
    kind, arguments = identify(description)
    named = dict(arguments)
    scheme, port, host = _SCHEMES.get(kind), named.get("port", "0"), named.get("interface", "")
    if scheme is None or not port.isdecimal() or int(port) == 0:
        return description
    if host in ("", "0.0.0.0", "::"):
        return f"{scheme}://localhost:{port} (all interfaces)"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
