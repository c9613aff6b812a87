"""Plugin development: plugins are reloaded, loaded and removed when their files change."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein.config.networks import network_of
from errklein.plugins.discovery import find_plug_files
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import PluginTimeout, UnknownPlugin
from errklein.running import WorkerPool
from errklein.text import plain

if TYPE_CHECKING:
    from errklein.bot import Bot

INTERVAL = 0.5  # the seconds between two searches for changed files
_SUFFIXES = {".py", ".plug"}
Snapshot = Mapping[Path, int]  # the time of the last change of each file, in nanoseconds


def snapshot(directories: Iterable[Path], roots: Iterable[Path] = ()) -> Snapshot:
    """Return the source files below the plugins' directories, and all .plug files below the roots. Blocks on the disk.
    Directories that can't be read or disappear meanwhile are skipped."""
    files = [
        Path(parent, name)
        for directory in directories
        for parent, _, names in os.walk(directory)
        for name in names
        if Path(name).suffix in _SUFFIXES
    ]
    found: dict[Path, int] = {}
    for path in (*files, *find_plug_files(roots)):
        with suppress(OSError):
            found[path] = path.stat().st_mtime_ns
    return found


def affected(paths: Iterable[Path], plugs: Iterable[PlugFile]) -> dict[str, list[str]]:
    """Return the plugins to reload by name, each with the names of the changed files. A plugin's .plug file and module
    affect this plugin; other files affect all plugins in the directories above them."""
    known = list(plugs)
    names: dict[str, list[str]] = {}
    for path in sorted(paths):
        owners = [plug for plug in known if path in {plug.path, plug.module_path}]
        for plug in owners or known:
            if owners or plug.directory in path.parents:
                names.setdefault(plug.name, []).append(str(path.relative_to(plug.directory)))
    return dict(sorted(names.items()))


class ReloadingBot:
    """A bot that reloads each plugin soon after one of its files has changed, and loads added and removes deleted
    plugins. Successes are logged, and shown on the Text backend's terminal. Administrators are notified of failures."""

    log = Logger()

    def __init__(self, bot: Bot, reactor: Any) -> None:
        self._bot = bot
        self._pool = WorkerPool(reactor, "reload", 1)
        self._before: Snapshot | None = None
        self._watched: set[Path] = set()  # the .plug files of the plugins whose directories `_before` covers
        self._tried: dict[Path, int] = {}
        self._error = ""  # the error of the last round; "" if it succeeded
        self._watching = LoopingCall(lambda: Deferred.fromCoroutine(self._round()))
        self._watching.clock = self._clock = reactor
        self._resting_until = 0.0

    async def start(self) -> None:
        await self._bot.start()
        self._watching.start(INTERVAL).addErrback(
            lambda failure: self.log.failure("Plugins are no longer reloaded: their files can't be watched", failure)
        )

    async def stop(self, grace: float) -> None:
        if self._watching.running:
            self._watching.stop()
        self._pool.stop()
        await self._bot.stop(grace)

    async def _round(self) -> None:
        try:
            await self._look()
        except Exception as error:
            if self._watching.running and repr(error) != self._error:
                self.log.failure("The search for changed files of plugins failed; it is repeated")
            self._error = repr(error)
        else:
            self._error = ""

    async def _look(self) -> None:
        if self._clock.seconds() < self._resting_until or not self._bot.owns:
            return
        plugs = self._plugs()
        invalid = {path for path in self._bot.plugin_manager.unusable if path.suffix == ".plug"}
        directories = {plug.directory for plug in plugs} | {path.parent for path in invalid}
        after = await self._search(directories, self._bot.plugin_roots)
        before, self._before = self._before, after
        watched, self._watched = self._watched, {plug.path for plug in plugs}
        if before is None:
            # The start of the bot has loaded these, or reported why not.
            self._tried = dict(after)
            self.log.info("Watching {count} files of plugins for changes", count=len(after))
            return
        changed = {path for path, _ in before.items() ^ after.items()}
        # Commands such as `!repos uninstall` may have changed the plugins during the search.
        plugs = self._plugs()
        known = [plug for plug in plugs if plug.path in watched]
        deleted = {plug.name for plug in known if plug.path in changed and plug.path not in after}
        manager = self._bot.plugin_manager
        for name, files in affected(changed, known).items():
            if name in deleted:
                done = f"{name} removed, since its .plug file was deleted"
                await self._change(name, manager.remove([name]), done, f"{name} can't be removed")
            else:
                done = f"{name} reloaded, since {', '.join(files)} changed"
                await self._change(name, manager.reload(name), done, f"{name} can't be reloaded")
        loaded, touched = {plug.path for plug in plugs}, {path.parent for path in changed}
        # A change beside an invalid .plug file may add its module.
        repaired = {path for path in invalid if path.parent in touched}
        # A loaded plugin's file counts as tried, so that it isn't loaded again between its removal and the file's.
        self._tried = {
            path: time
            for path, time in after.items()
            if path in loaded or (self._tried.get(path) == time and path not in repaired)
        }
        # A file that has just appeared may be incomplete, or have no module beside it yet.
        settled = {path for path in after if path.suffix == ".plug" and path not in changed | loaded | repaired}
        if added := [path for path in sorted(settled) if self._tried.get(path) != after[path]]:
            self._tried.update((path, after[path]) for path in added)
            # From now on, changes of the modules beside them count.
            self._before = {**after, **await self._search({path.parent for path in added})}
            self._watched.update(added)
            await self._add(added)

    def _plugs(self) -> list[PlugFile]:
        return [plugin.plug for plugin in self._bot.plugin_manager.found]

    async def _search(self, directories: Iterable[Path], roots: Iterable[Path] = ()) -> Snapshot:
        """Return the snapshot, taken in a thread; searches of large directories take at most a fifth of the time."""
        begin = self._clock.seconds()
        found = await self._pool.run(lambda: partial(snapshot, directories, roots))
        end = self._clock.seconds()
        self._resting_until = end + 4 * (end - begin)
        return found

    async def _add(self, paths: list[Path]) -> None:
        manager = self._bot.plugin_manager
        for found in await manager.add(dict.fromkeys(path.parent for path in paths)):
            self._bot.tell_admins(found.text, found.summary)
        for plugin in [plugin for plugin in manager.found if plugin.plug.path in paths]:
            # Another one of these plugins may have required it.
            if not (plugin.problem or plugin.active or manager.is_blacklisted(plugin.name)):
                done = f"{plugin.name} loaded from {plugin.plug.path} and activated"
                problem = f"{plugin.name} can't be activated"
                await self._change(plugin.name, manager.activate(plugin.name), done, problem)

    async def _change(self, name: str, change: Deferred[None], done: str, problem: str) -> None:
        try:
            await change
        except UnknownPlugin:
            # A command has removed the plugin meanwhile.
            return
        except PluginTimeout as error:
            self._bot.tell_admins(str(error))
        except Exception as error:
            # Most errors of plugins begin with the name and the problem.
            text = str(error) if str(error).startswith(f"{name} ") else f"{problem}: {error}"
            self._bot.tell_admins(text, problem)
        else:
            self._report(done)

    def _report(self, text: str) -> None:
        self.log.info("{text}", text=text)
        for backend in self._bot.backends.values():
            view = self._bot.bot_config.networks[backend.network]
            if (network := network_of(view)) is not None and network.needs_terminal:
                # An administrator may be given as a pattern, which names nobody.
                with suppress(ValueError):
                    admin, *_ = view.BOT_ADMINS
                    self._bot.send(backend.build_identifier(admin), plain(text))
