"""`ErrBot`: the base class of errbot's backends, through which they use the bot."""

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
_COUNTED_ATTEMPTS = 20
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


for_a_bot = partial(assigned, bot_expected, True)
"""A context in which new backends get a bot after their `__init__`, and raise errors if they use it earlier."""


class ErrBot(BackendBase, StoreMixin):
    """The base class of third-party backends. A subclass implements the methods of `BackendBase`.

    Its code may block, since it runs in its own thread. This backend reads messages from a file and prints the
    replies::

        class Somebody(Person):
            def __init__(self, name):
                self.name = name

            person = client = nick = aclattr = fullname = property(lambda self: self.name)

            def __str__(self):
                return self.name


        class FileBackend(ErrBot):
            mode = "file"

            def __init__(self, config):
                super().__init__(config)
                self.bot_identifier = Somebody("bot")

            def serve_once(self):
                self.connect_callback()
                with open(self.bot_config.BOT_IDENTITY["path"]) as lines:
                    for line in lines:
                        message = self.build_message(line.strip())
                        message.frm, message.to = Somebody("alice"), self.bot_identifier
                        self.callback_message(message)
                self.disconnect_callback()
                return True

            def send_message(self, msg):
                super().send_message(msg)
                print(f"to {msg.to}: {msg.body}")

            def build_identifier(self, text_representation):
                return Somebody(text_representation)

            def build_reply(self, msg, text=None, private=False, threaded=False):
                reply = self.build_message(text)
                reply.frm, reply.to = self.bot_identifier, msg.frm
                return reply

    A backend is also a mapping of values that survive restarts. Attributes that it lacks, such as `commands`, are
    looked up on the bot.

    All methods may be called in any thread, once the bot is attached, which happens after `__init__`. A backend that a
    test creates without a bot sends messages by itself; see `Alone`.

    :param bot_config: The configuration of the network.
    """

    _network: Alone | ThreadedNetwork | None = None
    _gets_a_bot = False
    _attempts = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Record whether the backend will get a bot, before `__init__` runs."""
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
        self._wanted_limit: int | None = getattr(bot_config, "MESSAGE_SIZE_LIMIT", None)
        self.set_message_size_limit()

    def __getattr__(self, name: str) -> Any:
        # A property of the class that raises AttributeError ends up here, too. `getattr` on the bot would recurse,
        # since the bot looks up unknown attributes here.
        own = name in _OWN or name.startswith("__") or hasattr(type(self), name)
        if own or (self._network is None and self._gets_a_bot):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)
        return self._here.lookup(name)

    # Methods that a backend may override

    def set_message_size_limit(self, limit: int = MESSAGE_SIZE_LIMIT, hard_limit: int = MESSAGE_SIZE_LIMIT) -> None:
        """Set the length at which messages are split, in characters. MESSAGE_SIZE_LIMIT takes precedence.

        :param limit: The backend's default.
        :param hard_limit: The network's maximum. A larger MESSAGE_SIZE_LIMIT is logged as a warning.
        """
        wanted = self._wanted_limit
        if wanted and wanted > hard_limit:
            log.warning("MESSAGE_SIZE_LIMIT is %d, but the network accepts at most %d", wanted, hard_limit)
        self.message_size_limit = wanted or limit
        if not wanted:
            self.bot_config.MESSAGE_SIZE_LIMIT = limit

    def attach_storage_plugin(self, storage_plugin: Any) -> None:
        """Set the bot's storage, which contains the values of the mapping."""
        self.storage_plugin = storage_plugin

    def initialize_backend_storage(self) -> None:
        """Open the mapping of stored values."""
        if not self.is_open_storage():
            self.open_storage(self.storage_plugin, f"{self.mode}_backend")

    def attach_plugin_manager(self, plugin_manager: Any) -> None:
        """Set the bot's plugin manager."""
        self.plugin_manager = plugin_manager

    def attach_repo_manager(self, repo_manager: Any) -> None:
        """Set the bot's repository manager."""
        self.repo_manager = repo_manager

    def serve_forever(self) -> None:
        """Call `serve_once` until it returns True. After an error or another value, wait and call it again."""
        try:
            while not self._here.leaving and not self._serve_and_survive():
                self._delay_reconnect()
        finally:
            self._here.shut_down()

    def shutdown(self) -> None:
        """Release the thread pool and the storage."""
        if "thread_pool" in vars(self):
            self.thread_pool.close()
        if self.is_open_storage():
            self.close_storage()

    def send_message(self, msg: Message) -> None:
        """Call `callback_botmessage` of the plugins.

        A backend overrides this to send the message, and calls it with `super()`.
        """
        self._here.message_sent(msg)

    def send_card(self, card: Any) -> None:
        """Send the card as text. A backend overrides this if its network displays cards."""
        self._here.send_card_as_text(card)

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Prepare the body for a prefix. A backend overrides this to add the name, and calls it with `super()` first.

        A body that begins with a Markdown heading gets a line break before it, so that it stays a heading.
        """
        if message.body.startswith("#"):
            message.body = f"\n{message.body}"

    def unknown_command(self, msg: Message | None, cmd: str | None, args: str | None) -> str:
        """Return the reply to an unknown command, with suggestions. A backend may override this.

        :param msg: The message with the command.
        :param cmd: The first word of the command.
        :param args: The rest of the text.
        """
        return self._here.unknown_command(msg, f"{cmd or ''} {args or ''}")

    def build_message(self, text: str) -> Message:
        """Return a message with that text, without sender and recipient."""
        return Message(text)

    def is_from_self(self, msg: Message) -> bool:
        """Return whether the bot itself sent the message."""
        sender, bot = msg.frm, self.bot_identifier
        return isinstance(sender, Person) and bot is not None and sender.person == bot.person

    # Methods that a backend calls to report events

    def connect_callback(self) -> None:
        """Report that the network is connected."""
        self._here.connected()

    def disconnect_callback(self) -> None:
        """Report that the connection is lost."""
        self._here.disconnected()

    def reset_reconnection_count(self) -> None:
        """Reset the delay before the next reconnection to its minimum, after a connection that worked."""
        self._attempts = 0

    def callback_message(self, msg: Message) -> None:
        """Report a message: its command, if it has one, is run, and plugins get `callback_message`."""
        if self.process_message(msg):
            self._dispatch_to_plugins("callback_message", msg)

    def process_message(self, msg: Message) -> bool:
        """Run the command in the message, if there is one, without callbacks.

        :returns: False if the message is delayed or from the bot itself, else True.
        """
        if msg.delayed or self.is_from_self(msg):
            return False
        self._here.run_command(msg)
        return True

    def callback_mention(self, msg: Message, people: Sequence[Identifier]) -> None:
        """Report that people are mentioned in the message.

        :param people: The identifiers of the mentioned people; it may contain the bot's own.
        """
        self._here.report_event("callback_mention", msg, people)

    def callback_presence(self, pres: Presence) -> None:
        """Report a change of somebody's presence."""
        self._here.report_event("callback_presence", pres)

    def callback_reaction(self, reaction: Any) -> None:
        """Report a reaction to a message."""
        self._here.report_event("callback_reaction", reaction)

    def callback_stream(self, stream: Any) -> None:
        """Report a file that somebody offers."""
        self._here.report_event("callback_stream", stream)

    def callback_room_joined(self, room: Room, identifier: Any = None, invited_by: Any = None) -> None:
        """Report that somebody has joined the room.

        :param identifier: The person; by default the bot itself.
        :param invited_by: The person who has invited them, if known.
        """
        self._here.report_event("callback_room_joined", room, identifier or self.bot_identifier, invited_by)

    def callback_room_left(self, room: Room, identifier: Any = None, kicked_by: Any = None) -> None:
        """Report that somebody has left the room.

        :param identifier: The person; by default the bot itself.
        :param kicked_by: The person who has removed them, if somebody has.
        """
        self._here.report_event("callback_room_left", room, identifier or self.bot_identifier, kicked_by)

    def callback_room_topic(self, room: Room) -> None:
        """Report a new topic of the room."""
        self._here.report_event("callback_room_topic", room)

    # Methods of the bot that a backend may call

    @cached_property
    def thread_pool(self) -> ThreadPool:
        """A pool of BOT_ASYNC_POOLSIZE threads for the backend."""
        return ThreadPool(self.bot_config.BOT_ASYNC_POOLSIZE)

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
    ) -> Any:
        """Send Markdown text to a person or room of this network.

        :param identifier: The recipient.
        :param text: The Markdown, which is split if it is too long.
        :param in_reply_to: The message that this one replies to.
        :param groupchat_nick_reply: Whether to put the name of its sender before the text in a room.
        :raises ValueError: if `identifier` is not an Identifier.
        """
        return self._here.send(identifier, text, in_reply_to, groupchat_nick_reply)

    def send_simple_reply(self, msg: Message, text: str, private: bool = False, threaded: bool = False) -> Any:
        """Reply to a message of this network.

        :param msg: The message to reply to.
        :param text: The Markdown, which is split if it is too long.
        :param private: Whether to reply to the sender instead of the room.
        :param threaded: Whether to reply in a thread.
        """
        return self._here.reply(msg, text, private, threaded)

    def split_and_send_message(self, msg: Message) -> None:
        """Send the message at once, in as many parts as necessary."""
        for text in split_message(msg.body, self.message_size_limit):
            self.send_message(part_of(msg, text))

    def warn_admins(self, warning: str) -> None:
        """Send the text to the administrators of all networks."""
        self._here.warn_admins(warning)

    def inject_commands_from(self, instance_to_inject: Any) -> None:
        """Register the plugin's commands."""
        self._here.inject_commands_from(instance_to_inject)

    def remove_commands_from(self, instance_to_inject: Any) -> None:
        """Unregister the plugin's commands."""
        self._here.remove_commands_from(instance_to_inject)

    # Internals

    @property
    def _here(self) -> Alone | ThreadedNetwork:
        if self._network is None:
            if self._gets_a_bot:
                raise RuntimeError(f"{type(self).__name__} can't use the bot before its __init__ has returned")
            self._network = Alone(self)
        return self._network

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
        """Wait before the next attempt.

        The delay grows with each attempt, plus a random time so that bots don't reconnect all at once.
        """
        # After a week of attempts the power would be too large for a float.
        attempts = min(self._attempts, _COUNTED_ATTEMPTS)
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * _LONGER_BY**attempts) + random.uniform(0, _JITTER)  # noqa: S311
        self._attempts += 1
        self._here.pause(delay)


def part_of(message: Message, text: str) -> Message:
    """Return a copy of the message with a part of its text. It is a copy since a backend may change what it sends."""
    part = message.clone()
    part.body = text
    part.partial = True
    return part
