"""Messages, cards and files that the bot sends, and messages that an earlier run has accepted and not sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, BinaryIO

from twisted.logger import Logger

from errklein.bot._events import Callbacks
from errklein.chat import Card, Identifier, Message, RoomOccupant, Stream
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage, waiting_record
from errklein.dispatch import Networks, build_reply, card_as_text, process_template
from errklein.ports.chat import Backend, QueuesMessages, Reacts, SendsCards, SendsStreams
from errklein.ports.notices import Notify
from errklein.ports.outbox import OutboxStore
from errklein.ports.receipts import Receipt
from errklein.running.context import causing_delivery
from errklein.text import truncated
from errklein.text.masking import masker

_LOG = Logger(namespace="errklein.bot")


class Sending:
    """Sends messages, cards and files on the network of their recipient. The methods may be called from any thread."""

    process_template = staticmethod(process_template)

    def __init__(self, networks: Networks, callbacks: Callbacks, store: OutboxStore, now: Callable[[], float]) -> None:
        self._networks, self._callbacks = networks, callbacks
        self._store, self._now = store, now
        # Others store what has become of their messages themselves.
        self._at_once = [name for name, one in networks.backends.items() if not isinstance(one, QueuesMessages)]

    def deliver(self, backend: Backend, message: Message) -> Receipt:
        """Pass a message to its backend and to `callback_botmessage`. Everything except cards is sent here."""
        accepted = backend.send_message(message)
        if (delivery := causing_delivery()) and (network := backend.network) in self._at_once:
            sent, to = MessageState.SENT, str(message.to)
            self._store.end(MessageRecord(0, network, to, delivery, sent, self._now()))
        self._callbacks.show_sent(backend, message)
        return accepted

    def deliver_notice(self, backend: Backend, message: Message) -> Receipt:
        """Send a notice to an administrator."""
        return self.deliver(backend, message)

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        *,
        priority: bool = False,
        mentions: bool = False,
    ) -> Receipt:
        """Send Markdown text; see `BotPlugin.send`."""
        if not isinstance(identifier, Identifier):
            raise ValueError(
                f"send(): the recipient must be an identifier, not {type(identifier).__name__}; "
                "build_identifier(text) returns one"
            )
        backend = self._networks.of(identifier)
        message = self.build_message(backend, text)
        message.frm, message.to, message.parent = backend.bot_identifier, identifier, in_reply_to
        message.priority, message.mentions = priority, mentions
        if groupchat_nick_reply and in_reply_to is not None and isinstance(in_reply_to.frm, RoomOccupant):
            backend.prefix_groupchat_reply(message, in_reply_to.frm)
        return self.deliver(backend, message)

    def build_message(self, backend: Backend, text: str) -> Message:
        """Return a message of the backend's network with that text, without sender and recipient."""
        return Message(text)

    def send_simple_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Receipt:
        """Reply in the room of the message, or in a private chat with its sender."""
        backend = self._networks.of(message)
        settings = self._networks.config(backend)
        return self.deliver(backend, build_reply(backend, message, text, private, threaded, settings))

    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        plugin_name: str | None = None,
        **options: bool,
    ) -> Receipt:
        """Render a template with the parameters, and send it; see `send`."""
        text = self.process_template(template_name, template_parameters, plugin_name=plugin_name)
        return self.send(identifier, text, in_reply_to, groupchat_nick_reply, **options)

    def send_card(self, card: Card) -> Receipt:
        """Send a card. On a network without cards, the template "card" renders it as text."""
        backend = self._networks.of(card)
        if isinstance(backend, SendsCards):
            accepted = backend.send_card(card)
            self._callbacks.show_sent(backend, card)
            return accepted
        return self.deliver(backend, card_as_text(card))

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None:
        """Offer a file to a person; see `BotPlugin.send_stream_request`."""
        backend = self._networks.of(user)
        if isinstance(backend, SendsStreams):
            return backend.send_stream_request(user, fsource, name, size, stream_type)
        raise NotImplementedError(f"{backend.network} can't carry files: {backend.mode} has no streams")

    def reacting(self, message: Message) -> Reacts:
        """Return the backend of the message, which adds and removes reactions.

        :raises NotImplementedError: The network has no reactions.
        """
        backend = self._networks.of(message)
        if isinstance(backend, Reacts):
            return backend
        raise NotImplementedError(f"{backend.network} has no reactions: {backend.mode} doesn't know them")


async def restore_outboxes(
    store: OutboxStore,
    backends: Collection[Backend],
    notify: Notify,
    max_age: Callable[[str], float],
    now: Callable[[], float],
    log: Logger = _LOG,
) -> None:
    """Give each network the store of messages, and those of an earlier run. Those that are too old are dropped.

    Others of a network that isn't configured stay in the store, for example while `--network` replaces the networks.

    :param notify: Notifies administrators of messages that are dropped.
    :param max_age: Returns OUTBOX_MAX_AGE of a network, in seconds.
    """
    outboxes = {backend.network: backend for backend in backends if isinstance(backend, QueuesMessages)}
    waiting: dict[str, list[OutgoingMessage]] = {network: [] for network in outboxes}
    old: list[OutgoingMessage] = []
    for message in await store.lease():
        is_old = now() - message.accepted_at > max_age(message.network)
        (old if is_old else waiting.get(message.network, [])).append(message)
    for network, backend in outboxes.items():
        if waiting[network]:
            text = "{network}: {count} messages of an earlier run are sent first"
            log.info(text, network=network, count=len(waiting[network]))
        backend.outbox.use_store(store, waiting[network])
    for message in old:
        log.warn(
            "{network}: the message to {recipient} is older than OUTBOX_MAX_AGE and is not sent: {text}",
            network=message.network,
            recipient=truncated(message.recipient, 60),
            text=truncated(masker.part(message.body, 0, 500), 60),
        )
        reason = "it was older than OUTBOX_MAX_AGE when the bot started"
        store.end(waiting_record(message)._replace(state=MessageState.DROPPED, at=now(), reason=reason))
    if old:
        what = "A message of an earlier run was" if len(old) == 1 else f"{len(old)} messages of an earlier run were"
        notify("old messages", f"{what} not sent within OUTBOX_MAX_AGE. The log has the recipients and texts.")
