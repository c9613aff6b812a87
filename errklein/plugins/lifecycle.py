"""The life of plugins: activations, those in progress and their order, deactivation, reload and change of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.imports import located_error
from errklein.plugins.loading import Loader
from errklein.plugins.methods import handlers
from errklein.plugins.plug_file import plugin_name
from errklein.plugins.plugin import (
    RAISED,
    KnownProblem,
    Plugin,
    PluginActivationException,
    PluginConfigurationException,
    PluginError,
    PluginExecution,
    PluginTimeout,
)
from errklein.running import InFlightCounter, TimedOut, result_within
from errklein.running.context import running_activation
from errklein.text.suggestions import did_you_mean
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.option_values import HookError

if TYPE_CHECKING:
    from errklein.plugins.manager import StandbyWebhooks
    from errklein.web import Routes


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
        """Return a Deferred that fires when the plugin is active, or at `release` if `until_usable`, or fails."""
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
    under_way: dict[str, Activation] = field(default_factory=dict)

    def of(self, plugin: Plugin) -> Activation | None:
        return self.under_way.get(plugin.name)

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
                errors[name] = self._overdue(self.under_way[name])
        return errors

    async def activate(self, plugin: Plugin, configuration: Callable[[], Any] | None = None) -> None:
        """Activate the plugin after its dependencies. Raises PluginActivationException, or PluginTimeout after the timeout."""
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
        del self.under_way[activation.plugin.name]
        if activation.step:
            self.hanging[activation.instance] = activation.step
        activation.finish(Failure(given_up(activation.plugin.name)))

    async def _activated(self, plugin: Plugin, batch: Batch, configuration: Callable[[], Any] | None = None) -> None:
        """Wait until the plugin is active. Raises PluginActivationException, also if it waits for the caller's activation."""
        if (activation := self.under_way.get(plugin.name)) is None:
            if plugin.active:
                return
            if plugin.name in batch.failed or plugin.instance is None:
                raise KnownProblem(plugin.problem or f"{plugin.name} could not be loaded")
            configuration = configuration or partial(self.stored, plugin.name)
            activation = Activation(plugin, plugin.instance, batch, self._ranks.__next__, configuration)
            self.under_way[plugin.name] = activation
            Deferred.fromCoroutine(self._activate(activation)).addBoth(self._has_ended, activation)
        elif activation.late:
            if plugin.active:
                return
            self.check_settled(plugin)
        if (waiter := current()) is None:
            await activation.wait()
            return
        if self._waits_for(activation, waiter):
            if plugin.active:
                return
            # A plugin that has called BotPlugin's `activate` may activate plugins that depend on it.
            for one in list(self.under_way.values()):
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
        if self.under_way.get(name) is activation:
            del self.under_way[name]
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
                waiting += [self.under_way[name] for name in one.waits_for if name in self.under_way]
        return False

    async def _in_time(self, plugin: Plugin, activated: Coroutine[Any, Any, None]) -> None:
        waiting = Deferred.fromCoroutine(activated)
        try:
            await result_within(self.execution.reactor, self.execution.timeout, waiting)
        except TimedOut:
            # `_has_ended` reports the outcome.
            waiting.addErrback(lambda _: None)
            raise self._overdue(self.under_way[plugin.name]) from None

    def _overdue(self, activation: Activation) -> PluginTimeout:
        """Mark the activation, and those it waits for, as late. Return the error that reports it."""
        activation.late = True
        name = activation.plugin.name
        others = ", ".join(activation.waits_for)
        why = f"it waits for {others}" if others else f"{name}.{activation.step} has not returned"
        for other in activation.waits_for:
            if other in self.under_way and not self.under_way[other].late:
                self._overdue(self.under_way[other])
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


