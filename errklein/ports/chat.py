"""The interface between the bot and its chat networks.

Optional capabilities of a network are Protocols of their own. Methods are called in the reactor's thread unless a docstring
states otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO, Protocol, runtime_checkable

from twisted.internet.defer import Deferred

from errklein.chat import Card, Identifier, Message, NameRules, Presence, Reaction, Room, Stream
from errklein.chat.outgoing import MessageRecord, Wait
from errklein.ports.outbox import NetworkOutbox
from errklein.ports.receipts import Receipt


class Backend(Protocol):
    """The connection to one chat network."""

    network: str
    """The name of the network in the configuration."""

    joins_configured_rooms: bool
    """True if the backend joins the rooms of CHATROOM_PRESENCE itself. Otherwise the core plugin ChatRoom does."""

    @property
    def mode(self) -> str:
        """The kind of network in lower case, such as "irc", "text", "test" or "null"."""

    @property
    def message_size_limit(self) -> int:
        """The maximum length of one part of a message, in the network's unit (bytes or characters)."""

    @property
    def bot_identifier(self) -> Identifier | None:
        """The identifier of the bot; None until the network has assigned it."""

    def connect(self, events: BackendEvents) -> None:
        """Start to connect, and reconnect until `disconnect`. Events of the network are passed to `events`."""

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send queued messages for up to `grace` seconds, then disconnect.

        Fires when the connection is closed and no code of the backend runs. Each message that was not sent is logged.
        """

    def send_message(self, message: Message) -> Receipt:
        """Accept `message` into the outbox, from any thread.

        In the reactor's thread, the call never blocks. It returns an awaitable, which may be ignored, that completes when
        the network has the message; a full outbox raises OutboxFull. In another thread, the call waits up to 5 s for space
        in the outbox, then raises OutboxFull; it returns None. Raises OutboxClosed after `disconnect`.
        """

    def wait_of(self, record: MessageRecord) -> Wait | None:
        """Return what a message waits for that the backend has accepted; None if it doesn't wait any more."""

    def build_identifier(self, text: str) -> Identifier:
        """Return the person, occupant or room that `text` names; raise ValueError if the text is invalid."""

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """Return a reply to `message`, addressed to its room, or to its sender if `private` is True."""

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Prefix the body of `message`, which is sent to a room, with the name of `identifier`."""

    def is_from_self(self, message: Message) -> bool:
        """Return whether the bot itself has sent the message."""

    def rooms(self) -> Sequence[Room]:
        """Return the rooms that the bot is in."""

    def query_room(self, name: str) -> Room:
        """Return the room of that name; raise RoomDoesNotExistError if the network knows that it doesn't exist."""

    def room_status(self, name: str) -> Wait | None:
        """Return whether the bot is in a room, since when, why not, and when it tries again.

        None if it should not be there, or if that isn't known.
        """

    def change_presence(self, status: str, message: str) -> None:
        """Set the bot's status, such as `ONLINE`, and the text shown with it."""


@runtime_checkable
class QueuesMessages(Protocol):
    """Implemented by backends with an outbox."""

    @property
    def outbox(self) -> NetworkOutbox:
        """The messages that wait to be sent."""


@runtime_checkable
class SendsCards(Protocol):
    """Implemented by backends of networks with cards. On other networks a card is sent as text."""

    def send_card(self, card: Card) -> Receipt:
        """Accept `card` into the outbox, like `send_message`."""


@runtime_checkable
class HasNameRules(Protocol):
    """Implemented by backends of networks with rules of their own for the comparison of names. Others compare exactly."""

    @property
    def name_rules(self) -> NameRules:
        """The latest rules that the server has announced."""


@runtime_checkable
class ConfirmsRoomCommands(Protocol):
    """Implemented by backends of networks that accept or refuse commands about rooms later, as IRC does."""

    def room_refusal(self, command: str, room: Room, person: str = "") -> Deferred[str]:
        """Return the reason for which the network refuses the last command about the room; "" if it accepts it.

        Call it at once after the command, before the reply can arrive.

        `command` is JOIN, TOPIC, or INVITE of a person. The Deferred may be cancelled.
        """


