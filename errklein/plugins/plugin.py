"""The record of a plugin that was found, and the errors of changes to plugins."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from errklein.plugins.botplugin import BotPlugin, ValidationException
from errklein.plugins.plug_file import PlugError, PlugFile


class PluginError(Exception):
    """A change to a plugin failed. The text is a sentence for the administrator who requested the change."""

    @property
    def repeats_exception(self) -> bool:
        """Whether the text contains the text of an exception of the plugin, which may contain secrets."""
        cause = self.__cause__
        if isinstance(cause, PluginError):
            return cause.repeats_exception
        return cause is not None and not isinstance(cause, (PlugError, ValidationException))

    # KeyError's str() would add quotes.
    __str__ = Exception.__str__


class PluginActivationException(PluginError):
    """A plugin can't be activated."""


class KnownProblem(PluginActivationException):
    """A plugin can't be activated because of a problem that was found earlier."""

    repeats_exception = True


class IncompatiblePluginException(PluginActivationException):
    """A plugin requires another version of Python or errbot."""


class PluginConfigurationException(PluginActivationException):
    """A plugin's configuration is invalid, or the plugin failed to apply it."""


class UnknownPlugin(PluginActivationException, KeyError):
    """There is no plugin of that name. It is also a KeyError, which code written for errbot catches."""


class PluginTimeout(PluginActivationException):
    """A method of a plugin exceeded the timeout. The text contains the method, the timeout and the plugin's state.
    Unless the text states otherwise, the change has been made or continues."""


class State(Enum):
    """The state of a plugin, with its letter in `!status plugins`."""

    ACTIVE = "A"
    INACTIVE = "D"
    BLACKLISTED = "B"
    UNCONFIGURED = "C"
    BROKEN = "E"


@dataclass(frozen=True)
class PluginProblem:
    """A problem of a plugin or of a file or directory, in one line for administrators."""

    text: str
    plugin: str = ""
    path: Path | None = None
    is_warning: bool = False  # whether everything works nevertheless
    source: str = ""  # the lines that show where it is in the code, and a remedy, if they are known
    summary: str = ""  # a sentence for people who may not read the texts of exceptions, if there may be one in the text

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class Plugin:
    """A plugin that was found: its file, its instance if it could be loaded, and its problems. `problem` is the reason
    why the plugin doesn't work, and `source` the lines that show where, if it is in the code. `notes` are less serious
    problems, `templates` are errors in its templates, and `has_templates` is True if its templates are registered.
    Except for `source`, each is one line. `duplicates` are other `.plug` files with its name, which are ignored."""

    plug: PlugFile
    instance: BotPlugin | None = None
    problem: str = ""
    source: str = ""
    notes: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    has_templates: bool = False
    duplicates: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name from the `.plug` file, which identifies the plugin."""
        return self.plug.name

    def failure(self) -> PluginProblem:
        """Return `problem` with the file, the source and a summary."""
        summary = f"{self.name} doesn't work"
        return PluginProblem(self.problem, self.name, self.plug.path, source=self.source, summary=summary)

    @property
    def active(self) -> bool:
        """Whether the plugin is active: its commands and routes are registered."""
        return self.instance is not None and self.instance.is_activated
