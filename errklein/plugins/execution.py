"""Where the code of plugins runs, and how long the bot waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.plugins.activation import current
from errklein.plugins.botflow import BotFlow
from errklein.plugins.botplugin import BotPlugin, overrides
from errklein.plugins.plugin import PluginTimeout
from errklein.running import Deadline, Runner, ThreadWaits, TimedOut, WorkerPool, result_within

T = TypeVar("T")
P = TypeVar("P", BotPlugin, BotFlow)

RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What a plugin's code may raise without harm to the bot. GeneratorExit in a coroutine here is not the plugin's."""


class PluginFactory(Protocol):
    """Makes the instances of plugins and flows, which get the bot."""

    def __call__(self, cls: type[P], name: str) -> P:
        """An instance of the class."""


@dataclass(eq=False)
class PluginExecution:
    """Runs the code of plugins, each method where it is safe, and waits for it with a timeout.

    Whatever the code raises, the Deferreds fail with one of `RAISED`: asyncio's CancelledError isn't an Exception. `waits` is
    what the code waits with, in its thread, for work on the reactor. A change waits `timeout` seconds for methods of plugins;
    where several share them one after the other, each has `minimum` seconds at least.
    """

    reactor: Any
    runner: Runner
    pool: WorkerPool
    waits: ThreadWaits

    log: ClassVar = Logger()
    timeout: ClassVar = 60.0
    minimum: ClassVar = 5.0

    def run(self, method: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Call a method of a plugin or of flows on the reactor or in a thread."""
        return self.runner.run(method, *args, pool=self.pool).addErrback(_as_raised)

    async def call(self, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Call a method by which the plugin is activated, configured or deactivated; BotPlugin's own are quick and stay here."""
        activation = current()
        if activation is not None and activation.instance is instance:
            activation.step = method
        if not overrides(instance, method):
            return getattr(instance, method)(*args)
        return await self.run(getattr(instance, method), *args)

    def in_thread(self, work: Callable[[], T], name: str) -> Deferred[T]:
        """Call `work`, which may block, in a thread; log lines about it contain the name."""
        return self.pool.run(lambda: work, name=lambda: name).addErrback(_as_raised)

    def deadline(self) -> Deadline:
        """The deadline of a change to several plugins that begins now."""
        return Deadline(self.reactor, self.timeout, self.minimum)

    async def within(self, seconds: float, awaited: Deferred[T], failed: str) -> T:
        """The Deferred's result. Raises TimedOut after so many seconds, and logs `failed` if it fails later."""
        try:
            return await result_within(self.reactor, seconds, awaited)
        except TimedOut:
            awaited.addErrback(lambda failure: self.log.failure("{text}", failure, text=failed))
            raise

    async def in_time(self, awaited: Deferred[T], method: str, seconds: float | None = None, then: str = "") -> T:
        """The result of a method such as "Hello.activate"; raises PluginTimeout, with `then`, after `seconds` or `timeout`."""
        seconds = self.timeout if seconds is None else seconds
        try:
            return await self.within(seconds, awaited, f"{method} failed")
        except TimedOut:
            raise PluginTimeout(f"{method} has not returned after {seconds:.3g} s. {then}".rstrip()) from None


def _as_raised(failure: Failure) -> Failure:
    if isinstance(failure.value, RAISED):
        return failure
    raise RuntimeError(f"{type(failure.value).__name__}: {failure.value}") from failure.value
