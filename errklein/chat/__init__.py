"""What is said in a chat, and by whom: identifiers and messages, free of any network."""

from errklein.chat.cards import Card
from errklein.chat.identifiers import Identifier, Person, Room, RoomOccupant
from errklein.chat.messages import Message
from errklein.chat.presence import AWAY, DND, OFFLINE, ONLINE, Presence

__all__ = [
    "AWAY",
    "DND",
    "OFFLINE",
    "ONLINE",
    "Card",
    "Identifier",
    "Message",
    "Person",
    "Presence",
    "Room",
    "RoomOccupant",
]
