"""PluginManager, which makes all changes to plugins, and the webhooks of plugins that are inactive."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.config import Config
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.imports import located_error
from errklein.plugins.lifecycle import Lifecycle, activation_order, hooks_of
from errklein.plugins.loading import FlowFiles, Loader
from errklein.plugins.methods import overrides
from errklein.plugins.plug_file import plugin_name
from errklein.plugins.plugin import (
    RAISED,
    KnownProblem,
    Plugin,
    PluginActivationException,
    PluginError,
    PluginExecution,
    PluginProblem,
    PluginTimeout,
    State,
    UnknownPlugin,
)
from errklein.plugins.store_mixin import StoredValues, StoreMixin
from errklein.ports.values import Storage
from errklein.running import Placement, SerialQueue, TimedOut, on_reactor_soon, placement_of, result_within
from errklein.running.context import handled_network, running_change
from errklein.storage import StorageError
from errklein.text.masking import masker, secrets_in
from errklein.text.suggestions import most_similar
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.option_values import Rate

if TYPE_CHECKING:
    from errklein.web import Routes

M = TypeVar("M", bound="PluginManager")
P = ParamSpec("P")
T = TypeVar("T")


def change(method: Callable[Concatenate[M, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[M, P], Deferred[T]]:
    """Decorate a method so that a call is one of the manager's changes."""

    @wraps(method)
    def begin(self: M, /, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return self.make_change(partial(method, self, *args, **kwargs))

    return begin


_LONG = 60.0  # seconds after which a running handler is shown


def _spoken(seconds: float) -> str:
    """Return a time span as a whole number of its largest unit: d, h, min or s."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


CONFIGS = "configs"
BL_PLUGINS = "bl_plugins"
INACTIVE = "inactive"  # the key of the plugins that are inactive in the owner of several processes
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


class Callback(NamedTuple):
    """The bound method of an active plugin that overrides a callback, and whether it runs on the reactor or in a thread."""

    plugin: str
    method: Callable[..., Any]
    placement: Placement


class PluginManager(StoreMixin):
    """Activates, configures, reloads and deactivates plugins, one change at a time. Changes are Deferreds, which fail
    with PluginError. The mapping contains the bot's own stored values: the plugins' configurations under "configs", the
    names of blacklisted plugins under "bl_plugins", and routes under "webhooks"."""

    log = Logger()

    def __init__(
        self,
        storage: Storage,
        config: Config,
        execution: PluginExecution,
        loader: Loader,
        routes: Routes,
        tell_admins: Callable[[str, str], None],
        changed: Callable[[], None],
    ) -> None:
        self.open_storage(storage, "core")
        self._config = config
        self._execution = execution
        self._loader = loader
        self._routes = routes
        self._tell_admins = tell_admins
        self._plugins = loader.plugins
        self._callbacks: dict[str, list[Callback]] = {}
        self.callbacks_changed = self._callbacks.clear
        self._callback_order: tuple[str | None, ...] = ()
        self.standby = StandbyWebhooks(self, config, routes)
        parts = (routes, self.standby, self.callbacks_changed, tell_admins)
        self._lifecycle = Lifecycle(execution, loader, self.configuration, *parts)
        self.activations = self._lifecycle.activations
        self.when_settled = self._lifecycle.when_settled
        self._changed = changed
        self._turns = SerialQueue(execution.reactor)
        self._current_change: object = None
        self.changed_files = loader.changed_files
        self.packages = loader.packages
        # Invalid `.plug` files, such as one without its module, and directories that can't be read, each with the error.
        self.unusable: Mapping[Path, str] = loader.unusable
        self._flow_files = FlowFiles(execution, loader.make)
        self.stored_values = StoredValues(self, storage, execution.reactor)
        # The webhooks of plugins that another process activates: their instances, those that run here, and their configurations.
        self._stand_ins: dict[str, tuple[BotPlugin, frozenset[str]]] = {}
        self._lent: dict[BotPlugin, Any] = {}
        self.is_to_be_tried = False  # whether such a webhook doesn't run here since its plugin has failed

    def make_change(self, change: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Make a change after those before it; at once what a change requests, since that one waits for it."""
        if self._current_change is not None and running_change.get() is self._current_change:
            return Deferred.fromCoroutine(change())
        return self._turns.run(lambda: Deferred.fromCoroutine(self._make(change)))

    async def _make(self, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # Everything called from here on, in any thread, runs in a copy of this context.
        self._current_change = object()
        running_change.set(self._current_change)
        try:
            return await change()
        finally:
            self._current_change = None
            self._changed()

    @property
    def found(self) -> Sequence[Plugin]:
        """All plugins that were found, sorted by name, including those that can't be loaded."""
        return sorted(self._plugins.values(), key=lambda plugin: plugin.name)

    def active(self) -> list[BotPlugin]:
        """Return the instances of active plugins, in the order of PLUGINS_CALLBACK_ORDER."""
        instances = {name: plugin.instance for name, plugin in self._plugins.items() if plugin.active}
        order = [*self._config.PLUGINS_CALLBACK_ORDER, None]
        rest = [name for name in instances if name not in order]
        names = dict.fromkeys(name for place in order for name in (rest if place is None else [place]))
        return [instance for name in names if (instance := instances.get(name)) is not None]

    def callbacks(self, name: str) -> list[Callback]:
        """Return the methods of active plugins that override the callback, in the order in which they are called."""
        order = tuple(self._config.PLUGINS_CALLBACK_ORDER)
        if order != self._callback_order:
            self._callback_order = order
            self._callbacks.clear()
        if (found := self._callbacks.get(name)) is None:
            its = [one for one in self.active() if overrides(one, name) or name in vars(one)]
            methods = [(plugin_name(one), getattr(one, name)) for one in its]
            found = self._callbacks[name] = [Callback(*pair, placement_of(pair[1])) for pair in methods]
        return found

    async def results_of(self, callback: str, *args: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """Call a callback of all plugins that override it. Return the results, and the errors with file and line, by plugin."""
        run, results, errors = self._execution, dict[str, Any](), dict[str, str]()
        begun = [(one.plugin, run.in_time(run.run(one.method, *args), callback)) for one in self.callbacks(callback)]
        for name, result in [(name, Deferred.fromCoroutine(result)) for name, result in begun]:
            try:
                results[name] = await result
            except RAISED as error:
                self.log.failure("{plugin}: {callback} failed", plugin=name, callback=callback)
                errors[name] = located_error(self.plugin(name).plug, error)
        return results, errors

    def mounts_changed(self, plugin: BotPlugin) -> None:
        """Serve the plugin's mounts, since a resource was mounted while it is active."""
        if plugin.is_activated:
            self._routes.replace_mounts(plugin.name, plugin._errklein_mounts)

    def is_active_or_late(self, plugin: Plugin) -> bool:
        """Return whether the plugin is active, or will be when an activation in the background ends."""
        return plugin.active or self.activations.is_late(plugin)

    def plugin(self, name: str) -> Plugin:
        """Return the plugin of that name. Raises UnknownPlugin, whose text lists all names."""
        if name not in self._plugins:
            names = "\n".join(f"- {plugin.name}" for plugin in self.found)
            meant = f"\nDid you mean {similar}?" if (similar := most_similar(name, self._plugins)) else ""
            raise UnknownPlugin(f"{name} isn't a valid plugin name. The current plugins are:\n{names}{meant}")
        return self._plugins[name]

    def instance(self, name: str) -> BotPlugin:
        plugin = self.plugin(name)
        if plugin.instance is None:
            raise KnownProblem(f"{name} could not be loaded: {plugin.problem}")
        return plugin.instance

    def is_blacklisted(self, name: str) -> bool:
        return name in self.get(BL_PLUGINS, [])

    def configuration(self, name: str) -> Any:
        return self.get(CONFIGS, {}).get(name)

    @change
    async def load(self, roots: Iterable[Path]) -> list[PluginProblem]:
        """Load all plugins and flows. The Deferred fires with the problems, also those that an activation would raise."""
        problems = await self._load_all(roots, ())
        # `errklein check` reports them with the warnings about methods.
        self._loader.take_mistakes()
        for plugin in self.found:
            problems += [PluginProblem(text, plugin.name) for text in await self._lifecycle.check(plugin)]
        return problems + await self._flow_files.load(self._loader.roots, activate=False)

    @change
    async def prepare(self, roots: Iterable[Path], classes: Iterable[type[BotPlugin]] = ()) -> list[PluginProblem]:
        """Load core plugins, those below `roots`, and `classes`. The Deferred fires with the problems."""
        self.standby.restore()
        problems = await self._load_all(roots, classes)
        return problems + self._loader.take_mistakes()

    @change
    async def activate_found(self) -> list[PluginProblem]:
        """Activate what was loaded. The Deferred fires with the problems."""
        return await self.activate_rest() + await self._flow_files.load(self._loader.roots)

    @change
    async def stand_in(self, *, runs: bool) -> None:
        """Serve the webhooks of plugins that another process activates. Where deliveries are `run`, those with `anywhere` are run,
        on instances with configuration, values and templates, but without `activate`."""
        blacklisted, stored = await self.stored_values.get(BL_PLUGINS, []), await self.stored_values.get(CONFIGS, {})
        inactive = await self.stored_values.get(INACTIVE, [])
        changes = await self.changed_files([plugin.plug for plugin in self.found]) or {}
        wanted = [one.name for one in self.found if one.instance is not None and one.name not in blacklisted]
        for name in self._stand_ins.keys() - wanted:
            del self._stand_ins[name]
            self._routes.remove(name)
        self.is_to_be_tried = False
        for rank, name in enumerate(activation_order(self._plugins, wanted)):
            try:
                if name in wanted:
                    runs_here = runs and name not in inactive
                    await self._stand_in_for(self._plugins[name], rank, runs_here, stored.get(name), name in changes)
            except RAISED as error:
                self.log.error("{plugin} can't be used in this process: {error}", plugin=name, error=masker(str(error)))

    async def _stand_in_for(self, plugin: Plugin, rank: int, runs: bool, configuration: Any, has_changed: bool) -> None:
        if has_changed:
            await self._loader.load_again(plugin)
        instance = plugin.instance
        assert instance is not None
        hooks = [self._routes.configure(hook) for hook in hooks_of(instance)]
        here = frozenset(hook.name for hook in hooks if runs and hook.declaration.anywhere)
        if here and not (instance in self._lent and self._lent[instance] == configuration):
            try:
                await self._execution.configure(plugin, instance, configuration)
                await self._loader.add_templates(plugin)
                if not StoreMixin.is_open_storage(instance):
                    instance.init_storage()
                self._lent[instance] = configuration
            except RAISED:
                self.is_to_be_tried, here = True, frozenset()
                if self._stand_ins.get(plugin.name) != (instance, here):
                    self.log.failure("{plugin} runs no deliveries in this process", plugin=plugin.name)
        if self._stand_ins.get(plugin.name) != (instance, here):
            self._stand_ins[plugin.name] = instance, here
            declared = [replace(hook, elsewhere=hook.name not in here) for hook in hooks_of(instance)]
            self._routes.replace(plugin.name, declared, rank)

    @change
    async def add(self, roots: Iterable[Path]) -> list[PluginProblem]:
        """Load new plugins below `roots`, without activating them. The Deferred fires with the problems."""
        roots = list(roots)
        with self._mistakes_reported():
            return await self._loader.load(roots) + await self._flow_files.load(roots)

    @change
    async def activate_rest(self) -> list[PluginProblem]:
        """Activate inactive plugins that aren't blacklisted. The Deferred fires with problems and notices."""
        found = list(self._plugins.values())
        blacklisted = [plugin for plugin in found if self.is_blacklisted(plugin.name)]
        loaded = [plugin for plugin in found if plugin.instance is not None]
        wanted = [plugin for plugin in loaded if plugin not in blacklisted and not plugin.active]
        errors = await self.activations.activate_all(wanted)
        networks = self._config.networks
        network = networks.get(handled_network.get(), next(iter(networks.values())))
        problems: list[PluginProblem] = []
        for plugin in found:
            if plugin in blacklisted:
                command = f"{network.BOT_PREFIX}plugin unblacklist {plugin.name}"
                notice = f'Notice: {plugin.name} is blacklisted, use "{command}" to unblacklist it.'
                problems.append(PluginProblem(notice, plugin.name, is_warning=True))
            elif error := errors.get(plugin.name):
                summary = "" if isinstance(error, PluginTimeout) else f"{plugin.name} doesn't work"
                problems.append(PluginProblem(str(error), plugin.name, summary=summary))
            elif plugin in wanted:
                problems += [PluginProblem(text, plugin.name) for text in plugin.templates]
        return problems

    async def stop(self, within: float = 3.0) -> None:
        """Deactivate all plugins, last activated first. Their exceptions are logged. A running change and each plugin
        are awaited until one takes longer than a third of `within`, or a second."""
        timeout = min(1.0, within / 3)
        end = self._execution.reactor.seconds() + within
        try:
            await result_within(self._execution.reactor, timeout, self.make_change(_nothing))
        except TimedOut:
            self.log.warn("A change to a plugin is still in progress; the other plugins are deactivated meanwhile")
        await self._flow_files.stop(timeout)
        await self._lifecycle.stop_all(timeout, max(timeout, end - self._execution.reactor.seconds()))

    @change
    async def activate(self, name: str) -> None:
        plugin = self.plugin(name)
        if plugin.active:
            raise PluginActivationException(f"{name} is already activated.")
        if plugin.instance is None:
            with self._mistakes_reported():
                await self._loader.load_again(plugin)
        await self.activations.activate(plugin)

    @change
    async def deactivate(self, name: str) -> None:
        """Deactivate the plugin. When the Deferred fires, its routes and commands are removed."""
        try:
            await self._deactivate(name)
        except PluginTimeout as error:
            raise PluginTimeout(f"{error} Reload {name} to activate it again.") from error

    @change
    async def reload(self, name: str) -> None:
        """Load the plugin's code again and replace its instance, while requests wait. Inactive plugins stay so."""
        with self._mistakes_reported():
            await self._lifecycle.reload(self.plugin(name))

    @change
    async def remove(self, names: Iterable[str]) -> None:
        """Deactivate and forget the plugins. Their stored values and configurations stay."""
        await self._forget(list(names))

    @change
    async def remove_below(self, directory: Path) -> None:
        """Deactivate and forget plugins and flows below the directory, an absolute path. Stored values stay."""
        names = [name for name, plugin in self._plugins.items() if plugin.plug.path.is_relative_to(directory)]
        try:
            await self._forget(names)
        finally:
            await self._flow_files.remove_below(directory)
            self._loader.forget_below(directory)

    @change
    async def remove_flows(self, directory: Path) -> None:
        await self._flow_files.remove_below(directory)

    @change
    async def configure(self, name: str, configuration: Any) -> None:
        """Check, store and apply a plugin's configuration, which activates the plugin. An invalid one changes nothing.
        If a dependency of the plugin can't be activated, the configuration is stored and the plugin stays inactive."""
        plugin = self.plugin(name)
        instance = self.instance(name)
        store = partial(self.store_configuration, name, configuration)
        self.activations.check_settled(plugin)
        await self._execution.check_configuration(plugin, instance, configuration)
        if plugin.active and await self._execution.reconfigured(plugin, instance, configuration):
            store()
            return
        try:
            await self.activations.activate_dependencies(plugin)
        except PluginError as error:
            if plugin.active:
                raise
            store()
            stored = f"{error}. The configuration is stored; {plugin.name} is not activated."
            raise PluginActivationException(stored) from error
        await self._lifecycle.use(plugin, instance, configuration, store)

    async def configuration_template(self, name: str) -> Any:
        plugin = self.plugin(name)
        return None if plugin.instance is None else await self._execution.template(plugin, plugin.instance)

    def store_configuration(self, name: str, configuration: Any) -> None:
        """Store a configuration for the plugin's next activation, when it is checked."""
        # Running handlers may still use the previous configuration.
        masker.learn(self, f"{name}: before", secrets_in(self.configuration(name)))
        masker.learn(self, f"{name}: stored", secrets_in(configuration))
        self[CONFIGS] = {**self.get(CONFIGS, {}), name: configuration}

    def state(self, plugin: Plugin) -> State:
        if not plugin.active and self.is_blacklisted(plugin.name):
            return State.BLACKLISTED
        return self._state_if_not_blacklisted(plugin)

    def letters(self, plugin: Plugin) -> str:
        """Return the letter of the plugin's state, after "B," if the plugin is blacklisted."""
        letter = self._state_if_not_blacklisted(plugin).value
        return f"{State.BLACKLISTED.value},{letter}" if self.is_blacklisted(plugin.name) else letter

    def _state_if_not_blacklisted(self, plugin: Plugin) -> State:
        if plugin.active:
            return State.ACTIVE
        # An error of the template is reported when the plugin is configured or activated.
        with suppress(Exception):
            template = None if plugin.instance is None else plugin.instance.get_configuration_template()
            # The most likely problem of a plugin without a configuration is that it has none.
            if template is not None and self.configuration(plugin.name) is None:
                return State.UNCONFIGURED
        return State.BROKEN if plugin.problem else State.INACTIVE

    def remark(self, plugin: Plugin, *, details: bool = True) -> str:
        """Return all problems of the plugin in one line, or "". Without `details`, it only states that there are some."""
        now = self._execution.reactor.seconds()
        running = [
            f"{plugin.name}.{going.name} has been running for {_spoken(now - going.since)}"
            for going in self._execution.runner.running_methods()
            if isinstance(going.subject, BotPlugin) and plugin_name(going.subject) == plugin.name
            if now - going.since >= _LONG
        ]
        duplicates = [f"{path} is ignored, since it has the same Name" for path in plugin.duplicates]
        problems = [problem for problem in (plugin.problem, *plugin.notes, *plugin.templates, *duplicates) if problem]
        if problems and not details:
            problems = ["details are shown to administrators in private"]
        return "; ".join(" ".join(problem.split()) for problem in [*problems, *running])

    def set_blacklisted(self, name: str, blacklisted: bool) -> bool:
        """Store whether the plugin stays inactive when the bot starts. Return False if that is stored already."""
        if self.is_blacklisted(name) is blacklisted:
            return False
        others = [kept for kept in self.get(BL_PLUGINS, []) if kept != name]
        self[BL_PLUGINS] = [*others, name] if blacklisted else others
        on_reactor_soon(self._execution.reactor, self._changed)
        return True

    @contextmanager
    def _mistakes_reported(self) -> Iterator[None]:
        """Notify administrators of the methods that can't be called in plugins that are loaded in the `with` block."""
        try:
            yield
        finally:
            for mistake in self._loader.take_mistakes():
                self._tell_admins(mistake.text, "")

    async def _load_all(self, roots: Iterable[Path], classes: Iterable[type[BotPlugin]]) -> list[PluginProblem]:
        for name, configuration in self.get(CONFIGS, {}).items():
            masker.learn(self, f"{name}: stored", secrets_in(configuration))
        problems = await self._loader.load_all(roots)
        for cls in classes:
            self._loader.add_class(cls)
        return problems

    async def _deactivate(self, name: str) -> None:
        plugin = self.plugin(name)
        self._routes.remove(name)
        if self._lifecycle.give_up(plugin):
            return
        if not plugin.active:
            raise PluginError(f"{name} is already deactivated.")
        await self._lifecycle.end(plugin, self.instance(name))

    async def _forget(self, names: list[str]) -> None:
        overdue: list[PluginTimeout] = []
        for name in names:
            plugin = self.plugin(name)
            if self.is_active_or_late(plugin):
                try:
                    await self._deactivate(name)
                except PluginTimeout as error:
                    overdue.append(error)
            await self._loader.forget(plugin)
            self.standby.replace(name, ())
        if overdue:
            raise PluginTimeout("\n".join(map(str, overdue)))


async def _nothing() -> None: ...
