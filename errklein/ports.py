"""The seams of errklein: what the floors ask of each other, as Protocols.

Adapters (`backends/`, `storage/`, `web/`) implement or call these, and never each other. Unless a docstring says
otherwise, everything is called on the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, BinaryIO, Protocol, runtime_checkable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from errklein.chat import Card, Identifier, Message, NameRules, Presence, Reaction, Room, Stream
from errklein.webhooks import Hook


class OutboxFull(Exception):
    """A backend's outbox is full: messages come faster than the network accepts them."""


class OutboxClosed(Exception):
    """A message was sent after `Backend.disconnect`."""


class Backend(Protocol):
    """A connection to one chat network."""

    network: str
    """The name that the configuration gives it."""

    joins_configured_rooms: bool
    """Whether the backend joins the rooms of CHATROOM_PRESENCE itself. Otherwise the core plugin ChatRoom does."""

    @property
    def mode(self) -> str:
        """The kind of network, in lower case: "irc", "text", "test", "null"."""

    @property
    def message_size_limit(self) -> int:
        """How much of a message fits into one part, in the network's own unit."""

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot itself; None until the network has told."""

    def connect(self, events: BackendEvents) -> None:
        """Begin to connect, and go on reconnecting until `disconnect`; what happens is told to `events`."""

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue for up to `grace` seconds, then disconnect.

        Fires when the connection is closed and nothing of the backend runs any more. The log names each message that was not
        sent.
        """

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Accept `message` into the outbox, from any thread.

        On the reactor this never waits: it returns an awaitable, which may be ignored, that finishes when the network
        has the message, and raises OutboxFull at once if there is no room. In another thread it waits for room, at most
        5 s, then raises OutboxFull; it returns None. Raises OutboxClosed after `disconnect`.
        """

    def build_identifier(self, text: str) -> Identifier:
        """The person, occupant or room that `text` names on this network; raises ValueError for nonsense."""

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """An answer to `message`, addressed to where it came from or, if `private`, to its sender."""

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Address the body of `message`, which goes to a room, to `identifier`."""

    def is_from_self(self, message: Message) -> bool:
        """Whether the bot itself said it."""

    def rooms(self) -> Sequence[Room]:
        """The rooms that the bot is in."""

    def query_room(self, name: str) -> Room:
        """The room of that name; raises RoomDoesNotExistError where the network knows better."""

    def change_presence(self, status: str, message: str) -> None:
        """Show others that the bot is `status`, with a word about it."""


@runtime_checkable
class SendsCards(Protocol):
    """What a backend has besides if its network knows cards; on the others a card is sent as text."""

    def send_card(self, card: Card) -> Awaitable[None] | None:
        """Accept `card` into the outbox, as `send_message` does with messages."""


@runtime_checkable
class HasNameRules(Protocol):
    """Implemented by backends whose network has rules of its own for comparing names. Other networks compare exactly."""

    @property
    def name_rules(self) -> NameRules:
        """The rules that the server has announced last."""


@runtime_checkable
class KnowsHolders(Protocol):
    """Implemented by backends of networks where names change hands, such as nicks on IRC."""

    def current_holder(self, person: Identifier) -> Identifier | None:
        """The current holder of the person's name, with all attributes that access rules use; None if it isn't known."""


@runtime_checkable
class Reacts(Protocol):
    """What a backend has besides if its network knows reactions."""

    def add_reaction(self, message: Message, reaction: str) -> None:
        """Put the reaction of that name on a message, from any thread."""

    def remove_reaction(self, message: Message, reaction: str) -> None:
        """Take it away again, from any thread."""


@runtime_checkable
class SendsStreams(Protocol):
    """What a backend has besides if its network can carry files."""

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None:
        """Offer somebody what the file holds, from any thread; how that goes is seen at the stream."""


@runtime_checkable
class CallsInOrder(Protocol):
    """Implemented by backends whose methods may block, so that the bot calls them in the thread that sends."""

    def call_in_order(
        self, function: Callable[..., Any], *args: Any, recipient: str = "", text: str = ""
    ) -> Awaitable[None] | None:
        """Call the function in a thread after everything that is queued before it. Returns as `send_message` does.

        `recipient` and `text` name the message in the log if the function is never called.
        """


