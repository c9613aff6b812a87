"""A network that was written for errbot, behind the port that errklein has for networks.

The network's own code runs in a thread of its own, where it may block: from its `__init__` to the end of
`serve_forever`. What it tells goes to the reactor, in order. What is sent goes through an outbox to a second thread,
since sending may block as well; so do changes of presence and reactions, so that nothing overtakes. What returns
something is called where it is asked for: in a plugin's thread it may take its time, as in errbot. On the reactor it
holds everything up for as long as it takes, so that a network whose `build_identifier`, `build_reply` or `query_room`
asks a server should be used from plain handlers.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.backends import Outbox, TokenBucket
from errklein.bot import Bot
from errklein.chat import Card, Identifier, Message, Room, Stream
from errklein.compat.backends._stamps import NetworkStamp, ask_beforehand
from errklein.compat.backends._thread import NetworkThread
from errklein.compat.backends.errbot import EVENTS, ErrBot, for_a_bot, parts_of
from errklein.dispatch import process_template
from errklein.ports import BackendEvents
from errklein.running import TimedOut, WorkerPool, on_reactor_soon, result_within, start_daemon_thread
from errklein.running.context import assigned, sent_by_bot

Part = Callable[[], object]

_NO_REACTIONS = ("has no reactions", "doesn't know them")


class ThreadedNetwork:
    """ports.Backend, over the `ErrBot` that `make` makes of the network's configuration.

    Raises whatever `make` raises. `legacy` is that object, which plugins reach through the bot.
    """

    log = Logger()

    joins_configured_rooms = False

    SHUT_DOWN_AFTER = 1.0
    """Seconds after the queue is sent until `disconnect` shuts the connection down, if the network's code still runs."""

    LEAVE_WITHIN = 3.0
    """Seconds after the queue is sent until `disconnect` abandons that code, since threads can't be stopped."""

    HURRY = 0.3
    """Seconds in place of SHUT_DOWN_AFTER if the grace period is over; twice that takes the place of LEAVE_WITHIN."""

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
        self.legacy._network = self
        self._sender = WorkerPool(reactor, f"{self.network} sending", 1)
        self._outbox: Outbox[Part] = Outbox(
            reactor, self.network, self._transmit, TokenBucket(reactor.seconds, 0, 1).take, limit=config.OUTBOX_LIMIT
        )
        self._awake = threading.Event()
        self._next_attempt = 0.0
        self._serving = False
        self._ended: Deferred[None] = Deferred()
        # Acquired by the first call of shut_down, and never released.
        self._shut_down_once = threading.Lock()

    def attach(self, bot: Bot) -> None:
        """Let the network know the bot, before plugins are loaded."""
        self.bot = bot
        legacy = self.legacy
        legacy.attach_storage_plugin(bot.storage)
        legacy.initialize_backend_storage()
        legacy.attach_repo_manager(bot.repo_manager)
        legacy.attach_plugin_manager(bot.plugin_manager)

    # ports.Backend

    @property
    def mode(self) -> str:
        """What the network calls itself."""
        return self.legacy.mode

    @property
    def message_size_limit(self) -> int:
        """Characters of a message in one part."""
        return self.legacy.message_size_limit

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot itself; None until the network has told."""
        # Some ask their connection, and find out that there is none.
        with suppress(Exception):
            identifier: Identifier | None = self._stamp.identifier(self.legacy.bot_identifier)
            return identifier
        return None

    def connect(self, events: BackendEvents) -> None:
        """Begin to serve, and go on until `disconnect`."""
        self._events = events
        self._serving = True
        self._thread.begin(self._serve, lambda: on_reactor_soon(self._reactor, self._served))

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue for up to `grace` seconds, then end the network's code as Ctrl-C does.

        Fires when the code has ended, or takes too long to end. A connection that breaks while the queue is sent is
        reestablished. The queue is dropped at once if the network is not connected and no attempt to connect begins in time.
        """
        end = self._reactor.seconds() + grace
        closed = self._outbox.close(grace if self._serving and self._next_attempt < end else 0.0)
        return closed.addCallback(lambda _: Deferred.fromCoroutine(self._leave(end - self._reactor.seconds())))

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Accept the message into the outbox, from any thread; see ports.Backend."""
        if message.to is None:
            raise ValueError("a message needs an addressee")
        parts = parts_of(message, self.message_size_limit)
        return self._outbox.put(
            [partial(self.legacy.send_message, part) for part in parts], recipient=str(message.to), text=message.body
        )

    def build_identifier(self, text: str) -> Identifier:
        """Who or what the text names; raises ValueError, and whatever the network's own code raises."""
        identifier: Identifier | None = self._stamp.identifier(self.legacy.build_identifier(text))
        if identifier is None:
            raise ValueError(f"{text!r} names nobody on {self.network}")
        return identifier

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """The network's answer to the message."""
        reply = self.legacy.build_reply(message, text, private=private, threaded=threaded)
        self._stamp.message(reply)
        return reply

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Address the message as the network does."""
        self.legacy.prefix_groupchat_reply(message, identifier)

    def is_from_self(self, message: Message) -> bool:
        """Whether the bot said it."""
        try:
            return bool(self.legacy.is_from_self(message))
        except Exception:
            self.log.failure("{network}: is_from_self() failed", network=self.network)
            return False

    def rooms(self) -> Sequence[Room]:
        """The rooms that the bot is in."""
        rooms = self.legacy.rooms
        found: Iterable[Room] = rooms() if callable(rooms) else rooms
        return [self._stamp.identifier(room) for room in found or ()]

    def query_room(self, name: str) -> Room:
        """The room of that name; raises whatever the network's own code raises."""
        room: Room = self._stamp.identifier(self.legacy.query_room(name))
        return room

    def change_presence(self, status: str, message: str) -> None:
        """Show others that the bot is `status`, after what is being sent."""
        self._outbox.put([partial(self.legacy.change_presence, status, message)], text=f"change of presence: {status}")

    def send_card(self, card: Card) -> Awaitable[None] | None:
        """Accept the card into the outbox, as `send_message` does: as the network shows cards, else as text."""
        if type(self.legacy).send_card is ErrBot.send_card:
            return self.send_card_as_text(card)
        return self.call_in_order(self.legacy.send_card, card, recipient=str(card.to), text=card.title or card.body)

    def add_reaction(self, message: Message, reaction: str) -> None:
        """Put the reaction on the message, after what is being sent. Raises NotImplementedError without reactions."""
        self.call_in_order(self._own("add_reaction", *_NO_REACTIONS), message, reaction, text=f"reaction {reaction}")

    def remove_reaction(self, message: Message, reaction: str) -> None:
        """Take the reaction away, after what is being sent. Raises NotImplementedError without reactions."""
        remove = self._own("remove_reaction", *_NO_REACTIONS)
        self.call_in_order(remove, message, reaction, text=f"removal of reaction {reaction}")

    def send_stream_request(self, user: Identifier, fsource: BinaryIO, *details: Any) -> Stream | None:
        """Offer a file; see ports.SendsStreams. Raises NotImplementedError without streams."""
        offer: Callable[..., Stream | None] = self._own("send_stream_request", "can't carry files", "has no streams")
        return offer(user, fsource, *details)

    def call_in_order(
        self, function: Callable[..., Any], *args: Any, recipient: str = "", text: str = ""
    ) -> Awaitable[None] | None:
        """Call the function after everything that is queued before it; see ports.CallsInOrder."""
        return self._outbox.put([partial(function, *args)], recipient=recipient, text=text)

    @property
    def error_reply(self) -> str:
        """The network's own text."""
        return str(self.legacy.MSG_ERROR_OCCURRED)

    def unknown_command_reply(self, message: Message | None, name: str, args: str) -> str:
        """The network's own text."""
        return str(self.legacy.unknown_command(message, name, args))

    # For legacy networks only; in any thread.

    def send_card_as_text(self, card: Card) -> Awaitable[None] | None:
        """Send what the card says, by the template "card"."""
        text = process_template("card", {"card": card})
        return self.send_message(Message(text, card.frm, card.to, card.parent, extras=card.extras))

    def send(self, identifier: Identifier, text: str, in_reply_to: Message | None, groupchat_nick_reply: bool) -> Any:
        """Send Markdown text to somebody on this network."""
        return self._there.send(self._stamp.identifier(identifier), text, in_reply_to, groupchat_nick_reply)

    def reply(self, message: Message, text: str, private: bool, threaded: bool) -> Any:
        """Reply to a message of the network."""
        return self._there.sending.deliver(self, self.build_reply(message, text, private, threaded))

    def warn_admins(self, warning: str) -> None:
        """Send the text to the administrators of all networks."""
        self._there.warn_admins(warning)

    def unknown_command(self, message: Message | None, text: str) -> str:
        """The reply to a command that doesn't exist, with suggestions."""
        return self._there.dispatcher.unknown_commands.suggestions(self, message, text)

    def inject_commands_from(self, plugin: Any) -> None:
        """Register the plugin's commands."""
        self._there.waits.result_of(self._there.inject_commands_from, plugin)

    def remove_commands_from(self, plugin: Any) -> None:
        """Unregister the plugin's commands."""
        self._there.waits.result_of(self._there.remove_commands_from, plugin)

    def lookup(self, name: str) -> Any:
        """The bot's own attribute of that name; raises AttributeError."""
        if self.bot is None:
            raise AttributeError(f"{self.network} has no bot yet", name=name, obj=self.legacy)
        return object.__getattribute__(self.bot, name)

    def connected(self) -> None:
        """Send what waits, and tell the bot."""
        on_reactor_soon(self._reactor, self._connected)

    def disconnected(self, reason: str = "the connection is gone") -> None:
        """Keep what is to be sent, and tell the bot."""
        on_reactor_soon(self._reactor, self._disconnected, reason)

    def tell(self, callback: str, *details: Any) -> None:
        """Report the event that the callback is for."""
        self._stamp.details(details)
        if self._events is not None and not self.leaving:
            on_reactor_soon(self._reactor, getattr(self._events, EVENTS[callback]), self, *details)

    def heard(self, message: Message) -> None:
        """Have the command in the message run, if it is one."""
        self._stamp.message(message)
        ask_beforehand(message)
        if self.bot is not None and not self.leaving:
            on_reactor_soon(self._reactor, self.bot.events.command_received, self, message)

    def tell_plugins(self, callback: str, *details: Any) -> None:
        """Call that callback of all active plugins."""
        self._stamp.details(details)
        if self.bot is not None and not self.leaving:
            on_reactor_soon(self._reactor, self.bot.events.callback_requested, self, callback, *details)

    def said(self, message: Message) -> None:
        """Tell plugins of a message that the network sends by itself; of others the bot has told."""
        if not sent_by_bot.get():
            self.tell_plugins("callback_botmessage", message)

    def failed(self) -> None:
        """Log the exception that is being handled."""
        self.log.failure("{network}: the connection ended with an error", network=self.network)

    def pause(self, seconds: float) -> None:
        """Wait in a thread for so long, or until the bot leaves."""
        self.log.info("{network}: connecting again in {seconds:.1f} s", network=self.network, seconds=seconds)
        timers: list[IDelayedCall] = []
        self._awake.clear()
        if self.leaving:
            return
        self._next_attempt = self._reactor.seconds() + seconds
        self._reactor.callFromThread(lambda: timers.append(self._reactor.callLater(seconds, self._awake.set)))
        self._awake.wait()
        self._reactor.callFromThread(_cancel, timers)

    def shut_down(self) -> None:
        """Let the network go of everything, once."""
        if not self._shut_down_once.acquire(blocking=False):
            return
        try:
            self.legacy.shutdown()
        except Exception:
            self.log.failure("{network}: shutdown() failed", network=self.network)

    # Inside

    @property
    def _there(self) -> Bot:
        if self.bot is None:
            raise RuntimeError(f"{self.network} has no bot yet")
        return self.bot

    def _own(self, method: str, refusal: str, reason: str) -> Callable[..., Any]:
        """The network's method of that name; raises NotImplementedError if it has none."""
        own: Callable[..., Any] | None = getattr(self.legacy, method, None)
        if not callable(own):
            raise NotImplementedError(f"{self.network} {refusal}: {self.mode} {reason}")
        return own

    def _serve(self) -> None:
        """Serve until there is no more to serve, or the bot leaves."""
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
            self._outbox.resume()
            self._events.backend_connected(self)

    def _disconnected(self, reason: str) -> None:
        self._outbox.pause()
        if self._events is not None and not self.leaving:
            self._events.backend_disconnected(self, reason)

    async def _leave(self, seconds: float) -> None:
        """End the network's code; `seconds` is the rest of the grace period."""
        self.leaving = True
        self._awake.set()
        if self._serving:
            # The process ends within a second after the grace period.
            shut_down = min(self.SHUT_DOWN_AFTER, max(seconds, self.HURRY))
            give_up = min(self.LEAVE_WITHIN, max(seconds, 2 * self.HURRY))
            # What waits in a lock or for a socket can't be interrupted, but may end with its connection.
            name = f"errklein {self.network} shutdown"
            timer = self._reactor.callLater(shut_down, start_daemon_thread, self.shut_down, name)
            self._thread.interrupt()
            try:
                await result_within(self._reactor, give_up, self._ended)
            except TimedOut:
                self.log.warn("{network}: its code doesn't end, and is left behind", network=self.network)
            _cancel([timer])
        else:
            self._thread.end()
        self._sender.stop()
        if self.legacy.is_open_storage():
            self.legacy.close_storage()

    def _transmit(self, part: Part) -> Deferred[Any]:
        return self._sender.run(lambda: partial(_send, part))


def _make(make: Callable[[Any], ErrBot], config: Any) -> ErrBot:
    with for_a_bot():
        return make(config)


def _cancel(timers: list[IDelayedCall]) -> None:
    for timer in timers:
        if timer.active():
            timer.cancel()


def _send(part: Part) -> None:
    with assigned(sent_by_bot, True):
        part()
