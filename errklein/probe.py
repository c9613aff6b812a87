"""Finds out, before anything listens, whether an endpoint could be listened on.

twistd makes the service before the daemon forks, when nothing may stay open. So each address is bound and let go again,
and a port in use is told on the terminal instead of in a log.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from errklein.web.listeners import identify

EXPECTED = "a Twisted endpoint such as tcp:3141:interface=127.0.0.1"


class BadEndpoint(Exception):
    """The endpoint can't be listened on; the text is one line with the endpoint and the reason."""


def check_endpoint(description: str) -> None:
    """Raise BadEndpoint if the description can't be understood, or if its address can't be bound now.

    Sockets inherited from systemd are not touched: listening on one would use it up.
    """
    try:
        check_certificates(description)
        endpoint = serverFromString(cast(Any, _Probe()), description)
        if "systemd" in description.split(":"):
            return
        failures: list[Failure] = []
        listening: Deferred[Any] = endpoint.listen(Factory())
        listening.addErrback(failures.append)
        if failures:
            failures[0].raiseException()
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise BadEndpoint(f"{description}: {place}{error.strerror or error}") from None
    except Exception as error:
        raise BadEndpoint(f"{description}: {_reason(error)}; expected {EXPECTED}") from None


def check_certificates(description: str) -> None:
    """Raise ValueError if a `tls:` endpoint names a directory without certificates; Twisted would find out later."""
    kind, arguments = identify(description)
    path = dict(arguments).get("path")
    if kind == "tls" and path is not None and not any(Path(path).glob("*.pem")):
        raise ValueError(f"{path} is no directory with certificates in files *.pem")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__} {text}".strip()


class _Probe:
    """As much of a reactor as an endpoint needs to listen; it lets go of each address at once."""

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> None:
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))

    def listenSSL(
        self, port: int, factory: Factory, contextFactory: object, backlog: int = 50, interface: str = ""
    ) -> None:
        self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(
        self, address: str, factory: Factory, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> None:
        path = Path(os.fsdecode(address))
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            raise ValueError(f"{path.parent} is no directory that can be written to")
        try:
            kind = path.stat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(kind):
            raise ValueError(f"{path} is there and no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise ValueError("another process listens there")
