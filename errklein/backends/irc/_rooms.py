"""The state of rooms: those that the bot wants to be in, those that it is in, and their occupants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from errklein.backends.irc._casemapping import CaseMapping


@dataclass
class RoomState:
    """A room that the bot is in: its name as the server writes it, its topic, and masks by folded nick."""

    name: str
    casemapping: CaseMapping
    topic: str = ""
    masks: dict[str, str] = field(default_factory=dict)

    def add(self, mask: str) -> None:
        """Somebody is there. A mask that tells more is kept."""
        nick = nick_of(mask)
        key = self.casemapping.fold(nick)
        if "!" in mask or key not in self.masks:
            self.masks[key] = mask

    def mask_of(self, nick: str) -> str | None:
        """The mask of the occupant with that nick, which may be the nick alone; None if there is no such occupant."""
        return self.masks.get(self.casemapping.fold(nick))

    def remove(self, nick: str) -> bool:
        """Somebody isn't there; whether that is news."""
        return self.masks.pop(self.casemapping.fold(nick), None) is not None

    def set_casemapping(self, casemapping: CaseMapping) -> None:
        """Change the case mapping by which nicks are compared."""
        self.casemapping = casemapping
        self.masks = {casemapping.fold(nick_of(mask)): mask for mask in self.masks.values()}


class Rooms:
    """The rooms of one network, by name, compared by the server's case mapping."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self.casemapping = CaseMapping.RFC1459
        # Keyed by the names as configured: two rooms that are one in RFC1459 may be two in the server's case mapping.
        self._wanted = dict(wanted)
        self._configured = dict(wanted)
        self._joined: dict[str, RoomState] = {}

    def reconfigure(self, configured: Mapping[str, str]) -> None:
        """Add rooms new in the configuration and remove those no longer in it; rooms of plugins are not affected."""
        before, self._configured = self._configured, dict(configured)
        for name in before.keys() - configured.keys():
            self.unwant(name)
        for name, password in configured.items():
            if before.get(name) != password:
                self.want(name, password)

    def set_casemapping(self, casemapping: CaseMapping) -> None:
        """Change the case mapping by which rooms and nicks are compared."""
        self.casemapping = casemapping
        states = self.joined
        for state in states:
            state.set_casemapping(casemapping)
        self._joined = {self._key(state.name): state for state in states}

    def want(self, name: str, password: str) -> None:
        """Add a room to be in; another spelling of the same room is replaced."""
        self.unwant(name)
        self._wanted[name] = password

    def unwant(self, name: str) -> None:
        """Remove a room from those to be in."""
        self._wanted = {other: password for other, password in self.wanted if self._key(other) != self._key(name)}

    def is_wanted(self, name: str) -> bool:
        """Whether the bot should be there."""
        return any(self._key(other) == self._key(name) for other in self._wanted)

    @property
    def wanted(self) -> list[tuple[str, str]]:
        """The rooms to be in, each with its password or an empty string."""
        return list(self._wanted.items())

    def password_of(self, name: str) -> str:
        """The password of a wanted room, or an empty string."""
        return next((password for other, password in self.wanted if self._key(other) == self._key(name)), "")

    @property
    def joined(self) -> list[RoomState]:
        """The rooms that the bot is in."""
        return list(self._joined.values())

    def state(self, name: str) -> RoomState | None:
        """What is known of a room that the bot is in."""
        return self._joined.get(self._key(name))

    def enter(self, name: str) -> RoomState:
        """The bot has come in."""
        state = self._joined[self._key(name)] = RoomState(name, self.casemapping)
        return state

    def leave(self, name: str) -> None:
        """The bot has gone."""
        self._joined.pop(self._key(name), None)

    def rename(self, nick: str, mask: str) -> None:
        """Somebody has another nick."""
        for state in self._joined.values():
            if state.remove(nick):
                state.add(mask)

    def _key(self, name: str) -> str:
        return self.casemapping.fold(name)


def nick_of(mask: str) -> str:
    """The nick in nick!user@host."""
    return mask.partition("!")[0]


def join_commands(rooms: list[tuple[str, str]], size: int = 400) -> list[str]:
    """JOIN commands for all the rooms, few and none longer than about `size` bytes: RFC 1459, section 4.2.1.

    Rooms with passwords come first in each, since passwords are matched to rooms by their place.
    """
    commands: list[str] = []
    names: list[str] = []
    keys: list[str] = []
    for name, key in sorted(rooms, key=lambda room: not room[1]):
        if names and sum(len(word.encode("utf-8")) + 1 for word in (*names, *keys, name, key)) > size:
            commands.append(_join(names, keys))
            names, keys = [], []
        names.append(name)
        keys += [key] if key else []
    if names:
        commands.append(_join(names, keys))
    return commands


def _join(names: list[str], keys: list[str]) -> str:
    return " ".join(["JOIN", ",".join(names), ",".join(keys)]).rstrip()
