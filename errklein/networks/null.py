"""The Null network, for bots that only serve webhooks."""

from __future__ import annotations

from errklein.networks.base import LocalBackend


class NullBackend(LocalBackend):
    """A network without people. Messages are accepted and dropped."""

    mode = "null"
