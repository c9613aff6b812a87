"""The interface between the bot and its chat networks. Optional capabilities of a network are Protocols of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.chat import EXACT, Identifier, Message, NameRules, Presence, Reaction, Room, RoomOccupant, Stream
from errklein.chat.features import BARE, Features
from errklein.chat.handles import MessageRef
from errklein.chat.identifiers import RoomDoesNotExistError
from errklein.chat.operations import Press, Wanted
from errklein.chat.outgoing import MessageRecord, Wait
from errklein.ports.outbox import NetworkOutbox
from errklein.ports.receipts import Receipt


class Backend(Protocol):
    """The connection to one chat network.

    A method marked "Any thread" never waits for the network; threads other than the reactor's may wait in it for space in the
    outbox, or for a name to be looked up. One marked "Reactor" is called only there. `networks.base.NetworkBase` has further defaults.
    """

    network: str = ""
    """The name of the network in the configuration."""

    mode: str = ""
    """The kind of network in lower case, such as "irc", "text", "test" or "null". Any thread."""

    joins_configured_rooms: bool = False
    """True if the network joins the rooms of CHATROOM_PRESENCE itself. Otherwise the core plugin ChatRoom does."""

    message_size_limit: int = 0
    """The maximum length of one part of a message, in the network's unit (bytes or characters). Any thread."""

    bot_identifier: Identifier | None = None
    """The identifier of the bot; None until the network has assigned it. Any thread."""

    name_rules: NameRules = EXACT
    """The rules for the comparison of names, the latest that the server has announced. Any thread."""

    is_encrypted: bool = False
    """Whether nobody else can read messages on their way to the network. Otherwise, secrets aren't sent. Any thread."""

    unreadable: Sequence[str] = ()
    """The names of rooms that the bot is in and can't read, since they are encrypted. Any thread."""

    outbox: NetworkOutbox
    """The messages that wait to be sent. Any thread."""

    def features(self, to: Identifier | str) -> Features:
        """Return what the network can do in a room, or in the conversation with a person, or with the one of that text. Any thread.

        It is asked when a message's turn comes, since it may change, for example with the bot's rights in a room.
        """
        return BARE

    def connect(self, events: BackendEvents) -> None:
        """Start to connect, and reconnect until `disconnect`. Events of the network are passed to `events`. Reactor."""

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send queued messages for up to `grace` seconds, then disconnect. Reactor.

        Fires when the connection is closed and no code of the network runs. Each message that was not sent is logged.
        """

    def send_message(self, message: Message) -> Receipt:
        """Accept `message` into the outbox: `perform` with the message's own thread and mentions. Any thread."""

    def perform(self, message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
        """Accept into the outbox what is wanted with `message`: that it is sent, edits another one, and so on. Any thread.

        On the reactor, the call never waits. Other threads wait up to 5 s for space in the outbox.

        :param message: Has the text, the recipient, `priority`, `mentions` and `unstored`. `to` is None if `wanted.target` says where.
        :param file: The content of the file that is sent.
        :returns: The handle, which fires on the reactor when the network has done it, and fails if it won't; it may be ignored.
        :raises ValueError: There is no recipient, or it belongs to another network.
        :raises OutboxFull: The outbox has no room.
        :raises OutboxClosed: It is after `disconnect`.
        """

    def wait_of(self, record: MessageRecord) -> Wait | None:
        """Return what a message waits for that the network has accepted; None if it doesn't wait any more. Reactor."""

    def build_identifier(self, text: str) -> Identifier:
        """Return the person, occupant or room that `text` names; raise ValueError if the text is invalid. Any thread.

        Threads may wait for the network to resolve the name. The reactor doesn't: what it gets equals the resolved identifier later,
        and its hash stays the same.
        """

    def resolve(self, text: str) -> Deferred[Identifier]:
        """Return the person, occupant or room that `text` names, after asking the network if necessary. Reactor.

        Fails with ValueError if the text is invalid, with RoomDoesNotExistError or UserDoesNotExistError if the network knows nothing
        of that name, and with LookupFailed if it can't be asked.
        """
        return maybeDeferred(self.build_identifier, text)

    def build_message(self, text: str) -> Message:
        """Return a message with that text, without sender and recipient. Any thread."""

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """Return a reply to `message`, addressed to its room, or to its sender if `private` is True. Any thread."""

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Prefix the body of `message`, which is sent to a room, with the name of `identifier`. Any thread."""

    def is_from_self(self, message: Message) -> bool:
        """Return whether the bot itself has sent the message. Any thread."""
        return message.frm == self.bot_identifier

    def is_certain(self, person: Identifier) -> bool:
        """Return whether an entry of BOT_ADMINS names the person by more than a name that others can take. Any thread."""

    def rooms(self) -> Sequence[Room]:
        """Return the rooms that the bot is in. Any thread."""

    def query_room(self, name: str) -> Room:
        """Return the room of that name; raise RoomDoesNotExistError if the network knows that it doesn't exist. Any thread."""
        found = self.build_identifier(name)
        if not isinstance(found, Room):
            raise RoomDoesNotExistError(f"{name} is not a room of {self.network}")
        return found

    def room_status(self, name: str) -> Wait | None:
        """Return whether the bot is in a room, since when, why not, and when it tries again. Reactor.

        None if it should not be there, or if that isn't known.
        """
        return None

    def change_presence(self, status: str, message: str) -> None:
        """Set the bot's status, such as `ONLINE`, and the text shown with it; here nothing. Any thread."""
        return


@runtime_checkable
class ManagesRooms(Protocol):
    """Implemented by networks that wait for the network's answer about rooms. All methods: reactor.

    Each Deferred fires when the network has done it, and fails with RoomError and the network's reason if it refuses.
    """

    def join(self, room: Room, password: str = "") -> Deferred[None]:
        """Join the room, and come back to it after each reconnection."""

    def leave(self, room: Room, reason: str = "") -> Deferred[None]:
        """Leave the room."""

    def create(self, room: Room) -> Deferred[None]:
        """Create the room, and join it."""

    def destroy(self, room: Room) -> Deferred[None]:
        """Destroy the room for all its occupants."""

    def topic(self, room: Room) -> Deferred[str]:
        """Return the topic; "" if the room has none."""

    def set_topic(self, room: Room, topic: str) -> Deferred[None]:
        """Set the topic."""

    def members(self, room: Room) -> Deferred[Sequence[RoomOccupant]]:
        """Return the people in the room."""

    def invite(self, room: Room, person: str) -> Deferred[None]:
        """Invite a person, given as text that `build_identifier` reads."""


@runtime_checkable
class KnowsHolders(Protocol):
    """Implemented by networks whose names may pass to other people, such as nicks on IRC."""

    def current_holder(self, person: Identifier) -> Identifier | None:
        """Return the current holder of the person's name, with all attributes that access rules use; None if unknown. Any thread."""


@dataclass(frozen=True)
class BotOverview:
    """Facts about the running bot that an operator console shows.

    :param prefix: The prefix of commands on the console's network.
    :param addresses: The addresses that webhooks are served at: URLs, or Twisted endpoint strings for sockets without a host and port.
    :param log_file: The path of the log file, relative if it is below the working directory; "" without one.
    :param plugins_read_messages: Whether a plugin other than the core plugins has a `callback_message`.
    :param remaining: What keeps the bot running after the console has ended: "webhooks", and the names of other networks.
    :param commands: Returns the commands with their prefix that the sender of a message may see, for completion. Any thread.
    """

    prefix: str
    addresses: Sequence[str]
    log_file: str
    plugins_read_messages: bool
    remaining: Sequence[str]
    commands: Callable[[Message], Sequence[str]]


class BackendEvents(Protocol):
    """Receives the events of a network; implemented by the bot. All methods are called in the reactor's thread."""

    def overview(self, backend: Backend) -> BotOverview:
        """Return the facts about the bot, as they are now, that the network shows if it is an operator's console."""

    def backend_connected(self, backend: Backend) -> None:
        """The connection is established. Called again after each reconnection."""

    def backend_disconnected(self, backend: Backend, reason: str) -> None:
        """The connection was lost; the network reconnects."""

    def messages_dropped(self, backend: Backend, count: int, reason: str) -> None:
        """Messages were not sent and never will be; the log has their text."""

    def messages_undelivered(
        self, backend: Backend, recipient: str, origins: Mapping[str, int], reason: str, *, waiting: bool
    ) -> None:
        """Messages to a room wait for the bot to join it, or were rejected and the log has their text.

        :param origins: The number of messages by `running.context.origin`.
        """

    def backend_ended(self, backend: Backend) -> None:
        """The network has ended and receives no more messages, for example since standard input has ended."""

    def message_received(self, backend: Backend, message: Message) -> None:
        """A message was received."""

    def message_edited(self, backend: Backend, message: Message) -> None:
        """The sender of a message has edited it. `message.ref` is that of the message before, and `edited` is true."""

    def message_deleted(self, backend: Backend, ref: MessageRef, by: Identifier | None) -> None:
        """`by`, or somebody whom the network doesn't name, has deleted a message."""

    def gap_found(self, backend: Backend, room: Room, since: float, until: float) -> None:
        """The messages of the room between two Unix times are missing, and can't be read any more."""

    def mention_received(self, backend: Backend, message: Message, people: Sequence[Identifier]) -> None:
        """`message` mentions `people`."""

    def presence_changed(self, backend: Backend, presence: Presence) -> None:
        """A person has come online, gone offline or changed the status."""

    def reaction_changed(self, backend: Backend, reaction: Reaction) -> None:
        """A reaction was added to a message or removed."""

    def choice_made(self, backend: Backend, press: Press) -> str:
        """Somebody has pressed a button. Return why that counts for nothing, which only this person is shown; "" if it counts."""

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
