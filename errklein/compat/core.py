"""`ErrBot`, the base class of backends written for errbot, and what it uses of the bot: the content of `errbot.core`."""

from __future__ import annotations

import logging
import random
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from multiprocessing.pool import ThreadPool
from typing import Any, Protocol, cast, runtime_checkable

from errklein.chat import ONLINE, Identifier, Message, Person, Presence, Room, RoomOccupant
from errklein.plugins.store_mixin import StoreMixin
from errklein.text import split_message

MESSAGE_SIZE_LIMIT = 10_000

_FIRST_DELAY = 1.0
_LONGER_BY = 1.75
_LONGEST_DELAY = 600.0
_JITTER = 3.0

# The bot delegates these methods to the network, so the network must not delegate them to the bot.
_OWN = frozenset({"add_reaction", "remove_reaction", "send_stream_request"})

EVENTS: Mapping[str, str] = {
    "callback_mention": "mention_received",
    "callback_presence": "presence_changed",
    "callback_reaction": "reaction_changed",
    "callback_room_joined": "room_joined",
    "callback_room_left": "room_left",
    "callback_room_topic": "room_topic_changed",
    "callback_stream": "stream_offered",
}
"""The method of `ports.chat.BackendEvents` for each callback that only reports an event."""

log = logging.getLogger("errbot.core")


@runtime_checkable
class RunsErrBot(Protocol):
    """Implemented by the network that runs a backend written for errbot."""

    legacy: ErrBot  # the backend, which plugins reach through the bot

    def attach(self, bot: Any) -> None:
        """Give the network its bot, before plugins are loaded."""


class BackendBase(ABC):
    """What a subclass of `ErrBot`, a third-party backend, implements. What it lacks raises NotImplementedError when called."""

    cmd_history: Any
    MSG_ERROR_OCCURRED = "Computer says nooo. See logs for details"

    @property
    def mode(self) -> str:
        """The kind of network, as one lower-case word such as "irc"."""
        raise self._left_out("mode")

    def connect(self) -> Any:
        """Connect if necessary and return the connection object. Optional."""
        raise self._left_out("connect()")

    def serve_once(self) -> Any:
        """Connect, and serve until the connection ends; `serve_forever` connects again unless this returns True."""
        raise self._left_out("serve_once()")

    def build_identifier(self, text_representation: str) -> Identifier:
        """Return the person, occupant or room with that name. Raises ValueError."""
        raise self._left_out("build_identifier()")

    def build_reply(
        self, msg: Message, text: str | None = None, private: bool = False, threaded: bool = False
    ) -> Message:
        raise self._left_out("build_reply()")

    def change_presence(self, status: str = ONLINE, message: str = "") -> None:
        raise self._left_out("change_presence()")

    def query_room(self, room: str) -> Room:
        """Return the room with that name, whether the bot is in it or not. Raises RoomDoesNotExistError."""
        raise self._left_out("query_room()")

    @property
    def rooms(self) -> Any:
        """The rooms that the bot is in. Many backends implement it as a method."""
        raise self._left_out("rooms")

    def _left_out(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} doesn't implement {what}")


