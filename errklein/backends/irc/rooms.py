"""What is known of rooms: which ones the bot wants to be in, which ones it is in, and who else is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from errklein.backends.irc.identifiers import casefold


@dataclass
class RoomState:
    """A room that the bot is in: its name as the server writes it, its topic, and masks by nick in small letters."""

    name: str
    topic: str = ""
    masks: dict[str, str] = field(default_factory=dict)

    def add(self, mask: str) -> None:
        """Somebody is there. A mask that tells more is kept."""
        nick = nick_of(mask)
        if "!" in mask or casefold(nick) not in self.masks:
            self.masks[casefold(nick)] = mask

    def remove(self, nick: str) -> bool:
        """Somebody isn't there; whether that is news."""
        return self.masks.pop(casefold(nick), None) is not None


class Rooms:
    """The rooms of one network, by name without regard to case."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self._wanted = {casefold(name): (name, password) for name, password in wanted.items()}
        self._configured = dict(wanted)
        self._joined: dict[str, RoomState] = {}

    def reconfigure(self, configured: Mapping[str, str]) -> None:
        """Want the rooms that are new in the configuration, and no longer those that are gone from it.

        Whether the bot is to be in another room is as it was, whoever has had it enter or leave.
        """
        before, self._configured = self._configured, dict(configured)
        for name in before.keys() - configured.keys():
            self.unwant(name)
        for name, password in configured.items():
            if before.get(name) != password:
                self.want(name, password)

    def want(self, name: str, password: str) -> None:
        """The bot should be in that room."""
        self._wanted[casefold(name)] = (name, password)

    def unwant(self, name: str) -> None:
        """It needn't be there."""
        self._wanted.pop(casefold(name), None)

    def is_wanted(self, name: str) -> bool:
        """Whether the bot should be there."""
        return casefold(name) in self._wanted

    @property
    def wanted(self) -> list[tuple[str, str]]:
        """The rooms to be in, each with its password or an empty string."""
        return list(self._wanted.values())

    def password_of(self, name: str) -> str:
        """The password of a wanted room, or an empty string."""
        return self._wanted.get(casefold(name), (name, ""))[1]

    @property
    def joined(self) -> list[RoomState]:
        """The rooms that the bot is in."""
        return list(self._joined.values())

    def state(self, name: str) -> RoomState | None:
        """What is known of a room that the bot is in."""
        return self._joined.get(casefold(name))

    def enter(self, name: str) -> RoomState:
        """The bot has come in."""
        state = self._joined[casefold(name)] = RoomState(name)
        return state

    def leave(self, name: str) -> None:
        """The bot has gone."""
        self._joined.pop(casefold(name), None)

    def leave_all(self) -> list[RoomState]:
        """The connection is gone; these are the rooms that it had been in."""
        left = self.joined
        self._joined.clear()
        return left

    def rename(self, nick: str, mask: str) -> None:
        """Somebody has another nick."""
        for state in self._joined.values():
            if state.remove(nick):
                state.add(mask)


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
