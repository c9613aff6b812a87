"""The state of rooms: those that the bot should join, those that it is in, and their occupants; and the holders of nicks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from errklein.backends.irc._casemapping import CaseMapping

LIFETIME = 60.0
"""Seconds for which a private message identifies the holder of a nick. The server reports quits and nick changes only for
people in the bot's rooms."""

_MOST = 10_000
"""Maximum number of cached senders of private messages."""


@dataclass
class RoomState:
    """A room that the bot is in: its name in the server's spelling, its topic, and the occupants' masks by folded nick.

    A mask is `nick!user@host`, or the nick alone as long as the rest is unknown.
    """

    name: str
    casemapping: CaseMapping
    topic: str = ""
    masks: dict[str, str] = field(default_factory=dict)

    def add(self, mask: str) -> None:
        """Add an occupant. A nick alone doesn't replace a full mask."""
        nick = nick_of(mask)
        key = self.casemapping.fold(nick)
        if "!" in mask or key not in self.masks:
            self.masks[key] = mask

    def mask_of(self, nick: str) -> str | None:
        """Return the mask of the occupant with that nick, which may be the nick alone; None if there is no such occupant."""
        return self.masks.get(self.casemapping.fold(nick))

    def remove(self, nick: str) -> bool:
        """Remove an occupant, and return whether it was there."""
        return self.masks.pop(self.casemapping.fold(nick), None) is not None

    def set_casemapping(self, casemapping: CaseMapping) -> None:
        """Change the case mapping for nicks."""
        self.casemapping = casemapping
        self.masks = {casemapping.fold(nick_of(mask)): mask for mask in self.masks.values()}


class Rooms:
    """The rooms of one network. Names are compared by the server's case mapping.

    :param wanted: The rooms to join, with their passwords or empty strings.
    """

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self.casemapping = CaseMapping.RFC1459
        # The keys are names as configured, not folded: the server's case mapping may distinguish rooms that RFC1459 doesn't.
        self._wanted = dict(wanted)
        self._configured = dict(wanted)
        self._joined: dict[str, RoomState] = {}
        self._index()

    def reconfigure(self, configured: Mapping[str, str]) -> None:
        """Add the rooms that are new in the configuration, and remove those no longer in it. Plugins' rooms are kept."""
        before, self._configured = self._configured, dict(configured)
        for name in before.keys() - configured.keys():
            self.unwant(name)
        for name, password in configured.items():
            if before.get(name) != password:
                self.want(name, password)

    def set_casemapping(self, casemapping: CaseMapping) -> None:
        """Change the case mapping for rooms and nicks."""
        self.casemapping = casemapping
        states = self.joined
        for state in states:
            state.set_casemapping(casemapping)
        self._joined = {self.key(state.name): state for state in states}
        self._index()

    def want(self, name: str, password: str) -> None:
        """Add a room to join. It replaces another spelling of the same room."""
        self.unwant(name)
        self._wanted[name] = password
        self._names[self.key(name)] = [name]

    def unwant(self, name: str) -> None:
        """Remove a room from those to join."""
        for other in self._names.pop(self.key(name), ()):
            del self._wanted[other]

    def is_wanted(self, name: str) -> bool:
        """Return whether the bot should join the room."""
        return self.key(name) in self._names

    @property
    def wanted(self) -> list[tuple[str, str]]:
        """The rooms to join, each with its password or an empty string."""
        return list(self._wanted.items())

    def password_of(self, name: str) -> str:
        """Return the password of a room to join, or an empty string."""
        names = self._names.get(self.key(name))
        return "" if names is None else self._wanted[name if name in names else names[0]]

    @property
    def joined(self) -> list[RoomState]:
        """The rooms that the bot is in."""
        return list(self._joined.values())

    def state(self, name: str) -> RoomState | None:
        """Return the state of a room that the bot is in; None for any other room."""
        return self._joined.get(self.key(name))

    def enter(self, name: str) -> RoomState:
        """Add a room that the bot has joined, without occupants, and return its state."""
        state = self._joined[self.key(name)] = RoomState(name, self.casemapping)
        return state

    def leave(self, name: str) -> None:
        """Remove a room that the bot has left."""
        self._joined.pop(self.key(name), None)

    def rename(self, nick: str, mask: str) -> None:
        """Replace an occupant's mask in all rooms after a change of the nick."""
        for state in self._joined.values():
            if state.remove(nick):
                state.add(mask)

    def key(self, name: str) -> str:
        """Return the folded name."""
        return self.casemapping.fold(name)

    def _index(self) -> None:
        """Collect the rooms to join by their folded names: thousands of them are looked up while they are joined."""
        self._names: dict[str, list[str]] = {}
        for name in self._wanted:
            self._names.setdefault(self.key(name), []).append(name)


class HostmaskCache:
    """The masks (`nick!user@host`) of senders of private messages, for LIFETIME each, and of the occupants of rooms.

    Don't call `add` for replayed messages: their masks may be outdated.

    :param now: Returns the current time in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._casemapping = CaseMapping.RFC1459
        self._seen: dict[str, tuple[str, float]] = {}

    def set_casemapping(self, casemapping: CaseMapping) -> None:
        """Change the case mapping for nicks, and clear the cache."""
        self._casemapping = casemapping
        self.clear()

    def add(self, mask: str, rooms: Iterable[RoomState]) -> None:
        """Add the sender of a private message, also to those of the rooms that the sender is in."""
        nick = nick_of(mask)
        key = self._casemapping.fold(nick)
        self._seen.pop(key, None)
        if len(self._seen) >= _MOST:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = mask, self._now()
        for room in rooms:
            if room.mask_of(nick) is not None:
                room.add(mask)

    def forget(self, nick: str) -> None:
        """Remove the nick, after its holder has quit or changed it, or another person has taken it."""
        self._seen.pop(self._casemapping.fold(nick), None)

    def clear(self) -> None:
        """Remove all nicks, for example at the end of a connection."""
        self._seen.clear()

    def mask_of(self, nick: str, rooms: Iterable[RoomState]) -> str | None:
        """Return the mask of the nick's current holder; None if it is unknown."""
        # For people in the bot's rooms the server reports nick changes and quits, so these masks are current.
        for room in rooms:
            mask = room.mask_of(nick) or ""
            if "!" in mask:
                return mask
        mask, since = self._seen.get(self._casemapping.fold(nick), ("", 0.0))
        return mask if mask and self._now() - since <= LIFETIME else None


def nick_of(mask: str) -> str:
    """Return the nick of a mask such as nick!user@host."""
    return mask.partition("!")[0]


def join_line(rooms: Iterable[tuple[str, str]], most: int, size: int = 500) -> tuple[str, Sequence[str]]:
    """Return a JOIN command for the first of the rooms, as many as fit, and their names (RFC 1459, section 4.2.1).

    Rooms with passwords come first in the command, since passwords are assigned by position.

    :param rooms: Names, each with its password or an empty string.
    :param most: Maximum number of rooms.
    :param size: Maximum number of bytes after "JOIN ", unless the first room alone has more.
    """
    taken: list[tuple[str, str]] = []
    for name, key in islice(rooms, most):
        size -= len(name.encode("utf-8")) + 1 + (len(key.encode("utf-8")) + 1 if key else 0)
        if size < 0 and taken:
            break
        taken.append((name, key))
    taken.sort(key=lambda room: not room[1])
    names = [name for name, _ in taken]
    return " ".join(["JOIN", ",".join(names), ",".join(key for _, key in taken if key)]).rstrip(), names
