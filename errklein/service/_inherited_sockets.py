"""Listening sockets that systemd passed to this process, kept for a restart in the same process.

Twisted closes each inherited descriptor once it listens, and removes LISTEN_PID and LISTEN_FDS from the environment. The
protocol is described in sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

_FIRST = 3
"""The descriptor of the first socket: SD_LISTEN_FDS_START."""


class InheritedSockets:
    """Copies of the inherited listening sockets, in systemd's order; none if systemd passed none.

    `environment` is the process's environment. It must be created before an endpoint is opened.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ, first: int = _FIRST) -> None:
        self._environment = environment
        self._first = first
        # LISTEN_FDNAMES is the one variable that Twisted leaves.
        names = environment.get("LISTEN_FDNAMES", "")
        numbers = range(first, first + len(names.split(":"))) if names else range(0)
        self._copies = [os.dup(number) for number in numbers] if all(map(_listens, numbers)) else []

    def pass_on(self) -> None:
        """Make the sockets available to the program that replaces this process, as systemd does.

        Descriptors that have their numbers by now are closed.
        """
        if not self._copies:
            return
        for number, copy in enumerate(self._copies, self._first):
            os.dup2(copy, number, inheritable=True)
        self._environment["LISTEN_PID"] = str(os.getpid())
        self._environment["LISTEN_FDS"] = str(len(self._copies))


def _listens(number: int) -> bool:
    """Return whether the descriptor is a listening socket."""
    try:
        with socket.socket(fileno=os.dup(number)) as inherited:
            return bool(inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
