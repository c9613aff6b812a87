"""What networks tell the bot, and whom it tells in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from errklein.bot.callbacks import Telling
from errklein.bot.streams import Streams
from errklein.chat import Identifier, Message, Presence, Reaction, Room, Stream
from errklein.compat.callbacks import MadeUpEvents
from errklein.dispatch.dispatcher import Dispatcher
from errklein.dispatch.flow_executor import FlowExecutor
from errklein.ports import Backend
from errklein.running.context import assigned, handled_network
from errklein.running.keyed_queues import KeyedQueues
from errklein.running.time_slices import TimeSlices
from errklein.web import WebServer


class Hearing(Telling, MadeUpEvents):
    """Hears what networks tell: commands are run, plugins are told, and in the end the bot ends."""

    web: WebServer
    dispatcher: Dispatcher
    flow_executor: FlowExecutor
    streams: Streams
    stopping = False
    """Whether nothing new is taken any more."""

    def __init__(self, reactor: Any, backends: Mapping[str, Backend], ended: Callable[[], None]) -> None:
        self.reactor = reactor
        super().__init__()
        self.backends = dict(backends)
        self.turns = TimeSlices(reactor)
        self.lines = KeyedQueues(reactor)
        self._ended = ended
        self._open_ended = set(self.backends)

    def backend_connected(self, backend: Backend) -> None:
        """A network can be used: plugins get callback_connect."""
        self.log.info("Connected to {network}", network=backend.network)
        self._tell_plugins(backend, "callback_connect")

    def backend_disconnected(self, backend: Backend, reason: str) -> None:
        """A network is gone for now; plugins stay active."""
        self.log.warn("Disconnected from {network}: {reason}", network=backend.network, reason=reason)

    def backend_ended(self, backend: Backend) -> None:
        """When the last network has ended and nothing listens, the bot ends after its last answer."""
        self.turns.do(partial(self._end_one, backend))

    def message_received(self, backend: Backend, message: Message) -> None:
        """Run the command in the message, if there is one, and pass the message to the plugins' callbacks.

        A delayed message only reaches the callbacks: it runs no command or filter and answers no question.
        """
        if backend.is_from_self(message):
            return
        self.turns.do(partial(self._hear, backend, message))

    def answer(self, backend: Backend, message: Message) -> None:
        """Run the command in the message, if it is one; plugins aren't shown the message."""
        self.turns.do(partial(self._answer, backend, message))

    def tell_plugins(self, backend: Backend, callback: str, *details: Any) -> None:
        """Plugins get that callback, as of something on that network."""
        self.turns.do(partial(self._tell_plugins, backend, callback, *details))

    def mention_received(self, backend: Backend, message: Message, people: Sequence[Identifier]) -> None:
        """Plugins get callback_mention."""
        if self.stopping or message.delayed:
            return
        self._tell_plugins(backend, "callback_mention", message, people)

    def presence_changed(self, backend: Backend, presence: Presence) -> None:
        """Plugins get callback_presence."""
        self._tell_plugins(backend, "callback_presence", presence)

    def reaction_changed(self, backend: Backend, reaction: Reaction) -> None:
        """Plugins get callback_reaction."""
        self._tell_plugins(backend, "callback_reaction", reaction)

    def stream_offered(self, backend: Backend, stream: Stream) -> None:
        """Plugins that have a callback_stream get a copy each; without any the stream is rejected."""
        with assigned(handled_network, backend.network):
            self.streams.offer(stream)

    def room_joined(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, invited_by: Identifier | None = None
    ) -> None:
        """Plugins get callback_room_joined."""
        self._tell_plugins(backend, "callback_room_joined", room, identifier or backend.bot_identifier, invited_by)

    def room_left(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, kicked_by: Identifier | None = None
    ) -> None:
        """Plugins get callback_room_left."""
        self._tell_plugins(backend, "callback_room_left", room, identifier or backend.bot_identifier, kicked_by)

    def room_topic_changed(self, backend: Backend, room: Room) -> None:
        """Plugins get callback_room_topic."""
        self._tell_plugins(backend, "callback_room_topic", room)

    def _end_one(self, backend: Backend) -> None:
        self._open_ended.discard(backend.network)
        if self._open_ended or self.web.listeners.open_now:
            return
        idle = self.when_quiet()
        idle.addCallback(lambda _: self.reactor.callLater(0, self._ended))

    def _hear(self, backend: Backend, message: Message) -> None:
        if self.stopping:
            return
        if message.delayed or self._answer(backend, message):
            self._tell_plugins(backend, "callback_message", message)

    def _answer(self, backend: Backend, message: Message) -> bool:
        """Run the command in the message; whether plugins may be shown the message."""
        # Whoever answers notices may find that the answer is one (RFC 2812, 3.3.2).
        if self.stopping or (isinstance(message.extras, Mapping) and message.extras.get("notice")):
            return True
        with assigned(handled_network, backend.network):
            return self.dispatcher.dispatch(backend, message)

    def when_quiet(self) -> Deferred[Any]:
        """Fires when nothing of plugins runs, every message has its answer, and flows wait for somebody."""
        idle = [part.when_idle() for part in (self.runner, self.lines, self.dispatcher, self.flow_executor)]
        return DeferredList(idle)
