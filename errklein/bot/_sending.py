"""Messages, cards and files that the bot sends, and messages that an earlier run has accepted and not sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.bot._events import Callbacks
from errklein.chat import Card, Identifier, Message, RoomOccupant, Stream
from errklein.chat.handles import Handle, MessageRef, Target, target_of, thread_of
from errklein.chat.operations import MOST_FILE, Kind, Wanted
from errklein.chat.outgoing import MessageState, OutgoingMessage, waiting_record
from errklein.dispatch import Networks, build_reply, card_as_text, process_template
from errklein.ports.chat import Backend
from errklein.ports.notices import Notify
from errklein.ports.outbox import OutboxStore
from errklein.ports.receipts import Receipt
from errklein.running.context import OnlyInOwner, check_in_owner
from errklein.text import plain, truncated
from errklein.text.masking import masker

File = bytes | Path | BinaryIO  # the content of a file that a plugin sends

_LOG = Logger(namespace="errklein.bot")


PLACES = 1_000
"""The number of messages of the bot of which it is kept in memory where they were sent, for networks that don't keep their ids."""


class Sending:
    """Sends messages, cards and files on the network of their recipient. The methods may be called from any thread."""

    process_template = staticmethod(process_template)

    def __init__(
        self, networks: Networks, callbacks: Callbacks, result_of: Callable[..., Any], changed: Callable[[Any], None]
    ) -> None:
        self._networks, self._callbacks, self._result_of, self._changed = networks, callbacks, result_of, changed
        self._places: OrderedDict[str, Identifier | None] = OrderedDict()

    def deliver(self, backend: Backend, message: Message) -> Receipt:
        """Pass a message to its backend and to `callback_botmessage`. Everything except cards and files is sent here."""
        accepted = self._accepted(backend.send_message(message), message)
        self._callbacks.show_sent(backend, message)
        return accepted

    def _accepted(self, receipt: Receipt, message: Message) -> Receipt:
        receipt.result_of = self._result_of
        self._places[str(receipt)] = message.to
        if len(self._places) > PLACES:
            self._places.popitem(last=False)
        try:
            check_in_owner("wait for a message")
        except OnlyInOwner as error:
            # Of a message that another process may send, nobody learns the end. Whether it is on disk can be awaited.
            sent, receipt = receipt, Receipt(str(receipt))
            receipt.flush, receipt.result_of = sent.flush, sent.result_of
            receipt.settle(Failure(error))
        return receipt

    def deliver_notice(self, backend: Backend, message: Message) -> Receipt:
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
        thread: Target = "",
    ) -> Receipt:
        backend = self._backend_for(identifier, "send")
        message = backend.build_message(text)
        message.frm, message.to, message.parent = backend.bot_identifier, identifier, in_reply_to
        message.priority, message.mentions = priority, mentions
        if thread:
            message.thread = thread_of(thread)
            if isinstance(thread, Message):
                message.quote = plain(truncated(thread.body.strip().partition("\n")[0], 80))
        elif in_reply_to is not None and (found := in_reply_to.thread):
            where = in_reply_to.to if in_reply_to.is_group else in_reply_to.frm
            message.thread = found if identifier == where else ""
        if groupchat_nick_reply and in_reply_to is not None and isinstance(in_reply_to.frm, RoomOccupant):
            backend.prefix_groupchat_reply(message, in_reply_to.frm)
        return self.deliver(backend, message)

    def _backend_for(self, identifier: object, method: str) -> Backend:
        if not isinstance(identifier, Identifier):
            raise ValueError(
                f"{method}(): the recipient must be an identifier, not {type(identifier).__name__}; "
                "build_identifier(text) returns one"
            )
        return self._networks.backends.get(identifier.network) or self._networks.of(identifier)

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
        **options: Any,
    ) -> Receipt:
        text = self.process_template(template_name, template_parameters, plugin_name=plugin_name)
        return self.send(identifier, text, in_reply_to, groupchat_nick_reply, **options)

    def send_card(self, card: Card) -> Receipt:
        """Send a card. On a network without cards, the template "card" renders it as text."""
        backend = self._networks.of(card)
        if send := getattr(backend, "send_card", None):
            accepted = self._accepted(send(card), card)
            self._callbacks.show_sent(backend, card)
            return accepted
        return self.deliver(backend, card_as_text(card))

    def send_file(
        self, identifier: Identifier, file: File, name: str, type: str, *, thread: Target = "", priority: bool = False
    ) -> Receipt:
        backend = self._backend_for(identifier, "send_file")
        # Most bots send no files.
        from mimetypes import guess_type

        content, name = _read(file, name)
        message = Message("", backend.bot_identifier, identifier)
        message.priority = priority
        wanted = Wanted(Kind.FILE, file=name, type=type or guess_type(name)[0] or "").into(thread_of(thread))
        return self._accepted(backend.perform(message, wanted, content), message)

    def change(self, target: Target, kind: Kind, text: str = "", *, emoji: str = "", mentions: bool = False) -> Receipt:
        """Edit or delete a message, or react to it; see `BotPlugin.edit`, `delete` and `react`."""
        named: Handle | MessageRef | str
        if isinstance(target, Message):
            backend = self._networks.of(target)
            message = backend.build_reply(target, text)
            if kind is Kind.REACT and not backend.is_from_self(target):
                # The text for networks without reactions.
                message.body = emoji
                if message.is_group and target.frm is not None:
                    backend.prefix_groupchat_reply(message, target.frm)
            message.parent = target
            named = "" if target.ref is None and emoji else target_of(target)
        else:
            named = target_of(target)
            if named.network not in self._networks.backends:
                raise ValueError(f"unknown network {named.network!r}; known: {', '.join(self._networks.backends)}")
            backend = self._networks.backends[named.network]
            message = Message(text, backend.bot_identifier, self._places.get(named) if isinstance(named, str) else None)
        if kind in (Kind.EDIT, Kind.DELETE):
            self._changed(named)
        message.mentions = mentions
        wanted = Wanted(kind, named, message.thread, emoji)
        return self._accepted(backend.perform(message, wanted), message)

    def change_reaction(self, message: Message, kind: Kind, reaction: str) -> None:
        backend = self._networks.of(message)
        if own := getattr(backend, "add_reaction" if kind is Kind.REACT else "remove_reaction", None):
            own(message, reaction)
        elif message.ref is not None:
            self.change(message, kind, emoji=reaction)
        else:
            raise NotImplementedError(f"{backend.network} has no reactions: {backend.mode} doesn't know them")

    def send_stream_request(self, user: Identifier, *details: Any, **more: Any) -> Stream | None:
        backend = self._networks.of(user)
        if offer := getattr(backend, "send_stream_request", None):
            stream: Stream | None = offer(user, *details, **more)
            return stream
        raise NotImplementedError(f"{backend.network} can't carry files: {backend.mode} has no streams")


