"""What plugins and tests tell the bot in a network's place, by errbot's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from errklein.chat import Identifier, Message, Presence, Reaction, Room, Stream
from errklein.ports import BackendEvents
from errklein.running.threads import on_reactor_soon


class Callbacks:
    """For a backend: each method is as if the network had told it; may be called from any thread."""

    _reactor: Any
    _events: BackendEvents | None

    def tell(self, event: str, *details: Any) -> None:
        """Call that method of BackendEvents on the reactor; nobody is told before the backend is connected."""
        if self._events is not None:
            on_reactor_soon(self._reactor, getattr(self._events, event), self, *details)

    def callback_message(self, msg: Message) -> None:
        """Somebody said something."""
        self.tell("message_received", msg)

    def callback_mention(self, msg: Message, people: Sequence[Identifier]) -> None:
        """Somebody was spoken of."""
        self.tell("mention_received", msg, people)

    def callback_presence(self, presence: Presence) -> None:
        """Somebody came, went or changed status."""
        self.tell("presence_changed", presence)

    def callback_reaction(self, reaction: Reaction) -> None:
        """Somebody reacted to a message."""
        self.tell("reaction_changed", reaction)

    def callback_stream(self, stream: Stream) -> None:
        """Somebody sends a file."""
        self.tell("stream_offered", stream)

    def callback_room_joined(
        self, room: Room, identifier: Identifier | None = None, invited_by: Identifier | None = None
    ) -> None:
        """Somebody, the bot unless another is named, entered a room."""
        self.tell("room_joined", room, identifier, invited_by)

    def callback_room_left(
        self, room: Room, identifier: Identifier | None = None, kicked_by: Identifier | None = None
    ) -> None:
        """Somebody, the bot unless another is named, left a room."""
        self.tell("room_left", room, identifier, kicked_by)

    def callback_room_topic(self, room: Room) -> None:
        """A room has another topic."""
        self.tell("room_topic_changed", room)
