"""The wiring of a bot: creates web server, storage, backends and thread pools, and connects them. Modules that import
the reactor are imported late, since the caller chooses the reactor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.logger import Logger
from twisted.python.reflect import namedAny

from errklein.config import Config, ConfigError
from errklein.config.networks import check_libraries, find_network, known_networks, network_of
from errklein.database import Access, Run
from errklein.networks.context import NetworkContext
from errklein.ports.nodes import ROLES
from errklein.running.reactors import cannot_restart
from errklein.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from errklein.bot import Bot
    from errklein.compat.bot import ErrbotBot
    from errklein.compat.plugin_manager import BotPluginManager
    from errklein.journal import JournalArchive
    from errklein.plugins import BotPlugin
    from errklein.plugins.packages import PackageDirectory
    from errklein.ports.chat import Backend
    from errklein.ports.journal import Journal
    from errklein.ports.nodes import Nodes, SharedDatabase
    from errklein.ports.values import Storage
    from errklein.running import WorkerPool
    from errklein.web import WebServer

_OTHERS = "errklein.compat.backends.network"
"""The module that finds and creates networks written for errbot. It may be deleted."""

_SPARE = 100  # the number of threads that may take the place of those whose jobs hang
_LOG_IN_MEMORY = 32_000_000  # the largest size of the deliveries of webhooks in memory
_CORE_THREADS = 4  # the number of threads for commands of the core. Few of them block.


def wire(
    reactor: Any,
    config: Config,
    bot_class: type[ErrbotBot] | None = None,
    ended: Callable[[], None] | None = None,
    check_stored: Callable[[Storage], None] = lambda storage: None,
    restart: Callable[..., Deferred[None]] = cannot_restart,
    read_config: Callable[[], Config] | None = None,
    plugin_classes: Iterable[type[BotPlugin]] = (),
    make_pool: Callable[..., WorkerPool] | None = None,
    journal_runs: tuple[Run, Run] | None = None,
    now: Callable[[], float] = time.time,
    values: Access = Access.OWN,
    make_agent: Callable[[Any], Any] | None = None,
    nodes: Nodes | None = None,
    roles: Sequence[str] = ROLES,
    node: str | None = None,
) -> tuple[WebServer, Callable[[], ErrbotBot]]:
    """Return the web server, and a function that creates the bot, to be called when its data may be opened.

    :param ended: called when all networks have ended and no webhooks can arrive; by default the reactor stops.
    :param check_stored: called with the storage before it is used; its exceptions are propagated.
    :param read_config: reads and checks the configuration again; see `Bot`.
    :param plugin_classes: plugins in addition to those in directories.
    :param journal_runs: run the writes and reads of the journal, instead of its threads.
    :param values: `COPY` for a bot that isn't started, and works on a copy of the stored values.
    :param make_agent: returns what sends the requests of plugins; see `HTTPClients`.
    :param nodes: the processes of the bot; by default those that share ERRKLEIN_DATABASE, without which it is the only one.
    :param roles: what this process does among those that share a database.
    :param node: the endpoint, open when the bot is created, that other processes use; None if they can't reach this one."""
    from errklein.running import KeyedQueues, Runner, ThreadWaits, WorkerPool, Workers
    from errklein.web import WebServer, WebSettings

    bot: ErrbotBot
    # The bot is created later, since its data is opened after a daemon has forked.
    pool = partial(make_pool or WorkerPool, report=lambda status: bot.pool_is_full(status))  # noqa: PLW0108 -- assigned below
    waiting = {"queue": config.WEBHOOK_QUEUE, "wait": config.WEBHOOK_QUEUE_WAIT}
    runner = Runner(reactor, pool(reactor, "webhooks", config.WEBHOOK_POOLSIZE, **waiting, shared=True))
    web = WebServer(
        reactor,
        runner,
        settings=WebSettings.of(config),
        # Decoding is limited by the processor: more threads would only slow down the reactor's thread.
        decoding_pool=pool(reactor, "decoding", 2, **waiting),
        large_pool=pool(reactor, "large bodies", 1, wait=config.WEBHOOK_QUEUE_WAIT),
        recorded_pool=pool(reactor, "recorded webhooks", config.WEBHOOK_POOLSIZE, **waiting, shared=True),
        now=now,
        bot=lambda: bot.web_parts,
    )

    def make_bot() -> ErrbotBot:
        nonlocal bot
        from errklein import compat
        from errklein.bot import SingleNode
        from errklein.compat.bot import ErrbotBot
        from errklein.compat.storages import make_storage, shared_database
        from errklein.http_client import HTTPClients
        from errklein.plugins.packages import PackageDirectory

        packages = PackageDirectory(Path(config.BOT_DATA_DIR), installed=compat.step_aside)
        packages.activate()
        compat.install()
        # One thread, so that the functions run one after the other.
        values_pool = pool(reactor, "stored values", 1)
        database = shared_database(config)
        storage = make_storage(config, values, lambda work: values_pool.run(lambda: work), database)
        try:
            check_stored(storage)
        except BaseException:
            storage.close()
            raise
        clients = HTTPClients(reactor, make_agent)
        address = web.listeners.address(node) if node else ""
        shared = database.nodes(reactor, roles, address) if database and values is Access.OWN else None

        def notify(*notice: Any, **options: Any) -> None:
            # The bot is created after its networks.
            bot.notices.post(*notice, **options)

        services: dict[str, Any] = {"clients": clients, "storage": storage, "notify": notify, "now": now}
        services["set_routes"] = web.routes.replace
        backends = {name: make_backend(reactor, view, **services) for name, view in config.networks.items()}
        plugin_pool = partial(pool, reactor, shared=True, spare=_SPARE)
        workers = Workers(
            runner.using(plugin_pool("commands", config.BOT_ASYNC_POOLSIZE)),
            runner.using(plugin_pool("core commands", _CORE_THREADS)),
            runner.using(plugin_pool("plugins", config.BOT_ASYNC_POOLSIZE)),
            values_pool,
            KeyedQueues(reactor),
            ThreadWaits(reactor),
        )
        roots = [Path(directory) for directory in config.directories("BOT_EXTRA_PLUGIN_DIR")]
        bot = (bot_class or ErrbotBot)(
            reactor,
            config,
            backends=backends,
            storage=storage,
            web=web,
            http_clients=clients,
            journal=make_journal(reactor, config, now, values, journal_runs, database),
            workers=workers,
            make_manager=partial(_make_plugin_manager, packages),
            roots=roots,
            classes=plugin_classes,
            ended=ended or reactor.stop,
            restart=restart,
            read_config=read_config,
            now=now,
            nodes=nodes or shared or SingleNode(),
        )
        return bot

    return web, make_bot


