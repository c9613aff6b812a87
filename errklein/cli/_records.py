"""What a bot of another process, or one that doesn't run, has stored about deliveries, webhooks and rooms; and `errklein why`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from errklein.chat.outgoing import MessageRecord, Wait
from errklein.commands.operations import Actor
from errklein.config import Config
from errklein.database import DatabaseError
from errklein.journal import DATABASE, JournalArchive, open_archive
from errklein.journal.operations import WebhookOperations
from errklein.logs import escape
from errklein.service import DataDirectory, errors_end_program, load_with_options, user_name
from errklein.text.masking import masker
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import InvalidWords
from errklein.webhooks.precedence import RouteInfo

T = TypeVar("T")


def explain(known: argparse.Namespace) -> int:
    """Run `errklein why` for the bot of a configuration, and return the exit status."""
    config, data = open_data(known)
    if config.STORAGE == "Memory":
        raise SystemExit("errklein: STORAGE is 'Memory', so only the running bot can answer; use !why")
    try:
        with closing(open_archive(data.path / DATABASE)) as archive:
            operations = operations_on(archive, config, data)
            explanations = finished(operations.why(shell_user(), known.subject))
            print_lines(" ".join(line.split()) for one in explanations for line in one.lines())
    except (InvalidWords, DatabaseError) as error:
        raise SystemExit(f"errklein: {error}") from None
    return 0


def open_data(known: argparse.Namespace, *, missing_ok: bool = False) -> tuple[Config, DataDirectory]:
    """Return the configuration and the data directory that the options name; end the program if it can't be read.

    :param missing_ok: Whether the bot may not have been started yet.
    """
    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir)
        data = DataDirectory(Path(config.BOT_DATA_DIR))
        (data.check_access if missing_ok and data.is_own() else data.check_readable)()
    return config, data


def operations_on(
    archive: JournalArchive | None, config: Config, data: DataDirectory, routes: Sequence[RouteInfo] = ()
) -> WebhookOperations:
    """Return the operations on the file of a journal; without one, nothing is recorded.

    :param routes: The webhooks of the plugins.
    """
    site = f"{config.PUBLIC_URL}{config.WEBHOOK_BASE_PATH}"
    return WebhookOperations(StoredRecords(archive, list(config.networks), data.is_used(), site, routes))


def shell_user() -> Actor:
    """Return the user who gives the command."""
    user, by = user_name(os.getuid()), os.environ.get("SUDO_USER")
    return Actor(f"{user} (sudo by {by})" if by else user, reads_details=True)


def finished(operation: Coroutine[object, None, T]) -> T:
    """Return the result of an operation on stored records, which never waits."""
    try:
        operation.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("the operation waits")


def print_lines(lines: Iterable[str]) -> int:
    """Print the lines with masked secrets, and return the exit status 0."""
    sys.stdout.write("".join(f"{escape(masker(line))}\n" for line in lines))
    return 0


class StoredRecords:
    """Implements `webhooks.explained.Records`. The methods wait for the disk."""

    refused: Mapping[str, StoredDelivery] = {}

    def __init__(
        self,
        archive: JournalArchive | None,
        networks: Collection[str] = (),
        is_running: bool = False,
        site: str = "",
        routes: Sequence[RouteInfo] = (),
    ) -> None:
        self.networks = networks
        self.site = site
        self.paused: Collection[str] = archive.paused() if archive is not None else ()
        self._routes = routes
        self._archive = archive
        self._asked = Wait(
            "only the running bot knows why: ask it with !why, or see `errklein network check`"
            if is_running
            else "no bot is running"
        )

    def now(self) -> float:
        """Return the Unix time."""
        return time.time()

    def routes(self) -> Sequence[RouteInfo]:
        """Return the webhooks of the plugins that were loaded."""
        return self._routes

    def responses(self, webhook: str) -> None:
        """Return None, since they are counted by the running bot."""

    async def get(self, id: int) -> StoredDelivery | None:
        """See `Journal.get`."""
        return self._archive.get(id) if self._archive is not None else None

    async def find(self, query: DeliveryQuery) -> Sequence[StoredDelivery]:
        """See `Journal.find`."""
        return self._archive.find(query) if self._archive is not None else ()

    async def counted(self, query: DeliveryQuery) -> int:
        """See `Journal.counted`."""
        return self._archive.counted(query) if self._archive is not None else 0

    async def webhooks(self) -> Sequence[str]:
        """See `Journal.webhooks`."""
        return self._archive.webhooks() if self._archive is not None else ()

    async def messages(self, delivery: int = 0, recipient: str = "") -> Sequence[MessageRecord]:
        """See `OutboxStore.find`."""
        return self._archive.messages(delivery, recipient) if self._archive is not None else ()

    async def replay(self, ids: Sequence[int], force: bool, user: str) -> Sequence[int]:
        """See `JournalArchive.replay`."""
        return self._archive.replay(ids, force, user) if self._archive is not None else ()

    async def pause(self, webhook: str, paused: bool) -> None:
        """See `JournalArchive.pause`."""
        if self._archive is not None:
            self._archive.pause(webhook, paused)

    async def problem(self) -> str:
        """Return "", since the running bot writes the journal."""
        return ""

    def webhook_status(self, webhook: str) -> Wait:
        """Return whether a webhook is paused."""
        return Wait(
            "paused: requests are accepted and wait for `webhook resume`" if webhook in self.paused else "not paused"
        )

    def room_status(self, network: str, name: str) -> Wait:
        """Return who knows whether the bot is in a room."""
        return self._asked

    def wait_of_delivery(self, delivery: StoredDelivery) -> Wait:
        """Return what a delivery that has not ended waits for, or who knows that."""
        if delivery.webhook in self.paused:
            return Wait("the webhook is paused")
        if delivery.state is DeliveryState.RETRY and delivery.due_at > time.time():
            return Wait("the attempt has failed", again_at=delivery.due_at)
        return self._asked

    def wait_of_message(self, record: MessageRecord) -> Wait:
        """Return who knows what a message waits for."""
        return self._asked
