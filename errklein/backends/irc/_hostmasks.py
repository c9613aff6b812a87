"""The current holders of nicks, as far as the server's messages show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from errklein.backends.irc._casemapping import CaseMapping
from errklein.backends.irc._rooms import RoomState, nick_of

LIFETIME = 60.0
"""Seconds for which a private message proves who holds a nick. In rooms the server reports quits and nick changes; for other
people it doesn't."""

_MOST = 10_000


class HostmaskCache:
    """The masks (`nick!user@host`) of the senders of private messages, for LIFETIME each, and of the occupants of `rooms`.

    `now` returns the time in seconds. `add` must not be called for replayed messages, whose masks may be outdated.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._casemapping = CaseMapping.RFC1459
        self._seen: dict[str, tuple[str, float]] = {}

    def set_casemapping(self, casemapping: CaseMapping) -> None:
        """Change the case mapping by which nicks are compared; forgets all nicks."""
        self._casemapping = casemapping
        self.clear()

    def add(self, mask: str, rooms: Iterable[RoomState]) -> None:
        """Note the sender of a private message."""
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
        """Forget the nick, after its holder has quit or changed it, or when somebody else takes it."""
        self._seen.pop(self._casemapping.fold(nick), None)

    def clear(self) -> None:
        """Forget all nicks, as after the end of a connection."""
        self._seen.clear()

    def mask_of(self, nick: str, rooms: Iterable[RoomState]) -> str | None:
        """The mask of the nick's current holder; None if it isn't known."""
        # Of people in the bot's rooms the server reports nick changes and quits.
        for room in rooms:
            mask = room.mask_of(nick) or ""
            if "!" in mask:
                return mask
        mask, since = self._seen.get(self._casemapping.fold(nick), ("", 0.0))
        return mask if mask and self._now() - since <= LIFETIME else None
