"""Reloads plugins when their files change, for plugin development."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import PluginTimeout
from errklein.running import WorkerPool

if TYPE_CHECKING:
    from errklein.bot import Bot

INTERVAL = 0.5
"""How often files are looked at, in seconds."""

_SUFFIXES = {".py", ".plug"}

Snapshot = Mapping[Path, int]
"""The time of the last change of each file, in nanoseconds."""


def snapshot(directories: Iterable[Path]) -> Snapshot:
    """When each of the source files below the directories was changed; blocks as long as the disk takes."""
    found: dict[Path, int] = {}
    for path in (path for directory in directories for path in directory.rglob("*") if path.suffix in _SUFFIXES):
        with suppress(OSError):
            found[path] = path.stat().st_mtime_ns
    return found


def affected(paths: Iterable[Path], plugs: Iterable[PlugFile]) -> list[str]:
    """The names of the plugins to reload: those whose own file it is, else those that have it beside or below them."""
    known = list(plugs)
    names: set[str] = set()
    for path in paths:
        owners = [plug for plug in known if path in {plug.path, plug.module_path}]
        names.update(plug.name for plug in owners or known if owners or plug.directory in path.parents)
    return sorted(names)


class ReloadingBot:
    """The bot, with each plugin reloaded soon after one of its files has changed."""

    log = Logger()

    def __init__(self, bot: Bot, reactor: Any) -> None:
        self._bot = bot
        self._pool = WorkerPool(reactor, "reload", 1)
        self._before: Snapshot | None = None
        self._watching = LoopingCall(lambda: Deferred.fromCoroutine(self._reload_changed()))
        self._watching.clock = reactor

    async def start(self) -> None:
        """Start the bot, and watch its plugins' files."""
        await self._bot.start()
        self._watching.start(INTERVAL).addErrback(
            lambda failure: self.log.failure("Plugins' files are no longer watched", failure)
        )

    async def stop(self, grace: float) -> None:
        """Stop watching, and stop the bot."""
        if self._watching.running:
            self._watching.stop()
        self._pool.stop()
        await self._bot.stop(grace)

    async def _reload_changed(self) -> None:
        manager = self._bot.plugin_manager
        plugs = [plugin.plug for plugin in manager.found]
        directories = {plug.directory for plug in plugs}
        after = await self._pool.run(lambda: partial(snapshot, directories))
        before, self._before = self._before, after
        if before is None:
            self.log.info("Watching {count} files of plugins for changes", count=len(after))
            return
        changed = {path for path, _ in before.items() ^ after.items()}
        for name in affected(changed, plugs):
            try:
                await manager.reload(name)
            except PluginTimeout as error:
                self._bot.tell_admins(str(error))
            except Exception as error:
                summary = f"{name} was changed and can't be reloaded"
                self._bot.tell_admins(f"{summary}: {error}", summary)
            else:
                self.log.info("{plugin} was changed and is reloaded", plugin=name)
