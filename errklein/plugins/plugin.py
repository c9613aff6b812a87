"""What is known of a plugin, and what may go wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.configuration_check import ValidationException
from errklein.plugins.plug_file import PlugError, PlugFile


class PluginError(Exception):
    """A change to a plugin failed; str() is a sentence for the administrator who requested it."""

    @property
    def repeats_exception(self) -> bool:
        """Whether the text contains that of an exception of the plugin, which not everybody may read."""
        cause = self.__cause__
        if isinstance(cause, PluginError):
            return cause.repeats_exception
        return cause is not None and not isinstance(cause, (PlugError, ValidationException))

    # Of those that are KeyErrors too, str() would be a string in quotes.
    __str__ = Exception.__str__


class PluginActivationException(PluginError):
    """A plugin can't be activated."""


class KnownProblem(PluginActivationException):
    """A plugin can't be activated for a reason that was found before."""

    repeats_exception = True


class IncompatiblePluginException(PluginActivationException):
    """A plugin is for another Python or another errbot."""


class PluginConfigurationException(PluginActivationException):
    """A plugin can't use its configuration."""


class UnknownPlugin(PluginActivationException, KeyError):
    """There is no plugin of that name. Code that was written for errbot expects a KeyError here and there."""


class PluginTimeout(PluginActivationException):
    """A method of a plugin has not returned in time; str() contains the method, the timeout and the plugin's state.

    The change itself is made, or goes on, unless str() says otherwise.
    """


class State(Enum):
    """How a plugin is, with the letter that `!status plugins` shows."""

    ACTIVE = "A"
    INACTIVE = "D"
    BLACKLISTED = "B"
    UNCONFIGURED = "C"
    BROKEN = "E"


@dataclass(eq=False)
class Plugin:
    """A plugin that was found: its file, its instance once it could be loaded, and what is wrong with it, if anything.

    `problem` is why it doesn't work; `notes` are things that don't keep it from working, and `templates` what is wrong
    with its templates, which can be used if `has_templates`. Each is one line. `duplicates` are other .plug files with its name, which are left out.
    """

    plug: PlugFile
    instance: BotPlugin | None = None
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    has_templates: bool = False
    duplicates: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the plugin is called everywhere."""
        return self.plug.name

    @property
    def active(self) -> bool:
        """Whether its commands and routes work."""
        return self.instance is not None and self.instance.is_activated
