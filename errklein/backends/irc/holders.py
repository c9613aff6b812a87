"""Who has a nick now, so far as the server has told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from errklein.backends.irc.identifiers import casefold
from errklein.backends.irc.rooms import RoomState, nick_of

SECONDS = 60.0
"""How long somebody who is in no room with the bot counts as the holder of a nick: no quit or new nick would be told."""

_MOST = 10_000


class Holders:
    """The masks (`nick!user@host`) from which private messages came, to be asked together with those in rooms."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seen: dict[str, tuple[str, float]] = {}

    def seen(self, mask: str, rooms: Iterable[RoomState]) -> None:
        """Somebody has sent the bot a message."""
        nick = casefold(nick_of(mask))
        self._seen.pop(nick, None)
        if len(self._seen) >= _MOST:
            del self._seen[next(iter(self._seen))]
        self._seen[nick] = mask, self._now()
        for room in rooms:
            if nick in room.masks:
                room.add(mask)

    def gone(self, nick: str) -> None:
        """The nick is nobody's, or somebody else's."""
        self._seen.pop(casefold(nick), None)

    def clear(self) -> None:
        """The connection is gone, and what happens meanwhile isn't told."""
        self._seen.clear()

    def mask_of(self, nick: str, rooms: Iterable[RoomState]) -> str | None:
        """The mask of whoever has the nick now; None if that isn't known."""
        nick = casefold(nick)
        # In rooms the server tells who has another nick now, or has quit.
        for room in rooms:
            mask = room.masks.get(nick, "")
            if "!" in mask:
                return mask
        mask, since = self._seen.get(nick, ("", 0.0))
        return mask if mask and self._now() - since <= SECONDS else None
