"""How the parts of a bot are put together, wherever it runs. Nothing is decided here.

Modules that import the reactor are imported late: which reactor it is, is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errklein.config import Config
from errklein.running.restart import cannot_restart

if TYPE_CHECKING:
    from errklein.bot import Bot
    from errklein.ports import Backend, Storage
    from errklein.web import WebServer


def wire(
    reactor: Any,
    config: Config,
    bot_class: type[Bot] | None = None,
    ended: Callable[[], None] | None = None,
    check_stored: Callable[[Storage], None] = lambda storage: None,
    restart: Callable[[], None] = cannot_restart,
) -> tuple[WebServer, Callable[[], Bot]]:
    """Put the bot together: the web server, and what makes the rest once its data may be opened.

    The bot is a Bot, or of the class given, which is built as one. `ended` is called when the bot has nothing more to do;
    by default the reactor stops. `restart` starts the process again; by default that isn't possible. `check_stored` is called with the storage before anything uses it; its exceptions are
    propagated.
    """
    from errklein import compat
    from errklein.bot import Bot
    from errklein.compat.storages import make_storage
    from errklein.plugins.packages import PackageDirectory
    from errklein.running import Runner, WorkerPool
    from errklein.web import WebServer, WebSettings

    runner = Runner(reactor)
    webhook_pool = WorkerPool(
        reactor,
        "webhooks",
        config.WEBHOOK_POOLSIZE,
        queue=config.WEBHOOK_QUEUE,
        wait=config.WEBHOOK_QUEUE_WAIT,
    )
    # Of threads that only calculate, more would get nothing done sooner, and take time from the reactor's.
    decoding_pool = WorkerPool(reactor, "decoding", 2, queue=config.WEBHOOK_QUEUE, wait=config.WEBHOOK_QUEUE_WAIT)
    settings = WebSettings(timeout=config.WEBHOOK_TIMEOUT, max_body=config.WEBHOOK_MAX_BODY)
    web = WebServer(reactor, runner, webhook_pool, settings=settings, decoding_pool=decoding_pool)

    def make_bot() -> Bot:
        # By now the process has given up root's rights: what is in the data directory may be imported.
        packages = PackageDirectory(Path(config.BOT_DATA_DIR), installed=compat.step_aside)
        packages.activate()
        compat.install()
        storage = make_storage(config)
        try:
            check_stored(storage)
        except BaseException:
            storage.close()
            raise
        bot = (bot_class or Bot)(
            reactor,
            config,
            storage=storage,
            web=web,
            runner=runner,
            # Most commands are short: they needn't wait for a turn of the reactor each.
            command_pool=WorkerPool(reactor, "commands", config.BOT_ASYNC_POOLSIZE, ahead=90),
            # A callback, poller or activation that hangs occupies a thread for 5 s only; then another one is started.
            plugin_pool=WorkerPool(reactor, "plugins", config.BOT_ASYNC_POOLSIZE, overdue=5.0, spare=100),
            backends={name: make_backend(reactor, view) for name, view in config.networks.items()},
            plugin_roots=[Path(directory) for directory in config.directories("BOT_EXTRA_PLUGIN_DIR")],
            packages=packages,
            ended=ended or reactor.stop,
            restart=restart,
        )
        _tell_limits(config, bot.backends.values())
        return bot

    return web, make_bot


def make_backend(reactor: Any, config: Config) -> Backend:
    """The connection to the network of which `config` is the view."""
    if config.BACKEND == "IRC":
        from errklein.backends.irc import IRCBackend

        return IRCBackend(reactor, config)
    if config.BACKEND == "Text":
        from errklein.backends.text import TextBackend

        return TextBackend(reactor, config)
    if config.BACKEND == "Test":
        from errklein.backends.test import TestBackend

        return TestBackend(reactor, config)
    if config.BACKEND == "Null":
        from errklein.backends.null import NullBackend

        return NullBackend(reactor, config)
    from errklein.compat.backends.finding import make_network

    return make_network(reactor, config)


def _tell_limits(config: Config, backends: Iterable[Backend]) -> None:
    """Let plugins find in MESSAGE_SIZE_LIMIT how long messages may be, also where nobody has set it."""
    for backend in backends:
        view = config.networks[backend.network]
        if view.MESSAGE_SIZE_LIMIT is None:
            (view if config.BACKENDS else config).MESSAGE_SIZE_LIMIT = backend.message_size_limit
