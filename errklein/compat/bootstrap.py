"""What `errbot.bootstrap` offers: a bot without twistd, for programs that start one themselves."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed

from errklein import backends
from errklein.compat.storages import restore_bot_from_backup
from errklein.config import load_config
from errklein.data_dir import DataDirectory
from errklein.running.reactors import install_asyncio_reactor
from errklein.settings import SETTINGS
from errklein.wiring import wire

CORE_BACKENDS = str(Path(backends.__file__).parent)
"""Where the networks are that errklein brings."""

_TO_BE_GIVEN = ("BACKEND", "BACKENDS", "BOT_ADMINS", "BOT_DATA_DIR", "BOT_IDENTITY")


def bot_config_defaults(config: Any) -> None:
    """Give the configuration, a module or any object, the settings that it leaves out. Raises ValueError without
    BOT_ADMINS."""
    for name, setting in SETTINGS.items():
        if name not in _TO_BE_GIVEN and not hasattr(config, name):
            setattr(config, name, copy.copy(setting.default))
    if not getattr(config, "BOT_ADMINS", None):
        raise ValueError("BOT_ADMINS is missing; expected a tuple of the administrators' names")
    if not hasattr(config, "BOT_ADMINS_NOTIFICATIONS"):
        config.BOT_ADMINS_NOTIFICATIONS = config.BOT_ADMINS


class EmbeddedBot:
    """A bot that runs in `serve_forever`. What it hasn't itself it has from errklein's bot."""

    def __init__(self, reactor: Any, settings: dict[str, Any]) -> None:
        config = load_config(None, settings)
        self._reactor = reactor
        self._grace = config.GRACE_PERIOD
        self._data = DataDirectory(Path(config.BOT_DATA_DIR))
        self._data.prepare()
        self._data.lock()
        _, make_bot = wire(reactor, config)
        self._bot = make_bot()
        self._ended: Deferred[None] | None = None

    def serve_forever(self) -> None:
        """Run until `shutdown` is called, in any thread, or Ctrl-C is pressed."""
        self._reactor.callWhenRunning(lambda: Deferred.fromCoroutine(self._bot.start()).addErrback(self._cannot_start))
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self._reactor.run()

    def shutdown(self) -> None:
        """Stop; may be called in any thread."""
        self._reactor.callFromThread(self._reactor.stop)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_bot" not in vars(self):
            raise AttributeError(name)
        return getattr(self._bot, name)

    def _stop(self) -> Deferred[None]:
        if self._ended is None:
            self._ended = Deferred.fromCoroutine(self._bot.stop(self._grace)).addBoth(self._unlock)
        return succeed(None) if self._ended.called else self._ended

    def _unlock(self, result: Any) -> Any:
        self._data.unlock()
        return result

    def _cannot_start(self, failure: Any) -> None:
        self._bot.log.failure("The bot can't start", failure)
        self._reactor.stop()


def setup_bot(backend_name: str, logger: logging.Logger, config: Any, restore: str | None = None) -> EmbeddedBot:
    """A bot on that network with the settings that `config`, a module or any object, has as attributes.

    `restore` is the path of a backup to begin with. Raises ConfigError, DataDirectoryError or StorageError.
    """
    bot_config_defaults(config)
    settings = {name: value for name, value in vars(config).items() if name.isupper() and value is not None}
    install_asyncio_reactor()
    from twisted.internet import reactor

    bot = EmbeddedBot(reactor, {**settings, "BACKEND": backend_name})
    if restore:
        restore_bot_from_backup(restore, bot=bot, log=logger)
    return bot


def bootstrap(bot_class: Any, logger: logging.Logger, config: Any, restore: str | None = None) -> None:
    """Set up the bot on the network that BACKEND names, and run it."""
    setup_bot(getattr(config, "BACKEND", "Text"), logger, config, restore).serve_forever()
