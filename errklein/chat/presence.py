"""Presences: changes of a person's status or status message."""

from __future__ import annotations

from dataclasses import dataclass

from errklein.chat.identifiers import Identifier

ONLINE = "online"
OFFLINE = "offline"
AWAY = "away"
DND = "dnd"


@dataclass(frozen=True, eq=False)
class Presence:
    """A change of a person's status, status message, or both.

    Plugins receive it in `callback_presence`::

        def callback_presence(self, presence):
            if presence.status == ONLINE:
                self.send(presence.identifier, "Welcome back.")

    Instances are immutable.

    :param identifier: The person, or the occupant of a room.
    :param status: ONLINE, OFFLINE, AWAY or DND; None if only the message has changed.
    :param message: The status message; None if only the status has changed.
    :raises ValueError: The identifier is None, or both others are.
    """

    identifier: Identifier
    status: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if self.identifier is None:
            raise ValueError("a presence needs an identifier")
        if self.status is None and self.message is None:
            raise ValueError("a presence needs a status or a message")
