"""The state of each network's connection, for `!status` and monitoring."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class NetworkState:
    """The connection to a network, and the number of messages since the start.

    :param connected_at: The Unix time of the last connection; None while there is none.
    :param connections: The number of connections that were established.
    :param ended: Whether the network has ended, and doesn't reconnect.
    """

    connected_at: float | None = None
    connections: int = 0
    received: int = 0
    ended: bool = False

    @property
    def reconnects(self) -> int:
        """The number of connections after the first one."""
        return max(0, self.connections - 1)
