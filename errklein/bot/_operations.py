"""The parts of the bot that core plugins and consoles use: its state, and the operations of administrators, such as the
reload of the configuration."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import unquote_plus, urlsplit

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from errklein.chat import Identifier, Message
from errklein.chat.outgoing import MessageRecord, Wait
from errklein.commands.operations import Actor, operation
from errklein.config import Config, ConfigError, SecretError, located_errors, read_secrets
from errklein.config.review import Change, apply, changes_of, risks
from errklein.dispatch import RoomOperations
from errklein.journal import back_up
from errklein.journal.operations import PAUSED_WEBHOOK, BotState, WebhookOperations
from errklein.listening import endpoint_url
from errklein.logs import destinations
from errklein.plugins.operations import PluginOperations, PluginSummary
from errklein.plugins.plugin import UnknownPlugin
from errklein.plugins.repos.manager import RepoOperations
from errklein.ports.chat import Backend, BotOverview, ManagesRooms
from errklein.ports.journal import JournalError
from errklein.ports.nodes import Node
from errklein.ports.outbox import NetworkOutbox, OutboxStatus, RecipientStatus
from errklein.ports.values import OF_NETWORK
from errklein.running import PoolStatus, SerialQueue, TimedOut, call_from_thread, result_within
from errklein.running.context import OnlyInOwner
from errklein.sources import example_of, find_source
from errklein.storage import BACKUP_NAME, OWN_NAMESPACES, rows_of, write_backup
from errklein.web import ClientResponse, WebSettings
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import Action, DeliveryState, QueueDepth, StoredDelivery
from errklein.webhooks.delivery_words import InvalidWords
from errklein.webhooks.option_values import HookError
from errklein.webhooks.options import configured, room_webhooks

if TYPE_CHECKING:
    from errklein.bot._bot import Bot
    from errklein.bot.persons import PersonOperations

_audit = Logger(namespace="errklein.audit")

RELOADS = "config reloads"  # the key of the number of times that the owner of several processes has read the configuration again
_LONGEST_WAIT = 3.0  # the seconds after which a disk that does not respond is a problem


class RunningState(BotState):
    """The state of a running bot."""

    def __init__(self, bot: Bot) -> None:
        super().__init__(
            bot.backends,
            bot.delivery_queue.paused,
            f"{bot.bot_config.PUBLIC_URL}{bot.bot_config.WEBHOOK_BASE_PATH}",
            routes=bot.web.routes.hooks,
            room_webhook=lambda name: bot.room_webhooks.find(name),  # noqa: PLW0108 -- they are created later
            now=lambda: bot.now(),  # noqa: PLW0108 -- tests replace it
            refused=lambda: list(bot.web.services.recording.refused.values()),
            responses=lambda webhook: sum(
                count for (name, _), count in bot.web.counts.responses.items() if name == webhook
            ),
        )
        self._bot = bot

    async def problem(self) -> str:
        try:
            await result_within(self._bot.reactor, _LONGEST_WAIT, self._bot.journal.check())
        except (JournalError, TimedOut) as error:
            return str(error) or "the disk does not respond"
        return ""

    def webhook_status(self, webhook: str) -> Wait:
        web, (name, colon, _) = self._bot.web, webhook.partition(":")
        if web.routes.declaration(webhook) is None:
            if not colon:
                return Wait("not active", cause=f"there is no webhook {name} any more")
            try:
                plugin = self._bot.plugin_manager.plugin(name)
            except UnknownPlugin:
                return Wait("not active", cause=f"there is no plugin {name}")
            if plugin.active:
                return Wait("not active", cause=f"the plugin {name} is active, and doesn't have it any more")
            return Wait("not active", cause=f"the plugin {name} isn't active; `status plugins` says why")
        if problem := web.services.checks.unusable.get(webhook):
            return Wait("all requests get 503", cause=problem)
        for route in self.routes():
            if route.hook.full_name == webhook and route.shadowed_by:
                return Wait("no requests arrive", cause=f"they go to {route.shadowed_by}, which has the same URL")
        return Wait(PAUSED_WEBHOOK if webhook in self.paused else "active")

    def room_status(self, network: str, name: str) -> Wait | None:
        backend = self._bot.backends.get(network)
        return None if backend is None else backend.room_status(name)

    def recipient(self, network: str, name: str) -> str:
        backend = self._bot.backends.get(network)
        with suppress(ValueError):
            # Other networks may ask a server.
            return str(backend.build_identifier(name)) if isinstance(backend, ManagesRooms) else name
        return name

    def wait_of_delivery(self, delivery: StoredDelivery) -> Wait | None:
        web, webhook, is_leased = self._bot.web, delivery.webhook, delivery.state is DeliveryState.RUNNING
        if not is_leased and web.routes.declaration(webhook) is None:
            status = self.webhook_status(webhook)
            return status._replace(state=f"the webhook is {status.state}")
        if not is_leased:
            return self._bot.delivery_queue.wait_of(delivery)
        for pool in (pool.status() for pool in web.pools):
            if waiting := pool.waiting.get(f"route:{webhook}", 0):
                busy = ", ".join(dict.fromkeys(use.name for use in pool.uses))
                return Wait("no thread is free", cause=f"{waiting} of the webhook wait, and {busy} run")
        return None

    def wait_of_message(self, record: MessageRecord) -> Wait | None:
        backend = self._bot.backends.get(record.network)
        if backend is None:
            return Wait(f"the bot has no network {record.network} in NETWORKS")
        return backend.wait_of(record)


@dataclass(frozen=True)
class NetworkStatus:
    """The connection of a network. `connected_for` are the seconds since it was established; None without one.
    `waiting` waits in the outbox; None for a network without one. `oldest_for` are the seconds since the oldest message
    was accepted that doesn't wait for a room; None without one. `unreadable` are encrypted rooms."""

    name: str
    connected_for: float | None
    ended: bool
    reconnects: int
    waiting: OutboxStatus | None
    oldest_for: float | None
    unreadable: Sequence[str] = ()


