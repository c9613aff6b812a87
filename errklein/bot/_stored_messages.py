"""Messages that an earlier process has accepted and not sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.logger import Logger

from errklein.chat.outgoing import OutgoingMessage
from errklein.ports import Backend, Notify, OutboxStore, QueuesMessages
from errklein.text import truncated
from errklein.text.masking import masker


class StoredMessages:
    """Gives each network the store of messages, and those that are waiting in it.

    :param notify: Notifies administrators of messages that are dropped.
    :param max_age: Returns OUTBOX_MAX_AGE of a network, in seconds.
    :param now: Returns the Unix time.
    """

    log = Logger()

    def __init__(
        self,
        store: OutboxStore,
        backends: Collection[Backend],
        notify: Notify,
        max_age: Callable[[str], float],
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._backends = backends
        self._notify = notify
        self._max_age = max_age
        self._now = now

    async def restore(self) -> None:
        """Pass the messages to their networks. Those that are too old are dropped.

        Others of a network that isn't configured stay in the store, for example while `--backend` replaces the networks.
        """
        outboxes = {backend.network: backend for backend in self._backends if isinstance(backend, QueuesMessages)}
        waiting: dict[str, list[OutgoingMessage]] = {network: [] for network in outboxes}
        old: list[OutgoingMessage] = []
        for message in await self._store.load():
            is_old = self._now() - message.accepted_at > self._max_age(message.network)
            (old if is_old else waiting.get(message.network, [])).append(message)
        for network, backend in outboxes.items():
            if waiting[network]:
                text = "{network}: {count} messages of an earlier run are sent first"
                self.log.info(text, network=network, count=len(waiting[network]))
            backend.use_store(self._store, waiting[network])
        self._drop(old)

    def _drop(self, old: Sequence[OutgoingMessage]) -> None:
        if not old:
            return
        for message in old:
            self.log.warn(
                "{network}: the message to {recipient} is older than OUTBOX_MAX_AGE and is not sent: {text}",
                network=message.network,
                recipient=truncated(message.recipient, 60),
                text=truncated(masker.part(message.body, 0, 500), 60),
            )
        self._store.remove([message.id for message in old])
        what = "A message of an earlier run was" if len(old) == 1 else f"{len(old)} messages of an earlier run were"
        self._notify("old messages", f"{what} not sent within OUTBOX_MAX_AGE. The log has the recipients and texts.")
