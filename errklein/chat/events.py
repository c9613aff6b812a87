"""Events besides messages: presences, which are changes of a person's status or status message, and reactions to messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

    Instances are immutable. The constructor raises ValueError if the identifier is None, or both others are.
    """

    identifier: Identifier  #: the person, or the occupant of a room
    status: str | None = None  #: ONLINE, OFFLINE, AWAY or DND; None if only the message has changed
    message: str | None = None  #: the status message; None if only the status has changed

    def __post_init__(self) -> None:
        if self.identifier is None:
            raise ValueError("a presence needs an identifier")
        if self.status is None and self.message is None:
            raise ValueError("a presence needs a status or a message")


REACTION_ADDED = "added"
REACTION_REMOVED = "removed"


# Compared by identity: each reaction is an event of its own, and `reacted_to` may be unhashable.
@dataclass(frozen=True, eq=False)
class Reaction:
    """A reaction that was added to a message or removed from it.

    Plugins receive it in `callback_reaction`::

        def callback_reaction(self, reaction):
            if reaction.reaction_name == "eyes" and reaction.action == "added":
                self.send(reaction.reactor, "Thanks for taking this.")

    Instances are immutable. The constructor raises ValueError if `reactor` or `reaction_name` is missing.
    """

    reactor: Identifier | None = None  #: the person who reacts
    reacted_to_owner: Identifier | None = None  #: the author of the message
    action: str | None = None  #: "added" or "removed" (REACTION_ADDED and REACTION_REMOVED in `errklein.chat`)
    timestamp: str | None = None  #: the time of the event, in the network's format
    reaction_name: str | None = None  #: the name of the emoji without colons, such as "thumbsup"
    reacted_to: Mapping[str, Any] | None = None  #: the message, in the network's format

    def __post_init__(self) -> None:
        if self.reactor is None:
            raise ValueError("a reaction needs a reactor, the person who reacts")
        if self.reaction_name is None:
            raise ValueError("a reaction needs a reaction_name, such as 'thumbsup'")

    def __str__(self) -> str:
        return f"{self.reaction_name} {self.action or 'shown'} by {self.reactor}"
