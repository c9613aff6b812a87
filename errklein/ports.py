"""The interfaces between the bot and its adapters, as Protocols: backends, storage, web server.

The adapters (`backends/`, `storage/`, `web/`) implement or call these, and never each other. Methods are called in the
reactor's thread unless a docstring states otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol, runtime_checkable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from errklein.chat import Card, Identifier, Message, NameRules, Presence, Reaction, Room, Stream
from errklein.chat.outgoing import MessageRecord, OutgoingMessage, Wait
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import DeliveryQuery, Outcome, QueueDepth, StoredDelivery


class OutboxFull(Exception):
    """The outbox of a network has no room: OUTBOX_LIMIT or OUTBOX_SIZE is reached, in total or for one recipient."""


class OutboxClosed(Exception):
    """A message was sent after `Backend.disconnect`."""


class SentLater(OutboxClosed):
    """The bot has disconnected before a message was sent. It is stored, and the next start sends it."""


class RoomUnavailable(Exception):
    """The bot has been outside of the room of a message for 10 s. The message stays in the outbox: it is sent when the bot has joined."""


class OutboxExpired(Exception):
    """A message was dropped, since the network was absent or too slow for OUTBOX_MAX_AGE."""


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

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Accept `message` into the outbox, from any thread.

        In the reactor's thread, the call never blocks. It returns an awaitable, which may be ignored, that completes when
        the network has the message; a full outbox raises OutboxFull. In another thread, the call waits up to 5 s for space
        in the outbox, then raises OutboxFull; it returns None. Raises OutboxClosed after `disconnect`.
        """

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

    def change_presence(self, status: str, message: str) -> None:
        """Set the bot's status, such as `ONLINE`, and the text shown with it."""


class OutboxStatus(NamedTuple):
    """What waits in the outbox of a network."""

    messages: int
    parts: int
    """The number of parts, such as lines, that the messages have; an estimate."""
    size: int
    """The number of characters of the messages' texts and details."""
    oldest_at: float
    """The Unix time at which the oldest message was accepted, apart from those that wait for a room; 0.0 without others."""
    sent: int = 0
    """The number of messages that were sent since the start."""


@runtime_checkable
class QueuesMessages(Protocol):
    """Implemented by backends with an outbox."""

    @property
    def outbox_status(self) -> OutboxStatus:
        """What waits to be sent."""

    def use_store(self, store: OutboxStore, restored: Sequence[OutgoingMessage]) -> None:
        """Keep messages in the store from now on, and send those of an earlier process first. Called once, before `connect`."""


@runtime_checkable
class ExplainsWaits(Protocol):
    """Implemented by backends that know what a message waits for."""

    def wait_of(self, record: MessageRecord) -> Wait | None:
        """Return what a message waits for that the backend has accepted; None if it doesn't wait any more."""


@runtime_checkable
class KnowsRooms(Protocol):
    """Implemented by backends that know why the bot isn't in a room."""

    def room_status(self, name: str) -> Wait | None:
        """Return whether the bot is in a room, since when, why not, and when it tries again; None if it should not be there."""


@runtime_checkable
class SendsCards(Protocol):
    """Implemented by backends of networks with cards. On other networks a card is sent as text."""

    def send_card(self, card: Card) -> Awaitable[None] | None:
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


@runtime_checkable
class CallsInOrder(Protocol):
    """Implemented by backends whose methods may block. The bot calls them in the backend's sending thread."""

    def call_in_order(
        self, function: Callable[..., Any], *args: Any, recipient: str = "", text: str = "", priority: bool = False
    ) -> Awaitable[None] | None:
        """Call the function in a thread after what the same origin has queued for the recipient. Returns as `send_message` does.

        `recipient` and `text` name the message in the log if the function is never called. With `priority`, it is called
        before everything without priority.
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
        """True if a plugin other than the core plugins has a `callback_message`."""

    def commands(self, message: Message) -> Sequence[str]:
        """Return the commands with their prefix that the sender of `message` may see, without hidden ones, for completion.

        Commands whose argument is a plugin or command are included with each.

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
    """Receives the events of a backend; implemented by the bot. All methods are called in the reactor's thread."""

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


class Store(Protocol):
    """The values of one namespace, by key. May be used from any thread; each call is one transaction."""

    def get(self, key: str) -> Any:
        """Return the value; raise KeyError if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Store the value. When the call returns, the value survives a crash of the process and of the machine."""

    def remove(self, key: str) -> None:
        """Remove the value; raise KeyError if there is none."""

    def keys(self) -> Iterable[str]:
        """Return the current keys."""

    def len(self) -> int:
        """Return the number of values."""

    def close(self) -> None:
        """Close the namespace, which can be opened again."""


