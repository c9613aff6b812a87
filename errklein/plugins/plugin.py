"""What is known of a plugin, and what may go wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from twisted.python.failure import Failure

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.plug_file import PlugFile

# What a plugin's code may raise without harm to the bot; `as_raised` makes one of these of everything else. GeneratorExit
# in a coroutine here is not the plugin's.
RAISED = (Exception, SystemExit, KeyboardInterrupt)


class PluginError(Exception):
    """Something can't be done to a plugin; str() is a sentence for the admin who asked."""


class State(Enum):
    """How a plugin is, with the letter that `!status plugins` shows."""

    ACTIVE = "A"
    INACTIVE = "D"
    BLACKLISTED = "B"
    UNCONFIGURED = "C"
    BROKEN = "E"


@dataclass(eq=False)
class Plugin:
    """A plugin that was found: its file, its instance once it could be loaded, and what is wrong with it, if anything."""

    plug: PlugFile
    instance: BotPlugin | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """What the plugin is called everywhere."""
        return self.plug.name

    @property
    def active(self) -> bool:
        """Whether its commands and routes work."""
        return self.instance is not None and self.instance.is_activated


def as_raised(failure: Failure) -> Failure:
    """The failure, as one of `RAISED` whatever the plugin's code raised: asyncio's CancelledError isn't an Exception."""
    if isinstance(failure.value, RAISED):
        return failure
    raise RuntimeError(f"{type(failure.value).__name__}: {failure.value}") from failure.value
