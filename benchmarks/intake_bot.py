"""A bot with the plugins of `plugins_for_intake`, for the benchmarks of webhooks that are verified and recorded."""

from __future__ import annotations

import hashlib
import hmac
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bots import HERE, Bot, errklein

sys.path.insert(0, str(HERE.parent))

from errklein.journal import DATABASE, JournalArchive
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState

PLUGINS = HERE / "plugins_for_intake"
SECRET = "a secret of 32 bytes or more, as text"
UNFINISHED = (DeliveryState.RECEIVED, DeliveryState.RUNNING, DeliveryState.RETRY)
LIMIT = 300.0
"""The seconds within which a bot must have run everything."""


def signature(body: bytes) -> str:
    """Return GitHub's signature of a body."""
    return "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class IntakeBot:
    """A bot whose handlers append their runs to a file.

    :param directory: Its directory, which must not exist.
    :param settings: Lines that are added to its configuration.
    :param checkout: The checkout with its errklein.
    """

    directory: Path
    port: int
    settings: str = ""
    checkout: Path = HERE.parent

    def setup(self) -> Bot:
        """Write the configuration, and return the command line."""
        bot = errklein(self.directory, "Null", self.port, PLUGINS, self.checkout)
        with (self.directory / "config.py").open("a", encoding="utf-8") as config:
            config.write(self.settings)
        self.runs.touch()
        return Bot(bot.command, {**bot.environment, "INTAKE_RUNS": str(self.runs), "INTAKE_SECRET": SECRET})

    @property
    def runs(self) -> Path:
        """The file with the runs."""
        return self.directory / "runs"

    @property
    def journal(self) -> Path:
        """The file of the journal."""
        return self.directory / "data" / DATABASE

    def await_empty(self) -> None:
        """Wait until the journal has no delivery that is to be run."""
        archive = JournalArchive(self.journal)
        limit = time.monotonic() + LIMIT
        while archive.find(DeliveryQuery(states=UNFINISHED, limit=1)):
            if time.monotonic() > limit:
                raise RuntimeError(f"deliveries are still to be run after {LIMIT:g} s")
            time.sleep(0.05)
        archive.close()
