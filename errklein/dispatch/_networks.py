"""The bot's networks, and the choice of one where none is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errklein.chat import Identifier, Message, Room
from errklein.config import Config
from errklein.ports import Backend
from errklein.running.context import handled_network


class Networks:
    """The backends by the names of their networks, the first being the default, and each network's configuration.

    May be used in any thread.
    """

    def __init__(self, backends: Mapping[str, Backend], configs: Mapping[str, Config]) -> None:
        self.backends = backends
        self._configs = configs

    @property
    def current(self) -> Backend:
        """The backend of the network whose message or other event is being handled, else the default."""
        return self.backends.get(handled_network.get()) or next(iter(self.backends.values()))

    @property
    def prefix(self) -> str:
        """The prefix of commands on the current network."""
        prefix: str = self.config(self.current).BOT_PREFIX
        return prefix

    def config(self, backend: Backend) -> Config:
        """The configuration of the backend's network."""
        return self._configs[backend.network]

    def settings(self, backend: Backend) -> Any:
        """As `config`, for fast access; see `Config.now`."""
        return self._configs[backend.network].now

    def of(self, subject: Identifier | Message) -> Backend:
        """The backend of the network that an identifier or message belongs to.

        Those that belong to none, since they were created by hand, count as of the current one. Raises ValueError for
        an unknown network.
        """
        network = subject.network
        if not network:
            return self.current
        if network not in self.backends:
            raise ValueError(f"there is no network {network}, only {', '.join(self.backends)}")
        return self.backends[network]

    def build_identifier(self, text: str | tuple[str, str]) -> Identifier:
        """The person, occupant or room that `text` names, on the current network or, for "network:name", on that one.

        A pair of a room's name and its password, as in CHATROOM_PRESENCE, names the room. Raises ValueError if the network
        can't read the name.
        """
        backend, name = self._split(text if isinstance(text, str) else text[0])
        return backend.build_identifier(name)

    def query_room(self, name: str) -> Room:
        """The room of that name; the network is chosen as in `build_identifier`."""
        backend, name = self._split(name)
        return backend.query_room(name)

    def rooms(self) -> list[Room]:
        """The rooms that the bot is in, on all networks."""
        return [room for backend in self.backends.values() for room in backend.rooms()]

    def change_presence(self, status: str, message: str) -> None:
        """Show on every network that the bot is `status`."""
        for backend in self.backends.values():
            backend.change_presence(status, message)

    def _split(self, text: str) -> tuple[Backend, str]:
        network, colon, name = text.partition(":")
        return (self.backends[network], name) if colon and network in self.backends else (self.current, text)
