"""The command `errklein why`, which answers from the journal in the data directory, also while the bot runs."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from errklein.chat.outgoing import MessageRecord, Wait
from errklein.database import DatabaseError
from errklein.journal import DATABASE, JournalArchive, open_archive
from errklein.logs import escape
from errklein.service import DataDirectory, errors_end_program, load_with_options
from errklein.text.masking import masker
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import InvalidWords
from errklein.webhooks.explained import Explainer


def explain(known: argparse.Namespace) -> int:
    """Run `errklein why` for the bot of a configuration, and return the exit status."""
    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir)
        data = DataDirectory(Path(config.BOT_DATA_DIR))
        data.check_readable()
    if config.STORAGE == "Memory":
        raise SystemExit("errklein: STORAGE is 'Memory', so only the running bot can answer; use !why")
    try:
        with closing(open_archive(data.path / DATABASE)) as archive:
            print_answers(archive, known.subject, list(config.networks), data.is_used())
    except (InvalidWords, DatabaseError) as error:
        raise SystemExit(f"errklein: {error}") from None
    return 0


def print_answers(archive: JournalArchive, subject: str, networks: Sequence[str], is_running: bool) -> None:
    """Print the lines of `answers_of`."""
    lines = answers_of(archive, subject, networks, is_running)
    sys.stdout.write("".join(f"{escape(masker(' '.join(line.split())))}\n" for line in lines))


def answers_of(archive: JournalArchive, subject: str, networks: Sequence[str], is_running: bool) -> list[str]:
    """Return what the journal knows about the id of a delivery, a room, a webhook, or the last "refused" request, as lines.

    :param networks: The names of the networks.
    :param is_running: Whether a bot uses the data directory.
    :raises DatabaseError: The journal can't be read.
    :raises InvalidWords: There is no such thing.
    """
    records = _Records(archive)
    present = _Present(archive.paused(), networks, is_running)
    answers = asyncio.run(Explainer(records, records.messages, present, time.time()).answers(subject))
    return [line for answer in answers for line in answer.lines()]


class _Records:
    """Implements `webhooks.explained.Records`. The methods wait for the disk."""

    def __init__(self, archive: JournalArchive) -> None:
        self._archive = archive

    async def get(self, id: int) -> StoredDelivery | None:
        return self._archive.get(id)

    async def find(self, query: DeliveryQuery) -> Sequence[StoredDelivery]:
        return self._archive.find(query)

    async def webhooks(self) -> Sequence[str]:
        return self._archive.webhooks()

    async def messages(self, delivery: int = 0, recipient: str = "") -> Sequence[MessageRecord]:
        return self._archive.messages(delivery, recipient)


class _Present:
    """Implements `webhooks.explained.Present` for a bot in another process, or none."""

    webhooks: Mapping[str, str] = {}
    refused: Mapping[str, StoredDelivery] = {}

    def __init__(self, paused: Collection[str], networks: Collection[str], is_running: bool) -> None:
        self.networks = networks
        self._paused = paused
        self._asked = Wait(
            "only the running bot knows why: ask it with !why, or see `errklein network check`"
            if is_running
            else "no bot is running"
        )

    def webhook_status(self, webhook: str) -> Wait:
        return Wait(
            "paused: requests are accepted and wait for `webhook resume`" if webhook in self._paused else "not paused"
        )

    def room_status(self, network: str, name: str) -> Wait:
        return self._asked

    def wait_of_delivery(self, delivery: StoredDelivery) -> Wait:
        if delivery.webhook in self._paused:
            return Wait("the webhook is paused")
        if delivery.state is DeliveryState.RETRY and delivery.due_at > time.time():
            return Wait("the attempt has failed", again_at=delivery.due_at)
        return self._asked

    def wait_of_message(self, record: MessageRecord) -> Wait:
        return self._asked
