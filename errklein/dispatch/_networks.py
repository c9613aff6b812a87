"""The bot's networks, and the selection of one for an identifier, a message or the current event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.chat import Identifier, Message, Room
from errklein.chat.identifiers import LookupFailed
from errklein.config import Config
from errklein.ports.chat import Backend
from errklein.running.context import handled_network

LOOKUP_TIMEOUT = 30.0  # the seconds after which a lookup has failed


class Networks:
    """The backends and configurations by the names of their networks. The first network is the default. Methods may be
    called in any thread."""

    def __init__(self, backends: Mapping[str, Backend], configs: Mapping[str, Config]) -> None:
        self.backends = backends
        self._configs = configs

    @property
    def current(self) -> Backend:
        """The backend of the network whose event is being handled, or the default."""
        return self.backends.get(handled_network.get()) or next(iter(self.backends.values()))

    @property
    def prefix(self) -> str:
        prefix: str = self.config(self.current).BOT_PREFIX
        return prefix

    def config(self, backend: Backend) -> Config:
        return self._configs[backend.network]

    def of(self, subject: Identifier | Message) -> Backend:
        """Return the backend of the network that an identifier or message belongs to. Identifiers and messages that a
        plugin created have no network; they belong to the current one. Raises ValueError if the network is unknown."""
        network = subject.network
        if not network:
            return self.current
        if network not in self.backends:
            raise ValueError(f"unknown network {network!r}; known networks: {', '.join(self.backends)}")
        return self.backends[network]

    def build_identifier(self, text: str | tuple[str, str]) -> Identifier:
        """Return the person, occupant or room with that name, on the current network or, for "network:name", on that
        network. A pair of a room's name and its password, as in CHATROOM_PRESENCE, names the room. Raises ValueError if
        the name is invalid on the network."""
        backend, name = self.split(text if isinstance(text, str) else text[0])
        return backend.build_identifier(name)

    def resolve(self, text: str, reactor: Any, seconds: float = LOOKUP_TIMEOUT) -> Deferred[Identifier]:
        """Return what `build_identifier` does, after the network was asked if necessary; see
        `ports.chat.Backend.resolve`. Reactor. Fails with LookupFailed if it hasn't replied after so many seconds."""

        def no_reply(*_: object) -> NoReturn:
            raise LookupFailed(f"the network hasn't replied within {seconds:.0f} s")

        backend, name = self.split(text)
        return maybeDeferred(backend.resolve, name).addTimeout(seconds, reactor, no_reply)

    def query_room(self, name: str) -> Room:
        backend, name = self.split(name)
        return backend.query_room(name)

    def rooms(self) -> list[Room]:
        return [room for backend in self.backends.values() for room in backend.rooms()]

    def change_presence(self, status: str, message: str) -> None:
        for backend in self.backends.values():
            backend.change_presence(status, message)

    def with_network(self, room: str) -> str:
        """Return the name of a room with that of its network, by default the first one: "libera:#ops"."""
        return room if room.partition(":")[0] in self.backends else f"{next(iter(self.backends))}:{room}"

    def split(self, text: str) -> tuple[Backend, str]:
        """Return the backend of a name, and the name on its network; see `build_identifier`."""
        network, colon, name = text.partition(":")
        return (self.backends[network], name) if colon and network in self.backends else (self.current, text)
