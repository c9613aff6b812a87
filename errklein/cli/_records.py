"""What a bot of another process, or one that doesn't run, has stored about deliveries, webhooks and rooms; and `errklein why`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from errklein.commands.operations import Actor
from errklein.config import Config
from errklein.database import DatabaseError
from errklein.journal import DATABASE, JournalArchive, open_archive
from errklein.journal.operations import WebhookOperations
from errklein.logs import escape
from errklein.service import DataDirectory, errors_end_program, load_with_options, user_name
from errklein.text.masking import masker
from errklein.webhooks.delivery_words import InvalidWords
from errklein.webhooks.explained import BotState
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
    archive: JournalArchive, config: Config, data: DataDirectory, routes: Sequence[RouteInfo] = ()
) -> WebhookOperations:
    """Return the operations on the file of a journal.

    :param routes: The webhooks of the plugins.
    """
    site = f"{config.PUBLIC_URL}{config.WEBHOOK_BASE_PATH}"
    asked = "only the running bot knows why: ask it with !why, or see `errklein network check`"
    unknown = asked if data.is_used() else "no bot is running"
    state = BotState(list(config.networks), archive.paused(), site, unknown, routes)
    return WebhookOperations(archive, archive.messages, archive, state)


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
