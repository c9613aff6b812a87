"""`ErrBot`: what errbot's networks inherit from, and through which they reach the bot."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any, Self, cast

from errklein.chat import Identifier, Message, Person, Presence, Room
from errklein.compat.backends._alone import Alone
from errklein.compat.backends.base import BackendBase
from errklein.plugins.store_mixin import StoreMixin
from errklein.running.context import assigned, bot_expected
from errklein.text import split_message

if TYPE_CHECKING:
    from errklein.compat.backends.network import ThreadedNetwork

MESSAGE_SIZE_LIMIT = 10_000

_FIRST_DELAY = 1.0
_LONGER_BY = 1.75
_LONGEST_DELAY = 600.0
_TELLING_ATTEMPTS = 20
_JITTER = 3.0

# What the bot does by asking the network for it, so that the network can't have it from the bot.
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
"""The method of `ports.BackendEvents` for each of errbot's methods that only reports an event."""

log = logging.getLogger("errbot.core")


for_a_bot = partial(assigned, bot_expected, True)
"""A context in which new networks are going to get a bot, and raise errors until they have it."""


class ErrBot(BackendBase, StoreMixin):
    """A network whose code blocks, in a thread of its own. Subclass it, and say what `BackendBase` asks for.

    It is a mapping too, whose values survive restarts. What it hasn't itself it has from the bot, such as `commands`.
    All of it may be used in any thread once the bot is there, which is after `__init__`. A network that a test creates without
    a bot sends by itself; see `Alone`.
    """

    _network: Alone | ThreadedNetwork | None = None
    _gets_a_bot = False
    _attempts = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note whether the network is going to get a bot, before any `__init__` runs."""
        made = super().__new__(cls)
        made._gets_a_bot = bot_expected.get()
        return made

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
        # What plugins find there later is what this network takes.
        self._wanted_limit: int | None = getattr(bot_config, "MESSAGE_SIZE_LIMIT", None)
        self.set_message_size_limit()

    def __getattr__(self, name: str) -> Any:
        # What the class has comes here when it raises AttributeError itself. And not `getattr`, since the bot, for its
        # part, looks here for what it doesn't have.
        own = name in _OWN or name.startswith("__") or hasattr(type(self), name)
        if own or (self._network is None and self._gets_a_bot):
            raise AttributeError(f"{type(self).__name__} has no {name}", name=name, obj=self)
        return self._here.lookup(name)

    # What a backend may override

    def set_message_size_limit(self, limit: int = MESSAGE_SIZE_LIMIT, hard_limit: int = MESSAGE_SIZE_LIMIT) -> None:
        """Cut messages after `limit` characters, or where MESSAGE_SIZE_LIMIT says; `hard_limit` is the network's."""
        wanted = self._wanted_limit
        if wanted and wanted > hard_limit:
            log.warning("MESSAGE_SIZE_LIMIT is %d, but the network takes no more than %d", wanted, hard_limit)
        self.message_size_limit = wanted or limit

    def attach_storage_plugin(self, storage_plugin: Any) -> None:
        """Have the bot's storage, of which the mapping is a part."""
        self.storage_plugin = storage_plugin

    def initialize_backend_storage(self) -> None:
        """Open the mapping."""
        if not self.is_open_storage():
            self.open_storage(self.storage_plugin, f"{self.mode}_backend")

    def attach_plugin_manager(self, plugin_manager: Any) -> None:
        """Know the plugins."""
        self.plugin_manager = plugin_manager

    def attach_repo_manager(self, repo_manager: Any) -> None:
        """Know the repositories."""
        self.repo_manager = repo_manager

    def serve_forever(self) -> None:
        """Serve, and connect again whenever `serve_once` raises or returns nothing true, until it returns True."""
        try:
            while not self._here.leaving and not self._serve_and_survive():
                self._delay_reconnect()
        finally:
            self._here.shut_down()

    def shutdown(self) -> None:
        """Let go of everything."""
        if "thread_pool" in vars(self):
            self.thread_pool.close()
        if self.is_open_storage():
            self.close_storage()

    def send_message(self, msg: Message) -> None:
        """Overridden to send the message, and called from there: plugins get callback_botmessage."""
        self._here.said(msg)

    def send_card(self, card: Any) -> None:
        """Overridden to show the card as the network does; else it is sent as text."""
        self._here.send_card_as_text(card)

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Overridden to put a name in front, and called from there: a heading must stay one."""
        if message.body.startswith("#"):
            message.body = f"\n{message.body}"

    def unknown_command(self, msg: Message | None, cmd: str | None, args: str | None) -> str:
        """Overridden to say something else to somebody whose command there isn't."""
        return self._here.unknown_command(msg, f"{cmd or ''} {args or ''}")

    def build_message(self, text: str) -> Message:
        """A message with that text, from and to nobody yet."""
        return Message(text)

    def is_from_self(self, msg: Message) -> bool:
        """Whether the bot itself said it."""
        sender, bot = msg.frm, self.bot_identifier
        return isinstance(sender, Person) and bot is not None and sender.person == bot.person

    # What a backend calls when something happens

    def connect_callback(self) -> None:
        """The network can be used now."""
        self._here.connected()

    def disconnect_callback(self) -> None:
        """The connection is gone."""
        self._here.disconnected()

    def reset_reconnection_count(self) -> None:
        """The connection is good: if it breaks, the first wait is short again."""
        self._attempts = 0

    def callback_message(self, msg: Message) -> None:
        """Somebody said something: it may be a command, and plugins get it."""
        if self.process_message(msg):
            self._dispatch_to_plugins("callback_message", msg)

    def process_message(self, msg: Message) -> bool:
        """Run the command in the message, if it is one. False if it was the bot that said it, or said long ago."""
        if msg.delayed or self.is_from_self(msg):
            return False
        self._here.heard(msg)
        return True

    def callback_mention(self, msg: Message, people: Sequence[Identifier]) -> None:
        """`people` are spoken of in the message."""
        self._here.tell("callback_mention", msg, people)

    def callback_presence(self, pres: Presence) -> None:
        """Somebody came, went, or changed status."""
        self._here.tell("callback_presence", pres)

    def callback_reaction(self, reaction: Any) -> None:
        """Somebody reacted to a message."""
        self._here.tell("callback_reaction", reaction)

    def callback_stream(self, stream: Any) -> None:
        """Somebody wants to send a file."""
        self._here.tell("callback_stream", stream)

    def callback_room_joined(self, room: Room, identifier: Any = None, invited_by: Any = None) -> None:
        """Somebody, the bot if nobody else, is in the room now."""
        self._here.tell("callback_room_joined", room, identifier or self.bot_identifier, invited_by)

    def callback_room_left(self, room: Room, identifier: Any = None, kicked_by: Any = None) -> None:
        """Somebody, the bot if nobody else, has left the room."""
        self._here.tell("callback_room_left", room, identifier or self.bot_identifier, kicked_by)

    def callback_room_topic(self, room: Room) -> None:
        """The room has another topic."""
        self._here.tell("callback_room_topic", room)

    # What a backend may ask of the bot

    @cached_property
    def thread_pool(self) -> ThreadPool:
        """Threads for what takes time."""
        return ThreadPool(self.bot_config.BOT_ASYNC_POOLSIZE)

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
    ) -> Any:
        """Send Markdown text to somebody on this network."""
        return self._here.send(identifier, text, in_reply_to, groupchat_nick_reply)

    def send_simple_reply(self, msg: Message, text: str, private: bool = False, threaded: bool = False) -> Any:
        """Answer a message of this network."""
        return self._here.reply(msg, text, private, threaded)

    def split_and_send_message(self, msg: Message) -> None:
        """Send the message now, in as many parts as it takes."""
        for part in parts_of(msg, self.message_size_limit):
            self.send_message(part)

    def warn_admins(self, warning: str) -> None:
        """Tell the administrators of all networks."""
        self._here.warn_admins(warning)

    def inject_commands_from(self, instance_to_inject: Any) -> None:
        """Let the plugin's commands be given."""
        self._here.inject_commands_from(instance_to_inject)

    def remove_commands_from(self, instance_to_inject: Any) -> None:
        """The plugin's commands can't be given any more."""
        self._here.remove_commands_from(instance_to_inject)

    # Inside

    @property
    def _here(self) -> Alone | ThreadedNetwork:
        if self._network is None:
            if self._gets_a_bot:
                raise RuntimeError(f"{type(self).__name__} has no bot before the end of its __init__")
            self._network = Alone(self)
        return self._network

    def _dispatch_to_plugins(self, method: str | Callable[..., Any], *args: Any) -> None:
        self._here.tell_plugins(method if isinstance(method, str) else method.__name__, *args)

    def _serve_and_survive(self) -> bool:
        try:
            return bool(cast(Any, self).serve_once())
        except KeyboardInterrupt:
            return True
        except Exception:
            self._here.failed()
            return False

    def _delay_reconnect(self) -> None:
        """Wait, longer from time to time, with some chance so that not all bots come back at once."""
        # No more than tells: after a week the power would be too large for a float.
        attempts = min(self._attempts, _TELLING_ATTEMPTS)
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * _LONGER_BY**attempts) + random.uniform(0, _JITTER)  # noqa: S311
        self._attempts += 1
        self._here.pause(delay)


def parts_of(message: Message, limit: int) -> list[Message]:
    """The message in parts of at most `limit` characters, each a copy: a network may change what it sends."""
    parts = []
    for text in split_message(message.body, limit):
        part = message.clone()
        part.body = text
        part.partial = True
        parts.append(part)
    return parts
