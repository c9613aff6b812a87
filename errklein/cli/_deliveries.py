"""The command `errklein delivery`, which also works while the bot runs, since it doesn't lock the data directory."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from errklein.cli._argument_errors import Parser
from errklein.database import Access, DatabaseError
from errklein.journal import DATABASE, JournalArchive, open_archive
from errklein.logs import escape
from errklein.service import DataDirectory, errors_end_program, load_with_options, user_name
from errklein.text.masking import masker
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import (
    InvalidWords,
    ReplayWords,
    UnknownWebhook,
    counted_query,
    next_page,
    parse_list,
    parse_replay,
)
from errklein.webhooks.exported import as_values, body_text, details, grouped, not_recorded, summary

POLL = 0.1
"""The seconds between two looks at replayed deliveries."""

_WAITING = (DeliveryState.RECEIVED, DeliveryState.RUNNING)


def work_on_deliveries(known: argparse.Namespace) -> int:
    """Run `errklein delivery` for the bot of a configuration, and return the exit status."""
    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir)
        data = DataDirectory(Path(config.BOT_DATA_DIR))
        data.check_readable()
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
    if known.what == "list":
        return _list(archive, [*known.words, *(["grouped"] if known.grouped else [])], known.json)
    if known.what == "replay":
        words = [*known.words, *(["force"] if known.force else [])]
        return _replay(archive, parse_replay(words, time.time(), {}, archive.webhooks()), known.wait, is_running)
    if known.what == "export":
        return _each(archive, known.ids, lambda delivery: _export(delivery, Path(known.directory)))
    return _each(archive, known.ids, _print_json if known.json else _print_details)


def _list(archive: JournalArchive, words: Sequence[str], as_json: bool) -> int:
    query, is_grouped = parse_list(words, time.time(), {}, archive.webhooks())
    found = archive.find(query)
    if as_json:
        for delivery in found:
            _print_json(delivery)
        return 0
    lines = grouped(found) if is_grouped else map(summary, found)
    _print([*lines, *not_recorded(archive.counted(counted_query(query, found)))])
    if len(found) == query.limit:
        _complain(f"older ones: errklein delivery list {next_page(words, found[-1].id)}")
    return 0


def _replay(archive: JournalArchive, given: ReplayWords, wait: float, is_running: Callable[[], bool]) -> int:
    """Let deliveries run, and print their outcome, or what they wait for. Return 0 if each has succeeded, or can't run yet.

    Those that the source has repeated are skipped, which is a failure only if they were given by their ids.
    """
    ids = given.ids or [delivery.id for delivery in archive.find(given.query)]
    before = _current(archive, ids)
    left = list(archive.replay(ids, given.force, _user()))
    refused = []
    for number in ids:
        one = before.get(number)
        if number in left:
            continue
        if one is not None and one.superseded_by and not given.force:
            _complain(
                f"{number} is skipped: the source has repeated it as {one.superseded_by}; --force replays it, too"
            )
            refused += [number] if given.ids else []
        else:
            _complain(f"{number} can't be replayed: it is unknown, due or running already, or its body isn't stored")
            refused.append(number)
    if left and not is_running():
        _print([f"no bot is running; after its next start, it runs {', '.join(map(str, left))}"])
        return 1 if refused else 0
    succeeded = not refused
    end = time.monotonic() + wait
    while left:
        now = _current(archive, left).values()
        # The bot takes the request later, so the states may still be those of the attempt before.
        ended = [one for one in now if one.attempt > before[one.id].attempt and one.state not in _WAITING]
        _print(summary(delivery) for delivery in ended)
        succeeded = succeeded and all(delivery.state is DeliveryState.DONE for delivery in ended)
        left = [one.id for one in now if one not in ended]
        if left and time.monotonic() >= end:
            _complain(f"not finished after {wait:g} s: {', '.join(map(str, left))}")
            return 1
        time.sleep(POLL if left else 0)
    return 0 if succeeded else 1


def _current(archive: JournalArchive, ids: Sequence[int]) -> dict[int, StoredDelivery]:
    """Return the deliveries that are known, in this order, without their requests, which may be large."""
    found = {one.id: one for one in archive.find(DeliveryQuery(ids=ids, limit=len(ids)))}
    return {number: found[number] for number in ids if number in found}


def _user() -> str:
    """Return who gives the command, for the bot's log."""
    user, by = user_name(os.getuid()), os.environ.get("SUDO_USER")
    return f"{user} (sudo by {by})" if by else user


def _each(archive: JournalArchive, ids: Sequence[int], work: Callable[[StoredDelivery], bool | None]) -> int:
    """Call `work` with each delivery. Return 1 if one is unknown, or if `work` returns False for one."""
    status = 0
    for number in ids:
        delivery = archive.get(number)
        if delivery is None:
            _complain(f"there is no delivery {number}")
        if delivery is None or work(delivery) is False:
            status = 1
    return status


def _print_details(delivery: StoredDelivery) -> None:
    description, body = body_text(delivery.request) if delivery.request else ("", "")
    _print([*details(delivery), *([description] if description else ()), *body.splitlines()])


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
    _print([str(path)])
    if delivery.request is None or delivery.request.body is None:
        _complain(f"{path}: the body isn't stored, so the delivery can't be replayed")
    return True


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{escape(masker(line))}\n" for line in lines))


def _complain(line: str) -> None:
    sys.stderr.write(f"errklein: {escape(line)}\n")
