"""The steps of a plugin's life: activation, deactivation, reload and replacement of its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from errklein.plugins.botplugin import BotPlugin, mounts_of
from errklein.plugins.imports import located_error
from errklein.plugins.loading import Loader
from errklein.plugins.methods import handlers
from errklein.plugins.plug_file import plugin_name
from errklein.plugins.plugin import (
    RAISED,
    Plugin,
    PluginActivationException,
    PluginConfigurationException,
    PluginError,
    PluginExecution,
    PluginTimeout,
)
from errklein.plugins.running_activations import (
    Activation,
    Activations,
    circle,
    current,
    given_up,
    missing,
    still_activating,
)
from errklein.running import InFlightCounter, TimedOut, result_within
from errklein.storage import StorageError
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.option_values import HookError, Rate

if TYPE_CHECKING:
    from errklein.config import Config
    from errklein.web import Routes


async def add_templates(execution: PluginExecution, plugin: Plugin) -> None:
    """Register the plugin's templates in place of its previous ones, and record the invalid ones."""
    remove_templates(plugin)
    if _has_templates(plugin):
        # Imported late: Jinja2 is slow to import, and few plugins have templates.
        from errklein.text import templating

        templating.add_templates(plugin.name, plugin.plug.directory)
        plugin.has_templates = True
        plugin.templates = await check_templates(execution, plugin)


def remove_templates(plugin: Plugin) -> None:
    if plugin.has_templates:
        from errklein.text import templating

        templating.remove_templates(plugin.name)
        plugin.has_templates = False
    plugin.templates = []


async def check_templates(execution: PluginExecution, plugin: Plugin) -> list[str]:
    if not _has_templates(plugin):
        return []
    check = partial(broken_templates, plugin.plug.directory)
    return await execution.in_thread(check, f"checking the templates of {plugin.name}")


def broken_templates(directory: Path) -> list[str]:
    """Return a line with file, line and error for each invalid template beside the `.plug` files of a directory."""
    from jinja2 import TemplateSyntaxError

    from errklein.text.templating import SUFFIX, make_templates_path, tenv

    problems = []
    for path in sorted(make_templates_path(directory).rglob(f"*{SUFFIX}")):
        try:
            tenv().compile(path.read_text(encoding="utf-8"), path.name, str(path))
        except TemplateSyntaxError as error:
            problems.append(f"{path}, line {error.lineno}: invalid template: {error.message}")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: the template can't be read: {error}")
    return problems


def _has_templates(plugin: Plugin) -> bool:
    return (plugin.plug.directory / "templates").is_dir()


WEBHOOKS = "webhooks"

_FIELDS = ("rule", "methods", "methods_given", "max_body", "ack", "dedupe", "dedupe_window")


class StandbyWebhooks:
    """Stores the routes, since the plugin may be broken after a restart. The verification is the operator's, and isn't stored."""

    log = Logger()

    def __init__(self, stored: MutableMapping[str, Any], config: Config, routes: Routes) -> None:
        self._stored, self._config = stored, config
        self._routes = routes
        self._webhooks: Mapping[str, Any] = {}

    def restore(self) -> None:
        self._update(self._stored.get(WEBHOOKS, {}), {})

    def look(self) -> None:
        """Accept the webhooks that WEBHOOKS names now, and forget the others."""
        self._update(self._webhooks, {plugin: hooks for plugin, hooks in self._routes.declared.items() if hooks})

    def replace(self, plugin: str, hooks: Sequence[Hook]) -> None:
        """Store the routes of a plugin that has become active, or none of one that was removed, instead of its earlier ones."""
        self._update(self._webhooks, {plugin: hooks})

    def _update(self, stored: Mapping[str, Any], declared: Mapping[str, Sequence[Hook]]) -> None:
        fields = {webhook: its for webhook, its in stored.items() if webhook.rpartition(":")[0] not in declared}
        for hook in (hook for hooks in declared.values() for hook in hooks):
            known = {name: getattr(hook.declaration, name) for name in _FIELDS}
            fields[hook.full_name] = {**known, "rate": str(hook.declaration.rate or "")}
        named = self._config.setting("WEBHOOKS")
        webhooks = {webhook: its for webhook, its in fields.items() if named.get(webhook, {}).get("verify")}
        if webhooks != stored:
            try:
                self._stored[WEBHOOKS] = webhooks
            except StorageError as error:
                self.log.error("The webhooks of inactive plugins can't be stored: {error}", error=str(error))
        if webhooks != self._webhooks:
            self._webhooks = webhooks
            self._routes.stand_by([_hook(webhook, its) for webhook, its in webhooks.items()])


def _hook(webhook: str, fields: Mapping[str, Any]) -> Hook:
    plugin, _, method = webhook.rpartition(":")
    rate = Rate.of(fields["rate"]) if fields["rate"] else None
    declaration = HookDeclaration(**{name: fields[name] for name in _FIELDS}, rate=rate)
    return Hook(plugin, method, declaration, _never_called, active=False)


async def _never_called(payload: object) -> None:
    raise AssertionError("the plugin is inactive")


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
        return problems + await check_templates(self.execution, plugin)

    def give_up(self, plugin: Plugin) -> bool:
        """Make a plugin inactive whose `activate` exceeds the timeout. Return whether there was such an activation. The
        instance is deactivated when its `activate` returns."""
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
        await add_templates(self.execution, plugin)
        method = "activate"
        try:
            await self.execution.call(instance, method)
            if self.activations.is_wanted(activation) and not activation.ended:
                rank = activation.rank
                self.changed()
                # A plugin whose `activate` doesn't call BotPlugin's is inactive and has no commands. As on errbot, its
                # webhooks are routed nevertheless.
                if instance.is_activated:
                    self._order[plugin.name] = rank
                hooks = hooks_of(instance)
                self.routes.replace(plugin.name, hooks, rank, mounts_of(instance))
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
            remove_templates(plugin)

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
        for activation in self.activations.under_way:
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
    declared = [(name, HookDeclaration.of(handler), handler) for name, handler in handlers(instance)]
    return [Hook(plugin_name(instance), name, hook, handler) for name, hook, handler in declared if hook is not None]
