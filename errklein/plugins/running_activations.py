"""The activations of plugins that are in progress, their state, and the order of activation."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.python.failure import Failure

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.plug_file import plugin_name
from errklein.plugins.plugin import (
    KnownProblem,
    Plugin,
    PluginActivationException,
    PluginError,
    PluginExecution,
    PluginTimeout,
)
from errklein.running import TimedOut, result_within
from errklein.running.context import running_activation
from errklein.text.suggestions import did_you_mean


@dataclass
class Batch:
    """State that the activations of one change share: plugins that have failed, and ranks assigned in advance."""

    ranks: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Activation:
    """One activation of a plugin's instance, from its start until its last method has returned. `step` is the method
    called last, and `waits_for` names the plugins that it waits for. `late` is True once the timeout has passed,
    `given_up` if the plugin is to be inactive at the end, and `ended` if the instance was deactivated."""

    plugin: Plugin
    instance: BotPlugin
    batch: Batch
    new_rank: Callable[[], int]
    configuration: Callable[[], Any]
    step: str = ""
    waits_for: list[str] = field(default_factory=list)
    late: bool = False
    given_up: bool = False
    ended: bool = False
    _outcome: Failure | None = None
    _done: bool = False
    _waiting: list[Deferred[None]] = field(default_factory=list)
    _dependents: list[Deferred[None]] = field(default_factory=list)

    @property
    def rank(self) -> int:
        """The plugin's number in the order of activation. A late activation gets a new number at each access."""
        if self._done or self.late or self.given_up:
            return self.new_rank()
        ranks, name = self.batch.ranks, self.plugin.name
        if name not in ranks:
            ranks[name] = self.new_rank()
        return ranks[name]

    def wait(self, *, until_usable: bool = False) -> Deferred[None]:
        """Return a Deferred that fires when the plugin is active, or fails with the error of the activation. With
        `until_usable`, for another activation, it also fires at `release`."""
        if self._done:
            return succeed(None) if self._outcome is None else fail(self._outcome)
        (self._dependents if until_usable else self._waiting).append(waiting := Deferred[None]())
        return waiting

    def release(self, outcome: Failure | None = None) -> None:
        dependents, self._dependents = self._dependents, []
        for one in dependents:
            one.callback(outcome)

    def finish(self, outcome: Failure | None) -> None:
        """Fire the Deferreds of `wait`. Further calls have no effect."""
        if not self._done:
            self._done, self._outcome = True, outcome
            self._dependents = [*self._waiting, *self._dependents]
            self._waiting = []
            self.release(outcome)


def current() -> Activation | None:
    """Return the activation that the running code belongs to, or None."""
    activation = running_activation.get()
    return activation if isinstance(activation, Activation) else None


def still_activating(name: str) -> PluginActivationException:
    """Return the error of a change that requires an activation to end first."""
    return PluginActivationException(f"{name} is still being activated.")


def given_up(name: str) -> PluginActivationException:
    """Return the error of an activation that was given up."""
    return PluginActivationException(f"{name} was deactivated while it was being activated.")


