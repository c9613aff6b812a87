"""Whether somebody is there."""

from __future__ import annotations

from dataclasses import dataclass

from errklein.chat.identifiers import Identifier

ONLINE = "online"
OFFLINE = "offline"
AWAY = "away"
DND = "dnd"


@dataclass(frozen=True, eq=False)
class Presence:
    """A change of somebody's status, of its message, or of both. Raises ValueError if there is nobody, or no change."""

    identifier: Identifier
    status: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if self.identifier is None:
            raise ValueError("a presence needs an identifier")
        if self.status is None and self.message is None:
            raise ValueError("a presence needs a status or a message")
