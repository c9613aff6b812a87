"""Adapter from errbot's backends to `ports.chat.Backend`.

The code of a third-party backend runs in its own thread, where it may block: from its `__init__` to the end of
`serve_forever`. Its events are passed to the reactor, in order. Messages go through an outbox to a second thread, since
sending may block, too. Changes of presence and reactions take the same way.

Methods that return a value are called in the caller's thread. There they may block, as in errbot. On the reactor they
would block the whole bot. If the `build_identifier`, `build_reply` or `query_room` of a backend contacts a server, use
it from plain handlers, which run in threads.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.backends.outbox import Outbox, outbox_limits
from errklein.bot import Bot, Sending
from errklein.chat import Card, Identifier, Message, Room, Stream
from errklein.chat.outgoing import MessageRecord, Wait
from errklein.compat.backends._messages import NetworkStamp, ask_beforehand, details_of, neutral_card, neutral_text
from errklein.compat.backends._threads import ATTEMPTS, NetworkThread, Part, SendingThread
from errklein.compat.core import EVENTS, ErrBot, for_a_bot
from errklein.dispatch import card_as_text
from errklein.ports.chat import BackendEvents
from errklein.running import TimedOut, cancel_timers, on_reactor_soon, result_within, start_daemon_thread
from errklein.running.context import sent_by_bot

_NO_REACTIONS = ("has no reactions", "doesn't know them")


class ThreadedNetwork:
    """A `ports.chat.Backend` that runs a third-party backend in threads.

    `make` creates the `ErrBot` from the network's configuration; its exceptions are raised. `legacy` is the created
    object, which plugins reach through the bot.
    """

    log = Logger()

    joins_configured_rooms = False

    SHUT_DOWN_AFTER = 1.0
    """Seconds from the end of sending until `disconnect` calls the backend's `shutdown`, if its code still runs."""

    LEAVE_WITHIN = 3.0
    """Seconds from the end of sending until `disconnect` abandons the code, since a thread can't be killed."""

    HURRY = 0.1
    """The minimum of SHUT_DOWN_AFTER if the grace period ends earlier, in seconds; twice that is the one of
    LEAVE_WITHIN."""

    def __init__(self, reactor: Any, config: Any, make: Callable[[Any], ErrBot]) -> None:
        self.network: str = config.network
        self.bot: Bot | None = None
        self.leaving = False
        self._stamp = NetworkStamp(self.network)
        self._reactor = reactor
        self._events: BackendEvents | None = None
        self._thread = NetworkThread(f"errklein {self.network}")
        try:
            self.legacy = self._thread.do(partial(_make, make, config))
        except BaseException:
            self._thread.end()
            raise
        self.legacy._attach_network(self)
        self._sender = SendingThread(
            reactor,
            self.network,
            self.legacy,
            self.build_identifier,
            lambda: self.bot_identifier,
            self._messages_dropped,
            self._try_again,
        )
        limits = replace(outbox_limits(config, self.message_size_limit), attempts=ATTEMPTS, isolates=False)
        self._longest = limits.length
        self.outbox: Outbox[Part] = Outbox(reactor, self.network, self._sender, limits, dropped=self._messages_dropped)
        self._is_connected = False
        self._awake = threading.Event()
        self._next_attempt = 0.0
        self._serving = False
        self._ended: Deferred[None] = Deferred()
        # Acquired by the first call of shut_down, and never released.
        self._shut_down_once = threading.Lock()

    def attach(self, bot: Bot) -> None:
        """Give the network its bot, before plugins are loaded."""
        self.bot = bot
        legacy = self.legacy
        legacy.attach_storage_plugin(bot.storage)
        legacy.initialize_backend_storage()
        legacy.attach_repo_manager(bot.repo_manager)
        legacy.attach_plugin_manager(bot.plugin_manager)

    # ports.chat.Backend

    @property
    def mode(self) -> str:
        """The kind of network, as the backend names it."""
        return self.legacy.mode

    @property
    def message_size_limit(self) -> int:
        """The length at which messages are split, in characters."""
        return self.legacy.message_size_limit

    @property
    def bot_identifier(self) -> Identifier | None:
        """The identifier of the bot; None while the backend doesn't know it."""
        # Some backends use their connection here, and raise an error if it isn't established.
        with suppress(Exception):
            identifier: Identifier | None = self._stamp.identifier(self.legacy.bot_identifier)
            return identifier
        return None

    def connect(self, events: BackendEvents) -> None:
        """Start the backend's `serve_forever` in its thread."""
        self._events = events
        self._serving = True
        self._thread.begin(self._serve, lambda: on_reactor_soon(self._reactor, self._served))

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue for up to `grace` seconds, then interrupt the backend's code, as Ctrl-C does.

        The Deferred fires when the code has ended, or is abandoned because it takes too long. A connection that is lost
        while the queue is sent is reestablished. If the network is not connected and the next attempt to connect is
        after the grace period, nothing is sent. A later process sends the messages that are left.
        """
        end = self._reactor.seconds() + grace
        closed = self.outbox.close(grace if self._serving and self._next_attempt < end else 0.0)
        return closed.addCallback(lambda _: Deferred.fromCoroutine(self._leave(end - self._reactor.seconds())))

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Add the message to the outbox, from any thread; see ports.chat.Backend."""
        # A copy, since the sender may change the message before it is sent.
        kept = message.clone()
        kept.body = message.body[: self._longest]
        return self._accept(kept, neutral_text(self.mode, kept), details_of(kept))

    def wait_of(self, record: MessageRecord) -> Wait | None:
        """Return what a message waits for; see `ports.chat.ExplainsWaits`."""
        return self.outbox.wait_of(record.id)

    def room_status(self, name: str) -> None:
        """Return None, since the backend isn't asked."""

    def build_identifier(self, text: str) -> Identifier:
        """Return the identifier for a text; raises ValueError, and errors of the backend's own code."""
        identifier: Identifier | None = self._stamp.identifier(self.legacy.build_identifier(text))
        if identifier is None:
            raise ValueError(f"{self.network} has no identifier for {text!r}")
        return identifier

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """Return the backend's reply to the message."""
        reply = self.legacy.build_reply(message, text, private=private, threaded=threaded)
        self._stamp.message(reply)
        return reply

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Put the recipient's name before the body, as the backend does."""
        self.legacy.prefix_groupchat_reply(message, identifier)

    def is_from_self(self, message: Message) -> bool:
        """Return whether the bot itself sent the message."""
        try:
            return bool(self.legacy.is_from_self(message))
        except Exception:
            self.log.failure("{network}: is_from_self() failed", network=self.network)
            return False

    def rooms(self) -> Sequence[Room]:
        """Return the rooms that the bot is in."""
        rooms = self.legacy.rooms
        found: Iterable[Room] = rooms() if callable(rooms) else rooms
        return [self._stamp.identifier(room) for room in found or ()]

    def query_room(self, name: str) -> Room:
        """Return the room with that name; raises errors of the backend's own code."""
        room: Room = self._stamp.identifier(self.legacy.query_room(name))
        return room

    def change_presence(self, status: str, message: str) -> None:
        """Add a change of the bot's presence to the outbox."""
        self.outbox.put([partial(self.legacy.change_presence, status, message)], text=f"change of presence: {status}")

    def send_card(self, card: Card) -> Awaitable[None] | None:
        """Add the card to the outbox, as `send_message` does. If the backend has no `send_card`, it is sent as text."""
        if type(self.legacy).send_card is ErrBot.send_card:
            return self.send_card_as_text(card)
        neutral = neutral_card(self.mode, card)
        return self._accept(neutral, neutral.body, details_of(neutral, is_card=True))

    def add_reaction(self, message: Message, reaction: str) -> None:
        """Add a reaction to the outbox; raises NotImplementedError if the backend has no reactions."""
        self._react(self._own("add_reaction", *_NO_REACTIONS), message, reaction, f"reaction {reaction}")

    def remove_reaction(self, message: Message, reaction: str) -> None:
        """Add the removal of a reaction to the outbox; raises NotImplementedError if the backend has no reactions."""
        remove = self._own("remove_reaction", *_NO_REACTIONS)
        self._react(remove, message, reaction, f"removal of reaction {reaction}")

    def send_stream_request(self, user: Identifier, fsource: BinaryIO, *details: Any) -> Stream | None:
        """Offer a file; see ports.chat.SendsStreams. Raises NotImplementedError if the backend has no streams."""
        offer: Callable[..., Stream | None] = self._own("send_stream_request", "can't carry files", "has no streams")
        return offer(user, fsource, *details)

    def call_in_order(
        self, function: Callable[..., Any], *args: Any, recipient: str = "", text: str = "", priority: bool = False
    ) -> Awaitable[None] | None:
        """Call the function in its turn; see `bot.CallsInOrder`."""
        return self.outbox.put([partial(function, *args)], recipient=recipient, text=text, priority=priority)

    @property
    def error_reply(self) -> str:
        """The backend's reply to a command that failed."""
        return str(self.legacy.MSG_ERROR_OCCURRED)

    def unknown_command_reply(self, message: Message | None, name: str, args: str) -> str:
        """Return the backend's reply to an unknown command."""
        return str(self.legacy.unknown_command(message, name, args))

    # Methods for ErrBot; they may be called in any thread.

    def send_card_as_text(self, card: Card) -> Awaitable[None] | None:
        """Send the card as a message, rendered by the template "card"."""
        return self.send_message(card_as_text(card))

    def send(self, identifier: Identifier, text: str, in_reply_to: Message | None, groupchat_nick_reply: bool) -> Any:
        """Send Markdown text to a person or room on this network."""
        recipient = self._stamp.identifier(identifier)
        return Sending.send(self._there.sending, recipient, text, in_reply_to, groupchat_nick_reply)

    def reply(self, message: Message, text: str, private: bool, threaded: bool) -> Any:
        """Reply to a message of the network."""
        self._stamp.message(message)
        return self._there.sending.send_simple_reply(message, text, private, threaded)

    def warn_admins(self, warning: str) -> None:
        """Send the text to the administrators of all networks."""
        self._there.warn_admins(warning)

    def unknown_command(self, message: Message | None, text: str) -> str:
        """Return the reply to an unknown command, with suggestions."""
        return self._there.dispatcher.permissions.suggestions(self, message, text)

    def inject_commands_from(self, plugin: Any) -> None:
        """Register the plugin's commands."""
        self._there.waits.result_of(self._there.inject_commands_from, plugin)

    def remove_commands_from(self, plugin: Any) -> None:
        """Unregister the plugin's commands."""
        self._there.waits.result_of(self._there.remove_commands_from, plugin)

    def lookup(self, name: str) -> Any:
        """Return the bot's own attribute with that name; raises AttributeError."""
        if self.bot is None:
            raise AttributeError(f"{self.network} isn't attached to a bot yet", name=name, obj=self.legacy)
        return object.__getattribute__(self.bot, name)

    def connected(self) -> None:
        """Resume sending, and report the connection to the bot."""
        on_reactor_soon(self._reactor, self._connected)

    def disconnected(self, reason: str = "connection lost") -> None:
        """Pause sending, and report the loss of the connection to the bot."""
        on_reactor_soon(self._reactor, self._disconnected, reason)

    def report_event(self, callback: str, *details: Any) -> None:
        """Report the event that belongs to the callback."""
        self._stamp.details(details)
        if self._events is not None and not self.leaving:
            on_reactor_soon(self._reactor, getattr(self._events, EVENTS[callback]), self, *details)

    def run_command(self, message: Message) -> None:
        """Run the command in the message, if there is one."""
        self._stamp.message(message)
        ask_beforehand(message)
        if self.bot is not None and not self.leaving:
            on_reactor_soon(self._reactor, self.bot.events.command_received, self, message)

    def call_plugins(self, callback: str, *details: Any) -> None:
        """Call the callback of all active plugins."""
        self._stamp.details(details)
        if self.bot is not None and not self.leaving:
            on_reactor_soon(self._reactor, self.bot.events.callback_requested, self, callback, *details)

    def message_sent(self, message: Message) -> None:
        """Call `callback_botmessage` for a message that the backend sends by itself.

        For other messages the bot calls it.
        """
        if not sent_by_bot.get():
            self.call_plugins("callback_botmessage", message)

    def failed(self) -> None:
        """Log the exception that is being handled."""
        self.log.failure("{network}: connection failed", network=self.network)

    def pause(self, seconds: float) -> None:
        """Block the thread for `seconds`, or until the bot stops."""
        self.log.info("{network}: reconnecting in {seconds:.1f} s", network=self.network, seconds=seconds)
        timers: list[IDelayedCall] = []
        self._awake.clear()
        if self.leaving:
            return
        self._next_attempt = self._reactor.seconds() + seconds
        self._reactor.callFromThread(lambda: timers.append(self._reactor.callLater(seconds, self._awake.set)))
        self._awake.wait()
        self._reactor.callFromThread(lambda: cancel_timers(*timers))

    def shut_down(self) -> None:
        """Call the backend's `shutdown`, once."""
        if not self._shut_down_once.acquire(blocking=False):
            return
        try:
            self.legacy.shutdown()
        except Exception:
            self.log.failure("{network}: shutdown() failed", network=self.network)

    # Internals

    @property
    def _there(self) -> Bot:
        if self.bot is None:
            raise RuntimeError(f"{self.network} isn't attached to a bot yet")
        return self.bot

    def _own(self, method: str, refusal: str, reason: str) -> Callable[..., Any]:
        """Return the backend's method with that name; raises NotImplementedError if it has none."""
        own: Callable[..., Any] | None = getattr(self.legacy, method, None)
        if not callable(own):
            raise NotImplementedError(f"{self.network} {refusal}: {self.mode} {reason}")
        return own

    def _serve(self) -> None:
        """Run `serve_forever` until it returns or the bot stops. After an error, wait and run it again."""
        while not self.leaving:
            try:
                self.legacy.serve_forever()
                return
            except KeyboardInterrupt:
                return
            except BaseException:
                self.failed()
            self.legacy._delay_reconnect()

    def _served(self) -> None:
        self._serving = False
        self._thread.end()
        self._ended.callback(None)
        if self._events is not None and not self.leaving:
            self._events.backend_ended(self)

    def _connected(self) -> None:
        if self._events is not None and not self.leaving:
            self._is_connected = True
            self.outbox.resume()
            self._events.backend_connected(self)

    def _disconnected(self, reason: str) -> None:
        self._is_connected = False
        self.outbox.pause(reason)
        if self._events is not None and not self.leaving:
            self._events.backend_disconnected(self, reason)

    def _try_again(self) -> None:
        if self._is_connected:
            self.outbox.resume()

    async def _leave(self, seconds: float) -> None:
        """Stop the backend's code; `seconds` is the rest of the grace period."""
        if self._serving:
            # What is being sent when the grace period ends would be sent again after the next start.
            with suppress(TimedOut):
                await result_within(self._reactor, max(seconds, self.HURRY), self._sender.when_idle())
        self.leaving = True
        self._awake.set()
        if self._serving:
            # The deadlines are shortened so that the journal and storage are closed before the process is ended, half a second
            # after the grace period.
            shut_down = min(self.SHUT_DOWN_AFTER, max(seconds, self.HURRY))
            give_up = min(self.LEAVE_WITHIN, max(seconds, 2 * self.HURRY))
            # Code that waits for a lock or socket can't be interrupted, but may end when its connection is closed.
            name = f"errklein {self.network} shutdown"
            timer = self._reactor.callLater(shut_down, start_daemon_thread, self.shut_down, name)
            self._thread.interrupt()
            try:
                await result_within(self._reactor, give_up, self._ended)
            except TimedOut:
                self.log.warn("{network}: backend thread did not stop; abandoning it", network=self.network)
            cancel_timers(timer)
        else:
            self._thread.end()
        self._sender.stop()
        if self.legacy.is_open_storage():
            self.legacy.close_storage()

    def _accept(self, message: Message, body: str, details: str) -> Awaitable[None] | None:
        if message.to is None:
            raise ValueError("a message needs a recipient, but its `to` is None")
        recipient, priority = str(message.to), message.priority
        return self.outbox.send(recipient, body, details=details, priority=priority, original=message)

    def _react(self, function: Callable[..., Any], message: Message, reaction: str, text: str) -> None:
        self.call_in_order(function, message, reaction, recipient=str(message.to), text=text)

    def _messages_dropped(self, count: int, reason: str) -> None:
        if self._events is not None:
            self._events.messages_dropped(self, count, reason)


def _make(make: Callable[[Any], ErrBot], config: Any) -> ErrBot:
    with for_a_bot():
        return make(config)