@dataclass(eq=False)
class Activations:
    """The activations in progress. Those of one change run concurrently, each after the plugins that it depends on, and from the
    timeout on in the background. `begin` activates a configured instance. `tell_admins` gets the error of one in the background,
    and a summary for others. `hanging` are instances that are to be inactive, with the methods that haven't returned."""

    execution: PluginExecution
    plugins: Mapping[str, Plugin]
    stored: Callable[[str], Any]
    begin: Callable[[Activation, BotPlugin], Coroutine[Any, Any, None]]
    tell_admins: Callable[[str, str], None]
    hanging: dict[BotPlugin, str] = field(default_factory=dict)
    _ranks: Iterator[int] = field(default_factory=count)
    _under_way: dict[str, Activation] = field(default_factory=dict)

    def of(self, plugin: Plugin) -> Activation | None:
        return self._under_way.get(plugin.name)

    @property
    def under_way(self) -> list[Activation]:
        return list(self._under_way.values())

    def rank(self) -> int:
        """Return the number in the order of activation for the plugin being activated. May be called in any thread."""
        activation = current()
        return next(self._ranks) if activation is None else activation.rank

    async def activate_all(self, plugins: Sequence[Plugin]) -> dict[str, PluginError]:
        """Activate the plugins and their dependencies, within the timeout. Return the errors by the plugins' names."""
        order = activation_order(self.plugins, (plugin.name for plugin in plugins))
        batch = Batch({name: next(self._ranks) for name in order})
        errors: dict[str, PluginError] = {}
        unexpected: list[Failure] = []

        def failed(failure: Failure, name: str) -> None:
            if isinstance(failure.value, PluginError):
                errors[name] = failure.value
            else:
                unexpected.append(failure)

        waiting = {
            plugin.name: Deferred.fromCoroutine(self._activated(plugin, batch)).addErrback(failed, plugin.name)
            for plugin in plugins
        }
        with suppress(TimedOut):
            await result_within(self.execution.reactor, self.execution.timeout, DeferredList(waiting.values()))
        for failure in unexpected:
            failure.raiseException()
        for name, activated in waiting.items():
            if not activated.called:
                errors[name] = self._overdue(self._under_way[name])
        return errors

    async def activate(self, plugin: Plugin, configuration: Callable[[], Any] | None = None) -> None:
        """Activate the plugin after its dependencies, with its stored configuration unless another is given. Raises
        PluginActivationException, or PluginTimeout after the timeout."""
        self.check_settled(plugin)
        await self._in_time(plugin, self._activated(plugin, Batch(), configuration))

    def check_settled(self, plugin: Plugin) -> None:
        if self.is_late(plugin):
            raise still_activating(plugin.name)

    def is_late(self, plugin: Plugin) -> bool:
        """Return whether the plugin's activation has exceeded the timeout and continues."""
        activation = self.of(plugin)
        return activation is not None and activation.late

    def check_wanted(self, instance: BotPlugin) -> None:
        """Raise PluginActivationException if the instance is to be inactive but has a method that still runs. For any thread."""
        if instance in self.hanging:
            raise given_up(plugin_name(instance))

    def abandon(self, activation: Activation) -> None:
        """Allow another instance of the plugin to be activated while this activation continues."""
        activation.given_up = True
        del self._under_way[activation.plugin.name]
        if activation.step:
            self.hanging[activation.instance] = activation.step
        activation.finish(Failure(given_up(activation.plugin.name)))

    async def _activated(self, plugin: Plugin, batch: Batch, configuration: Callable[[], Any] | None = None) -> None:
        """Wait until the plugin is active. Raises PluginActivationException, also if it waits for the caller's activation."""
        activation = self._under_way.get(plugin.name)
        if activation is None:
            if plugin.active:
                return
            if plugin.name in batch.failed or plugin.instance is None:
                raise KnownProblem(plugin.problem or f"{plugin.name} could not be loaded")
            configuration = configuration or partial(self.stored, plugin.name)
            activation = Activation(plugin, plugin.instance, batch, self._ranks.__next__, configuration)
            self._under_way[plugin.name] = activation
            Deferred.fromCoroutine(self._activate(activation)).addBoth(self._has_ended, activation)
        elif activation.late:
            if plugin.active:
                return
            self.check_settled(plugin)
        waiter = current()
        if waiter is None:
            await activation.wait()
            return
        if self._waits_for(activation, waiter):
            if plugin.active:
                return
            # A plugin that has called BotPlugin's `activate` may activate plugins that depend on it.
            for one in self.under_way:
                if one.plugin.active and self._waits_for(activation, one) and self._waits_for(one, waiter):
                    one.release()
            if self._waits_for(activation, waiter):
                raise still_activating(plugin.name)
        waiter.waits_for.append(plugin.name)
        try:
            await activation.wait(until_usable=True)
        finally:
            waiter.waits_for.remove(plugin.name)

    async def _activate(self, activation: Activation) -> None:
        running_activation.set(activation)
        plugin, instance, failed = activation.plugin, activation.instance, activation.batch.failed
        try:
            if instance in self.hanging:
                hanging = f"{plugin.name}.{self.hanging[instance]}"
                raise PluginActivationException(f"{hanging} has not returned yet; reload {plugin.name} to activate it.")
            self._check_circle(plugin)
            for name in plugin.plug.depends_on:
                await self._activate_dependency(plugin, name, activation.batch)
                if not self.is_wanted(activation):
                    raise given_up(plugin.name)
            await self.execution.configure(plugin, instance, activation.configuration())
            if not self.is_wanted(activation):
                raise given_up(plugin.name)
            await self.begin(activation, instance)
        except PluginError as error:
            failed.add(plugin.name)
            if self.is_wanted(activation):
                plugin.problem = str(error)
            raise

    async def activate_dependencies(self, plugin: Plugin) -> None:
        self._check_circle(plugin)
        batch = Batch()
        for name in plugin.plug.depends_on:
            activated = self._activate_dependency(plugin, name, batch)
            await (self._in_time(self.plugins[name], activated) if name in self.plugins else activated)

    async def _activate_dependency(self, plugin: Plugin, name: str, batch: Batch) -> None:
        if name not in self.plugins:
            raise PluginActivationException(missing(plugin, name, self.plugins))
        try:
            await self._activated(self.plugins[name], batch)
        except PluginError as error:
            problem = f"{plugin.name} depends on {name}, which can't be activated: {error}"
            raise PluginActivationException(problem) from error

    def _has_ended(self, result: Any, activation: Activation) -> None:
        name = activation.plugin.name
        if self._under_way.get(name) is activation:
            del self._under_way[name]
        if activation.given_up:
            self.hanging.pop(activation.instance, None)
        failed = isinstance(result, Failure)
        if failed and activation.late and self.is_wanted(activation):
            self.tell_admins(result.getErrorMessage(), f"{name} could not be activated")
        activation.finish(result if failed else None)

    def is_wanted(self, activation: Activation) -> bool:
        """Return whether the plugin is to be active when the activation ends."""
        return not activation.given_up and self.plugins.get(activation.plugin.name) is activation.plugin

    def _waits_for(self, activation: Activation, other: Activation) -> bool:
        """Return whether the activation is the other one, or waits for it directly or indirectly."""
        seen: set[Activation] = set()
        waiting = [activation]
        while waiting:
            one = waiting.pop()
            if one is other:
                return True
            if one not in seen:
                seen.add(one)
                waiting += [self._under_way[name] for name in one.waits_for if name in self._under_way]
        return False

    async def _in_time(self, plugin: Plugin, activated: Coroutine[Any, Any, None]) -> None:
        waiting = Deferred.fromCoroutine(activated)
        try:
            await result_within(self.execution.reactor, self.execution.timeout, waiting)
        except TimedOut:
            # `_has_ended` reports the outcome.
            waiting.addErrback(lambda _: None)
            raise self._overdue(self._under_way[plugin.name]) from None

    def _overdue(self, activation: Activation) -> PluginTimeout:
        """Mark the activation, and those it waits for, as late. Return the error that reports it."""
        activation.late = True
        name = activation.plugin.name
        others = ", ".join(activation.waits_for)
        why = f"it waits for {others}" if others else f"{name}.{activation.step} has not returned"
        for other in activation.waits_for:
            if other in self._under_way and not self._under_way[other].late:
                self._overdue(self._under_way[other])
        late = f"{name} is still being activated after {self.execution.timeout:g} s"
        return PluginTimeout(f"{late}: {why}. It continues in the background.")

    def _check_circle(self, plugin: Plugin) -> None:
        if circular := circle(self.plugins, plugin):
            raise PluginActivationException(circular)


