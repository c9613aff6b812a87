"""The limits of the web server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WebSettings:
    """Limits for every request. Times are in seconds, sizes in bytes."""

    timeout: float = 60.0
    """How long a sender waits for a handler before it gets 504; the handler still runs to its end."""

    max_body: int = 25 * 1024 * 1024
    """The largest body that is accepted; the size that GitHub stops at."""

    off_reactor_size: int = 64 * 1024
    """Bodies above this size are parsed in a thread."""

    head_deadline: float = 10.0
    """How long a request line and its headers may take to arrive."""

    body_deadline: float = 30.0
    """How long a body may take to arrive, counted from the end of the headers."""

    read_deadline: float = 30.0
    """How long a client may leave a full send buffer unread."""

    idle_deadline: float = 60.0
    """How long a connection may stay open without a request."""