@dataclass(eq=False, repr=False)
class Lifecycle:
    """Activates, deactivates and reloads plugins, for one change at a time. After the timeout, an activation continues
    unless the plugin is deactivated, reloaded or removed. `stored` returns the stored configuration of a name;
    `changed` is called when the active plugins change."""

    log = Logger()

    execution: PluginExecution
    loader: Loader
    stored: Callable[[str], Any]
    routes: Routes
    standby: StandbyWebhooks
    changed: Callable[[], None]
    tell_admins: Callable[[str, str], None]
    _order: dict[str, int] = field(default_factory=dict)
    _ending: set[BotPlugin] = field(default_factory=set)
    _between: InFlightCounter = field(default_factory=InFlightCounter)

    def __post_init__(self) -> None:
        self._plugins = self.loader.plugins
        self.activations = Activations(self.execution, self._plugins, self.stored, self._begin, self.tell_admins)

    def when_settled(self) -> Deferred[None] | None:
        """Return a Deferred that fires when the plugins being replaced have commands again; None if there are none."""
        return self._between.when_none() if self._between.count() else None

    @contextmanager
    def _replacing(self, plugin: Plugin) -> Iterator[None]:
        """Hold the plugin's requests, and unknown commands, from its old instance's end until the new one works."""
        self.routes.hold(plugin.name)
        self._between.enter()
        try:
            yield
        except BaseException:
            if not plugin.active:
                self.routes.remove(plugin.name)
            raise
        finally:
            self.routes.release(plugin.name)
            self._between.leave()

    async def check(self, plugin: Plugin) -> list[str]:
        """Return the problems that are known before the plugin is activated: dependencies, routes and templates."""
        unknown = [name for name in plugin.plug.depends_on if name not in self._plugins]
        problems = [missing(plugin, name, self._plugins) for name in unknown]
        if circular := circle(self._plugins, plugin):
            problems.append(circular)
        if plugin.instance is not None:
            problems += self.routes.refused(hooks_of(plugin.instance))
        return problems + await self.loader.check_templates(plugin)

    def give_up(self, plugin: Plugin) -> bool:
        """Make a plugin inactive whose `activate` exceeds the timeout; return whether it does. It is deactivated later."""
        activation = self.activations.of(plugin)
        if activation is None or not activation.late or activation.step == "callback_connect":
            return False
        self.activations.abandon(activation)
        BotPlugin.deactivate(activation.instance)
        self._deactivated(plugin, activation.instance)
        return True

    async def _begin(self, activation: Activation, instance: BotPlugin) -> None:
        plugin = activation.plugin
        cls: Any = type(instance)
        cls.__errdoc__ = cls.__doc__ or plugin.plug.description
        await self.loader.add_templates(plugin)
        method = "activate"
        try:
            await self.execution.call(instance, method)
            if self.activations.is_wanted(activation) and not activation.ended:
                rank = activation.rank
                self.changed()
                # As on errbot, webhooks are routed even if `activate` doesn't call BotPlugin's, without which it is inactive.
                if instance.is_activated:
                    self._order[plugin.name] = rank
                hooks = hooks_of(instance)
                self.routes.replace(plugin.name, hooks, rank, instance._errklein_mounts)
                self.standby.replace(plugin.name, hooks)
                method = "callback_connect"
                await self.execution.call(instance, method)
        except RAISED as error:
            if self.activations.is_wanted(activation):
                self.log.failure("{plugin} could not be activated: {method}", plugin=plugin.name, method=method)
                self.routes.remove(plugin.name)
                await self._end_quietly(plugin, instance)
                failed = f"{method} failed at {located_error(plugin.plug, error)}"
                reason = str(error) if isinstance(error, HookError) else failed
                raise PluginActivationException(f"{plugin.name} could not be activated: {reason}") from error
            text = "{plugin}.{method}, which was given up, raised {error}"
            self.log.info(text, plugin=plugin.name, method=method, error=error)
        if activation.ended:
            # Remove what the plugin has registered since then, such as a poller.
            BotPlugin.deactivate(instance)
        elif self.activations.is_wanted(activation):
            plugin.problem = ""
        else:
            await self._end_quietly(plugin, instance)
            raise given_up(plugin.name)

    async def _end_quietly(self, plugin: Plugin, instance: BotPlugin, within: float | None = None) -> None:
        try:
            await self.end(plugin, instance, within)
        except PluginError as error:
            self.log.warn("{error}", error=str(error))

    async def end(self, plugin: Plugin, instance: BotPlugin, within: float | None = None) -> None:
        """Deactivate the instance. Its store closes when its last handler has ended. Raises PluginTimeout, though it is inactive,
        after `within` seconds, by default the timeout, and PluginError if it is being deactivated already, perhaps by itself."""
        if instance in self._ending:
            raise PluginError(f"{plugin.name} is already being deactivated.")
        self._ending.add(instance)
        try:
            await self._end(plugin, instance, within)
        finally:
            self._ending.discard(instance)

    async def _end(self, plugin: Plugin, instance: BotPlugin, within: float | None) -> None:
        activation = self.activations.of(plugin)
        if activation is not None and activation.instance is instance:
            activation.ended = True
            if activation.late and activation is not current():
                self.activations.abandon(activation)
        # Before `deactivate`, which may close what they use.
        self.routes.end_streams(plugin.name)
        overdue: PluginTimeout | None = None
        deactivated = Deferred.fromCoroutine(self.execution.call(instance, "deactivate"))
        then = "Its commands, webhooks and pollers have been removed."
        try:
            await self.execution.in_time(deactivated, f"{plugin.name}.deactivate", within, then)
        except PluginTimeout as error:
            overdue = error
            self.activations.hanging[instance] = "deactivate"
            deactivated.addBoth(lambda _: self.activations.hanging.pop(instance, None))
            BotPlugin.deactivate(instance)
        except RAISED:
            self.log.failure("{plugin}.deactivate failed; the plugin is inactive nevertheless", plugin=plugin.name)
            BotPlugin.deactivate(instance)
        self._deactivated(plugin, instance)
        if overdue is not None:
            if plugin.instance is instance:
                plugin.problem = str(overdue)
            raise overdue

    def _deactivated(self, plugin: Plugin, instance: BotPlugin) -> None:
        instance.is_activated = False
        self.changed()
        if plugin.instance is instance:
            self._order.pop(plugin.name, None)
            # During a reload, handlers of the old instance may still use the templates.
            self.loader.remove_templates(plugin)

        def close(_: None) -> None:
            if BotPlugin.is_open_storage(instance) and not instance.is_activated:
                BotPlugin.close_storage(instance)

        self.execution.runner.when_idle(instance).addCallback(close)

    async def reload(self, plugin: Plugin) -> None:
        """Load the plugin's code again and replace the instance. An inactive plugin stays inactive, unless it was
        broken. An activation that exceeds the timeout is given up, and the plugin is activated again."""
        activation = self.activations.of(plugin)
        if activation is not None and not activation.late:
            raise still_activating(plugin.name)
        old, was_broken = plugin.instance, bool(plugin.problem)
        # A plugin may have routes although it isn't active.
        has_routes = any(route.hook.owner == plugin.name for route in self.routes.hooks())
        was_at_work = activation is not None or plugin.active or has_routes
        await self.loader.load_again(plugin)
        if old is None or not was_at_work:
            if was_broken:
                await self.activations.activate(plugin)
            return
        overdue: PluginTimeout | None = None
        # Requests wait from the end of the old instance until the new one has its routes.
        with self._replacing(plugin):
            if not self.give_up(plugin):
                try:
                    await self.end(plugin, old)
                except PluginTimeout as error:
                    overdue = error
            await self.activations.activate(plugin)
        if overdue is not None:
            late = f"{plugin.name}.deactivate of the old code has not returned after {self.execution.timeout:g} s"
            raise PluginTimeout(f"{plugin.name} is reloaded and active, but {late}.")

    async def use(self, plugin: Plugin, instance: BotPlugin, configuration: Any, store: Callable[[], None]) -> None:
        """Activate the plugin with another configuration, and `store` it. If that fails, the previous configuration is
        restored. Raises PluginTimeout; the configuration is stored then as soon as the activation has ended."""
        before = self.stored(plugin.name)
        with self._replacing(plugin):
            was_active, problem = plugin.active, plugin.problem
            if was_active:
                await self.end(plugin, instance)
            try:
                await self.activations.activate(plugin, lambda: configuration)
            except PluginTimeout:
                activation = self.activations.of(plugin)
                assert activation is not None
                activation.wait().addCallbacks(lambda _: store(), lambda _: None)
                raise
            except PluginError as error:
                if not was_active:
                    configured = Deferred.fromCoroutine(self.execution.configure(plugin, instance, before))
                    await self.execution.in_time(configured, f"{plugin.name}.configure")
                    plugin.problem = problem
                    raise
                await self.activations.activate(plugin)
                kind = PluginConfigurationException if isinstance(error, PluginConfigurationException) else PluginError
                raise kind(f"{str(error).rstrip('.')}. The configuration from before is in use again.") from error
            store()

    async def stop_all(self, each: float, within: float) -> None:
        """Deactivate all plugins, last activated first, within `within` seconds: one after the other until one takes
        longer than `each` seconds, and the rest concurrently, so that those can still store values."""
        for activation in list(self.activations.under_way.values()):
            activation.late = True
            self.give_up(activation.plugin)
        slow: list[Deferred[None]] = []
        active = [name for name, plugin in self._plugins.items() if plugin.active]
        # Plugins that were activated by other plugins come last in the order.
        order = sorted(active, key=lambda name: self._order.get(name, inf))
        for name in reversed(order):
            plugin = self._plugins[name]
            # The `deactivate` of another plugin, which was awaited before, may have deactivated it.
            if plugin.instance is not None and plugin.active and plugin.instance not in self._ending:
                self.routes.remove(name)
                ending = Deferred.fromCoroutine(self._end_quietly(plugin, plugin.instance, within))
                if slow:
                    slow.append(ending)
                    continue
                try:
                    await result_within(self.execution.reactor, each, ending)
                except TimedOut:
                    text = "{plugin}.deactivate has not returned; the other plugins are deactivated meanwhile"
                    self.log.warn(text, plugin=name)
                    slow.append(ending)
        await DeferredList(slow)


def hooks_of(instance: BotPlugin) -> list[Hook]:
    """Return the webhooks of a plugin."""
    declared = [(name, HookDeclaration.of(handler), handler) for name, handler in handlers(instance)]
    return [Hook(plugin_name(instance), name, hook, handler) for name, hook, handler in declared if hook is not None]