@dataclass(frozen=True)
class BotStatus:
    """The state of the running bot. `endpoints` are those for webhooks, `depth` is None if the journal can't be
    read, and `paused` counts webhooks. `errors` counts those of the last hour by source; only of "" for people who may
    not read details. `nodes` are the processes of a bot on a shared database; empty if they can't be read, too."""

    networks: Sequence[NetworkStatus]
    endpoints: Sequence[str]
    depth: QueueDepth | None
    paused: int
    plugins: Sequence[PluginSummary]
    errors: Mapping[str, int]
    pools: Sequence[PoolStatus]
    nodes: Sequence[Node] = ()
    nodes_unknown: str = ""  # why the processes can't be read


class WebhookTest(NamedTuple):
    """A request that was sent to a webhook by an administrator, and the response."""

    url: str
    content: str
    content_type: str
    response: ClientResponse


class ProcessOperations:
    """Shows, backs up, reloads, restarts and stops the bot, and sends requests to its webhooks."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._reloads = 0

    @operation("status")
    async def status(self, by: Actor) -> BotStatus:
        bot, errors = self._bot, self._bot.recent_errors.counts()
        try:
            depth = await result_within(bot.reactor, _LONGEST_WAIT, bot.journal.depth())
        except (JournalError, TimedOut):
            depth = None
        nodes, unknown = list[Node](), ""
        if not bot.alone:
            try:
                nodes = [*await result_within(bot.reactor, _LONGEST_WAIT, bot.nodes.all())]
            except (JournalError, TimedOut) as error:
                unknown = str(error) or "the database doesn't answer"
        return BotStatus(
            [self._network(name) for name in bot.backends],
            bot.web.listeners.public,
            depth,
            len(bot.delivery_queue.paused),
            await bot.core_host.plugins.plugins(by),
            errors if by.reads_details or not errors else {"": sum(errors.values())},
            self.load(by),
            nodes,
            unknown,
        )

    @operation("status_load")
    def load(self, by: Actor) -> list[PoolStatus]:
        return [pool.status() for pool in self._bot.pools]

    @operation("uptime")
    def started_at(self, by: Actor) -> datetime:
        return self._bot.startup_time

    @operation("log_tail")
    def log_file(self, by: Actor) -> Path | None:
        """Return the path of the log; None if it isn't a file. Mask its lines: they may be from before a secret was known."""
        configured = self._bot.bot_config.BOT_LOG_FILE
        return next(iter(destinations.files), Path(configured) if configured else None)

    @operation("backup", changes=True)
    def back_up(self, by: Actor) -> tuple[Path, int]:
        """Write all stored values, secrets included, and the journal to files. Return the path, and the number of
        values. Call it in a thread. Raises StorageError."""
        bot = self._bot
        path = Path(bot.bot_config.BOT_DATA_DIR) / BACKUP_NAME
        # Third-party storages can't list their namespaces.
        backends = {f"{backend.mode}_backend" for backend in bot.backends.values()}
        backends |= {OF_NETWORK + name for name in bot.backends}
        names = {*OWN_NAMESPACES, *backends, *(plugin.name for plugin in bot.plugin_manager.found)}
        count = write_backup(path, rows_of(bot.storage, names))
        if bot.bot_config.STORAGE != "Memory":
            back_up(path.parent if bot.bot_config.ERRKLEIN_DATABASE is None else None, path)
        return path, count

    @operation("config_reload", "option", changes=True)
    async def reload_config(self, by: Actor, option: str = "") -> list[Change]:
        """Read the configuration again, apply what needs no restart, and return what differs. All of it applies, or
        nothing. The option "--force" also removes the last administrator of a network, and the verification of a
        webhook. Raises ConfigError or StorageError."""
        bot, read = self._bot, self._bot.read_config
        if option not in ("", "--force"):
            raise ConfigError(f"unknown option {option!r}; the only one is --force")
        if read is None:
            raise ConfigError("the program that runs this bot has given it its configuration, and must restart it")
        self._reloads = number = self._reloads + 1
        fresh = await bot.plugin_pool.run(lambda: read, name=lambda: "the reload of the configuration")
        if number != self._reloads:
            raise ConfigError("a later reload has begun before this one could read the file")
        changes = change_config(bot, fresh, by, is_forced=bool(option))
        if not bot.alone:
            await bot.plugin_manager.stored_values.update(RELOADS, lambda number: number + 1, 0)
            bot.nodes.changed("plugins")
        return changes

    @operation("restart", changes=True)
    async def restart(self, by: Actor) -> None:
        """Restart the bot with the same command line. Raises CannotRestart."""
        await maybeDeferred(self._bot.restart)

    @operation("shutdown", "--confirm", changes=True)
    def shut_down(self, by: Actor) -> None:
        self._bot.reactor.callLater(0, self.stop)

    @operation("shutdown", "--confirm", "--kill", changes=True)
    def kill(self, by: Actor) -> None:
        """End the process, soon after the call: running commands and webhooks don't finish."""
        # The note of who does it is written first.
        self._bot.reactor.callLater(0.1, os.kill, os.getpid(), signal.SIGKILL)

    @operation("drain", "node", changes=True)
    async def drain(self, by: Actor, node: str) -> Node:
        """Let a process of the bot, named by its id or name, take no new work and stop. Raises InvalidWords or JournalError."""
        nodes = [] if self._bot.alone else await self._bot.nodes.all()
        for one in nodes:
            if node in (one.name, str(one.id)) and await self._bot.nodes.drain(one.id):
                return one
        known = ", ".join(one.name for one in nodes) or "none, since the bot is one process"
        raise InvalidWords(f"unknown process {node!r}; those of the bot are: {known}")

    @operation("webhook_test", "webhook", "content", changes=True, hidden=("content",))
    async def test_webhook(self, by: Actor, webhook: str, content: str = "") -> WebhookTest:
        """Send a POST request to a webhook, or to a path; without content, the example of its source. Raises ConnectionBroken."""
        url, hook = self.webhook_of(webhook)
        headers: Mapping[str, str] = {}
        if hook is not None and (source := hook.declaration.source) is not None and not content:
            content, verify = example_of(source).decode(), hook.declaration.verify
            if verify is not None and verify.event_header:
                headers = verify.headers_of_source(source.example.partition(".")[0])
        headers = {"Content-Type": _guess_content_type(content), **headers}
        body = content.encode("utf-8", "surrogateescape")
        response = await self._bot.web.request("POST", url, headers, body, origin="test")
        return WebhookTest(url, content, headers["Content-Type"], response)

    def webhook_of(self, name: str) -> tuple[str, Hook | None]:
        """Return the path of a webhook, given by its name or path, and the webhook that gets POST requests there."""
        rules = {route.hook.full_name: route.rule for route in self._bot.web.routes.hooks()}
        path = "/" + rules.get(name, name).lstrip("/")
        return path, self._bot.web.webhook_at("POST", urlsplit(path).path)

    def stop(self) -> None:
        """Stop the process in order."""
        # Another command or a signal may have stopped the reactor meanwhile.
        with suppress(ReactorNotRunning):
            self._bot.reactor.stop()

    def _network(self, name: str) -> NetworkStatus:
        backend, state = self._bot.backends[name], self._bot.events.states[name]
        waiting, now = backend.outbox.status, self._bot.now()
        connected_for = None if state.connected_at is None else now - state.connected_at
        oldest_for = now - waiting.oldest_at if waiting.oldest_at else None
        unreadable = backend.unreadable
        return NetworkStatus(name, connected_for, state.ended, state.reconnects, waiting, oldest_for, unreadable)


