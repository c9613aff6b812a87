"""What is said in a chat, and by whom: identifiers and messages, free of any network."""

from errklein.chat.cards import Card
from errklein.chat.identifiers import Identifier, Person, Room, RoomOccupant
from errklein.chat.messages import Message
from errklein.chat.presence import AWAY, DND, OFFLINE, ONLINE, Presence
from errklein.chat.reactions import REACTION_ADDED, REACTION_REMOVED, Reaction
from errklein.chat.streams import Stream

__all__ = [
    "AWAY",
    "DND",
    "OFFLINE",
    "ONLINE",
    "REACTION_ADDED",
    "REACTION_REMOVED",
    "Card",
    "Identifier",
    "Message",
    "Person",
    "Presence",
    "Reaction",
    "Room",
    "RoomOccupant",
    "Stream",
]
