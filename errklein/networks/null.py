"""The Null network, for bots that only serve webhooks."""

from __future__ import annotations

from errklein.config.networks import Network
from errklein.networks.base import LOCAL_SETTINGS, LocalBackend


class NullBackend(LocalBackend):
    """A network without people. Messages are accepted and dropped."""

    mode = "null"


NETWORK = Network(
    "Null",
    "the bot only serves webhooks",
    LOCAL_SETTINGS,
    lambda context: NullBackend(context.reactor, context.config, context.now),
    is_local=True,
    has_people=False,
    mentions_all=False,
)
