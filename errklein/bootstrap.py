"""The interface of `errbot.bootstrap`: programs start a bot themselves, without twistd."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.logger import globalLogPublisher

from errklein.compat import core_backends, core_storage
from errklein.compat.core import ErrBot
from errklein.compat.storages import (
    MemoryStoragePlugin,
    ShelfStoragePlugin,
    StoragePluginBase,
    load_storage_class,
    shelves_to_import,
)
from errklein.compat.stored_classes import STORED_VALUES, NameJudge, plugs_of
from errklein.config import SETTINGS, Config, ConfigError, load_config
from errklein.logs import Destinations, bridge_stdlib
from errklein.running.reactors import reactor_thread
from errklein.service import DataDirectory
from errklein.service.startup_checks import is_replaced, start_sentry
from errklein.storage import StorageError, check_rows, put_rows, read_any_backup
from errklein.wiring import wire

if TYPE_CHECKING:
    from errklein.bot import Bot

CORE_BACKENDS = str(Path(core_backends.__file__).parent)
"""The directory with the .plug files of the networks that errklein includes."""

CORE_STORAGE = str(Path(core_storage.__file__).parent)
"""The directory with the .plug files of the storages that errklein includes."""

_TO_BE_GIVEN = ("BACKEND", "NETWORKS", "BOT_ADMINS", "BOT_DATA_DIR", "BOT_IDENTITY")


def bot_config_defaults(config: Any) -> None:
    """Set the defaults of missing settings in a module or another object. Raises ValueError if BOT_ADMINS is missing."""
    for name, setting in SETTINGS.items():
        if name not in _TO_BE_GIVEN and not hasattr(config, name):
            setattr(config, name, copy.copy(setting.default))
    if not getattr(config, "BOT_ADMINS", None):
        raise ValueError("BOT_ADMINS is missing; set it to a tuple of the administrators' names")
    if not hasattr(config, "BOT_ADMINS_NOTIFICATIONS"):
        config.BOT_ADMINS_NOTIFICATIONS = config.BOT_ADMINS


class EmbeddedBot(MutableMapping[str, Any]):
    """A bot in a program of the user's, which runs during `serve_forever`. Other attributes and the items are those of
    errklein's bot. The constructor locks the data directory and starts the reactor's thread. Raises ConfigError,
    DataDirectoryError or StorageError."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, settings: dict[str, Any]) -> None:
        config = load_config(None, settings, is_replaced=is_replaced)
        self._grace = config.GRACE_PERIOD
        data = DataDirectory(Path(config.BOT_DATA_DIR), is_shared=config.ERRKLEIN_DATABASE is not None)
        data.prepare()
        data.lock()
        with ExitStack() as undone:
            undone.callback(data.unlock)
            undone.callback(_log_to_file(config))
            self._ended = threading.Event()
            self._running = reactor_thread()
            self._running.start()
            undone.callback(start_sentry(config))
            self._bot = self._do(self._make, config)
            self._undone = undone.pop_all()

    def serve_forever(self) -> None:
        """Run until `shutdown` is called, Ctrl-C is pressed, or all networks have ended."""
        try:
            self._do(self._bot.start)
            self._ended.wait()
        except KeyboardInterrupt:
            self._bot.log.info("Ctrl-C pressed: the bot stops")
        finally:
            self._do(self._bot.stop, self._grace)
            self._undone.close()

    def shutdown(self) -> None:
        """Make `serve_forever` stop the bot and return. May be called from any thread."""
        self._ended.set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_bot" not in vars(self):
            raise AttributeError(name)
        return getattr(self._bot, name)

    def __getitem__(self, key: str) -> Any:
        return self._bot[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._bot[key] = value

    def __delitem__(self, key: str) -> None:
        del self._bot[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bot)

    def __len__(self) -> int:
        return len(self._bot.kept)

    def _make(self, config: Any) -> Bot:
        _, make_bot = wire(self._running.reactor, config, ended=self.shutdown)
        bot = make_bot()
        # There is no option --no-import here, so this isn't an error.
        hint = shelves_to_import(config, bot.storage)
        if hint is not None:
            bot.log.warn("{hint}", hint=hint)
            bot.tell_admins(hint)
        return bot

    def _do(self, work: Callable[..., Any], *args: Any) -> Any:
        return self._running.wait(work, *args, timeout=None, what="it")


# Programs may check that the bot is an instance of ErrBot.
ErrBot.register(EmbeddedBot)


def _log_to_file(config: Config) -> Callable[[], None]:
    """Log to BOT_LOG_FILE, if it is set, and return a function that stops it."""
    if not config.BOT_LOG_FILE:
        return lambda: None
    log = Destinations()
    log.level, log.outputs, log.rotated = config.BOT_LOG_LEVEL, [config.BOT_LOG_FILE], False
    log.formatter = config.BOT_LOG_FORMATTER
    try:
        observer = log.observer()
    except OSError as error:
        raise ConfigError(f"BOT_LOG_FILE: {config.BOT_LOG_FILE} can't be written: {error.strerror}") from error
    bridge_stdlib(config.BOT_LOG_LEVEL)
    globalLogPublisher.addObserver(observer)
    return partial(globalLogPublisher.removeObserver, observer)


def setup_bot(backend_name: str, logger: logging.Logger, config: Any, restore: str | None = None) -> EmbeddedBot:
    """Return a bot that is ready to run, with a backend instead of BACKEND. The config is a module or another object
    with the settings as attributes, and `restore` the path of a backup to restore first; values of it that can't be
    restored are logged. Raises ConfigError, DataDirectoryError or StorageError."""
    bot_config_defaults(config)
    settings = {name: value for name, value in vars(config).items() if name.isupper() and value is not None}
    bot = EmbeddedBot({**settings, "BACKEND": backend_name})
    if restore:
        restore_bot_from_backup(restore, bot=bot, log=logger)
    return bot


def get_storage_plugin(config: Any) -> StoragePluginBase:
    """Return errbot's storage plugin for STORAGE; raise ConfigError or StorageError."""
    bundled = {"Memory": MemoryStoragePlugin, "Shelf": ShelfStoragePlugin}
    cls: type[StoragePluginBase] = bundled.get(getattr(config, "STORAGE", "Shelf")) or load_storage_class(config)
    return cls(config)


def restore_bot_from_backup(backup_filename: str | Path, *, bot: Any, log: logging.Logger | None = None) -> None:
    """Store the values of a backup of errklein or errbot in the bot's storage; nothing in the file is run. Values that
    are left out are logged. If a value uses a class or function that isn't allowed, nothing is restored and
    StorageError is raised; `errklein restore --trust` can restore such a backup."""
    path = Path(backup_filename)
    read = read_any_backup(path)
    refusals, warnings = check_rows(read.rows, NameJudge(plugs_of(bot.bot_config)), ())
    if refusals:
        raise StorageError(f"nothing was restored from {path}; {'; '.join(refusals)}")
    put_rows(bot.storage, read.rows, values=STORED_VALUES)
    for problem in [*warnings, *read.problems]:
        (log or logging.getLogger("errbot")).error("%s", problem)


def bootstrap(bot_class: Any, logger: logging.Logger, config: Any, restore: str | None = None) -> None:
    """Set up the bot with the backend that BACKEND names, and run it until it ends; see `setup_bot`."""
    setup_bot(getattr(config, "BACKEND", "Text"), logger, config, restore).serve_forever()
