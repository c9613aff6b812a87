"""How a plugin is configured, activated, reloaded and deactivated: the steps, one by one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.commands import CommandDeclaration
from errklein.plugins.activation import STORED, Activation, Batch, current
from errklein.plugins.botplugin import BotPlugin, handlers, overrides
from errklein.plugins.load_errors import told_of
from errklein.plugins.loading import Loader
from errklein.plugins.names import plugin_name
from errklein.plugins.plugin import (
    RAISED,
    TIMEOUT,
    CircularDependency,
    KnownProblem,
    Plugin,
    PluginActivationException,
    PluginConfigurationException,
    PluginError,
    PluginTimeout,
    as_raised,
)
from errklein.plugins.structure import ValidationException
from errklein.running.patience import NotYet, result_within
from errklein.text.masking import masker, secrets_in
from errklein.webhooks import Hook, HookDeclaration

if TYPE_CHECKING:
    from errklein.bot import Bot


T = TypeVar("T")


class Lives:
    """Leads plugins through their lives. Of these steps, only those of one change may go on at a time.

    Plugins that are activated by one change are activated at the same time, each after those that it depends on. A
    change waits TIMEOUT seconds for plugins' methods. After that an activation goes on by itself, and its plugin is active when it
    ends, unless it has been deactivated, reloaded or removed meanwhile. A plugin whose `deactivate` doesn't return in time is inactive
    all the same.

    `stored_configuration` tells the configuration that is stored for a plugin's name; `changed` is called whenever
    another plugin is active than before.
    """

    log = Logger()

    def __init__(
        self, bot: Bot, loader: Loader, stored_configuration: Callable[[str], Any], changed: Callable[[], None]
    ) -> None:
        self._bot = bot
        self._loader = loader
        self._plugins = loader.plugins
        self._configuration = stored_configuration
        self._changed = changed
        self._order: dict[str, int] = {}
        self._places = count()
        self._under_way: dict[str, Activation] = {}
        self._stuck: dict[BotPlugin, str] = {}
        self._ending: set[BotPlugin] = set()
        self._gaps = 0
        self._waiting: list[Deferred[None]] = []

    @property
    def order(self) -> list[str]:
        """The names of active plugins, in the order of their places.

        Those that another plugin's code has activated, by their own method, come last.
        """
        active = [name for name, plugin in self._plugins.items() if plugin.active]
        return sorted(active, key=lambda name: self._order.get(name, inf))

    def place(self) -> int:
        """The number in the order of activation of what is registered now: of the plugin that is being activated by the
        running code, else the next one. Used from any thread."""
        activation = current.get()
        return next(self._places) if activation is None else activation.place

    def activation_order(self, names: Iterable[str]) -> list[str]:
        """The names, and those of the plugins that these depend on, each after those that it depends on."""
        order: dict[str, None] = {}

        def put(name: str, wanted_by: tuple[str, ...]) -> None:
            if name in order or name in wanted_by or name not in self._plugins:
                return
            for other in self._plugins[name].plug.depends_on:
                put(other, (*wanted_by, name))
            order[name] = None

        for name in names:
            put(name, ())
        return list(order)

    def when_settled(self) -> Deferred[None] | None:
        """Fires when a plugin that is between two instances has its commands again; None if there is no such plugin."""
        if not self._gaps:
            return None
        settled: Deferred[None] = Deferred()
        self._waiting.append(settled)
        return settled

    # Activation

    async def activate_all(self, plugins: Sequence[Plugin]) -> dict[str, PluginError]:
        """Activate the plugins, and those they depend on; returns the errors, by the plugins' names.

        All of them together are waited for TIMEOUT seconds.
        """
        order = self.activation_order(plugin.name for plugin in plugins)
        batch = Batch({name: next(self._places) for name in order})
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
        with suppress(NotYet):
            await result_within(self._bot.reactor, TIMEOUT, DeferredList(waiting.values()))
        for failure in unexpected:
            failure.raiseException()
        for name, activated in waiting.items():
            if not activated.called:
                errors[name] = self._overdue(self._under_way[name])
        return errors

    async def activate(self, plugin: Plugin) -> None:
        """Activate the plugin, and those it depends on before it; raises PluginActivationException, and PluginTimeout
        if that takes longer than TIMEOUT seconds."""
        self.check_settled(plugin)
        await self._in_time(plugin, self._activated(plugin, Batch()))

    def check_settled(self, plugin: Plugin) -> None:
        """Raise PluginActivationException if the plugin is still being activated, and nobody waits for that."""
        if self.is_late(plugin):
            raise PluginActivationException(f"{plugin.name} is still being activated.")

    def is_late(self, plugin: Plugin) -> bool:
        """Whether the plugin is still being activated, and nobody waits for that."""
        activation = self._under_way.get(plugin.name)
        return activation is not None and activation.late

    def check_wanted(self, instance: BotPlugin) -> None:
        """Raise PluginActivationException if the instance is to be inactive, although a method of it still runs."""
        if instance in self._stuck:
            raise PluginActivationException(f"{plugin_name(instance)} was deactivated while it was being activated.")

    def give_up(self, plugin: Plugin) -> bool:
        """Make the plugin inactive if it is late in its `activate`, or before that; returns whether it is so.

        When the method that runs has returned, `deactivate` is called, so that nothing is left behind.
        """
        activation = self._under_way.get(plugin.name)
        if activation is None or not activation.late or activation.step == "callback_connect":
            return False
        self._let_go(activation)
        if activation.instance is not None:
            BotPlugin.deactivate(activation.instance)
            self._is_gone(plugin, activation.instance)
        return True

    def _let_go(self, activation: Activation) -> None:
        """Let another activation of the plugin begin, with another instance, while this one goes on."""
        activation.given_up = True
        del self._under_way[activation.plugin.name]
        if activation.step and activation.instance is not None:
            self._stuck[activation.instance] = activation.step
        activation.finish(Failure(_given_up(activation.plugin)))

    async def _activated(self, plugin: Plugin, batch: Batch, configuration: Any = STORED) -> None:
        """Begin to activate the plugin, unless it is active or under way, and wait for it.

        Raises PluginActivationException if it can't be activated, and if it waits for the caller's own activation.
        """
        activation = self._under_way.get(plugin.name)
        if activation is None:
            if plugin.active:
                return
            activation = Activation(plugin, batch, self._places.__next__, configuration)
            self._under_way[plugin.name] = activation
            Deferred.fromCoroutine(self._activate(activation)).addBoth(self._has_ended, activation)
        elif activation.late:
            if plugin.active:
                return
            self.check_settled(plugin)
        waiter = current.get()
        if waiter is None:
            await activation.when_done()
            return
        if self._waits_for(activation, waiter):
            if plugin.active:
                return
            # A plugin that has called BotPlugin's `activate` may activate those that depend on it.
            for one in list(self._under_way.values()):
                if one.plugin.active and self._waits_for(activation, one) and self._waits_for(one, waiter):
                    one.release()
            if self._waits_for(activation, waiter):
                raise PluginActivationException(f"{plugin.name} is still being activated.")
        waiter.waits_for.append(plugin.name)
        try:
            await activation.when_usable()
        finally:
            waiter.waits_for.remove(plugin.name)

    async def _activate(self, activation: Activation) -> None:
        current.set(activation)
        plugin, instance, failed = activation.plugin, activation.instance, activation.batch.failed
        if plugin.name in failed or instance is None:
            raise KnownProblem(plugin.problem or f"{plugin.name} could not be loaded")
        try:
            if instance in self._stuck:
                raise PluginActivationException(
                    f"{plugin.name}.{self._stuck[instance]} has not returned yet; reload {plugin.name} to activate it."
                )
            self._check_circle(plugin)
            for name in plugin.plug.depends_on:
                await self._activate_dependency(plugin, name, activation.batch)
                if not self._is_wanted(activation):
                    raise _given_up(plugin)
            stored = activation.configuration is STORED
            await self.configure(
                plugin, instance, self._configuration(plugin.name) if stored else activation.configuration
            )
            if not self._is_wanted(activation):
                raise _given_up(plugin)
            await self._begin(activation, instance)
        except PluginError as error:
            failed.add(plugin.name)
            if self._is_wanted(activation):
                plugin.problem = str(error)
            raise

    async def activate_dependencies(self, plugin: Plugin) -> None:
        """Activate the plugins that this one depends on; raises PluginActivationException, and PluginTimeout if one of
        them takes longer than TIMEOUT seconds."""
        self._check_circle(plugin)
        batch = Batch()
        for name in plugin.plug.depends_on:
            activated = self._activate_dependency(plugin, name, batch)
            await (self._in_time(self._plugins[name], activated) if name in self._plugins else activated)

    async def _activate_dependency(self, plugin: Plugin, name: str, batch: Batch) -> None:
        if name not in self._plugins:
            raise PluginActivationException(_missing(plugin, name))
        try:
            await self._activated(self._plugins[name], batch)
        except PluginError as error:
            raise PluginActivationException(
                f"{plugin.name} depends on {name}, which can't be activated: {error}"
            ) from error

    def _has_ended(self, result: Any, activation: Activation) -> None:
        name = activation.plugin.name
        if self._under_way.get(name) is activation:
            del self._under_way[name]
        if activation.given_up and activation.instance is not None:
            self._stuck.pop(activation.instance, None)
        failure = result if isinstance(result, Failure) else None
        if failure is not None and activation.late and self._is_wanted(activation):
            self._bot.tell_admins(failure.getErrorMessage(), f"{name} could not be activated")
        activation.finish(failure)

    def _is_wanted(self, activation: Activation) -> bool:
        """Whether the plugin is to be active when the activation ends."""
        return not activation.given_up and self._plugins.get(activation.plugin.name) is activation.plugin

    def _waits_for(self, activation: Activation, other: Activation) -> bool:
        """Whether the activation is the other one, or waits for it, perhaps by way of further ones."""
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
        """Wait for the plugin's activation; raises PluginTimeout if it takes longer than TIMEOUT seconds."""
        waiting = Deferred.fromCoroutine(activated)
        try:
            await result_within(self._bot.reactor, TIMEOUT, waiting)
        except NotYet:
            # `_has_ended` tells what comes of it.
            waiting.addErrback(lambda _: None)
            raise self._overdue(self._under_way[plugin.name]) from None

    def _overdue(self, activation: Activation) -> PluginTimeout:
        """Let the activation, and those it waits for, go on by themselves; the error that says so."""
        activation.late = True
        name = activation.plugin.name
        if activation.waits_for:
            why = f"it waits for {', '.join(activation.waits_for)}"
        else:
            why = f"{name}.{activation.step} has not returned"
        for other in activation.waits_for:
            if other in self._under_way and not self._under_way[other].late:
                self._overdue(self._under_way[other])
        return PluginTimeout(
            f"{name} is still being activated after {TIMEOUT:g} s: {why}. It goes on without being waited for."
        )

    async def foresee(self, plugin: Plugin) -> list[str]:
        """What can be known to be wrong with the plugin before it is activated, beside what kept it from being loaded."""
        missing = [_missing(plugin, name) for name in plugin.plug.depends_on if name not in self._plugins]
        circle = self._circle(plugin)
        circular = [str(_circular(plugin, circle))] if circle else []
        foreseen = missing + circular
        if plugin.instance is not None:
            foreseen += self._bot.web.routes.refused(hooks_of(plugin.instance))
        if _has_templates(plugin):
            foreseen += await self._broken_templates(plugin)
        return foreseen

    def _check_circle(self, plugin: Plugin) -> None:
        circle = self._circle(plugin)
        if circle:
            raise _circular(plugin, circle)

    def _circle(self, plugin: Plugin) -> tuple[str, ...]:
        """The names of the plugins by which this one depends on itself, beginning with its own; none if it doesn't."""
        wanted_by: dict[str, str] = {}
        waiting = [plugin.name]
        while waiting:
            name = waiting.pop()
            for needed in self._plugins[name].plug.depends_on:
                if needed == plugin.name:
                    circle = [name]
                    while circle[0] != plugin.name:
                        circle.insert(0, wanted_by[circle[0]])
                    return tuple(circle)
                if needed in self._plugins and needed not in wanted_by:
                    wanted_by[needed] = name
                    waiting.append(needed)
        return ()

    async def configure(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance check and take the configuration; raises PluginConfigurationException."""
        masker.learn(self._bot, f"{plugin.name}: in use", secrets_in(configuration))
        try:
            if configuration is not None and await self._call(instance, "get_configuration_template") is not None:
                await self._call(instance, "check_configuration", configuration)
            await self._call(instance, "configure", configuration)
            # The plugin may have added secrets, such as defaults or values of environment variables.
            masker.learn(self._bot, f"{plugin.name}: in use", secrets_in([configuration, vars(instance).get("config")]))
        except RAISED as error:
            problem = f"{plugin.name} can't use its configuration: {self._refusal(plugin, error)}"
            if plugin.instance is instance:
                plugin.problem = problem
            # Plugins may have a property of that name.
            with suppress(AttributeError):
                instance.config = None
            raise PluginConfigurationException(problem) from error

    async def template(self, plugin: Plugin, instance: BotPlugin) -> Any:
        """The example of a configuration that the plugin gives; raises PluginConfigurationException."""
        try:
            return await self._call_in_time(plugin, instance, "get_configuration_template")
        except PluginTimeout:
            raise
        except RAISED as error:
            raise PluginConfigurationException(
                f"{plugin.name} can't tell how it is configured: {told_of(plugin.plug, error)}"
            ) from error

    async def check(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance say whether it could take the configuration; raises PluginConfigurationException."""
        if configuration is None or await self.template(plugin, instance) is None:
            return
        masker.learn(self._bot, f"{plugin.name}: given", secrets_in(configuration))
        try:
            await self._call_in_time(plugin, instance, "check_configuration", configuration)
        except PluginTimeout:
            raise
        except RAISED as error:
            raise PluginConfigurationException(self._refusal(plugin, error)) from error

    async def reconfigured(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> bool:
        """Whether the active plugin has taken the configuration as it goes."""
        # errbot has no such method, so a plugin written for it may have a command of that name.
        if CommandDeclaration.of(instance.reconfigure) or HookDeclaration.of(instance.reconfigure):
            return False
        try:
            return await self._call_in_time(plugin, instance, "reconfigure", configuration) is not NotImplemented
        except PluginTimeout:
            raise
        except RAISED as error:
            raise PluginConfigurationException(self._refusal(plugin, error)) from error

    def _refusal(self, plugin: Plugin, error: BaseException) -> str:
        """Why the plugin doesn't take a configuration: its own words, or what went wrong in it, and where."""
        if isinstance(error, ValidationException):
            return " ".join(masker(str(error)).split())
        self.log.failure("{plugin}: configuring it failed", plugin=plugin.name)
        return told_of(plugin.plug, error)

    async def _begin(self, activation: Activation, instance: BotPlugin) -> None:
        """Activate the configured instance; raises PluginActivationException."""
        plugin = activation.plugin
        cls: Any = type(instance)
        cls.__errdoc__ = cls.__doc__ or plugin.plug.description
        await self._add_templates(plugin)
        method = "activate"
        try:
            await self._call(instance, method)
            if self._is_wanted(activation) and not activation.ended:
                place = activation.place
                self._changed()
                # One that returns from activate without calling BotPlugin's doesn't want to work yet, or has forgotten it:
                # it counts as inactive and has no commands, but on errbot, too, its webhooks are answered.
                if instance.is_activated:
                    self._order[plugin.name] = place
                self._bot.web.routes.replace(plugin.name, hooks_of(instance), place)
                method = "callback_connect"
                await self._call(instance, method)
        except RAISED as error:
            if self._is_wanted(activation):
                self.log.failure("{plugin} could not be activated: {method}", plugin=plugin.name, method=method)
                self._bot.web.routes.remove(plugin.name)
                await self._end_quietly(plugin, instance)
                problem = f"{plugin.name} could not be activated: {method}: {told_of(plugin.plug, error)}"
                raise PluginActivationException(problem) from error
            self.log.info(
                "{plugin}.{method}, which was given up, has raised {error}",
                plugin=plugin.name,
                method=method,
                error=error,
            )
        if activation.ended:
            # What it has registered since then, such as a poller.
            BotPlugin.deactivate(instance)
        elif self._is_wanted(activation):
            plugin.problem = ""
        else:
            await self._end_quietly(plugin, instance)
            raise _given_up(plugin)

    async def _end_quietly(self, plugin: Plugin, instance: BotPlugin) -> None:
        """As `end`, for an instance whose activation has an error of its own to report."""
        try:
            await self.end(plugin, instance)
        except PluginError as error:
            self.log.warn("{error}", error=str(error))

    async def _add_templates(self, plugin: Plugin) -> None:
        self._remove_templates(plugin)
        if _has_templates(plugin):
            # Jinja2 takes its time to import, and few plugins have templates.
            from errklein.text import templating

            templating.add_templates(plugin.name, plugin.plug.directory)
            plugin.has_templates = True
            plugin.templates = await self._broken_templates(plugin)

    def _remove_templates(self, plugin: Plugin) -> None:
        if plugin.has_templates:
            from errklein.text import templating

            templating.remove_templates(plugin.name)
            plugin.has_templates = False
        plugin.templates = []

    async def _broken_templates(self, plugin: Plugin) -> list[str]:
        from errklein.plugins.template_checks import broken_templates

        work = partial(broken_templates, plugin.plug.directory)
        return await self._bot.plugin_pool.run(lambda: work, name=lambda: f"checking the templates of {plugin.name}")

    async def end(self, plugin: Plugin, instance: BotPlugin, within: float = TIMEOUT) -> None:
        """Deactivate the instance; its storage closes when its last handler has come to its end.

        Raises PluginTimeout if `deactivate` doesn't return within so many seconds. The plugin is inactive then, too: what it
        has registered is removed. Raises PluginError if it is being deactivated already, as when its own `deactivate` asks for it.
        """
        if instance in self._ending:
            raise PluginError(f"{plugin.name} is being deactivated already.")
        self._ending.add(instance)
        try:
            await self._end(plugin, instance, within)
        finally:
            self._ending.discard(instance)

    async def _end(self, plugin: Plugin, instance: BotPlugin, within: float) -> None:
        activation = self._under_way.get(plugin.name)
        if activation is not None and activation.instance is instance:
            activation.ended = True
            if activation.late and activation is not current.get():
                self._let_go(activation)
        overdue: PluginTimeout | None = None
        deactivated = Deferred.fromCoroutine(self._call(instance, "deactivate"))
        try:
            await result_within(self._bot.reactor, within, deactivated)
        except NotYet:
            self._stuck[instance] = "deactivate"
            deactivated.addBoth(self._has_returned, plugin, instance)
            BotPlugin.deactivate(instance)
            overdue = PluginTimeout(
                f"{plugin.name}.deactivate has not returned after {within:.3g} s. Its commands, webhooks and pollers are "
                "removed all the same."
            )
        except RAISED:
            self.log.failure("{plugin} raised while it was deactivated", plugin=plugin.name)
            BotPlugin.deactivate(instance)
        self._is_gone(plugin, instance)
        if overdue is not None:
            if plugin.instance is instance:
                plugin.problem = str(overdue)
            raise overdue

    def _has_returned(self, result: Any, plugin: Plugin, instance: BotPlugin) -> None:
        """A `deactivate` has returned after its time was over."""
        self._stuck.pop(instance, None)
        if isinstance(result, Failure):
            self.log.failure("{plugin} raised while it was deactivated", result, plugin=plugin.name)

    def _is_gone(self, plugin: Plugin, instance: BotPlugin) -> None:
        """The instance is not active any more."""
        instance.is_activated = False
        self._changed()
        if plugin.instance is instance:
            self._order.pop(plugin.name, None)
            # Of a plugin that is being reloaded, handlers of the old instance may still need them.
            self._remove_templates(plugin)

        def close(_: None) -> None:
            if BotPlugin.is_open_storage(instance) and not instance.is_activated:
                BotPlugin.close_storage(instance)

        self._bot.runner.when_idle(instance).addCallback(close)

    async def reload(self, plugin: Plugin) -> None:
        """Make a new instance of the plugin's code as it is now; one that was inactive stays so, unless it was broken.

        A plugin that is still being activated, and that nobody waits for, is activated anew.
        """
        activation = self._under_way.get(plugin.name)
        if activation is not None and not activation.late:
            raise PluginActivationException(f"{plugin.name} is still being activated.")
        old, was_broken = plugin.instance, bool(plugin.problem)
        was_at_work = activation is not None or self._at_work(plugin)
        await self._loader.load_again(plugin)
        if old is None or not was_at_work:
            if was_broken:
                await self.activate(plugin)
            return
        overdue: PluginTimeout | None = None
        # Requests wait from the moment that the old instance stops until the new one has its routes.
        with self._between(plugin):
            if not self.give_up(plugin):
                try:
                    await self.end(plugin, old)
                except PluginTimeout as error:
                    overdue = error
            await self.activate(plugin)
        if overdue is not None:
            raise PluginTimeout(
                f"{plugin.name} is reloaded and active, but {plugin.name}.deactivate of the old code has not returned after "
                f"{TIMEOUT:g} s."
            )

    async def use(self, plugin: Plugin, instance: BotPlugin, configuration: Any, store: Callable[[], None]) -> None:
        """Activate the plugin with another configuration, and `store` it; if that fails, the plugin is as before, with the
        stored configuration.

        Raises PluginTimeout if that takes longer than TIMEOUT seconds. The configuration is stored then as soon as the
        activation has ended.
        """
        before = self._configuration(plugin.name)
        with self._between(plugin):
            was_active, problem = plugin.active, plugin.problem
            if was_active:
                await self.end(plugin, instance)
            try:
                await self._in_time(plugin, self._activated(plugin, Batch(), configuration))
            except PluginTimeout:
                self._under_way[plugin.name].when_done().addCallbacks(lambda _: store(), lambda _: None)
                raise
            except PluginError as error:
                if not was_active:
                    await self._limited(plugin, "configure", self.configure(plugin, instance, before))
                    plugin.problem = problem
                    raise
                await self.activate(plugin)
                kind = PluginConfigurationException if isinstance(error, PluginConfigurationException) else PluginError
                raise kind(f"{str(error).rstrip('.')}. The configuration from before is in use again.") from error
            store()

    async def stop_all(self, patience: float, within: float) -> None:
        """Deactivate all plugins, those first that were activated last; fires when all are, after `within` seconds at most.

        They are deactivated one after the other until one takes longer than `patience` seconds. The rest doesn't wait
        any more: what it has to store would be lost.
        """
        for activation in list(self._under_way.values()):
            activation.late = True
            self.give_up(activation.plugin)
        slow: list[Deferred[None]] = []
        for name in reversed(self.order):
            plugin = self._plugins[name]
            # Another plugin's `deactivate`, for which this waits, may deactivate it.
            if plugin.instance is not None and plugin.active and plugin.instance not in self._ending:
                self._bot.web.routes.remove(name)
                ending = Deferred.fromCoroutine(self.end(plugin, plugin.instance, within))
                ending.addErrback(self._not_deactivated)
                if slow:
                    slow.append(ending)
                    continue
                try:
                    await result_within(self._bot.reactor, patience, ending)
                except NotYet:
                    self.log.warn("{plugin} takes long to be deactivated; the others aren't kept waiting", plugin=name)
                    slow.append(ending)
        await DeferredList(slow)

    def _not_deactivated(self, failure: Failure) -> None:
        failure.trap(PluginTimeout)
        self.log.warn("{error}", error=failure.getErrorMessage())

    def _at_work(self, plugin: Plugin) -> bool:
        """Whether the plugin is active, or at least has webhooks that are answered."""
        return plugin.active or any(route.hook.owner == plugin.name for route in self._bot.web.routes.hooks())

    @contextmanager
    def _between(self, plugin: Plugin) -> Iterator[None]:
        """Requests for the plugin and unknown commands wait, from its old instance's end until its new one works."""
        self._bot.web.routes.hold(plugin.name)
        self._gaps += 1
        try:
            yield
        except BaseException:
            if not plugin.active:
                self._bot.web.routes.remove(plugin.name)
            raise
        finally:
            self._bot.web.routes.release(plugin.name)
            self._gaps -= 1
            if not self._gaps:
                waiting, self._waiting = self._waiting, []
                for settled in waiting:
                    settled.callback(None)

    async def _call_in_time(self, plugin: Plugin, instance: BotPlugin, method: str, *args: Any) -> Any:
        """As `_call`; raises PluginTimeout if the method doesn't return within TIMEOUT seconds."""
        return await self._limited(plugin, method, self._call(instance, method, *args))

    async def _limited(self, plugin: Plugin, method: str, work: Coroutine[Any, Any, T]) -> T:
        """What the work, by which the method is called, comes to; raises PluginTimeout after TIMEOUT seconds."""
        worked = Deferred.fromCoroutine(work)
        try:
            return await result_within(self._bot.reactor, TIMEOUT, worked)
        except NotYet:
            worked.addErrback(partial(self.log.failure, "{plugin}.{method} failed", plugin=plugin.name, method=method))
            raise PluginTimeout(f"{plugin.name}.{method} has not returned after {TIMEOUT:g} s.") from None

    async def _call(self, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Call a method of the plugin where it is safe; what BotPlugin itself has is quick and stays here."""
        activation = current.get()
        if activation is not None and activation.instance is instance:
            activation.step = method
        if not overrides(instance, method):
            return getattr(instance, method)(*args)
        running = self._bot.runner.run(getattr(instance, method), *args, pool=self._bot.plugin_pool)
        return await running.addErrback(as_raised)


def _missing(plugin: Plugin, name: str) -> str:
    return f"{plugin.name} depends on {name}, and there is no such plugin (DependsOn in {plugin.plug.path})"


def _given_up(plugin: Plugin) -> PluginActivationException:
    return PluginActivationException(f"{plugin.name} was deactivated while it was being activated.")


def _circular(plugin: Plugin, circle: tuple[str, ...]) -> CircularDependency:
    """The error that tells how the plugin, which is one of the circle, depends on itself."""
    start = circle.index(plugin.name)
    circle = (*circle[start:], *circle[:start])
    shown = " → ".join((*circle, plugin.name))
    return CircularDependency(f"{plugin.name} depends on itself: {shown} (DependsOn in {plugin.plug.path})", circle)


def hooks_of(instance: BotPlugin) -> list[Hook]:
    """The methods of a plugin that are marked as webhooks."""
    hooks = []
    for name, handler in handlers(instance):
        declaration = HookDeclaration.of(handler)
        if declaration is not None:
            hooks.append(Hook(plugin_name(instance), name, declaration, handler))
    return hooks


def _has_templates(plugin: Plugin) -> bool:
    return (plugin.plug.directory / "templates").is_dir()
