"""errbot's names for what networks tell the bot, for plugins and tests that make it up themselves."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

from errklein.chat import Identifier, Message, Presence, Reaction, Room
from errklein.chat.streams import Stream
from errklein.running.threads import on_reactor_soon


class MadeUpEvents:
    """Methods of the bot that act as if the network had told it that; on the network of the message being handled, else
    on the first. They may be called in any thread, and don't wait for what comes of it."""

    def callback_message(self, msg: Message) -> None:
        """Handle a message: run its command, if there is one, and call the plugins. As on errbot, a delayed one is ignored."""
        if not msg.delayed:
            self._make_up("message_received", msg)

    def process_message(self, msg: Message) -> bool:
        """Somebody said that: if it is a command it is run, and plugins aren't shown it. False if the bot said it, or if it was long ago."""
        bot: Any = self
        if msg.delayed or bot.backend.is_from_self(msg):
            return False
        self._make_up("answer", msg)
        return True

    def callback_mention(self, msg: Message, people: Sequence[Identifier]) -> None:
        """`people` are spoken of in the message."""
        self._make_up("mention_received", msg, people)

    def callback_presence(self, presence: Presence) -> None:
        """Somebody came, went or changed status."""
        self._make_up("presence_changed", presence)

    def callback_reaction(self, reaction: Reaction) -> None:
        """Somebody reacted to a message."""
        self._make_up("reaction_changed", reaction)

    def callback_stream(self, stream: Stream) -> None:
        """Somebody wants to send a file."""
        self._make_up("stream_offered", stream)

    def callback_room_joined(self, room: Room, identifier: Any = None, invited_by: Any = None) -> None:
        """Somebody, the bot if nobody else, is in the room now."""
        self._make_up("room_joined", room, identifier, invited_by)

    def callback_room_left(self, room: Room, identifier: Any = None, kicked_by: Any = None) -> None:
        """Somebody, the bot if nobody else, has left the room."""
        self._make_up("room_left", room, identifier, kicked_by)

    def callback_room_topic(self, room: Room) -> None:
        """The room has another topic."""
        self._make_up("room_topic_changed", room)

    def _make_up(self, event: str, *details: Any) -> None:
        bot: Any = self
        on_reactor_soon(bot.reactor, copy_context().run, getattr(bot, event), bot.backend, *details)
