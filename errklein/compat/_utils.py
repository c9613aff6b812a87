"""The content of errbot's small modules: utils, logs, rendering, streaming, backend_plugin_manager, and requirements."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatch
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from twisted.logger import Logger

from errklein.bot import StreamCopier
from errklein.chat import Stream
from errklein.compat._running_bots import running_bots
from errklein.compat.plugin_manager import PluginInfo
from errklein.logs import warn_deprecated
from errklein.plugins import BotPlugin
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.imports import load_module, plugin_class
from errklein.plugins.packages import InstallError, RequirementFile, UnreadableRequirements, examine
from errklein.running.reactors import cannot_restart
from errklein.text import to_ansi, to_imtext, to_md, to_plain, to_xhtml
from errklein.text.layout import Fences, adapt, lay_out
from errklein.text.rendering import is_too_much
from errklein.text.styles import ANSI_CHRS, CharacterTable, replace_styles

log = logging.getLogger("errbot")
_log = logging.getLogger("errbot.utils")
root_logger = logging.getLogger()

console_hdlr = logging.StreamHandler()  # writes to standard error once `format_logs` has been called

P = ParamSpec("P")
R = TypeVar("R")

PLUGINS_SUBDIR = "plugins"
ON_WINDOWS = sys.platform == "win32"


def format_logs(formatter: logging.Formatter | None = None, theme_color: str | None = None) -> None:
    """Write log lines to standard error, unless the root logger has a handler. For programs without a log."""
    default = logging.Formatter("%(asctime)s %(levelname)-8s %(name)-25s %(message)s", "%H:%M:%S")
    console_hdlr.setFormatter(formatter or default)
    if not root_logger.handlers:
        root_logger.addHandler(console_hdlr)


class Tee:
    """Copies `incoming_stream` to the `callback_stream` of each client, in daemon threads."""

    log = Logger()

    def __init__(self, incoming_stream: Stream, clients: Iterable[BotPlugin]) -> None:
        self.incoming_stream = incoming_stream
        self.clients = list(clients)

    def start(self) -> None:
        threading.Thread(target=self.run, name="errklein tee", daemon=True).start()

    def run(self) -> None:
        copier = StreamCopier(self.incoming_stream, [type(client).__name__ for client in self.clients])
        make = partial(threading.Thread, target=self._call, name="errklein stream", daemon=True)
        threads = [make(args=(copier, *pair)) for pair in zip(self.clients, copier.copies, strict=True)]
        for thread in threads:
            thread.start()
        copier.run()
        for thread in threads:
            thread.join()

    def _call(self, copier: StreamCopier, client: BotPlugin, copy: Stream) -> None:
        try:
            client.callback_stream(copy)
        except Exception:
            self.log.failure("{client}: callback_stream failed", client=type(client).__name__)
        finally:
            copier.returned(copy)


def install_packages(req_path: Path) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Install a file's requirements for the newest bot. Return None, or a tuple like that of `sys.exc_info()` if that failed."""
    bot = running_bots.newest
    try:
        if bot is None:
            raise InstallError(f"can't install {req_path}: BOT_DATA_DIR is unknown, since no bot is running")
        bot.plugin_manager.packages.install(RequirementFile.read(Path(req_path)))
    except (InstallError, UnreadableRequirements) as error:
        return type(error), error, error.__traceback__
    return None


def check_dependencies(req_path: Path) -> tuple[str | None, list[str]]:
    path = Path(req_path)
    if not path.is_file():
        return None, []
    examined = examine(RequirementFile.read(path))
    missing = [line.name_and_versions for line in (*examined.missing, *examined.conflicts)]
    return (f"{path} requires packages that are not installed: {', '.join(missing)}" if missing else None), missing


def global_restart() -> None:
    """Restart the newest bot's process; an invalid config.py is only logged. Raises CannotRestart if that is impossible."""
    bot = running_bots.newest
    restarting = cannot_restart() if bot is None else bot.restart()
    restarting.addErrback(lambda failure: _log.error("The bot can't restart itself: %s", failure.getErrorMessage()))


def format_timedelta(duration: timedelta) -> str:
    """Return the duration in words, with the two largest of hours, minutes and seconds."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    longer = [f"{number} {unit}" for number, unit in ((hours, "hours"), (minutes, "minutes")) if number]
    return " and ".join(longer) or f"{seconds} seconds"


def split_string_after(text: str, length: int) -> Iterator[str]:
    """Yield the text in parts of at most `length` characters; an empty text yields one empty part."""
    for start in range(0, max(len(text), 1), length):
        yield text[start : start + length]


def rate_limited(min_interval: float) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Limit how often a function is called, in all threads together. A call that is too early blocks, so not for the reactor."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        lock = threading.Lock()
        not_before = 0.0

        @wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal not_before
            with lock:
                now = time.monotonic()
                start = max(now, not_before)
                not_before = start + min_interval
            time.sleep(start - now)
            return function(*args, **kwargs)

        return limited

    return decorate


def deprecated(new: Callable[..., R] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of a deprecated function. Each line that calls it is logged once."""

    def decorate(old: Callable[P, R]) -> Callable[P, R]:
        @wraps(old)
        def warning(*args: P.args, **kwargs: P.kwargs) -> R:
            warn_deprecated(old.__qualname__, "" if new is None else new.__qualname__)
            return (new or old)(*args, **kwargs)

        return warning

    return decorate


