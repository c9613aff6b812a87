"""The bot: what plugins see as `self._bot`, where messages, webhooks, plugins and networks meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from inspect import ismethod
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from errklein.bot.events import Hearing
from errklein.bot.stored_values import Keeping
from errklein.bot.streams import Streams
from errklein.bot.webhook_warnings import WebhookWarnings
from errklein.chat import Message
from errklein.commands import CommandRegistry
from errklein.commands.declaration import documentation, with_prefix
from errklein.commands.flows import FlowRoot
from errklein.commands.history import History
from errklein.commands.registry import FilterRegistry
from errklein.compat import holder
from errklein.compat.flask_routes import flask_routes
from errklein.compat.plugin_manager import BotPluginManager
from errklein.config.warnings import doubts
from errklein.dispatch.conversations import Conversations
from errklein.dispatch.disclosure import Disclosure
from errklein.dispatch.dispatcher import Dispatcher
from errklein.dispatch.flow_executor import FlowExecutor
from errklein.plugins.botflow import BotFlow, build_flows
from errklein.plugins.botplugin import BotPlugin, handlers
from errklein.plugins.distributions import Requirements
from errklein.plugins.execution import PluginExecution
from errklein.plugins.loading import Loader
from errklein.plugins.names import plugin_name
from errklein.plugins.packages import PackageDirectory
from errklein.plugins.repos.manager import BotRepoManager
from errklein.plugins.store_mixin import StoreMixin
from errklein.plugins.unknown_names import unknown_names
from errklein.ports import Backend, Storage, WrapsErrbotBackend, layers_of
from errklein.running import Runner, WorkerPool
from errklein.running.restart import cannot_restart
from errklein.running.threads import ThreadWaits
from errklein.web import ExpiryWatch, WebServer

LAST_STEP = 0.3
"""Seconds for the deactivation of plugins when handlers have used up the grace period."""


class Bot(Keeping, Hearing):
    """Everything that runs, by name: `plugin_manager`, `registry`, `web`, `storage`, `runner` and the networks.

    `backends` maps each network's name to its connection, the first being the default. `ended` is called when there will
    be no more messages, nothing listens, and everything that was asked has its answer.
    Plugins are found below `plugin_roots`; `plugin_classes` are used as they are.
    """

    def __init__(
        self,
        reactor: Any,
        config: Any,
        *,
        storage: Storage,
        web: WebServer,
        runner: Runner,
        command_pool: WorkerPool,
        plugin_pool: WorkerPool,
        backends: Mapping[str, Backend],
        plugin_roots: Iterable[Path] = (),
        plugin_classes: Iterable[type[BotPlugin]] = (),
        packages: PackageDirectory | None = None,
        ended: Callable[[], None] = lambda: None,
        restart: Callable[[], None] = cannot_restart,
    ) -> None:
        super().__init__(reactor, backends, ended)
        self.bot_config = config
        self._restart = restart
        self.storage = storage
        self.web = web
        self.runner = runner
        self.command_pool = command_pool
        self.plugin_pool = plugin_pool
        self.registry = CommandRegistry()
        self.filters = FilterRegistry()
        self.waits = ThreadWaits(reactor)
        self.startup_time = datetime.now()
        packages = packages or PackageDirectory(Path(config.BOT_DATA_DIR))
        packages.activate()
        execution = PluginExecution(reactor, runner, plugin_pool, self.waits)
        requirements = Requirements(packages, config.AUTOINSTALL_DEPS)
        loader = Loader(execution, config, lambda cls, name: cls(self, name=name), requirements)
        self.plugin_manager = BotPluginManager(storage, config, execution, loader, web.routes, self.tell_admins)
        self.repo_manager = BotRepoManager(storage, self.plugins_directory, config.BOT_PLUGIN_INDEXES)
        self.disclosure = Disclosure(self)
        self.dispatcher = Dispatcher(self)
        self.conversations = Conversations(self)
        self.flow_executor = FlowExecutor(self)
        self.streams = Streams(reactor, runner, self.plugin_manager.callbacks)
        self._flows: dict[BotFlow, list[FlowRoot]] = {}
        self._plugin_roots = list(plugin_roots)
        self._plugin_classes = list(plugin_classes)
        self._expiry = ExpiryWatch(reactor, web.listeners, self.tell_admins)
        web.events = WebhookWarnings(reactor, self.tell_admins)
        for backend in self.backends.values():
            attach = getattr(backend, "attach", None)
            if attach is not None:
                attach(self)

    MSG_ERROR_OCCURRED = "Computer says nooo. See logs for details"
    """What the answer of a command that failed begins with."""

    def __getattr__(self, name: str) -> Any:
        # What plugins ask of errbot's bot and the bot hasn't, errbot's bot has from its network: `conn`, and so on.
        if name.startswith("__") or "backends" not in vars(self):
            raise AttributeError(f"the bot has no {name}", name=name, obj=self)
        backend = self.backend
        for owner in layers_of(backend):
            if hasattr(owner, name):
                return getattr(owner, name)
        if hasattr(StoreMixin, name):
            return getattr(self.kept, name)
        raise AttributeError(f"the bot has no {name}, and neither has {backend.network}", name=name, obj=self)

    # Life

    async def start(self) -> None:
        """Load and activate the plugins, then connect to the networks. Admins are told of plugins that don't work."""
        for doubt in doubts(self.bot_config):
            self.log.warn("{doubt}", doubt=doubt)
        flask_routes.serve(self.reactor, self.web, self.waits)
        holder.bot = self
        problems = await self.plugin_manager.start(self.plugin_roots, self._plugin_classes)
        for problem in problems:
            self.tell_admins(problem, self.plugin_manager.summary(problem))
        found = [(plugin.name, plugin.instance) for plugin in self.plugin_manager.found]
        for doubt in unknown_names(self.bot_config, found, self.registry):
            self.log.warn("{doubt}", doubt=doubt)
        if self.stopping:
            return
        for backend in self.backends.values():
            backend.connect(self)
        self._expiry.start()

    def restart(self) -> None:
        """Stop in order, and start the process again with the same command line. Returns at once.

        May be called from any thread. Raises CannotRestart.
        """
        self._restart()

    async def stop(self, grace: float) -> None:
        """Refuse new work, wait for handlers, deactivate plugins, send the queues, and disconnect.

        All steps together take at most `grace` seconds; each begins as soon as the one before has ended. If the grace
        period is over before plugins are deactivated, they get LAST_STEP seconds, and the queues are not sent.
        """
        end = self.reactor.seconds() + grace

        def left() -> float:
            remaining: float = end - self.reactor.seconds()
            return max(0.0, remaining)

        self.stopping = True
        self._expiry.stop()
        self.turns.stop()
        self.conversations.stop()
        self.web.begin_stopping()
        idle = DeferredList([self.when_quiet(), self.web.when_idle()])
        await _at_most(self.reactor, grace, idle)
        # Nothing may begin on a plugin that is being deactivated.
        self.web.refuse_waiting()
        self.waits.end_all()
        self.lines.stop()
        self.dispatcher.stop()
        self.streams.stop()
        self.command_pool.stop()
        # Networks are disconnected and storage is closed even if a plugin hangs.
        within = max(left(), LAST_STEP)
        await _at_most(self.reactor, within, self.plugin_manager.stop(within))
        await DeferredList([backend.disconnect(left()) for backend in self.backends.values()])
        # Not before: a plugin's `deactivate`, and a backend that ends, may wait for the reactor in their threads.
        self.waits.stop()
        flask_routes.forget(self.web)
        await self.web.close()
        self.plugin_pool.stop()
        if "thread_pool" in vars(self):
            self.thread_pool.close()
        self.storage.close()

    # What plugins find

    @property
    def plugin_roots(self) -> list[Path]:
        """The directories where plugins are looked for when the bot starts, installed repositories included."""
        return [*self._plugin_roots, *map(Path, self.repo_manager.get_all_repos_paths())]

    @property
    def plugins_directory(self) -> Path:
        """Where installed repositories of plugins are, one directory each, in BOT_DATA_DIR."""
        return Path(self.bot_config.BOT_DATA_DIR) / "plugins"

    @cached_property
    def thread_pool(self) -> ThreadPool:
        """Threads for plugins that hand work to those of errbot's bot."""
        return ThreadPool(self.bot_config.BOT_ASYNC_POOLSIZE)

    @property
    def commands(self) -> dict[str, Callable[..., Any]]:
        """The methods that answer commands with names, by the names."""
        return {name: command.handler for name, command in self.registry.named.items()}

    @property
    def re_commands(self) -> dict[str, Callable[..., Any]]:
        """The methods that answer what a pattern is found in, by their commands' names."""
        return {command.name: command.handler for command in self.registry.by_pattern}

    @property
    def all_commands(self) -> dict[str, Callable[..., Any]]:
        """The methods that answer commands of either kind."""
        return {**self.re_commands, **self.commands}

    @property
    def command_filters(self) -> list[Callable[..., Any]]:
        """The methods that see commands before they run, in the order in which they are asked."""
        return [one.handler for one in self.filters.all]

    @property
    def cmd_history(self) -> History:
        """What persons have commanded lately, on the network of the message that is being handled."""
        return self.dispatcher.histories[self.backend.network]

    def get_doc(self, command: Callable[..., Any]) -> str:
        """What the command, a method, says of itself, with the bot's prefix where its docstring has "!"."""
        return with_prefix(documentation(command), self.prefix) or "(undocumented)"

    def get_command_classes(self) -> Iterator[type[Any]]:
        """The classes of the active plugins that have commands, each once."""
        yield from {type(command.handler.__self__): None for command in self.registry if ismethod(command.handler)}

    def unknown_command(self, msg: Message | None, cmd: str | None, args: str | None) -> str:
        """What somebody is told whose command there isn't; a network that was written for errbot may have its own words."""
        if isinstance(self.backend, WrapsErrbotBackend):
            return str(self.backend.legacy.unknown_command(msg, cmd, args))
        return self.dispatcher.unknown(self.backend, f"{cmd or ''} {args or ''}", msg)

    def inject_commands_from(self, plugin: BotPlugin) -> None:
        """Register the plugin's commands; administrators get a message about those that had to be renamed.

        Raises PluginActivationException if the plugin was deactivated while its `activate` hung.
        """
        self.plugin_manager.check_wanted(plugin)
        place, methods = self.plugin_manager.place(), [handler for _, handler in handlers(plugin)]
        for clash in self.registry.add(plugin_name(plugin), methods, plugin, place):
            self.tell_admins(clash)

    def remove_commands_from(self, plugin: BotPlugin) -> None:
        """The plugin's commands can't be given any more."""
        self.registry.remove(plugin_name(plugin), plugin)

    def inject_command_filters_from(self, plugin: BotPlugin) -> None:
        """Let the plugin's filters see commands before they run."""
        methods = [handler for _, handler in handlers(plugin)]
        self.filters.add(plugin_name(plugin), methods, self.plugin_manager.place())

    def remove_command_filters_from(self, plugin: BotPlugin) -> None:
        """The plugin's filters see no commands any more."""
        self.filters.remove(plugin_name(plugin), plugin)

    def inject_flows_from(self, flows: BotFlow) -> None:
        """Let the flows be begun; raises ValueError that names the one that can't be built, or whose name is taken."""
        self.remove_flows_from(flows)
        self._flows[flows] = []
        for root in build_flows(flows):
            try:
                self.flow_executor.add_flow(root)
            except ValueError as error:
                self.remove_flows_from(flows)
                raise ValueError(f"{plugin_name(flows)}: {error}") from error
            self._flows[flows].append(root)

    def remove_flows_from(self, flows: BotFlow) -> None:
        """Let the flows not be begun any more, and end them for everybody who is in one."""
        for root in self._flows.pop(flows, ()):
            self.flow_executor.remove_flow(root)


async def _at_most(reactor: Any, seconds: float, awaited: Deferred[Any]) -> None:
    """Wait for the Deferred, but no longer than so many seconds; it isn't cancelled."""
    done: Deferred[None] = Deferred()
    timer = reactor.callLater(seconds, done.callback, None)

    def finish(_: Any) -> None:
        if timer.active():
            timer.cancel()
            done.callback(None)

    awaited.addBoth(finish)
    await done
