"""The surroundings of a bot under test in its process: secrets, packages, helper modules and the log."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO
from unittest.mock import patch

from twisted.logger import FileLogObserver, LogEvent, formatEvent, globalLogPublisher

from errklein.config import ConfigError
from errklein.logs import FROM_STDLIB, FROM_TWISTED, Bridge, FormattedByLogging, LevelFilter, format_line, level_number
from errklein.plugins.plug_file import PACKAGE, PlugFile, slug


@contextmanager
def environment(secrets: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment in a `with` block, by name.

    :raises ValueError: A name is invalid, such as "env:GH_SECRET" instead of "GH_SECRET".
    """
    for name in secrets:
        if not name.isidentifier():
            raise ValueError(f"secrets: invalid name {name!r}; expected a variable such as 'GH_SECRET'")
    # `patch.dict` would also undo what plugins change.
    with patch.dict(os.environ, secrets) if secrets else nullcontext():
        yield


def share_packages(data_dir: Path) -> None:
    """Link the process's directory of packages into a data directory. It is shared because modules stay imported when a
    bot stops, so their files must stay too."""
    (data_dir / "packages").symlink_to(_shared(), target_is_directory=True)


@cache
def _shared() -> Path:
    directory = tempfile.mkdtemp(prefix="errklein-test-packages-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


class HelperModuleFinder(MetaPathFinder, Loader):
    """Makes `import helper` in a test return the module that the plugin has imported, while it is in `sys.meta_path`.

    It doesn't find the plugin's own module: as on errbot, a test that imports it by its bare name gets another one.

    :param plugs: Returns the `.plug` files of the plugins under test.
    """

    def __init__(self, plugs: Callable[[], Iterable[PlugFile]]) -> None:
        self._plugs = plugs

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname in sys.stdlib_module_names or self._module(fullname) is None:
            return None
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._module(module.__name__) or module

    def _module(self, name: str) -> ModuleType | None:
        for plug in self._plugs():
            module = sys.modules.get(f"{PACKAGE}.{slug(plug.name)}.{name}")
            if module is not None and name != plug.module:
                return module
        return None


@contextmanager
def log_file(config: Any) -> Iterator[None]:
    """Append the log to BOT_LOG_FILE in a `with` block, as the service does. Does nothing if the setting is empty.

    :raises ConfigError: The file can't be written to.
    """
    if not config.BOT_LOG_FILE:
        yield
        return
    with _opened(config.BOT_LOG_FILE) as file:
        formatter = config.BOT_LOG_FORMATTER
        write = FileLogObserver(file, format_line if formatter is None else FormattedByLogging(formatter))
        passes = LevelFilter([write], config.BOT_LOG_LEVEL)
        # A formatter may log something itself, and other threads may still log when the file is closed.
        lock = threading.RLock()

        def keep(event: LogEvent) -> None:
            with lock:
                if not file.closed:
                    passes(event)

        # Records of plugins arrive through the bridge.
        observer: Any = lambda event: None if FROM_STDLIB in event else keep(event)  # noqa: E731
        bridge = Bridge(keep)
        globalLogPublisher.addObserver(observer)
        logging.getLogger().addHandler(bridge)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(bridge)
            globalLogPublisher.removeObserver(observer)
            with lock:
                file.close()


def _opened(path: str) -> TextIO:
    try:
        # In append mode, so that tests may truncate or rewrite the file meanwhile.
        return open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))
    except OSError as error:
        raise ConfigError(f"BOT_LOG_FILE: {path} can't be written to: {error.strerror}") from error


@contextmanager
def forwarded_log(level: int) -> Iterator[None]:
    """Forward the bot's log to the root logger in a `with` block, and set that logger to `level`. pytest's `caplog` and
    reports, and `assertLogs` of unittest, then contain it."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(level)
    observer: Any = _forward
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
        root.setLevel(before)


def _forward(event: LogEvent) -> None:
    if FROM_STDLIB in event:
        return
    level = level_number(event)
    logger = logging.getLogger(event.get("log_namespace", "errklein"))
    if not logger.isEnabledFor(level):
        return
    failure = event.get("log_failure")
    error = None if failure is None else (failure.type, failure.value, failure.getTracebackObject())
    logger.log(level, "%s", formatEvent(event), exc_info=error, extra={FROM_TWISTED: True})