class Storage(Protocol):
    """The storage of plugins' values, in namespaces."""

    def open(self, namespace: str) -> Store:
        """Open the namespace, for example the name of a plugin."""

    def namespaces(self) -> Iterable[str]:
        """Return the namespaces that have values. A storage may be unable to list all of them."""

    def close(self) -> None:
        """Close all stores, and release files and locks."""


@runtime_checkable
class UsesFiles(Protocol):
    """Implemented by storages and journals whose files may be deleted while the bot runs."""

    def check_files(self) -> None:
        """Raise an exception, whose text is one line, if a file was deleted or replaced since it was opened, or is locked.

        Writing fails then. May be called in any thread, and waits for the disk.
        """


class Notify(Protocol):
    """The method `post` of the bot's notice board, for parts that notify administrators."""

    def __call__(self, key: Hashable, text: str, summary: str = "", *, more: str = "", interval: float = 600.0) -> None:
        """Send a notice, or count it; see `bot.NoticeBoard.post`. May be called in any thread."""


class WebEvents(Protocol):
    """Receives the web server's events about plugins' handlers; implemented by the bot."""

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        """The handler raised an exception, or returned an invalid value. The response was 500."""

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        """The response was 504 after `seconds`; the handler is still running."""

    def hook_unusable(self, hook: Hook, reason: str) -> None:
        """Requests for the hook get 503, since its secret is missing."""

    def request_refused(self, hook: Hook, kind: str, reason: str, client: str) -> None:
        """A request for a webhook was refused, for a kind of reason such as "signature". `client` is its address or network."""

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        """`hook` isn't reachable, since `by` was registered first for the same URL and method."""


class OutboxStore(Protocol):
    """The durable store of messages that wait to be sent. `add` and `next_id` may be called in any thread."""

    @property
    def unwritten(self) -> bool:
        """True if messages were added that aren't on disk yet."""

    @property
    def durable(self) -> bool:
        """True if messages survive the process."""

    def next_id(self) -> int:
        """Return the id of a new message."""

    def add(self, message: OutgoingMessage) -> None:
        """Store the message, at most 50 ms later. If it is removed before, it isn't stored at all.

        A store that can't be written logs that, and writes the message when it can again.
        """

    def advance(self, id: int, sent: float) -> None:
        """Store soon that the network has confirmed this share of the parts of the message, below 1.0."""

    def remove(self, ids: Sequence[int]) -> None:
        """Remove messages soon that were sent, rejected or dropped."""

    def end(self, record: MessageRecord) -> None:
        """Remove a message soon that was sent, rejected or dropped. May be called in any thread.

        The latest records are kept of messages of deliveries, and of those that were not sent. A crash may lose those of the last second, and a burst that of messages that were sent.
        """

    def find(self, delivery: int = 0, recipient: str = "") -> Deferred[Sequence[MessageRecord]]:
        """Return records, oldest first, at most 100: those of a delivery, or those of messages to a recipient that weren't sent."""

    def flush(self) -> Deferred[None]:
        """Write what was added, advanced and removed. The Deferred fires when it is on disk, or can't be written."""

    def load(self) -> Deferred[Sequence[OutgoingMessage]]:
        """Return the messages of earlier processes, oldest first. Fails with JournalError if they can't be read."""


