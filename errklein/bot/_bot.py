"""The `Bot` class, which creates the parts of a bot and connects them, and the loop that looks after it: the journal, the
storage and their files, certificates, and notices that are due."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Literal

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from errklein.bot._events import Callbacks, Events, Streams
from errklein.bot._notices import MissedNotices, NoticeBoard, NoticeFallback, WebhookNotices, pool_notice
from errklein.bot._operations import ConsoleLinks, CoreHost, RunningState
from errklein.bot._roles import Sharing, SingleNode
from errklein.bot._sending import Sending, restore_outboxes
from errklein.bot.room_webhooks import RoomMessages, RoomWebhooks
from errklein.chat import Identifier
from errklein.chat.handles import MessageRef
from errklein.commands import FlowRoot, documentation, with_prefix
from errklein.config import Config, configuration_warnings, placeholders
from errklein.database import JobThread
from errklein.dispatch import Dispatcher, Networks, RoomOperations, process_template
from errklein.http_client import HTTPClients
from errklein.journal import DeliveryQueue, RetryPolicy
from errklein.journal.operations import WebhookOperations
from errklein.listening import SOCKETS, Listeners
from errklein.logs import RecentErrors
from errklein.plugins import BotPlugin
from errklein.plugins.botplugin import build_flows
from errklein.plugins.discovery import directory_warnings, settings_read, unknown_names, unknown_webhooks
from errklein.plugins.manager import PluginManager
from errklein.plugins.methods import handlers
from errklein.plugins.plug_file import plugin_name
from errklein.plugins.plugin import PluginProblem
from errklein.plugins.repos import BotRepoManager, Downloads
from errklein.ports.chat import Backend, BackendEvents
from errklein.ports.journal import Journal
from errklein.ports.nodes import Nodes
from errklein.ports.values import Storage, UsesFiles
from errklein.running import Deadline, PoolStatus, TimedOut, Workers, on_reactor_soon, result_within
from errklein.running.reactors import CannotRestart
from errklein.sources import find_source
from errklein.text.masking import masker
from errklein.web import BotParts, ToOwner, WebServer
from errklein.webhooks.deliveries import QueueDepth
from errklein.webhooks.options import room_webhooks

INTERVAL = 2.0  # the seconds between two rounds, and those without a response after which a part isn't ready

_HANGING = 30.0
"""The seconds without a response of the disk after which administrators are notified. A busy disk may need some."""

_UNWATCHED = 30
"""The number of rounds between two writes to the journal while nobody asks for the status, so that the disk of an idle bot can sleep."""

_WITHOUT_FILES = 60.0
"""The seconds between two rounds of a bot that stores nothing in files, such as one under test, which waits for an idle bot."""


class HealthChecks:
    """Checks the journal, the storage and their files, and notifies administrators once until all of them work again. Of several
    processes, which share them, only the owner does: a notice of another one would wait for the database, too.
    Each request for the status gets the latest result at once. The journal checks itself in its own threads. Another
    thread looks for the files, since a disk can hang: writing fails without them, but an idle bot writes nothing."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        journal: Journal,
        storage: object,
        listeners: Listeners,
        notices: NoticeBoard,
        owns: Callable[[], bool] = lambda: True,
    ) -> None:
        self.depth = QueueDepth()  # the last depth of the journal that could be read
        self._reactor, self._journal, self._listeners, self._notices = reactor, journal, listeners, notices
        parts = {"journal": journal, "storage": storage}
        self._with_files = {name: part for name, part in parts.items() if isinstance(part, UsesFiles)}
        self._file_problems = dict.fromkeys(parts, "")
        self._journal_problem = ""
        self._since: float | None = None
        self._rounds = 0
        self._watched = self._noticed = False
        self._owns = owns
        self._thread: JobThread | None = None
        self._loop = LoopingCall(self._round)
        self._loop.clock = reactor

    @property
    def problems(self) -> Mapping[str, str]:
        return self._problems_after(INTERVAL)

    def start(self) -> None:
        if self._with_files:
            self._thread = JobThread(self._reactor, "health")
        self._begin(INTERVAL if self._with_files or self._watched else _WITHOUT_FILES)

    def watch(self) -> None:
        """Write to the journal in each round from now on, since somebody asks for the status."""
        self._watched = True
        self._begin(INTERVAL)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()
        if self._thread is not None:
            self._thread.stop()

    def _begin(self, interval: float) -> None:
        if self._loop.interval != interval:
            if self._loop.running:
                self._loop.stop()
            self._loop.start(interval)

    def _round(self) -> None:
        if self._since is None:
            self._since = self._reactor.seconds()
            Deferred.fromCoroutine(self._check(self._watched or self._rounds % _UNWATCHED == 0))
        self._rounds += 1
        try:
            self._notice()
            for key, warning in self._listeners.expiry_warnings():
                self._notices.post(key, warning, interval=inf)
            self._notices.look()
        except Exception:
            # Such as of a thread that can't be started. It would end the loop.
            self.log.failure("A round of the bot's checks failed")

    async def _check(self, journal_too: bool) -> None:
        if self._thread is not None:
            self._file_problems.update(await self._thread.run(self._check_files))
        if journal_too:
            try:
                self.depth = await self._journal.depth()
                await self._journal.check()
                self._journal_problem = ""
            except Exception as error:
                self._journal_problem = masker(str(error)) or "unknown error"
        self._since = None
        self._notice()

    def _check_files(self) -> Mapping[str, str]:
        problems = dict.fromkeys(self._with_files, "")
        for name, part in self._with_files.items():
            try:
                part.check_files()
            except Exception as error:
                problems[name] = str(error)
        return problems

    def _problems_after(self, patience: float) -> Mapping[str, str]:
        problems = dict(self._file_problems)
        silent = 0.0 if self._since is None else self._reactor.seconds() - self._since
        if silent > patience and self._loop.running:
            problems["journal"] = f"the disk has not responded for {silent:.0f} s"
        else:
            problems["journal"] = self._journal_problem or problems["journal"]
        return problems

    def _notice(self) -> None:
        # The journal and the storage both name the directory if that was deleted.
        problems = dict.fromkeys(filter(None, self._problems_after(_HANGING).values()))
        if problems and not self._noticed and self._owns():
            self._notices.post("health", "; ".join(problems))
        self._noticed = bool(problems)