def _read(file: File, name: str) -> tuple[bytes, str]:
    if isinstance(file, Path) and file.is_file():
        with file.open("rb") as opened:
            return _read(opened, name)
    if isinstance(file, (bytes, bytearray, memoryview)):
        content, found = bytes(file), ""
    elif read := getattr(file, "read", None):
        content, found = read(MOST_FILE + 1), getattr(file, "name", "")
    else:
        raise ValueError(f"send_file(): expected bytes, the Path of a file, or a binary file, not {file!r:.80}")
    if not isinstance(content, bytes):
        raise ValueError('send_file(): the file is open as text; open it with mode "rb"')
    # Some networks have it in the URL, and a longer one ends the connection each time.
    name = Path(name or (found if isinstance(found, str) else "")).name[-200:] or "file"
    if len(content) > MOST_FILE:
        raise ValueError(f"send_file(): {name} has more than {MOST_FILE:,} bytes; send a link to it instead")
    return content, name


async def restore_outboxes(
    store: OutboxStore,
    backends: Collection[Backend],
    notify: Notify,
    max_age: Callable[[str], float],
    now: Callable[[], float],
    log: Logger = _LOG,
    *,
    full: Sequence[str] | None = None,
) -> None:
    """Give each network the messages of an earlier run, or those of other processes, except for networks that are `full`. Those that are older than `max_age` of the
    network, in seconds, are dropped, and `notify` notifies administrators. Others of a network that isn't configured
    stay in the store, for example while `--network` replaces the networks."""
    waiting: dict[str, list[OutgoingMessage]] = {backend.network: [] for backend in backends}
    old: list[OutgoingMessage] = []
    for message in await store.lease(full):
        is_old = now() - message.accepted_at > max_age(message.network)
        (old if is_old else waiting.get(message.network, [])).append(message)
    for backend in backends:
        own = waiting[backend.network]
        if own and full is None:
            text = "{network}: {count} messages of an earlier run are sent first"
            log.info(text, network=backend.network, count=len(own))
        if full is None:
            backend.outbox.use_store(store)
        backend.outbox.take(own)
    for message in old:
        log.warn(
            "{network}: the message to {recipient} is older than OUTBOX_MAX_AGE and is not sent: {text}",
            network=message.network,
            recipient=truncated(message.recipient, 60),
            text=truncated(masker.part(message.body, 0, 500), 60),
        )
        reason = f"it was older than OUTBOX_MAX_AGE when the {'bot started' if full is None else 'owner took it'}"
        store.end(waiting_record(message)._replace(state=MessageState.DROPPED, at=now(), reason=reason))
    if old:
        what = "A message of an earlier run was" if len(old) == 1 else f"{len(old)} messages of an earlier run were"
        notify("old messages", f"{what} not sent within OUTBOX_MAX_AGE. The log has the recipients and texts.")
