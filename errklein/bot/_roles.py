"""The part of a process in a bot that may run in several."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from secrets import token_bytes

from twisted.internet.defer import Deferred, succeed

from errklein._version import __version__
from errklein.ports.nodes import ROLES, Node


class SingleNode:
    """Implements `ports.nodes.Nodes` for a bot that is one process. It owns everything from the start."""

    def __init__(self) -> None:
        now, name = time.time(), f"{socket.gethostname()}:{os.getpid()}"
        self.me = self.owner = Node(1, name, __version__, ROLES, "", now, now, owns_since=now)
        self.secret = token_bytes(32)

    def start(self, owned: Callable[[], None], lost: Callable[[str], None], drained: Callable[[], None]) -> None:
        """Do nothing."""

    def all(self) -> Deferred[Sequence[Node]]:
        return succeed([self.me])

    def drain(self, id: int) -> Deferred[bool]:
        return succeed(False)

    def changed(self, topic: str) -> None:
        """Do nothing, since nobody else is to know it."""

    def when_changed(self, topic: str, function: Callable[[], None]) -> None:
        """Do nothing."""

    def stop(self) -> Deferred[None]:
        return succeed(None)
