"""The bot: what plugins see as `self._bot`, where messages, webhooks, plugins and networks meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from datetime import datetime
from functools import partial
from inspect import ismethod
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Card, Identifier, Message, Presence, Reaction, Room, RoomOccupant, Stream
from errklein.commands import CommandRegistry
from errklein.commands.declaration import documentation, with_prefix
from errklein.commands.flows import FlowRoot
from errklein.commands.history import History
from errklein.commands.registry import FilterRegistry
from errklein.compat import holder
from errklein.compat.callbacks import MadeUpEvents
from errklein.compat.flask_routes import flask_routes
from errklein.conversations import Conversations
from errklein.dispatcher import Dispatcher, handling, network_of_handled_message
from errklein.flow_executor import FlowExecutor
from errklein.plugins.botflow import BotFlow, build_flows
from errklein.plugins.botplugin import BotPlugin, handlers
from errklein.plugins.errbot_manager import BotPluginManager
from errklein.plugins.repos.manager import BotRepoManager
from errklein.ports import Backend, Reacts, SendsCards, SendsStreams, Storage
from errklein.running import Runner, WorkerPool
from errklein.running.threads import ThreadWaits, on_reactor_soon
from errklein.running.turns import Turns
from errklein.streams import Streams
from errklein.text import templating
from errklein.unknown_names import unknown_names
from errklein.web import ExpiryWatch, WebServer
from errklein.webhooks import Hook

_SECONDS_BETWEEN_WARNINGS = 60.0


class Bot(MadeUpEvents):
    """Everything that runs, by name: `plugin_manager`, `registry`, `web`, `storage`, `runner` and the networks.

    `backends` maps each network's name to its connection, the first being the default. `ended` is called when there will
    be no more messages, nothing listens, and everything that was asked has its answer.
    Plugins are found below `plugin_roots`; `plugin_classes` are used as they are.
    """

    log = Logger()

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
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.reactor = reactor
        self.bot_config = config
        self.storage = storage
        self.web = web
        self.runner = runner
        self.command_pool = command_pool
        self.plugin_pool = plugin_pool
        self.backends = dict(backends)
        self.registry = CommandRegistry()
        self.filters = FilterRegistry()
        self.waits = ThreadWaits(reactor)
        self.startup_time = datetime.now()
        self.plugin_manager = BotPluginManager(self)
        self.repo_manager = BotRepoManager(storage, self.plugins_directory, config.BOT_PLUGIN_INDEXES)
        self.dispatcher = Dispatcher(self)
        self.conversations = Conversations(self)
        self.flow_executor = FlowExecutor(self)
        self.streams = Streams(self)
        self._flows: dict[BotFlow, list[FlowRoot]] = {}
        self._plugin_roots = list(plugin_roots)
        self._plugin_classes = list(plugin_classes)
        self._ended = ended
        self._open_ended = set(self.backends)
        self._stopping = False
        self._turns = Turns(reactor)
        self._expiry = ExpiryWatch(reactor, web.listeners, self.warn_admins)
        self._warned: dict[tuple[str, object], float] = {}
        web.events = self
        for backend in self.backends.values():
            attach = getattr(backend, "attach", None)
            if attach is not None:
                attach(self)

    def __getattr__(self, name: str) -> Any:
        # What plugins ask of errbot's bot and the bot hasn't, errbot's bot has from its network: `conn`, and so on.
        if name.startswith("__") or "backends" not in vars(self):
            raise AttributeError(f"the bot has no {name}", name=name, obj=self)
        backend = self.backend
        for owner in (backend, getattr(backend, "legacy", None)):
            if hasattr(owner, name):
                return getattr(owner, name)
        raise AttributeError(f"the bot has no {name}, and neither has {backend.network}", name=name, obj=self)

    # Life

    async def start(self) -> None:
        """Load and activate the plugins, then connect to the networks. Admins are told of plugins that don't work."""
        if self.bot_config.without_effect:
            names = ", ".join(self.bot_config.without_effect)
            self.log.warn("Settings that mean nothing in this version: {names}", names=names)
        flask_routes.serve(self.reactor, self.web, self.waits)
        holder.bot = self
        problems = await self.plugin_manager.start(self.plugin_roots, self._plugin_classes)
        for problem in problems:
            self.warn_admins(problem)
        found = [(plugin.name, plugin.instance) for plugin in self.plugin_manager.found]
        for doubt in unknown_names(self.bot_config, found, self.registry):
            self.log.warn("{doubt}", doubt=doubt)
        if self._stopping:
            return
        for backend in self.backends.values():
            backend.connect(self)
        self._expiry.start()

    async def stop(self, grace: float) -> None:
        """Take nothing new, give what runs `grace` seconds to end, then deactivate plugins and disconnect."""
        self._stopping = True
        self._expiry.stop()
        self._turns.stop()
        self.conversations.stop()
        self.web.begin_stopping()
        idle = DeferredList([self._when_quiet(), self.web.when_idle()])
        await _at_most(self.reactor, grace, idle)
        # Nothing may begin on a plugin that is being deactivated.
        self.web.refuse_waiting()
        self.waits.stop()
        self.dispatcher.stop()
        self.streams.stop()
        self.command_pool.stop()
        await self.plugin_manager.stop()
        await DeferredList([backend.disconnect() for backend in self.backends.values()])
        flask_routes.forget(self.web)
        await self.web.close()
        self.plugin_pool.stop()
        self.storage.close()

    # What plugins use

    @property
    def plugin_roots(self) -> list[Path]:
        """The directories where plugins are looked for when the bot starts, installed repositories included."""
        return [*self._plugin_roots, *map(Path, self.repo_manager.get_all_repos_paths())]

    @property
    def plugins_directory(self) -> Path:
        """Where installed repositories of plugins are, one directory each, in BOT_DATA_DIR."""
        return Path(self.bot_config.BOT_DATA_DIR) / "plugins"

    @property
    def backend(self) -> Backend:
        """The network of the message, or of whatever else a network tells, that is being handled; else the first one."""
        return self.backends.get(network_of_handled_message()) or next(iter(self.backends.values()))

    @property
    def mode(self) -> str:
        """The kind of network of the message that is being handled, else of the first one."""
        return self.backend.mode

    @property
    def prefix(self) -> str:
        """What commands begin with, on the network of the message that is being handled."""
        prefix: str = self.bot_config.networks[self.backend.network].BOT_PREFIX
        return prefix

    @property
    def bot_identifier(self) -> Identifier | None:
        """The bot itself, on the network of the message that is being handled."""
        return self.backend.bot_identifier

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

    def unknown_command(self, _: Message | None, cmd: str | None, args: str | None) -> str:
        """What somebody is told whose command there isn't."""
        return self.dispatcher.unknown(self.backend, f"{cmd or ''} {args or ''}")

    def build_identifier(self, text: str | tuple[str, str]) -> Identifier:
        """Who or what `text` names: "network:name" on that network, else on the network of the message that is being
        handled, else on the first. Of a room with its password, as CHATROOM_PRESENCE has them, the room.

        Raises ValueError if the network makes no sense of it.
        """
        if not isinstance(text, str):
            text = text[0]
        network, colon, name = text.partition(":")
        if colon and network in self.backends:
            return self.backends[network].build_identifier(name)
        return self.backend.build_identifier(text)

    def send(
        self,
        identifier: Identifier,
        text: str,
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
    ) -> Awaitable[None] | None:
        """Send Markdown text, from any thread; see `BotPlugin.send`."""
        if not isinstance(identifier, Identifier):
            raise ValueError(
                f"send() needs an identifier, as build_identifier() makes of text, not {type(identifier).__name__}"
            )
        backend = self._backend_of(identifier.network)
        message = Message(text, frm=backend.bot_identifier, to=identifier, parent=in_reply_to)
        if groupchat_nick_reply and in_reply_to is not None and isinstance(in_reply_to.frm, RoomOccupant):
            backend.prefix_groupchat_reply(message, in_reply_to.frm)
        return self.deliver(backend, message)

    def deliver(self, backend: Backend, message: Message) -> Awaitable[None] | None:
        """Hand a message to its network, from any thread, and show it to plugins."""
        accepted = backend.send_message(message)
        self._show_plugins(backend, message)
        return accepted

    def send_simple_reply(
        self, message: Message, text: str, private: bool = False, threaded: bool = False
    ) -> Awaitable[None] | None:
        """Answer a message where it came from, or in private."""
        backend = self._backend_of(message.network)
        return self.deliver(backend, backend.build_reply(message, text, private, threaded))

    @staticmethod
    def process_template(
        template_name: str, template_parameters: Mapping[str, Any], plugin_name: str | None = None
    ) -> str:
        """The Markdown of a template, the plugin's own one first; see `errklein.text.templating.render`."""
        return templating.render(template_name, template_parameters, plugin_name)

    def send_templated(
        self,
        identifier: Identifier,
        template_name: str,
        template_parameters: Mapping[str, Any],
        in_reply_to: Message | None = None,
        groupchat_nick_reply: bool = False,
        plugin_name: str | None = None,
    ) -> Awaitable[None] | None:
        """Send a template filled in with the parameters, as `send` does."""
        text = self.process_template(template_name, template_parameters, plugin_name)
        return self.send(identifier, text, in_reply_to, groupchat_nick_reply)

    def split_and_send_message(self, message: Message) -> Awaitable[None] | None:
        """Send a message that is made up already; its network cuts it into parts that it takes."""
        return self.deliver(self._backend_of(message.network), message)

    def send_card(self, card: Card) -> Awaitable[None] | None:
        """Send a card: as its network shows cards, else as text by the template "card"."""
        backend = self._backend_of(card.network)
        if isinstance(backend, SendsCards):
            accepted = backend.send_card(card)
            self._show_plugins(backend, card)
            return accepted
        text = self.process_template("card", {"card": card})
        return self.deliver(backend, Message(text, card.frm, card.to, card.parent, extras=card.extras))

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream | None:
        """Offer somebody a file, from any thread; see `BotPlugin.send_stream_request`."""
        backend = self.backend_of(user)
        for carrier in (backend, getattr(backend, "legacy", None)):
            if isinstance(carrier, SendsStreams):
                return carrier.send_stream_request(user, fsource, name, size, stream_type)
        raise NotImplementedError(f"{backend.network} can't carry files: {backend.mode} has no streams")

    def reacting(self, message: Message) -> Reacts:
        """The network of the message, which takes reactions to it; raises NotImplementedError if it knows none.

        `add_reaction` itself the bot has from its network, so that plugins can ask whether there is one.
        """
        backend = self._backend_of(message.network)
        for network in (backend, getattr(backend, "legacy", None)):
            if isinstance(network, Reacts):
                return network
        raise NotImplementedError(f"{backend.network} has no reactions: {backend.mode} doesn't know them")

    def warn_admins(self, warning: str) -> None:
        """Send the text to everybody in BOT_ADMINS_NOTIFICATIONS of each network, and to the log."""
        self.log.warn("Admins are told: {text}", text=warning)
        for backend in self.backends.values():
            for admin in self.bot_config.networks[backend.network].BOT_ADMINS_NOTIFICATIONS:
                # Some networks know only when they are connected who that is, and have to ask.
                in_turn = getattr(backend, "in_turn", None)
                try:
                    if in_turn is None:
                        self._tell_admin(backend, admin, warning)
                    else:
                        in_turn(self._tell_admin, backend, admin, warning)
                except Exception as error:
                    self._admin_not_told(backend, admin, error)

    def change_presence(self, status: str, message: str) -> None:
        """Show on every network that the bot is `status`."""
        for backend in self.backends.values():
            backend.change_presence(status, message)

    def rooms(self) -> list[Room]:
        """The rooms that the bot is in, on all networks."""
        return [room for backend in self.backends.values() for room in backend.rooms()]

    def query_room(self, name: str) -> Room:
        """The room of that name; the network is chosen as in `build_identifier`."""
        network, colon, rest = name.partition(":")
        if colon and network in self.backends:
            return self.backends[network].query_room(rest)
        return self.backend.query_room(name)

    def inject_commands_from(self, plugin: BotPlugin) -> None:
        """Let the plugin's commands be given; admins are told of those that had to be renamed."""
        for clash in self.registry.add(plugin.name, [handler for _, handler in handlers(plugin)]):
            self.warn_admins(clash)

    def remove_commands_from(self, plugin: BotPlugin) -> None:
        """The plugin's commands can't be given any more."""
        self.registry.remove(plugin.name)

    def inject_command_filters_from(self, plugin: BotPlugin) -> None:
        """Let the plugin's filters see commands before they run."""
        self.filters.add(plugin.name, [handler for _, handler in handlers(plugin)])

    def remove_command_filters_from(self, plugin: BotPlugin) -> None:
        """The plugin's filters see no commands any more."""
        self.filters.remove(plugin.name)

    def inject_flows_from(self, flows: BotFlow) -> None:
        """Let the flows be begun; raises ValueError that names the one that can't be built, or whose name is taken."""
        self.remove_flows_from(flows)
        self._flows[flows] = []
        for root in build_flows(flows):
            try:
                self.flow_executor.add_flow(root)
            except ValueError as error:
                self.remove_flows_from(flows)
                raise ValueError(f"{flows.name}: {error}") from error
            self._flows[flows].append(root)

    def remove_flows_from(self, flows: BotFlow) -> None:
        """Let the flows not be begun any more, and end them for everybody who is in one."""
        for root in self._flows.pop(flows, ()):
            self.flow_executor.remove_flow(root)

    def backend_of(self, identifier: Identifier) -> Backend:
        """The network that the identifier belongs to; raises ValueError if it is none of the bot's."""
        return self._backend_of(identifier.network)

    def backend_of_message(self, message: Message) -> Backend:
        """The network that the message was said on; raises ValueError if it is none of the bot's."""
        return self._backend_of(message.network)

    # What networks tell

    def backend_connected(self, backend: Backend) -> None:
        """A network can be used: plugins get callback_connect."""
        self.log.info("Connected to {network}", network=backend.network)
        self._tell_plugins(backend, "callback_connect")

    def backend_disconnected(self, backend: Backend, reason: str) -> None:
        """A network is gone for now; plugins stay active."""
        self.log.warn("Disconnected from {network}: {reason}", network=backend.network, reason=reason)

    def backend_ended(self, backend: Backend) -> None:
        """When the last network has ended and nothing listens, the bot ends after its last answer."""
        self._turns.do(partial(self._end_one, backend))

    def message_received(self, backend: Backend, message: Message) -> None:
        """Run the command in the message, if it is one, and show it to plugins."""
        if message.delayed or backend.is_from_self(message):
            return
        self._turns.do(partial(self._hear, backend, message))

    def answer(self, backend: Backend, message: Message) -> None:
        """Run the command in the message, if it is one; plugins aren't shown the message."""
        self._turns.do(partial(self._answer, backend, message))

    def tell_plugins(self, backend: Backend, callback: str, *details: Any) -> None:
        """Plugins get that callback, as of something on that network."""
        self._turns.do(partial(self._tell_plugins, backend, callback, *details))

    def mention_received(self, backend: Backend, message: Message, people: Sequence[Identifier]) -> None:
        """Plugins get callback_mention."""
        if self._stopping or message.delayed:
            return
        self._tell_plugins(backend, "callback_mention", message, people)

    def presence_changed(self, backend: Backend, presence: Presence) -> None:
        """Plugins get callback_presence."""
        self._tell_plugins(backend, "callback_presence", presence)

    def reaction_changed(self, backend: Backend, reaction: Reaction) -> None:
        """Plugins get callback_reaction."""
        self._tell_plugins(backend, "callback_reaction", reaction)

    def stream_offered(self, backend: Backend, stream: Stream) -> None:
        """Plugins that have a callback_stream get a copy each; without any the stream is rejected."""
        with handling(backend):
            self.streams.offer(stream)

    def room_joined(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, invited_by: Identifier | None = None
    ) -> None:
        """Plugins get callback_room_joined."""
        self._tell_plugins(backend, "callback_room_joined", room, identifier or backend.bot_identifier, invited_by)

    def room_left(
        self, backend: Backend, room: Room, identifier: Identifier | None = None, kicked_by: Identifier | None = None
    ) -> None:
        """Plugins get callback_room_left."""
        self._tell_plugins(backend, "callback_room_left", room, identifier or backend.bot_identifier, kicked_by)

    def room_topic_changed(self, backend: Backend, room: Room) -> None:
        """Plugins get callback_room_topic."""
        self._tell_plugins(backend, "callback_room_topic", room)

    # What the web server tells

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        """Admins get one line, at most once a minute for each hook."""
        self._warn_sometimes(
            ("failed", hook.key),
            f"The webhook {hook} ({hook.declaration.rule}) failed with {type(failure.value).__name__}; "
            f"the log has the details under request {request_id}.",
        )

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        """Admins get one line, at most once a minute for each hook."""
        self._warn_sometimes(
            ("overdue", hook.key),
            f"The webhook {hook} ({hook.declaration.rule}) has not answered in {seconds:g} s: its sender got 504, and "
            f"the handler still runs (request {request_id}).",
        )

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        """Admins learn which plugin keeps the URL."""
        self.warn_admins(
            f"{hook.owner} and {by.owner} both want {hook.declaration.rule}: {by} keeps it, and {hook} takes over when "
            f"{by.owner} is deactivated."
        )

    def _tell_admin(self, backend: Backend, admin: str, warning: str) -> None:
        try:
            message = Message(warning, frm=backend.bot_identifier, to=backend.build_identifier(admin))
            self.deliver(backend, message)
        except Exception as error:
            self._admin_not_told(backend, admin, error)

    def _admin_not_told(self, backend: Backend, admin: str, error: Exception) -> None:
        self.log.warn(
            "{admin} on {network} could not be told: {error}", admin=admin, network=backend.network, error=str(error)
        )

    def _end_one(self, backend: Backend) -> None:
        self._open_ended.discard(backend.network)
        if self._open_ended or self.web.listeners.open_now:
            return
        idle = self._when_quiet()
        idle.addCallback(lambda _: self.reactor.callLater(0, self._ended))

    def _when_quiet(self) -> Deferred[Any]:
        """Fires when nothing of plugins runs, every message has its answer, and flows wait for somebody."""
        return DeferredList([self.runner.when_idle(), self.dispatcher.when_idle(), self.flow_executor.when_idle()])

    def _hear(self, backend: Backend, message: Message) -> None:
        if self._stopping:
            return
        if self._answer(backend, message):
            self._tell_plugins(backend, "callback_message", message)

    def _answer(self, backend: Backend, message: Message) -> bool:
        """Run the command in the message; whether plugins may be shown the message."""
        # Whoever answers notices may find that the answer is one (RFC 2812, 3.3.2).
        if self._stopping or (isinstance(message.extras, Mapping) and message.extras.get("notice")):
            return True
        with handling(backend):
            return self.dispatcher.dispatch(backend, message)

    def _backend_of(self, network: str) -> Backend:
        """The network of that name; "", as identifiers have that were made by hand, means as for a bare name."""
        if not network:
            return self.backend
        if network not in self.backends:
            raise ValueError(f"there is no network {network}, only {', '.join(self.backends)}")
        return self.backends[network]

    def _tell_plugins(self, backend: Backend, callback: str, *args: Any) -> None:
        told = self.plugin_manager.callbacks(callback)
        if not told:
            return
        with handling(backend):
            for plugin, method in told:
                running = self.runner.run(method, *args, pool=self.plugin_pool)
                running.addErrback(self._callback_failed, plugin, callback)

    def _show_plugins(self, backend: Backend, message: Message) -> None:
        if self.plugin_manager.callbacks("callback_botmessage"):
            tell = copy_context().run
            on_reactor_soon(self.reactor, tell, self._tell_plugins, backend, "callback_botmessage", message)

    def _callback_failed(self, failure: Failure, plugin: str, callback: str) -> None:
        self.log.failure("{plugin}: {callback} failed", failure, plugin=plugin, callback=callback)

    def _warn_sometimes(self, subject: tuple[str, object], warning: str) -> None:
        now = self.reactor.seconds()
        if now - self._warned.get(subject, float("-inf")) >= _SECONDS_BETWEEN_WARNINGS:
            self._warned[subject] = now
            self.warn_admins(warning)


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
