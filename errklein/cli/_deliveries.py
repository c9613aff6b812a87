"""The command `errklein delivery`, which also works while the bot runs, since it doesn't lock the data directory."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from errklein.cli._argument_errors import Parser
from errklein.cli._records import finished, open_data, print_lines, shell_user
from errklein.database import Access, DatabaseError
from errklein.journal import DATABASE, JournalArchive, open_archive
from errklein.journal.operations import WebhookOperations
from errklein.logs import escape
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import InvalidWords, UnknownWebhook, parse_ids
from errklein.webhooks.explained import BotState
from errklein.webhooks.exported import as_values, body_text, details, summary

POLL = 0.1
"""The seconds between two looks at replayed deliveries."""

_WAITING = (DeliveryState.RECEIVED, DeliveryState.RUNNING)


def work_on_deliveries(known: argparse.Namespace) -> int:
    """Run `errklein delivery` for the bot of a configuration, and return the exit status."""
    config, data = open_data(known)
    if config.STORAGE == "Memory":
        raise SystemExit(
            "errklein: STORAGE is 'Memory', so only the running bot has its deliveries; use !delivery list"
        )
    try:
        access = Access.SHARE if known.what == "replay" else Access.READ
        with closing(open_archive(data.path / DATABASE, access)) as archive:
            return run_action(archive, known, data.is_used)
    except (UnknownWebhook, DatabaseError) as error:
        raise SystemExit(f"errklein: {error}") from None
    except InvalidWords as error:
        parser: Parser = known.parser
        parser.error(str(error))


def run_action(archive: JournalArchive, known: argparse.Namespace, is_running: Callable[[], bool]) -> int:
    """Run list, show, replay or export, and return the exit status.

    :param known: The parsed command line.
    :param is_running: Returns whether a bot uses the data directory.
    :raises DatabaseError: The deliveries can't be read or written.
    :raises InvalidWords: The words of list or replay are invalid.
    """
    operations = WebhookOperations(archive, archive.messages, archive, BotState())
    if known.what == "list":
        return _list(operations, [*known.words, *(["grouped"] if known.grouped else [])], known.json)
    if known.what == "replay":
        words = [*known.words, *(["force"] if known.force else [])]
        return _replay(operations, archive, words, known.wait, is_running)
    if known.what == "export":
        return _each(operations, known.ids, lambda delivery: _export(delivery, Path(known.directory)))
    return _each(operations, known.ids, _print_json if known.json else _print_details)


def _list(operations: WebhookOperations, words: Sequence[str], as_json: bool) -> int:
    page = finished(operations.deliveries(shell_user(), words))
    if as_json:
        for delivery in page.deliveries:
            _print_json(delivery)
        return 0
    print_lines(page.lines())
    if page.older:
        _complain(f"older ones: errklein delivery list {page.older}")
    return 0


def _replay(
    operations: WebhookOperations,
    archive: JournalArchive,
    words: Sequence[str],
    wait: float,
    is_running: Callable[[], bool],
) -> int:
    """Let deliveries run, and print their outcome, or what they wait for. Return 0 if each has succeeded, or can't run yet.

    Those that the source has repeated are skipped, which is a failure only if they were given by their ids.
    """
    replay = finished(operations.replay(shell_user(), words))
    for number, later in replay.repeated.items():
        _complain(f"{number} is skipped: the source has repeated it as {later}; --force replays it, too")
    for number in replay.others:
        _complain(f"{number} can't be replayed: it is unknown, due or running already, or its body isn't stored")
    succeeded = not replay.others and not (replay.repeated and parse_ids(words))
    before = {one.id: one.attempt for one in replay.begun}
    left = list(before)
    if left and not is_running():
        print_lines([f"no bot is running; after its next start, it runs {', '.join(map(str, left))}"])
        return 0 if succeeded else 1
    end = time.monotonic() + wait
    while left:
        found = {one.id: one for one in archive.find(DeliveryQuery(ids=left, limit=len(left)))}
        now = [found[number] for number in left if number in found]
        # The bot takes the request later, so the states may still be those of the attempt before.
        ended = [one for one in now if one.attempt > before[one.id] and one.state not in _WAITING]
        print_lines(summary(delivery) for delivery in ended)
        succeeded = succeeded and all(delivery.state is DeliveryState.DONE for delivery in ended)
        left = [one.id for one in now if one not in ended]
        if left and time.monotonic() >= end:
            _complain(f"not finished after {wait:g} s: {', '.join(map(str, left))}")
            return 1
        time.sleep(POLL if left else 0)
    return 0 if succeeded else 1


def _each(operations: WebhookOperations, ids: Sequence[int], work: Callable[[StoredDelivery], bool | None]) -> int:
    """Call `work` with each delivery. Return 1 if one is unknown, or if `work` returns False for one."""
    status = 0
    for number in ids:
        delivery = finished(operations.delivery(shell_user(), number))
        if delivery is None:
            _complain(f"there is no delivery {number}")
        if delivery is None or work(delivery) is False:
            status = 1
    return status


def _print_details(delivery: StoredDelivery) -> None:
    description, body = body_text(delivery.request) if delivery.request else ("", "")
    print_lines([*details(delivery), *([description] if description else ()), *body.splitlines()])


def _print_json(delivery: StoredDelivery) -> None:
    sys.stdout.write(f"{json.dumps(as_values(delivery))}\n")


def _export(delivery: StoredDelivery, directory: Path) -> bool:
    path = directory / f"delivery-{delivery.id}.json"
    text = json.dumps(as_values(delivery), indent=2, ensure_ascii=False)
    if any(line != escape(line) for line in text.split("\n")):
        # Someone may show the file in a terminal.
        text = json.dumps(as_values(delivery), indent=2)
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"{text}\n")
    except OSError as error:
        _complain(f"{path}: {error.strerror}")
        return False
    print_lines([str(path)])
    if delivery.request is None or delivery.request.body is None:
        _complain(f"{path}: the body isn't stored, so the delivery can't be replayed")
    return True


def _complain(line: str) -> None:
    sys.stderr.write(f"errklein: {escape(line)}\n")
