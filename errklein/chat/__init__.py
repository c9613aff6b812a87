"""Network-independent chat values: identifiers, messages, cards, presences, reactions and streams."""

from errklein.chat.events import AWAY, DND, OFFLINE, ONLINE, REACTION_ADDED, REACTION_REMOVED, Presence, Reaction
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.identifiers import (
    EXACT,
    Identifier,
    NameRules,
    Person,
    Room,
    RoomDoesNotExistError,
    RoomError,
    RoomNotJoinedError,
    RoomOccupant,
    UserDoesNotExistError,
    UserNotUniqueError,
    matches_any,
    read_only,
    rules_of,
    same_network,
)
from errklein.chat.messages import Attachment, Card, Message
from errklein.chat.streams import STREAM_REJECTED, STREAM_TRANSFER_IN_PROGRESS, STREAM_WAITING_TO_START, Stream

__all__ = [
    "Attachment",
    "Card",
    "Handle",
    "MessageRef",
    "RoomDoesNotExistError",
    "RoomError",
    "RoomNotJoinedError",
    "UserDoesNotExistError",
    "UserNotUniqueError",
]
"""The names for plugins, besides the names that `errklein` itself has. Further names are for other packages of errklein."""