@runtime_checkable
class HasOwnReplies(Protocol):
    """Implemented by backends that replace texts of the bot's own replies."""

    @property
    def error_reply(self) -> str:
        """The first line of the reply to a command that raised an exception."""

    def unknown_command_reply(self, message: Message | None, name: str, args: str) -> str:
        """The reply to a command that doesn't exist. May block."""


class BotOverview(Protocol):
    """Facts about the running bot that an operator console shows."""

    @property
    def prefix(self) -> str:
        """The prefix of commands on the console's network."""

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses that webhooks are served at: URLs, or Twisted endpoint strings for sockets without a host and port."""

    @property
    def log_file(self) -> str:
        """The path of the log file, relative if it is below the working directory; an empty string without a log file."""

    @property
    def plugins_read_messages(self) -> bool:
        """Whether a plugin that isn't a core plugin has a `callback_message`."""

    def commands(self, message: Message) -> Sequence[str]:
        """Return the commands with their prefix that the sender of `message` may see, sorted, without hidden ones.

        May be called from any thread.
        """

    def remaining(self) -> Sequence[str]:
        """Return what keeps the bot running after the console has ended: "webhooks", and the names of other networks."""


@runtime_checkable
class OperatorConsole(Protocol):
    """Implemented by backends through which the operator of the process talks with the bot."""

    overview: BotOverview | None
    """Set before `connect`."""

    def plain_text_reply(self, message: Message) -> str | None:
        """Return the reply, in Markdown, to a message that is neither a command nor the answer to a question.

        None for no reply. Plugins' `callback_message` is called in either case.
        """


class BackendEvents(Protocol):
    """What a backend tells. The bot implements it; every method is called on the reactor's thread."""

    def backend_connected(self, backend: Backend) -> None:
        """The network can be used now; called again after each reconnection."""

    def backend_disconnected(self, backend: Backend, reason: str) -> None:
        """The connection is gone; the backend is already trying again."""

    def backend_ended(self, backend: Backend) -> None:
        """There will be no more messages, as when standard input has come to its end."""

    def message_received(self, backend: Backend, message: Message) -> None:
        """Somebody said something."""

    def mention_received(self, backend: Backend, message: Message, people: Sequence[Identifier]) -> None:
        """`people` are spoken of in `message`."""

    def presence_changed(self, backend: Backend, presence: Presence) -> None:
        """Somebody came, went or changed status."""

    def reaction_changed(self, backend: Backend, reaction: Reaction) -> None:
        """Somebody has put a reaction on something, or taken it away."""

    def stream_offered(self, backend: Backend, stream: Stream) -> None:
        """Somebody wants to send the bot a file. It is read in a thread, and its status tells what became of it."""

    def room_joined(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, invited_by: Identifier | None = None
    ) -> None:
        """`identifier`, the bot itself if there is none, is in `room` now; `invited_by` somebody, if that is known."""

    def room_left(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, kicked_by: Identifier | None = None
    ) -> None:
        """`identifier`, the bot itself if there is none, is no longer in `room`; thrown out, if somebody has."""

    def room_topic_changed(self, backend: Backend, room: Room) -> None:
        """`room` has another topic."""


class Store(Protocol):
    """The values of one namespace. May be used from any thread; each call is one transaction."""

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""

    def set(self, key: str, value: Any) -> None:
        """Keep the value; when this returns it survives a crash of the process and of the machine."""

    def remove(self, key: str) -> None:
        """Forget the value; raises KeyError."""

    def keys(self) -> Iterable[str]:
        """The keys, as they are now."""

    def len(self) -> int:
        """How many values there are."""

    def close(self) -> None:
        """Give the namespace back; it can be opened again."""


class Storage(Protocol):
    """Where plugins' values are kept."""

    def open(self, namespace: str) -> Store:
        """The values of `namespace`, such as a plugin's name."""

    def namespaces(self) -> Iterable[str]:
        """The namespaces that have values, as far as the storage can tell."""

    def close(self) -> None:
        """Release files and locks; every store is closed with it."""


class WebEvents(Protocol):
    """What the web server tells about plugins' handlers. The bot implements it."""

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        """The handler raised, or returned what can't be an answer. The web server has answered 500."""

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        """The sender got 504 after `seconds`; the handler still runs."""

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        """`hook` has a URL and verb that `by`, which was there first, keeps."""