class MessageOperations:
    """Lists and drops messages that wait. Both raise InvalidWords for an unknown network."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    @operation("message_list", "network")
    async def waiting(self, by: Actor, network: str = "") -> Mapping[str, Sequence[RecipientStatus]]:
        """Return the recipients for whom messages wait, by network; those of all networks without one."""
        return {name: self._outbox(name).recipients() for name in ([network] if network else self._bot.backends)}

    @operation("message_drop", "network", "recipient", changes=True)
    async def drop(self, by: Actor, network: str, recipient: str) -> int:
        """Drop what waits for a recipient, and return the number of messages. One that is being sent isn't dropped."""
        return self._outbox(network).drop(recipient, f"an administrator has dropped what waits for {recipient}")

    def _outbox(self, network: str) -> NetworkOutbox:
        if (backend := self._bot.backends.get(network)) is None:
            raise InvalidWords(f"there is no network {network!r}; the bot has {', '.join(self._bot.backends)}")
        return backend.outbox


_UNKNOWN = object()  # the verification that an inactive plugin declares, or doesn't


def change_config(bot: Bot, fresh: Config, by: Actor, *, is_forced: bool) -> list[Change]:
    """Apply what needs no restart of a configuration that was read again, all of it or nothing, and return what
    differs. Raises ConfigError, before anything changes."""
    config = bot.bot_config
    changes = list(changes_of(config, fresh))
    settings = WebSettings.of(fresh if config.names_networks == fresh.names_networks else config)
    options = _options(bot, settings, config, fresh)
    dangers = [*risks(config, fresh), *_unverified(bot, options)]
    if dangers and not is_forced:
        raise ConfigError(f"{'; '.join(dangers)}. Add --force to apply this nevertheless")
    if changes and bot.owns:
        done = f"{by.name} has reloaded the configuration"
        texts, names = ("; ".join(one.line(details=details) for one in changes) for details in (True, False))
        # Before the change, so that an administrator who is removed is notified, too.
        bot.tell_admins(f"{done}: {texts}", f"{done}: {names}")
    apply(config, fresh)
    bot.web.use(replace(WebSettings.of(config), webhooks=options))
    bot.room_webhooks.use_settings(room_webhooks(config.setting("WEBHOOKS"), find_source))
    bot.plugin_manager.standby.look()
    destinations.use_level(config.BOT_LOG_LEVEL)
    bot.plugins_changed()
    return changes


