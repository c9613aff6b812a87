"""Runs the methods of plugins on the reactor or in threads, with timeouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.plugins.botflow import BotFlow
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.imports import PluginLoadError
from errklein.plugins.methods import overrides
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import PluginTimeout
from errklein.running import Deadline, Runner, ThreadWaits, TimedOut, result_within
from errklein.running.context import assigned, origin, running_activation

T = TypeVar("T")
P = TypeVar("P", BotPlugin, BotFlow)

RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""Exceptions of a plugin's code that are handled. GeneratorExit in a coroutine here doesn't come from the plugin."""


class PluginFactory(Protocol):
    """Creates the instances of plugins and flows."""

    def __call__(self, cls: type[P], name: str) -> P:
        """Return an instance of the class."""


@dataclass(eq=False)
class PluginExecution:
    """Runs the methods of plugins where each may run, and waits for them with a timeout. The Deferreds fail only with
    the exceptions in `RAISED`; asyncio's CancelledError, for instance, is converted. `waits` makes threads wait for
    work on the reactor. A change waits `timeout` seconds for methods of plugins; if several plugins share that time one
    after the other, each has at least `minimum` seconds."""

    reactor: Any
    runner: Runner
    waits: ThreadWaits

    log: ClassVar = Logger()
    timeout: ClassVar = 60.0
    minimum: ClassVar = 5.0

    def run(self, method: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Call a method of a plugin or of flows, on the reactor or in a thread."""
        with assigned(origin, f"plugin:{getattr(getattr(method, '__self__', None), 'name', '')}"):
            return self.runner.run(method, *args).addErrback(_as_raised)

    async def call(self, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Call a method that activates, configures or deactivates the plugin. BotPlugin's own implementations don't
        block, and run on the reactor."""
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
        """Return the deadline of a change to several plugins that begins now."""
        return Deadline(self.reactor, self.timeout, self.minimum)

    async def load(self, plug: PlugFile, make: Callable[[], T], seconds: float) -> T:
        """Return the result of `make`, which loads a module and creates an instance in a thread. Raises PluginLoadError
        for every exception of the code, and after `seconds`."""
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
        """Return the result of a method such as "Hello.activate". Raises PluginTimeout, whose text ends with `then`,
        after `seconds`, by default `timeout`."""
        seconds = self.timeout if seconds is None else seconds
        try:
            return await result_within(self.reactor, seconds, awaited)
        except TimedOut:
            awaited.addErrback(lambda failure: self.log.failure("{method} failed", failure, method=method))
            raise PluginTimeout(f"{method} has not returned after {seconds:.3g} s. {then}".rstrip()) from None


def _as_raised(failure: Failure) -> Failure:
    if isinstance(failure.value, RAISED):
        return failure
    raise RuntimeError(f"{type(failure.value).__name__}: {failure.value}") from failure.value
