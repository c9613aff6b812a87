"""Reasons why an endpoint can't be opened, each with what to do."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from twisted.internet.error import CannotListenError

_PRIVILEGED = 1024


def listen_problem(error: BaseException, port: int | None = None, interface: str = "") -> str:
    """Return the reason why a TCP port or another endpoint can't be opened, in one line with the remedy.

    :param error: The exception, of the system, a resolver or Twisted.
    :param port: The TCP port; by default that of a CannotListenError.
    :param interface: The address or host name of the endpoint; "" for all addresses.
    """
    if isinstance(error, CannotListenError):
        if isinstance(error.port, int):
            port, interface = error.port, error.interface
        elif isinstance(error.socketError, str):
            # Twisted could not lock the socket's file.
            return in_use_by_another(os.fsdecode(error.port))
        error = error.socketError
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return f"{interface} is neither an address nor a known host name; use an address of this machine, such as 127.0.0.1"
    if not isinstance(error, OSError):
        return text
    of_port = _of_port(error, port, interface) if port is not None else ""
    place = f"{error.filename}: " if error.filename else ""
    return of_port or f"{place}{error.strerror or text}"


def _of_port(error: OSError, port: int, interface: str) -> str:
    of_address = f" of {interface}" if interface else ""
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port}{of_address} is in use by another program, perhaps another errklein; "
            f"stop it (`ss -ltnp 'sport = :{port}'` shows it), or choose another port"
        )
    if error.errno == errno.EACCES and port < _PRIVILEGED:
        return (
            f"port {port}{of_address} is below {_PRIVILEGED}, which requires root or the capability CAP_NET_BIND_SERVICE; "
            f"choose another port, such as {port + 8000}, or let systemd or a proxy open this one"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"this machine has no address {interface}; `ip address` lists its addresses, 127.0.0.1 is for local clients "
            "only, and 0.0.0.0 is for all"
        )
    return ""


def in_use_by_another(path: object) -> str:
    """Return the error that another program listens on a UNIX socket."""
    return f"another program listens on {path}; stop it (`ss -lxp` shows it), or choose another path"


def unix_problem(path: Path) -> str:
    """Return the reason why a UNIX socket can't be created in the directory of the path, with the remedy; "" if it can."""
    directory = path.parent
    if not directory.exists():
        return f"the directory {directory} is missing; create it with `mkdir -p {directory}`, or choose another path"
    if not directory.is_dir():
        return f"{directory} isn't a directory; choose another path"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"this user can't write to the directory {directory}; change its owner or mode, or choose another path"
    if path.exists() and not path.is_socket():
        return f"the file {path} exists and isn't a socket; remove it, or choose another path"
    return ""
