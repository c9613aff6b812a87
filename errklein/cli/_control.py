"""Commands that the running bot performs, which is asked over its control socket, or by its status endpoint."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from getpass import getpass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from errklein.cli._parser import complain, print_lines
from errklein.listening import identify
from errklein.logs import escape
from errklein.ports.nodes import Node
from errklein.service import errors_end_program, load_with_options
from errklein.service.control import control_address, control_sockets
from errklein.text import to_plain
from errklein.webhooks.options import RoomWebhook

_TIMEOUT = 300.0  # the seconds that an operation may take


def perform(directory: Path, operation: str, *, seconds: float = _TIMEOUT, **arguments: object) -> Any:
    """Return the result of an operation of the bot that runs with this data directory, as values of JSON; see
    `service.control`. The operation is named by its place in `bot.CoreHost`. Raises SystemExit with a message for the
    operator if no bot runs, or it has refused or failed to perform the operation in this time."""
    by = os.environ.get("SUDO_USER", "")
    request = json.dumps({"operation": operation, "arguments": arguments, "sudo_by": by}).encode()
    response: dict[str, Any] = {}
    try:
        for name in control_sockets(directory):
            with control_address(directory, name) as address, socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(seconds)
                with suppress(FileNotFoundError, ConnectionRefusedError):
                    connection.connect(address)
                    connection.sendall(request + b"\n")
                    with connection.makefile("rb") as received:
                        response = json.loads(received.readline() or b'{"error": "the bot has ended; see its log"}')
                    if "elsewhere" not in response:
                        break
    except OSError as error:
        raise SystemExit(f"errklein: the bot can't be reached in {directory}: {error}; run as the bot's user") from None
    if "elsewhere" in response:
        where = escape(response["elsewhere"])
        raise SystemExit(f"errklein: {where} owns the plugins, and no process here; run the command there")
    if not response:
        raise SystemExit(f"errklein: the bot isn't running: start it first (no process uses {directory})")
    if "error" in response:
        # Root may ask, and the bot's user answers.
        raise SystemExit("errklein: " + "\n".join(map(escape, response["error"].split("\n"))))
    return response["result"]


class RunningBot(NamedTuple):
    """The replays and pauses of the bot that runs with a data directory; a `journal.operations.Queue`."""

    directory: Path

    def replay(self, ids: Sequence[int], force: bool, user: str, spacing: float = 0.0) -> Sequence[int]:
        rate = ["rate", f"{round(3600 / spacing)}/h"] if spacing else []
        words = [*map(str, ids), *rate, *(["force"] if force else [])]
        return (
            [number for number, *_ in perform(self.directory, "webhooks.replay", words=words)["begun"]] if ids else []
        )

    def set_paused(self, webhook: str, paused: bool) -> None:
        perform(self.directory, "webhooks.pause" if paused else "webhooks.resume", webhook=webhook)


def directory_of(known: argparse.Namespace) -> Path:
    """Return the data directory of the options --config and --data-dir. With --data-dir, no configuration is read."""
    with errors_end_program():
        return Path(known.data_dir or load_with_options(known.config).BOT_DATA_DIR)


def reload_config(known: argparse.Namespace) -> int:
    from errklein.config.review import Change

    option = "--force" if known.force else ""
    changes = perform(directory_of(known), "process.reload_config", option=option)
    return print_lines([Change(**one).line() for one in changes] or ["Nothing has changed."])


def list_nodes(known: argparse.Namespace) -> int:
    status = perform(directory_of(known), "process.status")
    if status["nodes_unknown"]:
        return complain([status["nodes_unknown"]])
    nodes = [Node(*fields) for fields in status["nodes"]]
    return print_lines([one.line() for one in nodes] or ["The bot is one process."])


def drain(known: argparse.Namespace) -> int:
    node = Node(*perform(directory_of(known), "process.drain", node=known.node))
    return print_lines([f"{node.name} takes no new work, and stops in some seconds"])


def forget_person(known: argparse.Namespace) -> int:
    from errklein.bot.persons import ForgottenPerson

    directory = directory_of(known)
    if known.deliveries:
        done = perform(directory, "persons.forget_deliveries", person=known.person, ids=known.deliveries)
        return print_lines(done)
    found = ForgottenPerson(**perform(directory, "persons.forget", person=known.person))
    return print_lines(found.lines(f"errklein person forget {shlex.quote(known.person)}"))


CHANGES: Mapping[str, tuple[str, Sequence[str], str]] = {
    "new": ("create", ("source", "room", "name", "signed", "expires"), "made {name} for {room}"),
    "set": ("change", ("name", "option", "value"), "changed {option} of {name}"),
    "rotate": ("rotate", ("name",), "rotated {name}; what was valid before stays so for a day"),
    "move": ("move", ("name", "room"), "moved {name} to {room}"),
    "remove": ("remove", ("name",), "removed {name}"),
}
"""An operation of `bot.room_webhooks`, its parameters, and a line about what it has done, by the name of the action."""


def change_webhook(known: argparse.Namespace) -> int:
    operation, parameters, done = CHANGES[known.what]
    directory = directory_of(known)
    if known.what == "set":
        if (known.option == "secret") == (known.value is not None):
            known.parser.error("a secret is read from standard input" if known.value else "the value is missing")
        if known.option == "secret":
            known.value = getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    given = {name: getattr(known, name) for name in parameters}
    made = perform(directory, f"room_webhooks.{operation}", **given) or {}
    lines = [done.format(**{**given, **made.get("webhook", made)})]
    if "url" in made:
        from errklein.bot import MadeWebhook

        webhook = RoomWebhook(**made["webhook"])
        lines += to_plain("\n".join(MadeWebhook(**{**made, "webhook": webhook}).lines())).splitlines()
    # The secrets are what this is for.
    return print_lines(lines, mask=str)


def print_console_link(known: argparse.Namespace) -> int:
    return print_lines([perform(directory_of(known), "console.invite")])


HEALTH_TIMEOUT = 5.0  # the seconds to wait for the response of the status endpoint. The reactor of a bot that works needs some milliseconds.

_LOCAL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # where to connect to for endpoints on all addresses


def check_health(known: argparse.Namespace) -> int:
    endpoint = known.status
    if endpoint is None:
        with errors_end_program():
            endpoint = load_with_options(known.config).setting("STATUS")
    if endpoint is None:
        return complain(["STATUS isn't set, so the bot has no endpoint to ask; set it, or name one with --status"])
    try:
        with closing(HTTPConnection("localhost")) as connection:
            connection.sock = _connect(endpoint)
            connection.request("GET", "/health")
            response = connection.getresponse()
            text = response.read(1000).decode("utf-8", "replace").strip()
    except ValueError as error:
        return complain([f"{endpoint or repr(endpoint)} can't be asked: {error}"])
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return complain([f"no response from {endpoint}: {reason}"])
    if response.status != 200:
        return complain([f"{endpoint} responds with {response.status}: {text}"])
    return print_lines([f"{endpoint}: {text}"])


def _connect(endpoint: str) -> socket.socket:
    kind, arguments = identify(endpoint)
    named = dict(arguments)
    if kind in ("tcp", "tcp6") and named.get("port", "").isdigit():
        host = named.get("interface", "" if kind == "tcp" else "::")
        return socket.create_connection((_LOCAL.get(host, host), int(named["port"])), HEALTH_TIMEOUT)
    if kind == "unix" and "address" in named:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(HEALTH_TIMEOUT)
        try:
            connection.connect(named["address"])
        except OSError:
            connection.close()
            raise
        return connection
    raise ValueError("expected an endpoint such as tcp:9141:interface=127.0.0.1 or unix:/run/errklein/status.sock")