def make_journal(
    reactor: Any,
    config: Config,
    now: Callable[[], float],
    values: Access = Access.OWN,
    runs: tuple[Run, Run] | None = None,
    database: SharedDatabase | None = None,
) -> Journal:
    """Return the journal of webhooks: in the database that processes share, or in the data directory, or in memory if the
    values of plugins, or a copy of them, are."""
    from errklein.journal import DATABASE, INLINE, Redaction, Retention, SQLiteJournal

    redaction = Redaction(config.WEBHOOK_LOG, frozenset(config.WEBHOOK_LOG_MASK))
    path: Path | None = Path(config.BOT_DATA_DIR) / DATABASE
    days, size = config.WEBHOOK_LOG_DAYS * 86400, config.WEBHOOK_LOG_SIZE
    if database is not None and values is Access.OWN:
        return database.journal(reactor, now, redaction=redaction, retention=Retention(days, size), runs=runs)
    if config.STORAGE == "Memory" or values is not Access.OWN:
        path, size = None, min(size, _LOG_IN_MEMORY)
    # A copy is of a bot that isn't started.
    runs = runs if values is Access.OWN else INLINE
    return SQLiteJournal(path, reactor, now, redaction, Retention(days, size), runs)


def open_archive(config: Config, access: Access = Access.READ, *, missing_ok: bool = False) -> JournalArchive:
    """Return the journal for a process beside the bot; may block. Raises ConfigError or StorageError. If there is none, that is
    an error, or with `missing_ok` an empty journal."""
    from errklein.compat.storages import shared_database
    from errklein.journal import DATABASE, JournalArchive

    if (database := shared_database(config)) is not None:
        archive: JournalArchive = database.archive()
        return archive
    path = Path(config.BOT_DATA_DIR) / DATABASE
    is_missing = missing_ok and (config.STORAGE == "Memory" or not path.exists())
    return JournalArchive(None if is_missing else path, access)


def _make_plugin_manager(packages: PackageDirectory, bot: Bot) -> BotPluginManager:
    from errklein.compat.plugin_manager import BotPluginManager
    from errklein.plugins.loading import Loader
    from errklein.plugins.plugin import PluginExecution

    config = bot.bot_config
    execution = PluginExecution(bot.reactor, bot.runner, bot.waits)
    loader = Loader(execution, config, lambda cls, name: cls(bot, name=name), packages)

    def tell_admins(text: str, summary: str) -> None:
        # The bot has this method later: sending requires the manager.
        bot.tell_admins(text, summary)

    return BotPluginManager(bot.storage, config, execution, loader, bot.web.routes, tell_admins, bot.plugins_changed)


def make_backend(reactor: Any, config: Config, **services: Any) -> Backend:
    """Return the connection that the view of a network configures, with these services; raise ConfigError."""
    if (network := network_of(config)) is None:
        if own := find_network(config.BACKEND):
            Logger().info("{name} is a network that is written for errbot, not errklein's own", name=own.name)
        return other_networks().make_network(reactor, config)  # type: ignore[no-any-return]
    check_libraries(network)
    return network.make(NetworkContext(reactor, config, **services))


def other_networks() -> Any:
    """Return the module for the networks that are written for errbot, or a replacement that has none."""
    if find_spec(_OTHERS.rpartition(".")[0]) is not None:
        return namedAny(_OTHERS)
    make = lambda reactor, config: _unknown(config)  # noqa: E731
    return SimpleNamespace(PACKAGES={}, network_plugs=lambda config: (), find_network=_unknown, make_network=make)


def _unknown(config: Config) -> NoReturn:
    known = [network.name for network in known_networks()]
    meant = did_you_mean(config.BACKEND, known) or "."
    raise ConfigError(f"BACKEND: unknown backend {config.BACKEND!r}{meant} Available: {', '.join(known)}")
