"""Operations of the running bot, which the command line performs over its control socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from errklein.logs import escape
from errklein.service.control import control_address

_TIMEOUT = 300.0
"""The seconds that an operation may take."""


def perform(directory: Path, operation: str, *, seconds: float = _TIMEOUT, **arguments: object) -> Any:
    """Return the result of an operation of the bot that runs with this data directory, as values of JSON; see `service.control`.

    :param operation: The operation by its place in `bot.CoreHost`, such as "process.status".
    :param seconds: The time that it may take.
    :raises SystemExit: No bot runs, or it has refused or failed to perform the operation; with a message for the operator.
    """
    request = json.dumps({"operation": operation, "arguments": arguments}).encode()
    try:
        with control_address(directory) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(address)
            connection.sendall(request + b"\n")
            with connection.makefile("rb") as received:
                response = json.loads(received.readline() or b'{"error": "the bot has ended; see its log"}')
    except (FileNotFoundError, ConnectionRefusedError):
        raise SystemExit(f"errklein: the bot isn't running: start it first (no process uses {directory})") from None
    except OSError as error:
        raise SystemExit(f"errklein: the bot can't be reached in {directory}: {error}; run as the bot's user") from None
    if "error" in response:
        # Root may ask, and the bot's user answers.
        raise SystemExit("errklein: " + "\n".join(map(escape, response["error"].split("\n"))))
    return response["result"]