def _options(bot: Bot, settings: WebSettings, config: Config, fresh: Config) -> Mapping[str, Any]:
    """Return the options of webhooks, those that don't change as the same objects. Raises ConfigError if they can't be
    used. Then their webhooks stay the same objects, too, with the rates that they have used up."""
    before, after = config.setting("WEBHOOKS"), fresh.setting("WEBHOOKS")
    used = bot.web.site.settings.webhooks
    options = dict(settings.webhooks)
    options |= {name: used[name] for name in options if name in used and before.get(name) == after.get(name)}
    with located_errors(fresh):
        try:
            verifications = {name: its.get("verify") for name, its in options.items()}
            for hook in _declared(bot).values():
                declaration = configured(hook, options, settings.default_methods, find_source).declaration
                verifications[hook.full_name] = declaration.verify
            for name in [name for name, its in options.items() if its is not used.get(name)]:
                verify = verifications[name]
                read_secrets(None if verify is None or verify.unusable else verify)
            for name, one in room_webhooks(after, find_source).items():
                if one != bot.room_webhooks.find(name):
                    read_secrets(one.declaration(find_source, "").verify)
        except HookError as error:
            raise ConfigError(str(error), "WEBHOOKS") from None
        except SecretError as error:
            raise ConfigError(f"WEBHOOKS[{name!r}]: {error}", "WEBHOOKS") from None
    return options


def _declared(bot: Bot) -> Mapping[str, Hook]:
    return {hook.full_name: hook for hooks in bot.web.routes.declared.values() for hook in hooks}


