"""A network on which nobody is: for bots that have webhooks only."""

from __future__ import annotations

from errklein.backends.base import LocalBackend


class NullBackend(LocalBackend):
    """Accepts every message, and forgets it."""

    mode = "null"
