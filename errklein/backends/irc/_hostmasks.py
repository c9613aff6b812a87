"""A cache of the current holders of nicks, learned from the server's messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from errklein.backends.irc._casemapping import CaseMapping
from errklein.backends.irc._rooms import RoomState, nick_of

LIFETIME = 60.0
"""Seconds for which a private message identifies the holder of a nick. The server reports quits and nick changes only for
people in the bot's rooms."""

_MOST = 10_000
"""Maximum number of cached senders of private messages."""


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