def _unverified(bot: Bot, options: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each webhook that would no longer be verified, those of inactive plugins included."""
    declared = {name: hook.declaration for name, hook in _declared(bot).items()}
    # A webhook with a source has its verification.
    own, used = (
        {name: one.verify or one.source_name or None for name, one in declared.items()},
        bot.web.site.settings.webhooks,
    )
    lost = []
    for name in sorted({*used, *options}):
        before, after = (its.get(name, {}).get("verify", own.get(name, _UNKNOWN)) for its in (used, options))
        if before is not None and (after is None or (after is _UNKNOWN and before is not _UNKNOWN)):
            lost.append(name)
    return [f"WEBHOOKS: {name} would no longer be verified" for name in lost]


class ConsoleLinks(Protocol):
    """The console, as far as commands use it."""

    def link(self, name: str, network: str = "", person: Identifier | None = None) -> str:
        """Return a link by which a person enters the console; without a person, the bot's user or root."""

    def end_all(self) -> int:
        """End all sessions and links, and return the number of sessions."""


class CoreHost:
    """What core plugins and the console use of the bot, and the operations of administrators."""

    def __init__(self, bot: Bot, webhooks: WebhookOperations, rooms: RoomOperations) -> None:
        self._bot = bot
        self.networks, self.dispatcher, self.web = bot.networks, bot.dispatcher, bot.web
        self.plugin_manager, self.plugins = bot.plugin_manager, PluginOperations(bot.plugin_manager)
        changes = SerialQueue(bot.reactor)
        self.repositories = RepoOperations(bot.repo_manager, bot.plugin_manager, bot.plugin_pool, changes)
        self.webhooks, self.room_webhooks, self.rooms = webhooks, bot.room_webhooks, rooms
        self.process = ProcessOperations(bot)

    def elsewhere(self) -> str:
        """Return the name of the process that owns the plugins; "" if this one does. Raises OnlyInOwner if none does."""
        if self._bot.owns:
            return ""
        if (owner := self._bot.nodes.owner) is None:
            raise OnlyInOwner("no process of this bot owns its plugins at the moment; try again in some seconds")
        return owner.name

    @property
    def persons(self) -> PersonOperations:
        # Imported late, since it is rarely used.
        from errklein.bot.persons import PersonOperations

        return PersonOperations(self._bot)

    @property
    def messages(self) -> MessageOperations:
        return MessageOperations(self._bot)

    @property
    def console(self) -> ConsoleLinks | None:
        """The console; None unless CONSOLE or --console opens it."""
        return self._bot.console

    @property
    def prefix(self) -> str:
        return self.networks.prefix

    @property
    def config(self) -> Config:
        return self.networks.config(self.networks.current)

    def actor(self, message: Message) -> Actor:
        """Return the sender of a message, who reads texts of exceptions only in private, and only as an administrator."""
        return self.by(str(message.frm), "chat", self.dispatcher.disclosure.allowed(self.networks.current, message))

    def by(self, name: str, way: str, reads_details: bool = False) -> Actor:
        """Return somebody who performs operations, and by which way: "chat", "shell" or "console". Changes are
        noted."""
        return Actor(name, reads_details, partial(self.note, name, way))

    def note(self, name: str, way: str, command: str, arguments: str) -> None:
        """Note what somebody does in the log and the journal. May be called from any thread."""
        bot, shown = self._bot, f"{command.replace('_', ' ')} {arguments}".rstrip()
        _audit.info("{who} ({way}): {what}", who=name, way=way, what=shown)
        call_from_thread(bot.reactor, bot.journal.note, Action(bot.now(), name, way, command, arguments))

    @property
    def plugins_read_messages(self) -> bool:
        core = {plugin.name for plugin in self.plugin_manager.found if plugin.plug.core}
        return any(one.plugin not in core for one in self.plugin_manager.callbacks("callback_message"))


def _guess_content_type(content: str) -> str:
    form = unquote_plus(content.partition("=")[2])
    for text, content_type in ((content, "application/json"), (form, "application/x-www-form-urlencoded")):
        with suppress(ValueError, RecursionError):
            json.loads(text)
            return content_type
    return "text/plain"


def overview(bot: Bot, backend: Backend) -> BotOverview:
    """Return what an operator's console on one of the bot's backends shows."""
    prefix, addresses = bot.networks.config(backend).BOT_PREFIX, [*map(endpoint_url, bot.web.listeners.public)]
    path, here = next(iter(destinations.files), None), Path.cwd()
    if path is not None and here.parent != here and path.is_relative_to(here):
        path = path.relative_to(here)
    others = [network for network in bot.events.open_networks if network != backend.network]

    def commands(message: Message) -> Sequence[str]:
        """Return those that the sender may see, also with names of plugins as arguments."""
        names = [one.name.replace("_", " ") for one in bot.dispatcher.permissions.visible(backend, message)]
        plugins = [plugin.name for plugin in bot.plugin_manager.found]
        topics = [f"help {topic}" for topic in (*plugins, *names)] if "help" in names else []
        targets = [f"{name} {plugin}" for name in names if name.startswith("plugin ") for plugin in plugins]
        return [prefix + text for text in (*names, *topics, *targets)]

    reads, remaining = bot.core_host.plugins_read_messages, [*(["webhooks"] if addresses else []), *others]
    return BotOverview(prefix, addresses, str(path or ""), reads, remaining, commands)