def find_roots(path: str | Path, file_sig: str = "*.plug") -> list[str]:
    """Return the directories in and below `path` with a matching file, sorted; hidden ones and `__pycache__` are skipped."""
    roots: set[str] = set()
    for directory, below, files in os.walk(path, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".") and name != "__pycache__"]
        if any(fnmatch(file, file_sig) for file in files):
            roots.add(directory)
    return sorted(roots)


def collect_roots(base_paths: Any, file_sig: str = "*.plug") -> list[str]:
    if base_paths is None:
        return []
    if isinstance(base_paths, (str, Path)):
        return find_roots(base_paths, file_sig)
    return list(dict.fromkeys(root for path in base_paths for root in collect_roots(path, file_sig)))


def entry_point_plugins(group: str) -> list[str]:
    return [str(path) for path in entry_point_roots([group])]


class PluginNotFoundException(Exception):
    """No `.plug` file has that name."""


def enumerate_backend_plugins(all_plugins_paths: Iterable[str | Path]) -> Iterator[PluginInfo]:
    return map(PluginInfo.of, load_plug_files(all_plugins_paths))


class BackendPluginManager:
    """Finds the backend or storage `plugin_name` in `base_search_dir`, in `extra_search_dirs`, a path or a nested list of
    paths, and at entry points of `errbot.backend_plugins`. `load_plugin` creates the module's subclass of `base_class` with
    `bot_config`. As on errbot, there is a `base_module`, which is ignored. Raises PluginNotFoundException if there is no such
    `.plug` file."""

    def __init__(
        self,
        bot_config: Any,
        base_module: str,
        plugin_name: str,
        base_class: type[Any],
        base_search_dir: str | Path,
        extra_search_dirs: Any = (),
    ) -> None:
        self._config = bot_config
        self._base_class = base_class
        installed = entry_point_plugins("errbot.backend_plugins")
        places = collect_roots([str(base_search_dir), extra_search_dirs or []]) + installed
        for plug in load_plug_files(places):
            if plug.name == plugin_name:
                self._plug = plug
                self.plugin_info = PluginInfo.of(plug)
                return
        raise PluginNotFoundException(f"no plugin {plugin_name!r} in {', '.join(places) or 'any directory'}")

    def load_plugin(self) -> Any:
        directory = str(self._plug.directory)
        if directory not in sys.path:
            sys.path.append(directory)
        cls, _ = plugin_class(load_module(self._plug), self._base_class)
        return cls(self._config)


@dataclass(frozen=True)
class Converter:
    """Converts Markdown to one format. It has no state, so threads may share it."""

    convert: Callable[[str], str]


def _to_ansi_with_reset(markdown: str) -> str:
    converted = to_ansi(markdown)
    return f"{converted}{ANSI_CHRS.fx_reset}" if converted else ""


ansi = partial(Converter, _to_ansi_with_reset)
text = partial(Converter, to_plain)
imtext = partial(Converter, to_imtext)
xhtml = partial(Converter, to_xhtml)
md = partial(Converter, to_md)


AnsiPreprocessor = Fences


def enable_format(name: str, chr_table: CharacterTable, borders: bool = True) -> None:
    """Register an output format that writes the characters of the table."""
    characters = CharacterTable(*chr_table).by_mark()

    def serialize(root: Element) -> str:
        raw = root.raw if isinstance(root, _Root) else []
        return replace_styles(lay_out(root, raw, exact=True, compact=not borders), characters) + str(chr_table.fx_reset)

    # The stubs declare only Markdown's own two formats.
    formats: dict[str, Any] = Markdown.output_formats  # type: ignore[assignment]
    formats[name] = serialize


class AnsiExtension(Extension):
    """A Markdown extension, the last in its list, that prepares a parser for the formats of `enable_format`."""

    def extendMarkdown(self, md: Markdown) -> None:
        adapt(md)
        md.stripTopLevelTags = False
        # A low priority runs it after all others.
        md.treeprocessors.register(_WithRaw(md), "errklein_raw", -1000)
        convert = md.convert

        def convert_if_quick(source: str) -> str:
            return source if is_too_much(source) else convert(source)

        md.convert = convert_if_quick  # type: ignore[method-assign]


class _Root(Element):
    raw: list[str]


class _WithRaw(Treeprocessor):
    def run(self, root: Element) -> Element:
        whole = _Root(root.tag, root.attrib)
        whole.text = root.text
        whole.extend(root)
        whole.raw = [raw for raw in self.md.htmlStash.rawHtmlBlocks if isinstance(raw, str)]
        # The parser converts the next text without a reset, so the blocks of this text are removed.
        self.md.htmlStash.reset()
        return whole