class ErrBot(BackendBase, StoreMixin):
    """The base class of third-party backends; docs/reference/errbot.md has an example. Its code may block, since it runs in its
    own thread. It is also a mapping of values that survive restarts. The bot has the attributes that it lacks. All methods may
    be called in any thread, once the bot is attached, after `__init__`. Without a bot, as in tests, it sends by itself; see
    `Alone`."""

    _network: Any = None  # has the methods that the bot provides
    _next_delay = _FIRST_DELAY

    def __init__(self, bot_config: Any) -> None:
        super().__init__()
        self.bot_config = bot_config
        self.bot_identifier: Any = None
        self.prefix: str = bot_config.BOT_PREFIX
        self.bot_alt_prefixes = tuple(bot_config.BOT_ALT_PREFIXES)
        self.plugin_manager: Any = None
        self.repo_manager: Any = None
        self.storage_plugin: Any = None
        self.message_size_limit = MESSAGE_SIZE_LIMIT
        self._wanted_limit: int | None = getattr(bot_config, "MESSAGE_SIZE_LIMIT", None)
        self.set_message_size_limit()

    def __getattr__(self, name: str) -> Any:
        # A property of the class that raises AttributeError ends up here, too. `getattr` on the bot would recurse,
        # since the bot looks up unknown attributes here.
        if name in _OWN or name.startswith("__") or hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)
        return self._here.lookup(name)

    # Methods that a backend may override

    def set_message_size_limit(self, limit: int = MESSAGE_SIZE_LIMIT, hard_limit: int = MESSAGE_SIZE_LIMIT) -> None:
        """Set the length at which messages are split, in characters. MESSAGE_SIZE_LIMIT takes precedence."""
        wanted = self._wanted_limit
        if wanted and wanted > hard_limit:
            log.warning("MESSAGE_SIZE_LIMIT is %d, but the network accepts at most %d", wanted, hard_limit)
        self.message_size_limit = wanted or limit
        if not wanted:
            self.bot_config.MESSAGE_SIZE_LIMIT = limit

    def attach_storage_plugin(self, storage_plugin: Any) -> None:
        self.storage_plugin = storage_plugin

    def initialize_backend_storage(self) -> None:
        if not self.is_open_storage():
            self.open_storage(self.storage_plugin, f"{self.mode}_backend")

    def attach_plugin_manager(self, plugin_manager: Any) -> None:
        self.plugin_manager = plugin_manager

    def attach_repo_manager(self, repo_manager: Any) -> None:
        self.repo_manager = repo_manager

    def serve_forever(self) -> None:
        """Call `serve_once` until it returns True. After an error or another value, wait and call it again."""
        try:
            while not self._here.leaving and not self._serve_and_survive():
                self._delay_reconnect()
        finally:
            self._here.shut_down()

    def shutdown(self) -> None:
        if "thread_pool" in vars(self):
            self.thread_pool.close()
        if self.is_open_storage():
            self.close_storage()

    def send_message(self, msg: Message) -> None:
        """Call `callback_botmessage` of the plugins. An override sends the message, and calls this method."""
        self._here.message_sent(msg)

    def send_card(self, card: Any) -> None:
        """Send the card as text. A backend overrides this if its network displays cards."""
        self._here.send_card_as_text(card)

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Let a heading in the body stay one: it gets a line break before it. A backend adds the name after `super()`."""
        if message.body.startswith("#"):
            message.body = f"\n{message.body}"

    def unknown_command(self, msg: Message | None, cmd: str | None, args: str | None) -> str:
        """Return the reply to an unknown command, with suggestions. A backend may override this."""
        return str(self._here.unknown_command(msg, f"{cmd or ''} {args or ''}"))

    def build_message(self, text: str) -> Message:
        return Message(text)

    def is_from_self(self, msg: Message) -> bool:
        sender, bot = msg.frm, self.bot_identifier
        return isinstance(sender, Person) and bot is not None and sender.person == bot.person

    # Methods that a backend calls to report events

    def connect_callback(self) -> None:
        self._here.connected()

    def disconnect_callback(self) -> None:
        self._here.disconnected()

    def reset_reconnection_count(self) -> None:
        """Reset the delay before the next reconnection to its minimum, after a connection that worked."""
        self._next_delay = _FIRST_DELAY

    def callback_message(self, msg: Message) -> None:
        """Report a message: its command, if it has one, is run, and plugins get `callback_message`."""
        if self.process_message(msg):
            self._dispatch_to_plugins("callback_message", msg)

    def process_message(self, msg: Message) -> bool:
        """Run the command in the message, without callbacks. Return False if it is delayed or from the bot itself."""
        if msg.delayed or self.is_from_self(msg):
            return False
        self._here.run_command(msg)
        return True

    def callback_mention(self, msg: Message, people: Sequence[Identifier]) -> None:
        self._here.report_event("callback_mention", msg, people)

    def callback_presence(self, pres: Presence) -> None:
        self._here.report_event("callback_presence", pres)

    def callback_reaction(self, reaction: Any) -> None:
        self._here.report_event("callback_reaction", reaction)

    def callback_stream(self, stream: Any) -> None:
        self._here.report_event("callback_stream", stream)

    def callback_room_joined(self, room: Room, identifier: Any = None, invited_by: Any = None) -> None:
        self._here.report_event("callback_room_joined", room, identifier or self.bot_identifier, invited_by)

    def callback_room_left(self, room: Room, identifier: Any = None, kicked_by: Any = None) -> None:
        self._here.report_event("callback_room_left", room, identifier or self.bot_identifier, kicked_by)

    def callback_room_topic(self, room: Room) -> None:
        self._here.report_event("callback_room_topic", room)

    # Methods of the bot that a backend may call

    @cached_property
    def thread_pool(self) -> ThreadPool:
        return ThreadPool(self.bot_config.BOT_ASYNC_POOLSIZE)

    def send(
        self, identifier: Identifier, text: str, in_reply_to: Message | None = None, groupchat_nick_reply: bool = False
    ) -> Any:
        """Send Markdown text to a person or room of this network. Raises ValueError."""
        return self._here.send(identifier, text, in_reply_to, groupchat_nick_reply)

    def send_simple_reply(self, msg: Message, text: str, private: bool = False, threaded: bool = False) -> Any:
        return self._here.reply(msg, text, private, threaded)

    def split_and_send_message(self, msg: Message) -> None:
        for text in split_message(msg.body, self.message_size_limit):
            self.send_message(part_of(msg, text))

    def warn_admins(self, warning: str) -> None:
        self._here.warn_admins(warning)

    def inject_commands_from(self, instance_to_inject: Any) -> None:
        self._here.lookup("inject_commands_from")(instance_to_inject)

    def remove_commands_from(self, instance_to_inject: Any) -> None:
        self._here.lookup("remove_commands_from")(instance_to_inject)

    def _attach_network(self, network: Any) -> None:
        # After `__init__`, which belongs to the backend's author.
        self._network = network

    @property
    def _here(self) -> Any:
        return Alone(self) if self._network is None else self._network

    def _dispatch_to_plugins(self, method: str | Callable[..., Any], *args: Any) -> None:
        self._here.call_plugins(method if isinstance(method, str) else method.__name__, *args)

    def _serve_and_survive(self) -> bool:
        try:
            return bool(cast(Any, self).serve_once())
        except KeyboardInterrupt:
            return True
        except Exception:
            self._here.failed()
            return False

    def _delay_reconnect(self) -> None:
        # With a random time, so that bots don't reconnect all at once.
        self._here.pause(self._next_delay + random.uniform(0, _JITTER))  # noqa: S311
        self._next_delay = min(_LONGEST_DELAY, self._next_delay * _LONGER_BY)


def part_of(message: Message, text: str) -> Message:
    """Return a copy of the message with a part of its text. It is a copy since a backend may change what it sends."""
    part = message.clone()
    part.body = text
    part.partial = True
    return part


class Alone:
    """The network of a backend without a bot: in its `__init__`, or in a test. Messages are passed to the backend's own
    `send_message`, events are ignored, since there are no plugins, and all else that a bot does raises RuntimeError."""

    leaving = False

    def __init__(self, backend: ErrBot) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self._needs_a_bot(name))

    def report_event(self, callback: str, *details: Any) -> None:
        """Report the event to the backend itself, which a test may replace."""
        self._backend._dispatch_to_plugins(callback, *details)

    def run_command(self, *_: Any) -> None:
        """Do nothing: there are neither commands nor plugins."""

    message_sent = call_plugins = run_command

    def connected(self) -> None:
        """Do nothing in a test that has attached a plugin manager, which may be a mock."""
        if self._backend.plugin_manager is None:
            raise RuntimeError(self._needs_a_bot("plugin_manager"))

    disconnected = connected

    def shut_down(self) -> None:
        self._backend.shutdown()

    def send(self, identifier: Identifier, text: str, in_reply_to: Message | None, groupchat_nick_reply: bool) -> None:
        """Send a message, in several parts if it is too long. Raises ValueError if `identifier` is not an Identifier."""
        if not isinstance(identifier, Identifier):
            raise ValueError(f"send() needs an Identifier, not {type(identifier).__name__}")
        message = self._backend.build_message(text)
        message.frm, message.to, message.parent = self._backend.bot_identifier, identifier, in_reply_to
        if groupchat_nick_reply and in_reply_to is not None and isinstance(in_reply_to.frm, RoomOccupant):
            self._backend.prefix_groupchat_reply(message, in_reply_to.frm)
        self._backend.split_and_send_message(message)

    def reply(self, message: Message, text: str, private: bool, threaded: bool) -> None:
        built = self._backend.build_reply(message, text, private=private, threaded=threaded)
        self._backend.split_and_send_message(built)

    def lookup(self, name: str) -> Any:
        raise AttributeError(self._needs_a_bot(name), name=name, obj=self._backend)

    def _needs_a_bot(self, name: str) -> str:
        needed = f"{type(self._backend).__name__} can't provide {name} in its __init__, or without a bot"
        return f"{needed}; test it with the fixture testbot of errbot.backends.test"
