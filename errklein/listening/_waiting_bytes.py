"""The time for which received bytes have waited in the system's buffer."""

from __future__ import annotations

import socket
import struct
from typing import Any

_LAST_DATA_RECEIVED = 52
"""The offset of `tcpi_last_data_recv` in Linux's struct tcp_info: the milliseconds since the last data arrived."""


def seconds_waited(transport: Any) -> float:
    """Return how long ago the last bytes of a connection arrived, in seconds; 0 if the system doesn't tell it.

    Linux does for TCP.
    """
    try:
        info = transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
        milliseconds: int = struct.unpack_from("I", info, _LAST_DATA_RECEIVED)[0]
    except (AttributeError, OSError, struct.error):
        # Another system, a Unix socket, or no socket at all.
        return 0.0
    return milliseconds / 1000