def activation_order(plugins: Mapping[str, Plugin], names: Iterable[str]) -> list[str]:
    """Return the names and those of their dependencies, each after its own dependencies."""
    order: dict[str, None] = {}

    def put(name: str, wanted_by: tuple[str, ...]) -> None:
        if name in order or name in wanted_by or name not in plugins:
            return
        for other in plugins[name].plug.depends_on:
            put(other, (*wanted_by, name))
        order[name] = None

    for name in names:
        put(name, ())
    return list(order)


def missing(plugin: Plugin, name: str, plugins: Iterable[str] = ()) -> str:
    """Return the error for a dependency that isn't one of the plugins, with the similar name."""
    declared = f"(DependsOn in {plugin.plug.path})"
    return f"{plugin.name} depends on {name}, which is not found {declared}{did_you_mean(name, plugins)}"


def circle(plugins: Mapping[str, Plugin], plugin: Plugin) -> str:
    """Return the error if the plugin depends on itself, with the plugins between; "" if it doesn't."""
    seen: set[str] = set()
    waiting: list[tuple[str, ...]] = [(plugin.name,)]
    while waiting:
        path = waiting.pop()
        for needed in plugins[path[-1]].plug.depends_on:
            if needed == plugin.name:
                shown = " → ".join((*path, needed))
                return f"{plugin.name} depends on itself: {shown} (DependsOn in {plugin.plug.path})"
            if needed in plugins and needed not in seen:
                seen.add(needed)
                waiting.append((*path, needed))
    return ""