class Journal(Protocol):
    """The durable store of webhooks' deliveries. A Deferred fires on the reactor when the change is on disk.

    Every method that returns a Deferred fails with JournalError if the store can't be read or written; nothing is changed then.
    """

    @property
    def outbox(self) -> OutboxStore:
        """The messages that wait to be sent. `finish`, `retry_at` and `bury` write what was added before them, too."""

    def next_id(self) -> int:
        """Return the id of a new delivery."""

    def record(
        self, delivery: StoredDelivery, *, lease: float = 0.0, window: float = 0.0
    ) -> Deferred[StoredDelivery | None]:
        """Store a new delivery, unless its key is known. Both are one transaction.

        :param delivery: The delivery, with its request, in the state RECEIVED. Its source may have got no response yet.
        Those of its webhook with the same key that are DEAD, FAILED or REFUSED are superseded by it, also when it is passed to `log`.

        :param lease: Lease it at once for this many seconds; its state is RUNNING then, and its attempt 1.
        :param window: The seconds for which the key of the delivery is remembered. Without it, the key isn't compared either.
        :returns: None if the delivery was stored. Otherwise the earlier delivery with the same webhook and key, which is neither
            DEAD nor FAILED; the new one is stored as a DUPLICATE, without its request.
        """

    def lease(
        self, webhook: str, count: int, seconds: float, ordered: bool = False, held: Sequence[int] = ()
    ) -> Deferred[Sequence[StoredDelivery]]:
        """Return up to `count` deliveries of a webhook that are due, oldest first, with their requests.

        Their state becomes RUNNING, and their attempt one higher. Nobody else gets them for this many seconds, or until `extend`.
        Due are deliveries in the state RECEIVED, those in RETRY whose time has come or is over two hours ahead (the clock was set), and those in RUNNING whose lease has ended,
        which only happens after a crash. A store that only one process uses ends the leases of an earlier process when it is opened.

        Fewer are returned, but at least one, if their bodies would have more than 16 MB together.

        :param ordered: Only the oldest unfinished delivery of the webhook is considered, whether it is due or not.
        :param held: Deliveries that the caller is still busy with, and which aren't returned: their lease may seem to have ended,
            since the clock was set, or `retry_at` may have taken effect without the caller knowing.
        """

    def extend(self, ids: Sequence[int], seconds: float) -> Deferred[None]:
        """Let the leases of these deliveries end in this many seconds."""

    def retry_at(self, id: int, due_at: float, outcome: Outcome | None) -> Deferred[None]:
        """End an attempt that failed, or that was not begun if the outcome is None: it isn't counted then.

        The next one may begin at this Unix time; the state is RETRY.
        """

    def finish(self, id: int, outcome: Outcome) -> Deferred[None]:
        """End the last attempt: DONE if it succeeded, else FAILED.

        What only a further attempt needs is removed: the headers that authenticate the source, and large bodies.
        """

    def bury(self, id: int, outcome: Outcome) -> Deferred[None]:
        """End the last attempt of a delivery that is given up: DEAD. Its request stays complete, for a replay."""

    def depth(self) -> Deferred[QueueDepth]:
        """Return the number of deliveries that wait, run, or were given up."""

    def check(self) -> Deferred[None]:
        """Write something that changes nothing. Fails as other writes do, such as on a full disk."""

    def waiting(self) -> Deferred[Sequence[str]]:
        """Return the webhooks with deliveries in the states RECEIVED, RETRY or RUNNING."""

    def next_due(self, webhook: str, ordered: bool = False) -> Deferred[float | None]:
        """Return the Unix time at which `lease` has something to return for the webhook; None if nothing is waiting.

        Deliveries in the state RUNNING aren't waiting. With `ordered`, it is the time of the oldest unfinished delivery.
        """

    def pause(self, webhook: str, paused: bool) -> Deferred[None]:
        """Store that the deliveries of the webhook wait, or don't any more. `lease` and `next_due` ignore it."""

    def paused(self) -> Deferred[Sequence[str]]:
        """Return the webhooks that `pause` has stored as paused."""

    def once(self, id: int, key: str) -> Deferred[bool]:
        """Return True the first time that it is called for this delivery and key, also in later attempts; False afterwards."""

    def log(self, delivery: StoredDelivery) -> None:
        """Store a finished delivery soon: one of `ack="after"`, or a refused request.

        Nothing waits for it, so a crash may lose the last second of them. Errors are logged, and never raised.
        """

    def count(self, webhook: str) -> None:
        """Count a successful delivery of the webhook soon, instead of storing it. A crash may lose the last second."""

    def counted(self, query: DeliveryQuery) -> Deferred[int]:
        """Return the number of deliveries that were only counted, of the query's webhook, states and times, to the minute.

        Such a delivery is DONE, and has neither a key nor a reason.
        """

    def wake_up(self, function: Callable[[], None]) -> None:
        """Call the function when deliveries may have become due that another process has changed."""

    def find(self, query: DeliveryQuery) -> Deferred[Sequence[StoredDelivery]]:
        """Return the deliveries of a query, newest first, without their requests."""

    def get(self, id: int) -> Deferred[StoredDelivery | None]:
        """Return a delivery with its request and attempts; None if it is unknown."""

    def webhooks(self) -> Deferred[Sequence[str]]:
        """Return the webhooks that have or had deliveries, or were paused."""

    def replay(self, ids: Sequence[int], force: bool = False) -> Deferred[Sequence[int]]:
        """Let deliveries run once more, whatever their state is; their origin becomes "replay".

        A delivery that waits for a retry is due at once then.

        :param force: Replay also those that are superseded.
        :returns: The ids of those that can be replayed: their request is complete, and they aren't RECEIVED or RUNNING.
        """

    def close(self) -> Deferred[None]:
        """Write what is pending, and close the store."""


class LaterDeliveries(Protocol):
    """Runs the deliveries whose source has got 202."""

    @property
    def paused(self) -> Collection[str]:
        """The webhooks that are paused: their deliveries are recorded, and run later."""

    def accept(self, delivery: StoredDelivery, window: float) -> Deferred[StoredDelivery | None]:
        """Record a delivery as `Journal.record` does, and run it later."""

    def look(self) -> None:
        """Look for deliveries that can run now, since a plugin was activated."""

    def finish(self, id: int, outcome: Outcome) -> None:
        """Store the outcome of a delivery that was run elsewhere, as `Journal.finish` does, and again after an error."""


class JournalError(Exception):
    """The journal can't be read or written. The text is one line with the file, the reason and the remedy."""