Phase = Literal["starting", "running", "stopping"]

DRAIN = 10.0
"""The seconds between the request to drain a process and its stop: several checks of a balancer, by default each 2 s in HAProxy."""

MOST_TAKEN = 1_000  # the parts of messages that wait from which on none of other processes are taken
HANDOVER = 0.5  # the seconds for which a process that stops sends messages, if another one may go on

SHORTEST_DEACTIVATION = 0.2
"""The time for the deactivation of plugins when handlers have used up the grace period, in seconds."""


class Bot:
    """A bot: plugins that run on chat networks and a web server. It delegates to its parts, and has the methods that
    plugins call as `self._bot.…`. `wiring.wire` creates it.

    `make_manager` is called before the bot has the parts that send messages. `ended` is called when all networks have
    ended, the web server does not listen, and no reply is pending. `restart` stops the bot in order and starts the
    process again. It may be called from any thread, and raises CannotRestart where a restart is impossible; its
    Deferred fails with CannotRestart if the configuration is invalid. `read_config` checks the configuration as at the
    start; it is None if that can't be read again, may block, and raises ConfigError or StorageError.

    Of several processes, each loads the plugins and serves webhooks, and one `owns` plugins, networks and pollers: it
    activates plugins, connects, and runs deliveries. One that loses this restarts at once, by `restart(at_once=True)`."""

    log = Logger()
    process_template = staticmethod(process_template)

    def __init__(
        self,
        reactor: Any,
        config: Config,
        *,
        backends: Mapping[str, Backend],
        storage: Storage,
        web: WebServer,
        http_clients: HTTPClients,
        journal: Journal,
        workers: Workers,
        make_manager: Callable[[Bot], PluginManager],
        roots: Iterable[Path],
        classes: Iterable[type[BotPlugin]],
        ended: Callable[[], None],
        restart: Callable[..., Deferred[None]],
        read_config: Callable[[], Config] | None = None,
        now: Callable[[], float],
        nodes: Nodes,
    ) -> None:
        self.reactor, self.bot_config, self.startup_time = reactor, config, datetime.now()
        self.backends, self.storage, self.web = dict(backends), storage, web
        self.http_clients, self.journal = http_clients, journal
        self.runner = workers.others
        self.command_pool, self.plugin_pool = workers.commands.pool, workers.others.pool
        self.pools = (self.command_pool, workers.core.pool, self.plugin_pool, *self.web.pools)
        self.restart, self.read_config, self.now = restart, read_config, now
        self._roots, self._classes, self._workers = roots, classes, workers
        self.phase: Phase = "starting"
        """The phase of the bot: plugins are loaded, everything runs, or the stop sequence has begun."""
        self.nodes, self.owns, self.alone = nodes, nodes.owner == nodes.me, isinstance(nodes, SingleNode)
        self.draining = False  # whether it has been asked to take no new work and stop
        self._load_problems: list[PluginProblem] = []
        self._activated = False  # whether the plugins were activated in this process
        self._sharing = Sharing(self)
        self.console: ConsoleLinks | None = None
        self.recent_errors = RecentErrors(now)
        self.queues, self.waits = workers.queues, workers.waits

        self.networks = networks = Networks(self.backends, config.networks)
        self.plugin_manager: PluginManager = make_manager(self)
        self.callbacks = Callbacks(reactor, workers.others, self.queues, self.plugin_manager.callbacks)
        self.sending = sending = self.make_sending()
        settled = self.plugin_manager.when_settled
        send = lambda *sent: sending.send(*sent)  # noqa: E731, PLW0108 - plugins may replace it
        dispatcher = Dispatcher(reactor, networks, workers, sending.deliver, send, settled, self.note_choice)
        self.dispatcher, self.registry, self.filters = dispatcher, dispatcher.registry, dispatcher.filters
        self.disclosure, self.unknown_command = dispatcher.disclosure, dispatcher.permissions.unknown_command
        self.conversations, self.flow_executor = dispatcher.conversations, dispatcher.flow_executor
        values = self.plugin_manager.stored_values
        self.missed = missed = MissedNotices(self.plugin_manager, values, now)
        if self.owns:
            self._restore_values()
        fallback = NoticeFallback(reactor, config, now)
        notices = NoticeBoard(reactor, networks, sending.deliver_notice, self.disclosure, missed, fallback)
        self.notices = notices
        self.tell_admins, self.warn_admins = notices.tell_admins, notices.warn_admins
        self.plugins_directory = Path(config.BOT_DATA_DIR) / "plugins"
        # Those of plugins may be replaced in tests, in which a repository is downloaded nevertheless.
        self._download_clients = HTTPClients(reactor)
        downloads = Downloads(self._download_clients, self.waits)
        indexes = config.BOT_PLUGIN_INDEXES
        self.repo_manager = BotRepoManager(self.storage, self.plugins_directory, indexes, downloads)
        self._streams = streams = Streams(reactor, self.runner, self.callbacks.find)
        self.events = Events(self, dispatcher, streams, partial(self._end_when_quiet, ended))
        self._webhook_notices = hooks = WebhookNotices(notices, self.plugin_manager.plugin, config.BOT_PREFIX)
        self.delivery_queue = queue = DeliveryQueue(
            reactor,
            self.journal,
            self.web.run,
            self._retry_policy,
            hooks.delivery_dead,
            now=now,
            may_run=None if self.alone else self._sharing.may_run,
            tell=None if self.alone else partial(nodes.changed, "deliveries"),
        )
        directory = config.path.parent if config.path else None
        self._room_messages = messages = RoomMessages(reactor, networks, send, self.plugin_pool, directory)
        webhooks = WebhookOperations(self.journal, self.journal.outbox.find, queue, RunningState(self))
        rooms = RoomOperations(reactor, networks, workers.core.pool)
        self.room_webhooks = RoomWebhooks(self, messages, rooms, webhooks)
        self.core_host = CoreHost(self, webhooks, rooms)
        self.to_owner = None if self.alone else ToOwner(reactor, nodes, lambda: self._activated)
        # What the web server uses of the bot.
        self.web_parts = BotParts(hooks, self.journal, queue, self.waits, self.to_owner)
        checked = self.journal, self.storage, self.web.listeners
        self.health = HealthChecks(reactor, *checked, notices, lambda: self.owns)

        # Methods of the parts that plugins call.
        self.send, self.send_card, self.send_templated = sending.send, sending.send_card, sending.send_templated
        self.send_stream_request = sending.send_stream_request
        self.build_identifier, self.change_presence = networks.build_identifier, networks.change_presence
        self.rooms, self.query_room = networks.rooms, networks.query_room
        self._flow_roots: dict[Any, list[FlowRoot]] = {}

    async def start(self) -> None:
        """Load the plugins. The owner activates them, then connects; another process does when it becomes the owner."""
        globalLogPublisher.addObserver(self.recent_errors)
        if self.owns:
            await self.take_messages()
        else:
            self._sharing.give_messages()
        await self.delivery_queue.prepare()
        rooms = room_webhooks(self.bot_config.setting("WEBHOOKS"), find_source)
        await self.room_webhooks.load(rooms, in_service=self.owns)
        self._load_problems = await self.plugin_manager.prepare(self.plugin_roots, self._classes)
        if self.owns:
            await self._activate_plugins()
        else:
            await self._sharing.stand_in()
        if self.phase != "stopping":
            self.phase = "running"
            if self.owns:
                self._connect()
            self.health.start()
            self.delivery_queue.start()
            if self.owns:
                self.room_webhooks.start()
            if not self.alone:
                self._sharing.start()
            self.nodes.start(self._owned, self._lost, self._drained)

    def _restore_values(self) -> None:
        questions = self.plugin_manager.get("flow questions", {})
        self.flow_executor.restore(questions, partial(self.plugin_manager.stored_values.set, "flow questions"))
        self.missed.restore()

    async def take_messages(self) -> None:
        """Send the messages of an earlier run, and of other processes."""
        networks, notify = self.backends.values(), self.notices.post
        # For a network that is slow or absent, those of others stay where they are.
        full = None if self.alone else [one.network for one in networks if one.outbox.status.parts >= MOST_TAKEN]
        await restore_outboxes(self.journal.outbox, networks, notify, self._max_message_age, self.now, full=full)

    async def _activate_plugins(self) -> None:
        """Activate the plugins. Administrators are notified of those that don't work."""
        config = self.bot_config
        for problem in [*self._load_problems, *await self.plugin_manager.activate_found()]:
            self.tell_admins(problem.text, problem.summary)
        paths = [plugin.plug.path for plugin in self.plugin_manager.found]
        for warning in await self.plugin_pool.run(lambda: partial(directory_warnings, config, paths)):
            self.tell_admins(warning)
        found = [(plugin.name, plugin.instance) for plugin in self.plugin_manager.found]
        self._check_webhooks()
        for warning in (
            *placeholders(config),
            *configuration_warnings(config, partial(settings_read, found)),
            *unknown_names(config, found, self.registry),
        ):
            self.log.warn("{text}", text=warning)

    def _connect(self) -> None:
        for backend in self.backends.values():
            backend.connect(self.events_of(backend))

    def _owned(self) -> None:
        if self.phase == "running":
            self.log.info("This process owns plugins, networks and pollers now")
            self.owns = True
            Deferred.fromCoroutine(self._own()).addErrback(self._not_owned)

    async def _own(self) -> None:
        self._restore_values()
        await self.take_messages()
        await self._activate_plugins()
        if self.phase == "running":
            self._connect()
            self._activated = True
            await self.room_webhooks.own()
            self.plugins_changed()

    def _not_owned(self, failure: Failure) -> None:
        if self.phase == "running":
            self.log.failure("This process can't be the owner", failure)
            self._lost(failure.getErrorMessage())

    def _lost(self, reason: str) -> None:
        """Restart at once, since another process may send and write now what this one would."""
        self.log.critical("This process isn't the owner any more, and restarts: {reason}", reason=reason)
        try:
            if self.phase != "stopping":
                self.restart(at_once=True)
                return
        except CannotRestart:
            # The program that runs the bot must start it again.
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    def check_ownership(self) -> bool:
        """Return whether this process is the owner. If it was, it restarts at once. Called before something is sent, and
        after the process was suspended."""
        if not self.nodes.owns and self.owns:
            self._lost("its lease has ended")
        return self.nodes.owns

    def _drained(self) -> None:
        """Stop once balancers know that this process isn't ready any more. What arrives until then is handled as ever."""
        if not self.draining:
            self.log.info("This process is drained: it stops in {seconds:g} s", seconds=DRAIN)
            self.draining = True
            self.web.begin_draining()
            # A supervisor takes the status 0 for that of `!shutdown`.
            again = partial(os.kill, os.getpid(), signal.SIGTERM)
            self.reactor.callLater(DRAIN, again if SOCKETS in os.environ else self.core_host.process.stop)

    def plugins_changed(self) -> None:
        """Look at the webhooks after a change of plugins, except for the first one, at the start."""
        if self.phase == "running":
            # Deliveries may have waited for a plugin.
            self.delivery_queue.look()
            if self.owns:
                self._check_webhooks()
                if not self.alone:
                    self._sharing.tell_plugins()

    def pool_is_full(self, status: PoolStatus) -> None:
        self.notices.post(("threads", status.name), pool_notice(status, self.bot_config.BOT_PREFIX))

    def _check_webhooks(self) -> None:
        found = [(plugin.name, plugin.instance) for plugin in self.plugin_manager.found]
        if self.phase != "stopping":
            routed = [route.hook for route in self.web.routes.hooks()]
            unknown = unknown_webhooks(self.bot_config, found, routed)
            self._webhook_notices.hooks_unknown([error for _, error in unknown])

    async def stop(self, grace: float) -> None:
        """Refuse new work, wait for handlers, deactivate plugins, send queued messages, and disconnect, within `grace`
        seconds. Each step begins as soon as the one before has ended. If the grace period ends before plugins are
        deactivated, they get SHORTEST_DEACTIVATION seconds, and queued messages are not sent."""
        self.phase = "stopping"
        deadline, workers = Deadline(self.reactor, grace), self._workers
        self.delivery_queue.stop()
        self.room_webhooks.stop()
        self.events.stop()
        self.conversations.stop()
        self.web.begin_stopping()
        await self._at_most(grace, DeferredList([self.when_quiet(), self.web.when_idle()]))
        # No handler may start on a plugin that is being deactivated.
        self.web.refuse_waiting()
        self.delivery_queue.close()
        self._room_messages.stop()
        self.notices.stop()
        self.waits.end_all()
        self.queues.stop()
        self.dispatcher.stop()
        self._streams.stop()
        self.command_pool.stop()
        workers.core.pool.stop()
        # Networks are disconnected and storage is closed even if a plugin hangs.
        seconds = max(deadline.left, SHORTEST_DEACTIVATION)
        await self._at_most(seconds, Deferred.fromCoroutine(self.plugin_manager.stop(seconds)))
        # What isn't sent by then, another process sends at once.
        left = deadline.left if self.alone else min(deadline.left, HANDOVER)
        await DeferredList([backend.disconnect(left) for backend in self.backends.values()])
        self.missed.stop()
        await self.journal.outbox.flush()
        await self._at_most(max(deadline.left, SHORTEST_DEACTIVATION), self.nodes.stop())
        # Last, since a plugin's `deactivate` or a backend that ends may wait for the reactor in a thread.
        self._sharing.stop()
        self.health.stop()
        self.waits.stop()
        self.plugin_pool.stop()
        workers.values.stop()
        await self.http_clients.close()
        await self._download_clients.close()
        await self.web.close()
        if self.to_owner is not None:
            await self.to_owner.close()
        await self.journal.close()
        self.storage.close()
        globalLogPublisher.removeObserver(self.recent_errors)

    async def _at_most(self, seconds: float, awaited: Deferred[Any]) -> None:
        try:
            await result_within(self.reactor, seconds, awaited)
        except TimedOut:
            self.log.info("Stopping: plugins did not finish in time; not waiting for them any longer")
        except Exception:
            self.log.failure("Stopping: plugins could not be deactivated")

    def when_quiet(self) -> Deferred[Any]:
        """Return a Deferred that fires when no handler runs, no reply is pending, and every flow waits for a command."""
        parts = (self.runner, self.queues, self.dispatcher, self.flow_executor, self.delivery_queue)
        return DeferredList([part.when_idle() for part in parts])

    def _retry_policy(self, route: str) -> RetryPolicy:
        if (declaration := self.web.routes.declaration(route)) is None:
            return RetryPolicy()
        return RetryPolicy(declaration.attempts or RetryPolicy.attempts, ordered=declaration.ordered)

    def _max_message_age(self, network: str) -> float:
        config = self.bot_config.networks.get(network, self.bot_config)
        return float(config.OUTBOX_MAX_AGE)

    def _end_when_quiet(self, ended: Callable[[], None]) -> None:
        """Call `ended` after the last reply, unless webhooks may still be called."""
        if not (self.web.listeners.open_now or self.web.listeners.elsewhere):
            self.when_quiet().addCallback(lambda _: self.reactor.callLater(0, ended))

    def events_of(self, backend: Backend) -> BackendEvents:
        """Return the part that gets the backend's events. A subclass may put another one before `events`."""
        return self.events

    def note_choice(self, who: str, text: str) -> None:
        self.core_host.note(who, "chat", "choose", text)

    def message_changed(self, target: str | MessageRef) -> None:
        """End the question whose message a plugin edits or deletes. May be called from any thread."""
        on_reactor_soon(self.reactor, self.conversations.changed, target)

    def make_sending(self) -> Sending:
        return Sending(self.networks, self.callbacks, self.waits.result_of, self.message_changed)

    # Calls of plugins that are activated or deactivated, in any thread.

    def inject_commands_from(self, plugin: BotPlugin) -> None:
        """Register the plugin's commands. Administrators are notified of commands that are renamed. Raises
        PluginActivationException: the plugin was deactivated while its `activate` was still running."""
        activations = self.plugin_manager.activations
        activations.check_wanted(plugin)
        rank, methods = activations.rank(), [handler for _, handler in handlers(plugin)]
        for clash in self.registry.add(plugin_name(plugin), methods, plugin, rank):
            self.tell_admins(clash)

    def remove_commands_from(self, plugin: BotPlugin) -> None:
        self.registry.remove(plugin_name(plugin), plugin)

    def inject_command_filters_from(self, plugin: BotPlugin) -> None:
        methods = [handler for _, handler in handlers(plugin)]
        self.filters.add(plugin_name(plugin), methods, self.plugin_manager.activations.rank())

    def remove_command_filters_from(self, plugin: BotPlugin) -> None:
        self.filters.remove(plugin_name(plugin), plugin)

    def inject_flows_from(self, flows: Any) -> None:
        """Register the flows of a plugin or a BotFlow. Raises ValueError."""
        self.remove_flows_from(flows)
        self._flow_roots[flows] = []
        for root in build_flows(flows):
            try:
                self.flow_executor.add_flow(root)
            except ValueError as error:
                self.remove_flows_from(flows)
                raise ValueError(f"{plugin_name(flows)}: {error}") from error
            self._flow_roots[flows].append(root)

    def remove_flows_from(self, flows: Any) -> None:
        for root in self._flow_roots.pop(flows, ()):
            self.flow_executor.remove_flow(root)

    def get_doc(self, command: Callable[..., Any]) -> str:
        """Return the docstring of a command, with the bot's prefix in place of "!"."""
        return with_prefix(documentation(command), self.prefix) or "(undocumented)"

    @property
    def backend(self) -> Backend:
        """The backend of the network whose event is being handled; outside of events, the default network's."""
        return self.networks.current

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot's identifier on the network of `backend`; None until the network has assigned one."""
        return self.networks.current.bot_identifier

    @property
    def mode(self) -> str:
        """The kind of the network of `backend`, such as "irc"."""
        return self.networks.current.mode

    @property
    def prefix(self) -> str:
        """The prefix of commands on the network of `backend`."""
        return self.networks.prefix

    @property
    def plugin_roots(self) -> list[Path]:
        return [*self._roots, *map(Path, self.repo_manager.get_all_repos_paths())]
