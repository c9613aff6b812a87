"""`errklein webhook new`, `set`, `rotate`, `move` and `remove`, which the running bot performs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from getpass import getpass
from typing import NamedTuple

from errklein.cli._control import directory_of, perform
from errklein.logs import escape
from errklein.text import to_plain


class _Change(NamedTuple):
    """An operation of `bot.room_webhooks`, its parameters, and a line about what it has done."""

    operation: str
    parameters: Sequence[str]
    done: str


CHANGES: Mapping[str, _Change] = {
    "new": _Change("create", ("source", "room", "name", "signed", "expires"), "made {name} for {room}"),
    "set": _Change("change", ("name", "option", "value"), "changed {option} of {name}"),
    "rotate": _Change("rotate", ("name",), "rotated {name}; what was valid before stays so for a day"),
    "move": _Change("move", ("name", "room"), "moved {name} to {room}"),
    "remove": _Change("remove", ("name",), "removed {name}"),
}
"""The changes by the name of the action."""


def change_webhook(known: argparse.Namespace) -> int:
    change = CHANGES[known.what]
    directory = directory_of(known)
    if known.what == "set":
        if (known.option == "secret") == (known.value is not None):
            known.parser.error("a secret is read from standard input" if known.value else "the value is missing")
        if known.option == "secret":
            known.value = getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    given = {name: getattr(known, name) for name in change.parameters}
    made = perform(directory, f"room_webhooks.{change.operation}", **given) or {}
    lines = [change.done.format(**{**given, **made.get("webhook", made)})]
    if "url" in made:
        secret = [f"Secret: {made['secret']}"] if made["secret"] else []
        setup = to_plain("\n".join(made["setup"])).splitlines()
        lines += [f"URL: {made['url']}", *secret, *setup, *filter(None, [made["reach"]])]
        if not (made["secret"] or made["webhook"]["token"]):
            lines.append(f"Then set the secret with: errklein webhook set {made['webhook']['name']} secret")
    # Not masked: the secrets are what this is for.
    sys.stdout.write("".join(f"{escape(line)}\n" for line in lines))
    return 0
