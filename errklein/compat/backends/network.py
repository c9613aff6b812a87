"""Adapter from errbot's backends to `ports.chat.Backend`; see "errbot's backends" in docs/design.md. It finds that of BACKEND."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.bot import Bot, Sending
from errklein.chat import Card, Identifier, Message, Room, Stream, read_only
from errklein.chat.operations import NOTHING_ELSE, Kind, Operation, Post, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.compat.backends import _messages
from errklein.compat.core import EVENTS, ErrBot, part_of
from errklein.config import ConfigError
from errklein.config.networks import known_networks
from errklein.dispatch import card_as_text
from errklein.networks.base import NetworkBase
from errklein.networks.outbox import NotConfirmed, Outbox, outbox_limits
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.imports import PluginLoadError, load_module, plugin_class
from errklein.plugins.plug_file import PlugFile
from errklein.ports.chat import BackendEvents
from errklein.ports.receipts import Receipt
from errklein.running import TimedOut, WorkerPool, cancel_timers, on_reactor_soon, result_within, start_daemon_thread
from errklein.running.context import assigned, sent_by_bot
from errklein.text import split_message
from errklein.text.suggestions import did_you_mean

T = TypeVar("T")
Part = Callable[[], object]

RETRY_AFTER, LONGEST_RETRY = 5.0, 60.0
"""The seconds until a message is sent again after an error of the connection: at first, doubled each time, and at most."""

ATTEMPTS = 20  # the errors, in a quarter of an hour, after which a message is dropped, since it may be the cause
_REACTIONS = {Kind.REACT: "add_reaction", Kind.UNREACT: "remove_reaction"}

PACKAGES = {
    "APRS": "err-aprs-backend",
    "Discord": "err-backend-discord",
    "Matrix": "errbot-backend-matrix",
    "Mattermost": "err-backend-mattermost",
    "SlackV3": "errbot-backend-slackv3",
}
"""Backends written for errbot, by the name for BACKEND, with the packages on PyPI that have them."""

GROUPS = ("errbot.backend_plugins", "errklein.backends")  # the entry point groups in which distributions offer networks


class ThreadedNetwork(NetworkBase):
    """A network that runs a third-party backend in threads. `make` creates the `ErrBot` from the network's
    configuration; its exceptions are raised. `legacy` is the created object, which plugins reach through the bot.
    Implements `outbox.Transport`, too, by calls of the backend's methods in a thread. After an error of the connection, a
    call is repeated: backends that send by HTTP don't report a lost network. Other errors reject the message."""

    log = Logger()

    joins_configured_rooms = False
    serial = False
    mode: str = read_only("legacy.mode", "The kind of network.")
    message_size_limit: int = read_only("legacy.message_size_limit", "The length at which messages are split.")

    # Seconds from the end of sending until `disconnect` calls the backend's `shutdown`, if its code still runs, and until it
    # abandons the code, since a thread can't be killed; at least HURRY and twice that, if the grace period ends earlier.
    SHUT_DOWN_AFTER, LEAVE_WITHIN, HURRY = 1.0, 3.0, 0.1

    def __init__(self, reactor: Any, config: Any, make: Callable[[Any], ErrBot]) -> None:
        self.network: str = config.network
        self.bot: Bot | None = None
        self.leaving = False
        self._stamp = _messages.NetworkStamp(self.network)
        self._reactor = reactor
        self._thread = NetworkThread(f"errklein {self.network}")
        try:
            self.legacy = self._thread.do(partial(make, config))
        except BaseException:
            self._thread.end()
            raise
        self.legacy._attach_network(self)
        self._errors = 0  # those of the connection, one after another
        self._retry: IDelayedCall | None = None
        self._pool = WorkerPool(reactor, f"{self.network} sending", 1)
        limits = replace(outbox_limits(config, self.message_size_limit), attempts=ATTEMPTS, isolates=False)
        self._longest = limits.length
        self.outbox: Outbox[Part] = Outbox(reactor, self.network, self, limits, dropped=self.dropped)
        self._is_connected = False
        self._awake = threading.Event()
        self._next_attempt = 0.0
        self._serving = False
        self._ended: Deferred[None] = Deferred()
        # Acquired by the first call of shut_down, and never released.
        self._shut_down_once = threading.Lock()

    def attach(self, bot: Bot) -> None:
        self.bot = bot
        legacy = self.legacy
        legacy.attach_storage_plugin(bot.storage)
        legacy.initialize_backend_storage()
        legacy.attach_repo_manager(bot.repo_manager)
        legacy.attach_plugin_manager(bot.plugin_manager)

    # ports.chat.Backend

    @property
    def bot_identifier(self) -> Identifier | None:  # type: ignore[override]
        # Some backends use their connection here, and raise an error if it isn't established.
        with suppress(Exception):
            identifier: Identifier | None = self._stamp.identifier(self.legacy.bot_identifier)
            return identifier
        return None

    def connect(self, events: BackendEvents) -> None:
        self.events = events
        self._serving = True
        self._thread.begin(self._serve, lambda: on_reactor_soon(self._reactor, self._served))

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue for up to `grace` seconds, then interrupt the backend's code, as Ctrl-C does. The Deferred
        fires when the code has ended, or is abandoned because it takes too long. A lost connection is reestablished;
        nothing is sent if the next attempt is after the grace period. A later process sends what is left."""
        end = self._reactor.seconds() + grace
        closed = self.outbox.close(grace if self._serving and self._next_attempt < end else 0.0)
        return closed.addCallback(lambda _: Deferred.fromCoroutine(self._leave(end - self._reactor.seconds())))

    def perform(self, message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
        if wanted.emoji and message.parent is not None:
            with suppress(NotImplementedError):
                return self._react(_REACTIONS[wanted.kind], message.parent, wanted.emoji)
        # A copy, since the sender may change the message before it is sent.
        kept = message.clone()
        kept.body = message.body[: self._longest]
        body = _messages.neutral_text(self.mode, kept, kept.body)
        return self._accept(kept, body, _messages.details_of(kept), wanted, file)

    def build_identifier(self, text: str) -> Identifier:
        identifier: Identifier | None = self._stamp.identifier(self.legacy.build_identifier(text))
        if identifier is None:
            raise ValueError(f"{self.network} has no identifier for {text!r}")
        return identifier

    def resolve(self, text: str) -> Deferred[Identifier]:
        """Return the identifier for a text, which is looked up in its turn in the thread that sends."""

        async def look_up() -> Identifier:
            await self.outbox.put([find], recipient=text, text=f"lookup of {text}", priority=True)
            return found[0]

        def find() -> None:
            found.append(self.build_identifier(text))
            _messages.ask_beforehand(*found)

        found: list[Identifier] = []
        return Deferred.fromCoroutine(look_up())

    def build_message(self, text: str) -> Message:  # type: ignore[override]
        return self.legacy.build_message(text)

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        reply = self.legacy.build_reply(message, text, private=private, threaded=threaded)
        self._stamp.message(reply)
        return reply

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        self.legacy.prefix_groupchat_reply(message, identifier)

    def is_from_self(self, message: Message) -> bool:
        try:
            return bool(self.legacy.is_from_self(message))
        except Exception:
            self.log.failure("{network}: is_from_self() failed", network=self.network)
            return False

    def rooms(self) -> Sequence[Room]:
        rooms = self.legacy.rooms
        found: Iterable[Room] = rooms() if callable(rooms) else rooms
        return [self._stamp.identifier(room) for room in found or ()]

    def query_room(self, name: str) -> Room:
        room: Room = self._stamp.identifier(self.legacy.query_room(name))
        return room

    def change_presence(self, status: str, message: str) -> None:
        self.outbox.put([partial(self.legacy.change_presence, status, message)], text=f"change of presence: {status}")

    def send_card(self, card: Card) -> Receipt:
        """Add the card to the outbox, as `send_message` does. If the backend has no `send_card`, it is sent as text."""
        if type(self.legacy).send_card is ErrBot.send_card:
            return self.send_card_as_text(card)
        neutral = _messages.neutral_card(self.mode, card)
        return self._accept(neutral, neutral.body, _messages.details_of(neutral, is_card=True))

    def add_reaction(self, message: Message, reaction: str) -> None:
        self._react("add_reaction", message, reaction)

    def remove_reaction(self, message: Message, reaction: str) -> None:
        self._react("remove_reaction", message, reaction)

    def send_stream_request(self, user: Identifier, fsource: BinaryIO, *details: Any, **more: Any) -> Stream | None:
        offer: Callable[..., Stream | None] = self._own("send_stream_request", "can't carry files", "has no streams")
        return offer(user, fsource, *details, **more)

    @property
    def error_reply(self) -> str:
        return str(self.legacy.MSG_ERROR_OCCURRED)

    def unknown_command_reply(self, message: Message | None, name: str, args: str) -> str:
        return str(self.legacy.unknown_command(message, name, args))

    # Methods for ErrBot; they may be called in any thread.

    def send_card_as_text(self, card: Card) -> Receipt:
        return self.send_message(card_as_text(card))

    def send(self, identifier: Identifier, text: str, in_reply_to: Message | None, groupchat_nick_reply: bool) -> Any:
        recipient = self._stamp.identifier(identifier)
        return Sending.send(self._there.sending, recipient, text, in_reply_to, groupchat_nick_reply)

    def reply(self, message: Message, text: str, private: bool, threaded: bool) -> Any:
        self._stamp.message(message)
        return self._there.sending.send_simple_reply(message, text, private, threaded)

    def warn_admins(self, warning: str) -> None:
        self._there.warn_admins(warning)

    def unknown_command(self, message: Message | None, text: str) -> str:
        return self._there.dispatcher.permissions.suggestions(self, message, text)

    def lookup(self, name: str) -> Any:
        if self.bot is None:
            raise AttributeError(f"{self.network} isn't attached to a bot yet", name=name, obj=self.legacy)
        return object.__getattribute__(self.bot, name)

    def connected(self) -> None:
        on_reactor_soon(self._reactor, self._connected)

    def disconnected(self, reason: str = "connection lost") -> None:
        on_reactor_soon(self._reactor, self._disconnected, reason)

    def report_event(self, callback: str, *details: Any) -> None:
        self._stamp.details(details)
        if self.events is not None and not self.leaving:
            on_reactor_soon(self._reactor, getattr(self.events, EVENTS[callback]), self, *details)

    def run_command(self, message: Message) -> None:
        self._stamp.message(message)
        _messages.ask_beforehand(message.frm, message.to)
        if self.bot is not None and not self.leaving:
            on_reactor_soon(self._reactor, self.bot.events.command_received, self, message)

    def call_plugins(self, callback: str, *details: Any) -> None:
        self._stamp.details(details)
        if self.bot is not None and not self.leaving:
            on_reactor_soon(self._reactor, self.bot.events.callback_requested, self, callback, *details)

    def message_sent(self, message: Message) -> None:
        """Call `callback_botmessage` for a message that the backend sends by itself. For other messages the bot calls it."""
        if not sent_by_bot.get():
            self.call_plugins("callback_botmessage", message)

    def failed(self) -> None:
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
        if self._shut_down_once.acquire(blocking=False):
            try:
                self.legacy.shutdown()
            except Exception:
                self.log.failure("{network}: shutdown() failed", network=self.network)

    @property
    def _there(self) -> Bot:
        if self.bot is None:
            raise RuntimeError(f"{self.network} isn't attached to a bot yet")
        return self.bot

    def _own(self, method: str, refusal: str, reason: str) -> Callable[..., Any]:
        own: Callable[..., Any] | None = getattr(self.legacy, method, None)
        if not callable(own):
            raise NotImplementedError(f"{self.network} {refusal}: {self.mode} {reason}")
        return own

    def _serve(self) -> None:
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
        if self.events is not None and not self.leaving:
            self.events.backend_ended(self)

    def _connected(self) -> None:
        if self.events is not None and not self.leaving:
            self._is_connected = True
            self.outbox.resume()
            self.events.backend_connected(self)

    def _disconnected(self, reason: str) -> None:
        self._is_connected = False
        self.outbox.pause(reason)
        if self.events is not None and not self.leaving:
            self.events.backend_disconnected(self, reason)

    async def _leave(self, seconds: float) -> None:
        """Stop the backend's code; `seconds` is the rest of the grace period."""
        if self._serving:
            # What is being sent when the grace period ends would be sent again after the next start.
            sent = self._pool.run(lambda: lambda: None).addErrback(lambda _: None)
            with suppress(TimedOut):
                await result_within(self._reactor, max(seconds, self.HURRY), sent)
        self.leaving = True
        self._awake.set()
        if self._serving:
            # So that journal and storage are closed before the process is ended, half a second after the grace period.
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
        cancel_timers(self._retry)
        self._pool.stop()
        if self.legacy.is_open_storage():
            self.legacy.close_storage()

    def _accept(
        self, message: Message, body: str, details: str, wanted: Wanted = NOTHING_ELSE, file: bytes = b""
    ) -> Receipt:
        recipient = self.recipient_of(message, wanted)
        original = None if message.to is None else message
        return self.outbox.perform(
            recipient, body, wanted, file, details=details, priority=message.priority, original=original
        )

    def _react(self, method: str, message: Message, reaction: str) -> Receipt:
        function = self._own(method, "has no reactions", "doesn't know them")
        text = f"{method}: {reaction}"
        return self.outbox.put([partial(function, message, reaction)], recipient=str(message.to), text=text)

    # outbox.Transport

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[Part]:
        """Return calls that send the parts of a message. Of a stored one, the recipient is looked up in the thread."""
        # In the process that has accepted a message, its identifiers and extras stay the same objects.
        whole: Callable[[], Message] = cache(partial(self._restored, message)) if original is None else lambda: original
        if _messages.is_card(message):
            return [lambda: self.legacy.send_card(whole())]
        assert isinstance(operation, Post)
        texts = split_message(operation.text, self.message_size_limit)
        return [partial(self._send_part, whole, text) for text in texts]

    def transmit(self, parts: Sequence[Part], keys: Sequence[str]) -> Sequence[Deferred[Any]]:
        return [
            self._pool.run(partial(partial, _send, part)).addCallbacks(self._sent, self._not_sent) for part in parts
        ]

    def _sent(self, _: object) -> None:
        self._errors = 0

    def _not_sent(self, failure: Failure) -> Failure:
        error = failure.value
        # requests raises an OSError for the status of an HTTP response, too, and it has the response.
        if not isinstance(error, OSError) or getattr(error, "response", None) is not None:
            return failure
        delay = min(RETRY_AFTER * 2**self._errors, LONGEST_RETRY)
        self._errors += 1
        text = "{network}: a message could not be sent ({reason}); next try in {delay:.0f} s"
        reason = f"{type(error).__name__}: {error}"
        self.log.warn(text, network=self.network, reason=reason, delay=delay)
        self._retry = self._reactor.callLater(delay, self._try_again)
        return Failure(NotConfirmed(str(error)))

    def _try_again(self) -> None:
        if self._is_connected:
            self.outbox.resume()

    def _restored(self, message: OutgoingMessage) -> Message:
        try:
            return _messages.restored(message, self.build_identifier, self.bot_identifier)
        except OSError:
            raise
        except Exception:
            on_reactor_soon(self._reactor, self.dropped, 1, "its recipient isn't known any more")
            raise

    def _send_part(self, whole: Callable[[], Message], text: str) -> None:
        self.legacy.send_message(part_of(whole(), text))


