"""Descriptors that systemd passed to this process, kept for a restart in the same process.

These may be sockets, FIFOs and stored descriptors of any kind. Twisted closes each listening socket once it has adopted
it, and removes LISTEN_PID and LISTEN_FDS from the environment. The protocol is described in sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

_FIRST = 3
"""The descriptor of the first socket: SD_LISTEN_FDS_START."""


class InheritedSockets:
    """Copies of all inherited descriptors, in systemd's order; none unless one of them is a listening socket.

    `environment` is the process's environment. It must be created before an endpoint is opened.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ, first: int = _FIRST) -> None:
        self._environment = environment
        # LISTEN_FDNAMES is the one variable that Twisted leaves.
        names = environment.get("LISTEN_FDNAMES", "")
        self._numbers = range(first, first + len(names.split(":"))) if names else range(0)
        # A parent may have left the variable. Then none of this process's own descriptors listens yet.
        copied = [number for number in self._numbers if _is_open(number)] if any(map(_listens, self._numbers)) else []
        self._copies = {number: os.dup(number) for number in copied}

    def pass_on(self) -> None:
        """Make the descriptors available to the program that replaces this process, as systemd does.

        Descriptors that have their numbers by now are closed.
        """
        if not self._copies:
            return
        for number, copy in self._copies.items():
            os.dup2(copy, number, inheritable=True)
        self._environment["LISTEN_PID"] = str(os.getpid())
        self._environment["LISTEN_FDS"] = str(len(self._numbers))


def _listens(number: int) -> bool:
    """Return whether the descriptor is a listening socket."""
    try:
        with socket.socket(fileno=os.dup(number)) as inherited:
            return bool(inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
