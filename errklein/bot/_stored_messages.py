"""Messages that an earlier process has accepted and not sent."""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.logger import Logger

from errklein.chat.outgoing import MessageState, OutgoingMessage, waiting_record
from errklein.ports.chat import Backend, QueuesMessages
from errklein.ports.notices import Notify
from errklein.ports.outbox import OutboxStore
from errklein.text import truncated
from errklein.text.masking import masker

_LOG = Logger(namespace="errklein.bot")


async def restore_messages(
    store: OutboxStore,
    backends: Collection[Backend],
    notify: Notify,
    max_age: Callable[[str], float],
    now: Callable[[], float],
    log: Logger = _LOG,
) -> None:
    """Give each network the store of messages, and those that are waiting in it. Those that are too old are dropped.

    Others of a network that isn't configured stay in the store, for example while `--network` replaces the networks.

    :param notify: Notifies administrators of messages that are dropped.
    :param max_age: Returns OUTBOX_MAX_AGE of a network, in seconds.
    :param now: Returns the Unix time.
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
        backend.use_store(store, waiting[network])
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
