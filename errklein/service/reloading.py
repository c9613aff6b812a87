"""Plugin development: plugins are reloaded, loaded and removed when their files change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein.plugins.discovery import find_plug_files
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import Plugin, PluginTimeout
from errklein.running import WorkerPool
from errklein.text import plain

if TYPE_CHECKING:
    from errklein.bot import Bot

INTERVAL = 0.5
"""The seconds between two searches for changed files."""

_SUFFIXES = {".py", ".plug"}

Snapshot = Mapping[Path, int]
"""The time of the last change of each file, in nanoseconds."""


def snapshot(directories: Iterable[Path], roots: Iterable[Path] = ()) -> Snapshot:
    """Return the source files below the plugins' directories, and all .plug files below the roots. Blocks on the disk."""
    files = [path for directory in directories for path in directory.rglob("*") if path.suffix in _SUFFIXES]
    found: dict[Path, int] = {}
    for path in (*files, *find_plug_files(roots)):
        with suppress(OSError):
            found[path] = path.stat().st_mtime_ns
    return found


def affected(paths: Iterable[Path], plugs: Iterable[PlugFile]) -> dict[str, list[str]]:
    """Return the plugins to reload by name, each with the names of the changed files.

    A plugin's .plug file and module affect this plugin; other files affect all plugins in the directories above them.
    """
    known = list(plugs)
    names: dict[str, list[str]] = {}
    for path in sorted(paths):
        owners = [plug for plug in known if path in {plug.path, plug.module_path}]
        for plug in owners or known:
            if owners or plug.directory in path.parents:
                names.setdefault(plug.name, []).append(str(path.relative_to(plug.directory)))
    return dict(sorted(names.items()))


class ReloadingBot:
    """A bot that reloads each plugin soon after one of its files has changed, and loads added and removes deleted plugins.

    Successes are logged, and shown on the Text backend's terminal. Administrators are notified of failures.
    """

    log = Logger()

    def __init__(self, bot: Bot, reactor: Any) -> None:
        self._bot = bot
        self._pool = WorkerPool(reactor, "reload", 1)
        self._before: Snapshot | None = None
        self._tried: dict[Path, int] = {}
        self._watching = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._watching.clock = self._clock = reactor
        self._resting_until = 0.0

    async def start(self) -> None:
        """Start the bot, then watch the files of its plugins."""
        await self._bot.start()
        self._watching.start(INTERVAL).addErrback(
            lambda failure: self.log.failure("Plugins are no longer reloaded: their files can't be watched", failure)
        )

    async def stop(self, grace: float) -> None:
        """Stop watching, then stop the bot."""
        if self._watching.running:
            self._watching.stop()
        self._pool.stop()
        await self._bot.stop(grace)

    async def _look(self) -> None:
        """Compare the files with those of the last time."""
        if self._clock.seconds() < self._resting_until:
            return
        plugs = [plugin.plug for plugin in self._bot.plugin_manager.found]
        directories, roots = {plug.directory for plug in plugs}, self._bot.plugin_roots
        after = await self._search(directories, roots)
        before, self._before = self._before, after
        if before is None:
            # The start of the bot has loaded these, or reported why not.
            self._tried = dict(after)
            self.log.info("Watching {count} files of plugins for changes", count=len(after))
            return
        changed = {path for path, _ in before.items() ^ after.items()}
        deleted = {plug.name for plug in plugs if plug.path in changed and plug.path not in after}
        for name, files in affected(changed, plugs).items():
            await (self._remove(name) if name in deleted else self._reload(name, files))
        loaded = {plug.path for plug in plugs}
        self._tried = {path: time for path, time in self._tried.items() if path in after}
        # A file that has just appeared may be incomplete, or have no module beside it yet.
        settled = {path for path in after if path.suffix == ".plug" and path not in changed | loaded}
        if added := [path for path in sorted(settled) if self._tried.get(path) != after[path]]:
            self._tried.update((path, after[path]) for path in added)
            # From now on, changes of the modules beside them count.
            self._before = {**after, **await self._search({path.parent for path in added})}
            await self._add(added)

    async def _search(self, directories: Iterable[Path], roots: Iterable[Path] = ()) -> Snapshot:
        """Return the snapshot, taken in a thread; searches of large directories take at most a fifth of the time."""
        begin = self._clock.seconds()
        found = await self._pool.run(lambda: partial(snapshot, directories, roots))
        end = self._clock.seconds()
        self._resting_until = end + 4 * (end - begin)
        return found

    async def _reload(self, name: str, files: list[str]) -> None:
        done = f"{name} reloaded, since {', '.join(files)} changed"
        await self._change(name, self._bot.plugin_manager.reload(name), done, f"{name} can't be reloaded")

    async def _remove(self, name: str) -> None:
        done = f"{name} removed, since its .plug file was deleted"
        await self._change(name, self._bot.plugin_manager.remove([name]), done, f"{name} can't be removed")

    async def _add(self, paths: list[Path]) -> None:
        """Load and activate the plugins of these .plug files."""
        manager = self._bot.plugin_manager
        problems = await manager.add(dict.fromkeys(path.parent for path in paths))
        for problem in problems.values():
            self._bot.tell_admins(problem, manager.summary(problem))
        for plugin in [plugin for plugin in manager.found if plugin.plug.path in paths]:
            if self._can_be_activated(plugin):
                done = f"{plugin.name} loaded from {plugin.plug.path} and activated"
                problem = f"{plugin.name} can't be activated"
                await self._change(plugin.name, manager.activate(plugin.name), done, problem)

    def _can_be_activated(self, plugin: Plugin) -> bool:
        # Another one of these plugins may have required it.
        return not (plugin.problem or plugin.active or self._bot.plugin_manager.is_blacklisted(plugin.name))

    async def _change(self, name: str, change: Deferred[None], done: str, problem: str) -> None:
        """Wait for a change of the plugin, and report its outcome."""
        try:
            await change
        except PluginTimeout as error:
            self._bot.tell_admins(str(error))
        except Exception as error:
            # Most errors of plugins begin with the name and the problem.
            text = str(error) if str(error).startswith(f"{name} ") else f"{problem}: {error}"
            self._bot.tell_admins(text, problem)
        else:
            self.log.info("{text}", text=done)
            self._show(done)

    def _show(self, text: str) -> None:
        """Show the text in the conversation on the terminal, if there is one."""
        for backend in self._bot.backends.values():
            if backend.mode == "text":
                # An administrator may be given as a pattern, which names nobody.
                with suppress(ValueError):
                    admin, *_ = self._bot.bot_config.networks[backend.network].BOT_ADMINS
                    self._bot.send(backend.build_identifier(admin), plain(text))
