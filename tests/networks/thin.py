"""A network of another package, which needs nothing but its descriptor."""

from __future__ import annotations

from typing import Any

from errklein.config import ConfigError
from errklein.config.networks import IdentityKey, Network, NetworkSettings
from errklein.networks.base import LocalPerson
from errklein.networks.context import NetworkContext
from errklein.networks.test import TestBackend


class ThinPerson(LocalPerson):
    """What its pickles contain."""


class Other:
    """Another class of the package."""


class ThinBackend(TestBackend):
    """The Test network, with the services of the context."""

    def __init__(self, context: NetworkContext) -> None:
        super().__init__(context.reactor, context.config)
        self.context = context


def _url(key: str, value: Any) -> str:
    if not str(value).startswith("https:"):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be a URL")
    return str(value)


NETWORK = Network(
    "Thin",
    "a network of a test",
    NetworkSettings({"url": IdentityKey(_url, "required", "its URL", required=True)}),
    ThinBackend,
    values=["tests.networks.thin:ThinPerson"],
    defaults={"COMPACT_OUTPUT": True, "MESSAGE_SIZE_LIMIT": 77},
)
