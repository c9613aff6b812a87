"""The command `errklein healthcheck`, which asks the status endpoint of a running bot."""

from __future__ import annotations

import argparse
import socket
from contextlib import closing
from http.client import HTTPConnection, HTTPException

from errklein.cli._output import complain, print_lines
from errklein.listening import identify

TIMEOUT = 5.0  # the seconds to wait for the response. The reactor of a bot that works needs some milliseconds.

_LOCAL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""The addresses to connect to for endpoints on all addresses."""


def check_health(known: argparse.Namespace) -> int:
    """Run `errklein healthcheck`: print one line, and return 0 if the bot responds to /health."""
    endpoint = known.status
    if endpoint is None:
        # Imported late: with --status, no configuration is read.
        from errklein.service import errors_end_program, load_with_options

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
        return socket.create_connection((_LOCAL.get(host, host), int(named["port"])), TIMEOUT)
    if kind == "unix" and "address" in named:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(named["address"])
        except OSError:
            connection.close()
            raise
        return connection
    raise ValueError("expected an endpoint such as tcp:9141:interface=127.0.0.1 or unix:/run/errklein/status.sock")
