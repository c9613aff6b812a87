"""The steps of a plugin's life: how an instance is activated, deactivated, reloaded and replaced."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.plugins.activation import Activation, Activations, current, given_up, still_activating
from errklein.plugins.botplugin import BotPlugin, handlers
from errklein.plugins.configuration import Configuring
from errklein.plugins.dependencies import circle, missing
from errklein.plugins.handover import Handovers
from errklein.plugins.load_errors import told_of
from errklein.plugins.loading import Loader
from errklein.plugins.method_calls import MethodCalls
from errklein.plugins.plugin import (
    RAISED,
    TIMEOUT,
    Plugin,
    PluginActivationException,
    PluginConfigurationException,
    PluginError,
    PluginTimeout,
)
from errklein.plugins.plugin_names import plugin_name
from errklein.plugins.templates import add_templates, broken_templates, remove_templates
from errklein.running.timeouts import TimedOut, result_within
from errklein.webhooks import Hook, HookDeclaration

if TYPE_CHECKING:
    from errklein.bot import Bot


class Lifecycle:
    """Leads plugins through their lives. Of these steps, only those of one change may go on at a time.

    A change waits TIMEOUT seconds for plugins' methods. A plugin that is still being activated then is active when that ends,
    unless it has been deactivated, reloaded or removed meanwhile. A plugin whose `deactivate` doesn't return in time is
    inactive all the same.

    `stored_configuration` returns the configuration that is stored for a plugin's name; `changed` is called whenever
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
        self._ending: set[BotPlugin] = set()
        self._calls = MethodCalls(bot)
        self.configuring = Configuring(bot, self._calls)
        self.activations = Activations(bot, loader.plugins, self.configuring, stored_configuration, self._begin)
        self.handovers = Handovers(bot)

    @property
    def order(self) -> list[str]:
        """The names of active plugins, in the order of their places.

        Those that another plugin's code has activated, by their own method, come last.
        """
        active = [name for name, plugin in self._plugins.items() if plugin.active]
        return sorted(active, key=lambda name: self._order.get(name, inf))

    async def foresee(self, plugin: Plugin) -> list[str]:
        """What can be known to be wrong with the plugin before it is activated, beside what kept it from being loaded."""
        foreseen = [missing(plugin, name) for name in plugin.plug.depends_on if name not in self._plugins]
        if circular := circle(self._plugins, plugin):
            foreseen.append(circular)
        if plugin.instance is not None:
            foreseen += self._bot.web.routes.refused(hooks_of(plugin.instance))
        return foreseen + await broken_templates(self._bot, plugin)

    def give_up(self, plugin: Plugin) -> bool:
        """Make the plugin inactive if it is late in its `activate`, or before that; returns whether it is so.

        When the method that runs has returned, `deactivate` is called, so that nothing is left behind.
        """
        activation = self.activations.of(plugin)
        if activation is None or not activation.late or activation.step == "callback_connect":
            return False
        self.activations.let_go(activation)
        if activation.instance is not None:
            BotPlugin.deactivate(activation.instance)
            self._is_gone(plugin, activation.instance)
        return True

    async def _begin(self, activation: Activation, instance: BotPlugin) -> None:
        """Activate the configured instance; raises PluginActivationException."""
        plugin = activation.plugin
        cls: Any = type(instance)
        cls.__errdoc__ = cls.__doc__ or plugin.plug.description
        await add_templates(self._bot, plugin)
        method = "activate"
        try:
            await self._calls.call(instance, method)
            if self.activations.is_wanted(activation) and not activation.ended:
                place = activation.place
                self._changed()
                # One that returns from activate without calling BotPlugin's doesn't want to work yet, or has forgotten it:
                # it counts as inactive and has no commands, but on errbot, too, its webhooks are answered.
                if instance.is_activated:
                    self._order[plugin.name] = place
                self._bot.web.routes.replace(plugin.name, hooks_of(instance), place)
                method = "callback_connect"
                await self._calls.call(instance, method)
        except RAISED as error:
            if self.activations.is_wanted(activation):
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
        elif self.activations.is_wanted(activation):
            plugin.problem = ""
        else:
            await self._end_quietly(plugin, instance)
            raise given_up(plugin.name)

    async def _end_quietly(self, plugin: Plugin, instance: BotPlugin) -> None:
        """As `end`, for an instance whose activation has an error of its own to report."""
        try:
            await self.end(plugin, instance)
        except PluginError as error:
            self.log.warn("{error}", error=str(error))

    async def end(self, plugin: Plugin, instance: BotPlugin, within: float = TIMEOUT) -> None:
        """Deactivate the instance; its storage closes when its last handler has ended.

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
        activation = self.activations.of(plugin)
        if activation is not None and activation.instance is instance:
            activation.ended = True
            if activation.late and activation is not current.get():
                self.activations.let_go(activation)
        overdue: PluginTimeout | None = None
        deactivated = Deferred.fromCoroutine(self._calls.call(instance, "deactivate"))
        try:
            await result_within(self._bot.reactor, within, deactivated)
        except TimedOut:
            self.activations.stuck[instance] = "deactivate"
            deactivated.addBoth(self._has_returned, plugin, instance)
            BotPlugin.deactivate(instance)
            overdue = PluginTimeout(
                f"{plugin.name}.deactivate has not returned after {within:.3g} s. Its commands, webhooks and pollers have "
                "been removed."
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
        self.activations.stuck.pop(instance, None)
        if isinstance(result, Failure):
            self.log.failure("{plugin} raised while it was deactivated", result, plugin=plugin.name)

    def _is_gone(self, plugin: Plugin, instance: BotPlugin) -> None:
        """The instance is not active any more."""
        instance.is_activated = False
        self._changed()
        if plugin.instance is instance:
            self._order.pop(plugin.name, None)
            # Of a plugin that is being reloaded, handlers of the old instance may still need them.
            remove_templates(plugin)

        def close(_: None) -> None:
            if BotPlugin.is_open_storage(instance) and not instance.is_activated:
                BotPlugin.close_storage(instance)

        self._bot.runner.when_idle(instance).addCallback(close)

    async def reload(self, plugin: Plugin) -> None:
        """Make a new instance of the plugin's code as it is now; one that was inactive stays so, unless it was broken.

        A plugin that is still being activated, and that nobody waits for, is activated anew.
        """
        activation = self.activations.of(plugin)
        if activation is not None and not activation.late:
            raise still_activating(plugin.name)
        old, was_broken = plugin.instance, bool(plugin.problem)
        was_at_work = activation is not None or self._at_work(plugin)
        await self._loader.load_again(plugin)
        if old is None or not was_at_work:
            if was_broken:
                await self.activations.activate(plugin)
            return
        overdue: PluginTimeout | None = None
        # Requests wait from the moment that the old instance stops until the new one has its routes.
        with self.handovers.between(plugin):
            if not self.give_up(plugin):
                try:
                    await self.end(plugin, old)
                except PluginTimeout as error:
                    overdue = error
            await self.activations.activate(plugin)
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
        with self.handovers.between(plugin):
            was_active, problem = plugin.active, plugin.problem
            if was_active:
                await self.end(plugin, instance)
            try:
                await self.activations.activate(plugin, lambda: configuration)
            except PluginTimeout:
                activation = self.activations.of(plugin)
                assert activation is not None
                activation.when_done().addCallbacks(lambda _: store(), lambda _: None)
                raise
            except PluginError as error:
                if not was_active:
                    await self._calls.in_time(plugin, "configure", self.configuring.configure(plugin, instance, before))
                    plugin.problem = problem
                    raise
                await self.activations.activate(plugin)
                kind = PluginConfigurationException if isinstance(error, PluginConfigurationException) else PluginError
                raise kind(f"{str(error).rstrip('.')}. The configuration from before is in use again.") from error
            store()

    async def stop_all(self, patience: float, within: float) -> None:
        """Deactivate all plugins, those first that were activated last; fires when all are, after `within` seconds at most.

        They are deactivated one after the other until one takes longer than `patience` seconds. The rest doesn't wait
        any more: what it has to store would be lost.
        """
        for activation in self.activations.under_way:
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
                except TimedOut:
                    self.log.warn("{plugin} takes long to be deactivated; the others aren't kept waiting", plugin=name)
                    slow.append(ending)
        await DeferredList(slow)

    def _not_deactivated(self, failure: Failure) -> None:
        failure.trap(PluginTimeout)
        self.log.warn("{error}", error=failure.getErrorMessage())

    def _at_work(self, plugin: Plugin) -> bool:
        """Whether the plugin is active, or at least has webhooks that are answered."""
        return plugin.active or any(route.hook.owner == plugin.name for route in self._bot.web.routes.hooks())


def hooks_of(instance: BotPlugin) -> list[Hook]:
    """The methods of a plugin that are marked as webhooks."""
    hooks = []
    for name, handler in handlers(instance):
        declaration = HookDeclaration.of(handler)
        if declaration is not None:
            hooks.append(Hook(plugin_name(instance), name, declaration, handler))
    return hooks
