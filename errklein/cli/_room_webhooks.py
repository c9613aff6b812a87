"""`errklein webhook new`, `set`, `rotate`, `move` and `remove`, which the running bot performs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from getpass import getpass
from pathlib import Path

from errklein.cli._control import perform
from errklein.cli._output import print_lines
from errklein.logs import escape
from errklein.service import errors_end_program, load_with_options
from errklein.text import to_plain


def change_webhook(known: argparse.Namespace) -> int:
    """Let the running bot make, change or remove a webhook of a room, and return the exit status."""
    with errors_end_program():
        directory = Path(known.data_dir or load_with_options(known.config).BOT_DATA_DIR)
    if known.what == "set":
        value = _secret() if known.option == "secret" else known.value
        if value is None or (known.option == "secret" and known.value is not None):
            known.parser.error("a secret is read from standard input" if known.value else "the value is missing")
        perform(directory, "room_webhooks.change", name=known.name, option=known.option, value=value)
        return print_lines([f"changed {known.option} of {known.name}"])
    if known.what == "move":
        moved = perform(directory, "room_webhooks.move", name=known.name, room=known.room)
        return print_lines([f"moved {known.name} to {moved['room']}"])
    if known.what == "remove":
        perform(directory, "room_webhooks.remove", name=known.name)
        return print_lines([f"removed {known.name}"])
    if known.what == "rotate":
        made = perform(directory, "room_webhooks.rotate", name=known.name)
        done = f"rotated {known.name}; what was valid before stays so for a day"
    else:
        given = {name: getattr(known, name) for name in ("source", "room", "name", "signed", "expires")}
        made = perform(directory, "room_webhooks.create", **given)
        done = f"made {made['webhook']['name']} for {made['webhook']['room']}"
    secret = [f"Secret: {made['secret']}"] if made["secret"] else []
    setup = to_plain("\n".join(made["setup"])).splitlines()
    return _print_secrets([done, f"URL: {made['url']}", *secret, *setup, *([made["reach"]] if made["reach"] else [])])


def _secret() -> str:
    return getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


def _print_secrets(lines: Iterable[str]) -> int:
    """Print lines without masking their secrets, which are what they are for."""
    sys.stdout.write("".join(f"{escape(line)}\n" for line in lines))
    return 0
