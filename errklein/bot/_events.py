"""Handling of the events that backends report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.logger import Logger

from errklein.bot._callbacks import Callbacks
from errklein.bot._notices import INTERVAL, NoticeBoard
from errklein.bot._streams import Streams
from errklein.chat import ONLINE, Identifier, Message, Presence, Reaction, Room, Stream
from errklein.dispatch import Dispatcher, Networks
from errklein.ports.chat import Backend, BotOverview
from errklein.running import TimeSlices
from errklein.running.context import assigned, described_origin, handled_network, origin, person_origin

_DAY = 86400.0


@dataclass
class NetworkState:
    """The connection to a network, and the number of messages since the start.

    :param connected_at: The Unix time of the last connection; None while there is none.
    :param connections: The number of connections that were established.
    :param ended: Whether the network has ended, and doesn't reconnect.
    """

    connected_at: float | None = None
    connections: int = 0
    received: int = 0
    ended: bool = False

    @property
    def reconnects(self) -> int:
        """The number of connections after the first one."""
        return max(0, self.connections - 1)


class Events:
    """Implements `ports.chat.BackendEvents`: runs commands and calls plugins' callbacks.

    :param notices: Gets messages that were dropped, and people who have come online or sent a direct message.
    :param all_ended: Called when all networks have ended.
    :param now: Returns the Unix time.
    :param overview: Returns what an operator's console shows about the bot.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        dispatcher: Dispatcher,
        callbacks: Callbacks,
        streams: Streams,
        notices: NoticeBoard,
        all_ended: Callable[[], object],
        now: Callable[[], float],
        overview: Callable[[Backend], BotOverview],
    ) -> None:
        self._slices = TimeSlices(reactor)
        self._networks, self._dispatcher = networks, dispatcher
        self._callbacks = callbacks
        self._streams = streams
        self.states = {network: NetworkState() for network in networks.backends}
        """The states of the connections, by network."""
        self._notices = notices
        self._all_ended = all_ended
        self._now = now
        self.overview = overview
        self._stopped = False

    @property
    def open_networks(self) -> list[str]:
        """The names of the networks that have not ended, sorted."""
        return sorted(network for network, state in self.states.items() if not state.ended)

    def stop(self) -> None:
        """Ignore further messages, including those that are waiting for a time slice."""
        self._stopped = True
        self._slices.stop()

    def backend_connected(self, backend: Backend) -> None:
        """Log the connection, and call `callback_connect`."""
        state = self.states[backend.network]
        state.connected_at, state.connections = self._now(), state.connections + 1
        self.log.info("Connected to {network}", network=backend.network)
        self._callbacks.call(backend, "callback_connect")

    def backend_disconnected(self, backend: Backend, reason: str) -> None:
        """Log the reason. Plugins stay active while the backend reconnects."""
        self.states[backend.network].connected_at = None
        self.log.warn("Disconnected from {network}: {reason}", network=backend.network, reason=reason)

    def messages_dropped(self, backend: Backend, count: int, reason: str) -> None:
        """Notify administrators of the first message, and then of all that a network drops within ten minutes together."""
        network, details = backend.network, f"since {reason}. The log has the recipients and texts."
        dropped = "A message was" if count == 1 else f"{count} messages were"
        more = f"Not sent on {network}: {{count}} more, {details}"
        self._notices.post(("dropped", network), f"{dropped} not sent on {network}, {details}", more=more, count=count)

    def messages_undelivered(
        self, backend: Backend, recipient: str, origins: Mapping[str, int], reason: str, *, waiting: bool
    ) -> None:
        """Notify administrators of the first messages, and then of all to the room within ten minutes, or a day, together."""
        number, room = sum(origins.values()), f"{recipient} on {backend.network}"
        senders = ", ".join(f"{described_origin(each)}: {count}" for each, count in origins.items())
        messages = "A message" if number == 1 else f"{number} messages"
        if waiting:
            text = f"{messages} to {room}: not sent yet, since the bot is not in the room ({reason}). By {senders}. "
            age = self._networks.config(backend).OUTBOX_MAX_AGE
            text += f"`why {recipient}` says more. What has waited for OUTBOX_MAX_AGE, {age:g} s, is dropped."
        else:
            text = f"{messages} to {room}: not sent ({reason}). By {senders}. The log has the text."
        key, notified = recipient.lower(), self._networks.config(backend).BOT_ADMINS_NOTIFICATIONS
        # A room that gets notices rejects the notice about it, too, and so on.
        interval = _DAY if key in {str(admin).lower() for admin in notified} else INTERVAL
        self._notices.post(("room", backend.network, key, waiting), text, interval=interval, count=number)

    def backend_ended(self, backend: Backend) -> None:
        """Mark the network as ended, after the messages that were received before."""
        self._slices.do(partial(self._end, backend))

    def message_received(self, backend: Backend, message: Message) -> None:
        """Run the command in the message, if there is one, and pass the message to the plugins' callbacks.

        A delayed message only reaches the callbacks: it runs no command or filter and answers no question.
        """
        if not backend.is_from_self(message):
            self.states[backend.network].received += 1
            self._slices.do(partial(self._receive, backend, message))

    def command_received(self, backend: Backend, message: Message) -> None:
        """Run the command in the message, if there is one, without calling callbacks."""
        self._slices.do(partial(self._dispatch, backend, message))

    def callback_requested(self, backend: Backend, callback: str, *details: Any) -> None:
        """Call a callback of the plugins, after the messages that were received before."""
        self._slices.do(partial(self._callbacks.call, backend, callback, *details))

    def mention_received(self, backend: Backend, message: Message, people: Sequence[Identifier]) -> None:
        """Call `callback_mention`."""
        if not (self._stopped or message.delayed):
            self._callbacks.call(backend, "callback_mention", message, people)

    def presence_changed(self, backend: Backend, presence: Presence) -> None:
        """Call `callback_presence`."""
        if presence.status == ONLINE:
            self._notices.person_seen(backend, presence.identifier)
        self._callbacks.call(backend, "callback_presence", presence)

    def reaction_changed(self, backend: Backend, reaction: Reaction) -> None:
        """Call `callback_reaction`."""
        self._callbacks.call(backend, "callback_reaction", reaction)

    def stream_offered(self, backend: Backend, stream: Stream) -> None:
        """Pass a copy to each plugin that overrides `callback_stream`. If none does, the stream is rejected."""
        with assigned(handled_network, backend.network):
            self._streams.offer(stream)

    def room_joined(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, invited_by: Identifier | None = None
    ) -> None:
        """Call `callback_room_joined`."""
        self._callbacks.call(backend, "callback_room_joined", room, identifier or backend.bot_identifier, invited_by)

    def room_left(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, kicked_by: Identifier | None = None
    ) -> None:
        """Call `callback_room_left`."""
        self._callbacks.call(backend, "callback_room_left", room, identifier or backend.bot_identifier, kicked_by)

    def room_topic_changed(self, backend: Backend, room: Room) -> None:
        """Call `callback_room_topic`."""
        self._callbacks.call(backend, "callback_room_topic", room)

    def _end(self, backend: Backend) -> None:
        state = self.states[backend.network]
        state.connected_at, state.ended = None, True
        if not self.open_networks:
            self._all_ended()

    def _receive(self, backend: Backend, message: Message) -> None:
        if not self._stopped and (message.delayed or self._dispatch(backend, message)):
            self._callbacks.call(backend, "callback_message", message)

    def _dispatch(self, backend: Backend, message: Message) -> bool:
        """Run the command in the message. Return whether the message is passed to the plugins' callbacks."""
        # Bots must not reply to notices automatically, nor to each other, since they could do so endlessly (RFC 2812, 3.3.2).
        extras = message.extras if isinstance(message.extras, Mapping) else {}
        if self._stopped or extras.get("notice") or extras.get("bot"):
            return True
        if message.is_direct:
            self._notices.person_seen(backend, message.frm)
        with assigned(handled_network, backend.network):
            # `assigned` would cost a hundredth of a short command.
            token = origin.set(person_origin(backend.network, message.frm))
            try:
                return self._dispatcher.dispatch(backend, message)
            finally:
                origin.reset(token)
