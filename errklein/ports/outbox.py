"""The outbox of a network: its store, its state, and the errors of messages that wait to be sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.outgoing import MessageRecord, OutgoingMessage
from errklein.ports.receipts import Receipt


class OutboxFull(Exception):
    """The outbox of a network has no room: OUTBOX_LIMIT or OUTBOX_SIZE is reached, in total or for one recipient."""


class OutboxClosed(Exception):
    """A message was sent after `Backend.disconnect`."""


class SentLater(OutboxClosed):
    """The bot has disconnected before a message was sent. It is stored, and the next start sends it."""


class RoomUnavailable(Exception):
    """The bot has been outside of the room of a message for 10 s. The message stays in the outbox: it is sent when the bot has joined."""


class OutboxExpired(Exception):
    """A message was dropped: the network was absent or too slow for OUTBOX_MAX_AGE, or an administrator has dropped it."""


def give(store: OutboxStore, message: OutgoingMessage, receipt: Receipt) -> Receipt:
    """Let the process that is connected to the network send a message. Nobody learns when it has. May be called in any thread."""
    store.give(message)
    receipt.flush = store.flush
    text = f"another process of the bot is connected to {message.network}, and sends the message"
    receipt.settle(Failure(SentLater(text)))
    return receipt


class OutboxStatus(NamedTuple):
    """What waits in the outbox of a network."""

    messages: int
    parts: int
    """The number of parts, such as lines, that the messages have; an estimate."""
    size: int
    """The number of characters of the messages' texts and details, and of bytes of their files."""
    oldest_at: float
    """The Unix time at which the oldest message was accepted, apart from those that wait for a room; 0.0 without others."""
    sent: int = 0
    """The number of messages that were sent since the start."""


class RecipientStatus(NamedTuple):
    """The number of messages that wait for a room or person, and the Unix time at which the oldest was accepted."""

    recipient: str
    messages: int
    oldest_at: float


class OutboxStore(Protocol):
    """The durable store of messages that wait to be sent.

    Several processes may use one. A message belongs to the process that has added or leased it: others leave it, and those of the
    same lane, until that process has ended, or hasn't given a sign of life for a minute.
    """

    @property
    def unwritten(self) -> bool:
        """True if messages were added that aren't on disk yet."""

    @property
    def durable(self) -> bool:
        """True if messages survive the process."""

    def add(self, message: OutgoingMessage) -> OutgoingMessage:
        """Store the message, at most 50 ms later, and return it with its id. If it ends before, it isn't stored at all.

        May be called in any thread. Each id is higher than those before, also those of earlier processes.
        A store that can't be written logs that, and writes the message when it can again.
        """

    def give(self, message: OutgoingMessage) -> OutgoingMessage:
        """Store a message as `add` does, for the process that leases next: it doesn't belong to this one, which must not send it."""

    def advance(self, id: int, sent: float) -> None:
        """Store soon that the network has confirmed this share of the parts of the message, below 1.0."""

    def change(self, id: int, body: str | None = None, wanted: str | None = None, recipient: str | None = None) -> None:
        """Store soon other values of a message that isn't sent; it keeps its place. May be called in any thread."""

    def end(self, record: MessageRecord, refs: Sequence[MessageRef] = ()) -> None:
        """Remove a message soon that was sent, rejected or dropped. May be called in any thread.

        In the same transaction the ids are stored that the network has given, in the place of earlier ones of the record's handle.
        They are kept for 30 days. Nothing is stored without ids. A record with the id 0 is that of a message that wasn't added; it gets an id. The latest records are kept of messages of deliveries, and of those that were not sent. A crash may lose those of the last second, and a burst that of messages that were sent.
        """

    def find(self, delivery: int = 0, recipient: str = "") -> Deferred[Sequence[MessageRecord]]:
        """Return records, oldest first, at most 100: those of a delivery, or those of messages to a recipient that weren't sent."""

    def refs_of(self, handle: Handle) -> Deferred[Sequence[MessageRef]]:
        """Return the addresses of a message that was sent, one for each part; empty if none are known."""

    def forget_refs(self, network: str, is_meant: Callable[[str], bool]) -> Deferred[int]:
        """Remove the addresses of messages to some recipients, and return the number of these messages."""

    def flush(self) -> Deferred[None]:
        """Write what was added, changed, advanced and ended. The Deferred fires when it is on disk, or can't be written."""

    def lease(self, without: Sequence[str] | None = None) -> Deferred[Sequence[OutgoingMessage]]:
        """Take the messages that belong to no other process, and return them, oldest first.

        :param without: Leave those for these networks. It is given when this isn't called for the first time.

        Fails with JournalError if the store can't be read or written.
        """


class NetworkOutbox(Protocol):
    """The outbox of a network, as others than the network use it."""

    @property
    def status(self) -> OutboxStatus:
        """What waits to be sent."""

    def recipients(self) -> Sequence[RecipientStatus]:
        """Return those for whom messages wait, the one with the oldest first."""

    def drop(self, recipient: str, reason: str) -> int:
        """Drop what waits for a recipient, and return the number of messages. What the network may have isn't dropped."""

    def use_store(
        self,
        store: OutboxStore,
        given: Callable[[], object] | None = None,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        """Keep messages in the store from now on. Called before `Backend.connect`.

        :param given: Another process sends the messages, until `take`: they are given to it, and this is called, in any thread.
        :param may_send: Called before messages are sent. False: nothing is sent any more.
        """

    def take(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send the messages of other processes, oldest first, and those of this process from now on."""
