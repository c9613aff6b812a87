"""The current holders of nicks, so far as the server has told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from errklein.backends.irc.casemapping import CaseMapping
from errklein.backends.irc.rooms import RoomState, nick_of

SECONDS = 60.0
"""How long a private message proves who holds a nick outside of rooms, where the server tells of no quit and no new nick."""

_MOST = 10_000


class Holders:
    """Remembers the masks (`nick!user@host`) of private messages; `rooms` are the rooms that the bot is in.

    `now` returns the time in seconds. Only live messages count: a message that the server plays back has an old mask.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._casemapping = CaseMapping.RFC1459
        self._seen: dict[str, tuple[str, float]] = {}

    def compare_by(self, casemapping: CaseMapping) -> None:
        """Change the case mapping by which nicks are compared; forgets all nicks."""
        self._casemapping = casemapping
        self.clear()

    def seen(self, mask: str, rooms: Iterable[RoomState]) -> None:
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

    def gone(self, nick: str) -> None:
        """Forget the nick: its holder has quit or changed it, or somebody else has it now."""
        self._seen.pop(self._casemapping.fold(nick), None)

    def clear(self) -> None:
        """Forget all nicks, as after the end of a connection."""
        self._seen.clear()

    def mask_of(self, nick: str, rooms: Iterable[RoomState]) -> str | None:
        """The mask of the nick's current holder; None if it isn't known."""
        # In rooms the server tells who has another nick now, or has quit.
        for room in rooms:
            mask = room.mask_of(nick) or ""
            if "!" in mask:
                return mask
        mask, since = self._seen.get(self._casemapping.fold(nick), ("", 0.0))
        return mask if mask and self._now() - since <= SECONDS else None
