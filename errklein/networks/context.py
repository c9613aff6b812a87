"""What errklein lends to networks: the settings, the clock, and services for their connections."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from errklein.config import Config


class NetworkContext:
    """What a network's `make` gets.

    :param reactor: The reactor.
    :param config: The settings of the network, as attributes.
    :param now: Returns the Unix time.
    :param chance: Returns a random number from 0 to 1, for delays between attempts.
    """

    def __init__(
        self,
        reactor: Any,
        config: Config,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.reactor, self.config, self.now, self.chance = reactor, config, now, chance

    @property
    def network(self) -> str:
        """The name of the network in the configuration."""
        return self.config.network