def _send(part: Part) -> None:
    with assigned(sent_by_bot, True):
        part()


class NetworkThread:
    """A daemon thread that executes functions one at a time: those of `do`, then that of `begin`. The thread has its
    own asyncio event loop, like a main thread. The loop runs only if the backend runs it."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._busy = threading.Lock()
        self._interruptible = False
        self._thread.start()

    def do(self, function: Callable[[], T]) -> T:
        done: Future[T] = Future()

        def job() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self._jobs.put(job)
        return done.result()

    def begin(self, function: Callable[[], None], ended: Callable[[], None]) -> None:
        """Call the function in the thread, and then `ended`. Returns at once; `interrupt` stops the function."""

        def job() -> None:
            try:
                with self._busy:
                    self._interruptible = True
                function()
            except KeyboardInterrupt:
                pass
            finally:
                with self._busy:
                    self._interruptible = False
                ended()

        self._jobs.put(job)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the function of `begin`, when it next executes Python code or turns its asyncio loop."""
        with self._busy:
            if not self._interruptible:
                return
            if (loop := self._running_loop()) is not None:
                # An idle loop waits for its sockets and must be woken.
                loop.call_soon_threadsafe(signal.default_int_handler, signal.SIGINT, None)
            elif self._thread.ident is not None:
                interrupt = ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), interrupt)

    def end(self) -> None:
        self._jobs.put(None)

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        while frame is not None:
            owner = frame.f_locals.get("self") if frame.f_code.co_name == "run_forever" else None
            if isinstance(owner, asyncio.AbstractEventLoop):
                return owner
            frame = frame.f_back
        return None

    def _work(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        while (job := self._jobs.get()) is not None:
            job()
        if not loop.is_running():
            loop.close()


def network_plugs(config: Any, unreadable: list[str] | None = None) -> Iterator[PlugFile]:
    """Yield the `.plug` files of backends that are found. For those that can't be used, a line is added to `unreadable`."""
    roots = [Path(directory) for directory in config.directories("BOT_EXTRA_BACKEND_DIR")]
    return load_plug_files([*roots, *entry_point_roots(GROUPS)], unreadable)


def find_network(config: Any) -> PlugFile:
    """Return the `.plug` file with the Name in BACKEND; raises ConfigError, which lists the known backends."""
    wanted = config.BACKEND
    unreadable: list[str] = []
    plugs = {plug.name: plug for plug in reversed(list(network_plugs(config, unreadable)))}
    plug = plugs.get(wanted) or {name.lower(): plug for name, plug in plugs.items()}.get(wanted.lower())
    if plug is None:
        known = (*(network.name for network in known_networks()), *sorted(plugs))
        meant = _how_to_get(wanted) or did_you_mean(wanted, known) or "."
        broken = "".join(f" {problem}." for problem in unreadable)
        raise ConfigError(
            f"BACKEND: unknown backend {wanted!r}{meant}{broken} Available: {', '.join(known)}; others are found in "
            "installed packages and BOT_EXTRA_BACKEND_DIR"
        )
    if (refusal := plug.refusal()) is not None:
        raise ConfigError(f"BACKEND: {wanted!r} can't be used ({refusal})")
    if not config.BOT_ADMINS:
        raise ConfigError('BOT_ADMINS is missing; expected a tuple of names, such as ("@alice",)')
    return plug


def _how_to_get(wanted: str) -> str:
    if (name := {name.lower(): name for name in PACKAGES}.get(wanted.lower())) is None:
        return ""
    then = f", and set BACKEND = {name!r}" if name.lower() != wanted.lower() else ""
    return f"; install the package {PACKAGES[name]} into errklein's virtualenv{then}."


def make_network(reactor: Any, config: Any) -> ThreadedNetwork:
    """Create the network that BACKEND names. Raises ConfigError if its module or class doesn't work."""
    plug = find_network(config)

    def make(config: Any) -> ErrBot:
        cls, _ = plugin_class(load_module(plug), ErrBot, plug.name)
        made = cls(config)
        if made.mode is None:
            raise TypeError(f'the mode of {cls.__name__} is None; expected a word such as "irc"')
        return made

    try:
        return ThreadedNetwork(reactor, config, make)
    except PluginLoadError as error:
        raise ConfigError(f"BACKEND: {error}") from error
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or "without a message"
        raise ConfigError(f"BACKEND: {plug.name!r} failed to start ({type(error).__name__}: {reason})") from error
