"""errbot's names for the events of networks, for plugins and tests that report an event themselves."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from errklein.bot import Events
from errklein.chat import Message
from errklein.dispatch import Networks
from errklein.running.threads import on_reactor_soon

EVENTS: Mapping[str, str] = {
    "callback_mention": "mention_received",
    "callback_presence": "presence_changed",
    "callback_reaction": "reaction_changed",
    "callback_room_joined": "room_joined",
    "callback_room_left": "room_left",
    "callback_room_topic": "room_topic_changed",
    "callback_stream": "stream_offered",
}
"""The method of `ports.BackendEvents` for each of errbot's methods that only reports an event."""


class ReportedEvents:
    """Reports events as if the network of the message being handled had, else the first one. From any thread."""

    def __init__(self, reactor: Any, networks: Networks, events: Events) -> None:
        self._reactor = reactor
        self._networks = networks
        self._events = events

    def report(self, event: str, *details: Any) -> None:
        """Call that method of `BackendEvents` on the reactor, and don't wait for what comes of it."""
        backend = self._networks.current
        on_reactor_soon(self._reactor, copy_context().run, getattr(self._events, event), backend, *details)

    def callback_message(self, msg: Message) -> None:
        """Handle a message: run its command, if there is one, and call the plugins. A delayed one is ignored."""
        if not msg.delayed:
            self.report("message_received", msg)

    def process_message(self, msg: Message) -> bool:
        """Run the command in the message, if there is one, and call no callback. False if the bot sent it, or if it is delayed."""
        if msg.delayed or self._networks.current.is_from_self(msg):
            return False
        self.report("command_received", msg)
        return True