@runtime_checkable
class KnowsHolders(Protocol):
    """Implemented by backends of networks whose names may pass to other people, such as nicks on IRC."""

    def current_holder(self, person: Identifier) -> Identifier | None:
        """Return the current holder of the person's name, with all attributes that access rules use; None if unknown."""


@runtime_checkable
class KnowsEncryption(Protocol):
    """Implemented by backends that know whether others can read messages on their way. Without it, secrets aren't sent."""

    @property
    def is_encrypted(self) -> bool:
        """Whether messages are encrypted on their way to the network, or don't leave this computer."""


@runtime_checkable
class Reacts(Protocol):
    """Implemented by backends of networks with reactions."""

    def add_reaction(self, message: Message, reaction: str) -> None:
        """Add the reaction of that name to a message. May be called from any thread."""

    def remove_reaction(self, message: Message, reaction: str) -> None:
        """Remove the reaction of that name from a message. May be called from any thread."""


@runtime_checkable
class SendsStreams(Protocol):
    """Implemented by backends of networks that transfer files."""

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None:
        """Offer the content of `fsource` to `user`, and return the stream, whose status shows the progress.

        Returns None if the network can't offer it. May be called from any thread.
        """


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
        """True if a plugin other than the core plugins has a `callback_message`."""

    def commands(self, message: Message) -> Sequence[str]:
        """Return the commands with their prefix that the sender of `message` may see, without hidden ones, for completion.

        Commands whose argument is a plugin or command are included with each.

        May be called from any thread.
        """

    def remaining(self) -> Sequence[str]:
        """Return what keeps the bot running after the console has ended: "webhooks", and the names of other networks."""


class BackendEvents(Protocol):
    """Receives the events of a backend; implemented by the bot. All methods are called in the reactor's thread."""

    def overview(self, backend: Backend) -> BotOverview:
        """Return the facts about the bot that the backend shows if it is an operator's console."""

    def backend_connected(self, backend: Backend) -> None:
        """The connection is established. Called again after each reconnection."""

    def backend_disconnected(self, backend: Backend, reason: str) -> None:
        """The connection was lost; the backend reconnects."""

    def messages_dropped(self, backend: Backend, count: int, reason: str) -> None:
        """Messages were not sent and never will be; the log has their text."""

    def messages_undelivered(
        self, backend: Backend, recipient: str, origins: Mapping[str, int], reason: str, *, waiting: bool
    ) -> None:
        """Messages to a room wait for the bot to join it, or were rejected and the log has their text.

        :param origins: The number of messages by `running.context.origin`.
        """

    def backend_ended(self, backend: Backend) -> None:
        """The backend has ended and receives no more messages, for example since standard input has ended."""

    def message_received(self, backend: Backend, message: Message) -> None:
        """A message was received."""

    def mention_received(self, backend: Backend, message: Message, people: Sequence[Identifier]) -> None:
        """`message` mentions `people`."""

    def presence_changed(self, backend: Backend, presence: Presence) -> None:
        """A person has come online, gone offline or changed the status."""

    def reaction_changed(self, backend: Backend, reaction: Reaction) -> None:
        """A reaction was added to a message or removed."""

    def stream_offered(self, backend: Backend, stream: Stream) -> None:
        """A file is offered to the bot. It is read in a thread; the status of the stream shows the result."""

    def room_joined(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, invited_by: Identifier | None = None
    ) -> None:
        """`identifier`, by default the bot itself, has joined `room`, invited by `invited_by` if that is known."""

    def room_left(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, kicked_by: Identifier | None = None
    ) -> None:
        """`identifier`, by default the bot itself, has left `room`, or was kicked out by `kicked_by`."""

    def room_topic_changed(self, backend: Backend, room: Room) -> None:
        """The topic of `room` has changed."""
