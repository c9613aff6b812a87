"""Plugins that were found: their record, the errors of changes, and calls of their methods with timeouts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.commands import CommandDeclaration
from errklein.plugins.botplugin import BotPlugin, ValidationException
from errklein.plugins.imports import PluginLoadError, located_error
from errklein.plugins.methods import overrides
from errklein.plugins.plug_file import PlugError, PlugFile
from errklein.running import Deadline, Runner, ThreadWaits, TimedOut, result_within
from errklein.running.context import assigned, origin, running_activation
from errklein.text.errors import one_line
from errklein.text.masking import masker, secrets_in
from errklein.webhooks import HookDeclaration

T = TypeVar("T")

RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""Exceptions of a plugin's code that are handled. GeneratorExit in a coroutine here doesn't come from the plugin."""


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
    """A method of a plugin exceeded the timeout. Unless the text states otherwise, the change has been made or continues."""


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
    problems, `templates` errors in its templates; `has_templates` if they are registered. `duplicates` are ignored
    `.plug` files with its name."""

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
        return self.plug.name

    def failure(self) -> PluginProblem:
        summary = f"{self.name} doesn't work"
        return PluginProblem(self.problem, self.name, self.plug.path, source=self.source, summary=summary)

    @property
    def active(self) -> bool:
        return self.instance is not None and self.instance.is_activated


@dataclass(eq=False)
class PluginExecution:
    """Runs the methods of plugins where each may run, and waits for them with a timeout. The Deferreds fail only with the
    exceptions in `RAISED`; others, such as asyncio's CancelledError, are converted. A change waits `timeout` seconds for methods,
    but without limit for `configure`; if several plugins share that time, each has at least `minimum` seconds."""

    reactor: Any
    runner: Runner
    waits: ThreadWaits

    log: ClassVar = Logger()
    timeout: ClassVar = 60.0
    minimum: ClassVar = 5.0

    def run(self, method: Callable[..., Any], *args: Any) -> Deferred[Any]:
        with assigned(origin, f"plugin:{getattr(getattr(method, '__self__', None), 'name', '')}"):
            return self.runner.run(method, *args).addErrback(_as_raised)

    async def call(self, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Call a method that activates, configures or deactivates the plugin; BotPlugin's own ones on the reactor."""
        activation: Any = running_activation.get()
        if activation is not None and activation.instance is instance:
            activation.step = method
        if not overrides(instance, method):
            return getattr(instance, method)(*args)
        return await self.run(getattr(instance, method), *args)

    def in_thread(self, work: Callable[[], T], name: str) -> Deferred[T]:
        """Call `work`, which may block, in a thread. Log messages contain the name."""
        return self.runner.pool.run(lambda: work, name=lambda: name).addErrback(_as_raised)

    def deadline(self) -> Deadline:
        return Deadline(self.reactor, self.timeout, self.minimum)

    async def load(self, plug: PlugFile, make: Callable[[], T], seconds: float) -> T:
        """Return the result of `make`, called in a thread. Raises PluginLoadError for every exception, and after `seconds`."""
        name = f"loading {plug.name}"
        try:
            return await self.in_time(self.in_thread(make, name), name, seconds)
        except PluginTimeout as timeout:
            what = f"importing {plug.module_path} and creating the instance"
            problem = f"{plug.name} could not be loaded: {what} exceeded the timeout of {seconds:.3g} s"
            raise PluginLoadError(problem) from timeout
        except PluginLoadError:
            raise
        except RAISED as error:
            self.log.failure("{plugin} could not be loaded", plugin=plug.name)
            raise PluginLoadError.of(plug, error) from error

    async def in_time(self, awaited: Deferred[T], method: str, seconds: float | None = None, then: str = "") -> T:
        """Return the result of a method. Raises PluginTimeout, with `then` at its end, after `seconds`, by default `timeout`."""
        seconds = self.timeout if seconds is None else seconds
        try:
            return await result_within(self.reactor, seconds, awaited)
        except TimedOut:
            awaited.addErrback(lambda failure: self.log.failure("{method} failed", failure, method=method))
            raise PluginTimeout(f"{method} has not returned after {seconds:.3g} s. {then}".rstrip()) from None

    async def configure(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        masker.learn(self, f"{plugin.name}: in use", secrets_in(configuration))
        try:
            call = partial(self.call, instance)
            if configuration is not None and await call("get_configuration_template") is not None:
                await call("check_configuration", configuration)
            await call("configure", configuration)
            # The plugin may have added secrets, such as default values or environment variables.
            masker.learn(self, f"{plugin.name}: in use", secrets_in([configuration, vars(instance).get("config")]))
        except RAISED as error:
            problem = f"{plugin.name} can't use its configuration: {self._refusal(plugin, error)}"
            if plugin.instance is instance:
                plugin.problem = problem
            # The plugin may have a property of that name.
            with suppress(AttributeError):
                instance.config = None
            raise PluginConfigurationException(problem) from error

    async def template(self, plugin: Plugin, instance: BotPlugin) -> Any:
        return await self._ask(plugin, instance, "get_configuration_template")

    async def check_configuration(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Check a configuration without applying it. Raises PluginConfigurationException if it is invalid."""
        if configuration is None or await self.template(plugin, instance) is None:
            return
        masker.learn(self, f"{plugin.name}: given", secrets_in(configuration))
        await self._ask(plugin, instance, "check_configuration", configuration)

    async def reconfigured(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> bool:
        """Pass the configuration to the active plugin's `reconfigure`, and return whether it was applied."""
        # errbot has no such method, so a plugin written for errbot may have a command of that name.
        if CommandDeclaration.of(instance.reconfigure) or HookDeclaration.of(instance.reconfigure):
            return False
        return await self._ask(plugin, instance, "reconfigure", configuration) is not NotImplemented

    async def _ask(self, plugin: Plugin, instance: BotPlugin, method: str, *args: Any) -> Any:
        called = Deferred.fromCoroutine(self.call(instance, method, *args))
        try:
            return await self.in_time(called, f"{plugin.name}.{method}")
        except PluginTimeout:
            raise
        except RAISED as error:
            failed = f"{plugin.name}.{method} failed at {located_error(plugin.plug, error)}"
            raise PluginConfigurationException(self._refusal(plugin, error) if args else failed) from error

    def _refusal(self, plugin: Plugin, error: BaseException) -> str:
        """Return the text of a ValidationException; for another exception, its line and text."""
        if isinstance(error, ValidationException):
            return masker(one_line(error))
        self.log.failure("The configuration of {plugin} failed", plugin=plugin.name)
        return located_error(plugin.plug, error)


def _as_raised(failure: Failure) -> Failure:
    if isinstance(failure.value, RAISED):
        return failure
    raise RuntimeError(f"{type(failure.value).__name__}: {failure.value}") from failure.value
