"""Operations of administrators on repositories of plugins, in a chat and on a web page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred

from errklein.commands.operations import Actor, operation
from errklein.plugins.plugin import KnownProblem, Plugin, PluginError, PluginTimeout
from errklein.plugins.repos.index import RepoEntry
from errklein.plugins.repos.manager import BotRepoManager
from errklein.plugins.repos.sources import RepoException
from errklein.running import SerialQueue, WorkerPool

if TYPE_CHECKING:
    from errklein.plugins.manager import PluginManager

T = TypeVar("T")


@dataclass(frozen=True)
class Repositories:
    """Repositories by name, each with its plugins in the index, and the names of those that are installed."""

    entries: Mapping[str, Sequence[RepoEntry]]
    installed: frozenset[str]


@dataclass(frozen=True)
class InstalledRepo:
    """A repository that was installed or updated.

    :param reloaded: The names of the plugins that were reloaded, and whether they are active.
    :param added: The plugins that are new, loaded and inactive.
    :param removed: The names of the plugins that it doesn't have any more.
    :param problems: What doesn't work, each in one line, which may contain texts of exceptions.
    """

    name: str
    reloaded: Mapping[str, bool]
    added: Sequence[Plugin]
    removed: Sequence[str]
    problems: Sequence[str]

    def __str__(self) -> str:
        return self.name


class NotInstalled(RepoException):
    """A repository was not installed, since its plugins can't be loaded. `problems` may contain texts of exceptions."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(f"{name} was not installed")
        self.problems = problems


class RepoOperations:
    """Lists, installs, updates and removes repositories, and loads their plugins. The methods raise RepoException."""

    def __init__(self, repos: BotRepoManager, manager: PluginManager, pool: WorkerPool, readings: SerialQueue) -> None:
        self._repos = repos
        self._manager = manager
        self._pool = pool
        # Only one caller reads the index in a thread, so a server that hangs doesn't exhaust the pool.
        self._readings = readings

    @operation("repos")
    async def repositories(self, by: Actor) -> Repositories:
        await self._read_index()
        names = sorted(self._repos.get_installed_plugin_repos())
        return Repositories({name: self._repos.get_repo_from_index(name) for name in names}, frozenset(names))

    @operation("repos")
    def installed(self, by: Actor) -> list[str]:
        return list(self._repos.get_installed_plugin_repos())

    @operation("repos_search", "text")
    async def search(self, by: Actor, text: str) -> Repositories | None:
        """Return the repositories in the index that contain each word of the text; None if the index can't be read."""
        await self._read_index()
        if self._repos.without_index:
            return None
        by_name: dict[str, list[RepoEntry]] = {}
        for entry in await self._in_thread(lambda: list(self._repos.search_repos(text))):
            by_name.setdefault(entry.entry_name, []).append(entry)
        return Repositories(by_name, frozenset(self._repos.get_installed_plugin_repos()))

    @operation("repos_install", "repo", changes=True)
    async def install(self, by: Actor, repo: str) -> InstalledRepo:
        """Install a repository, by its name in the index or its URL, and load its plugins. `activate` activates them.
        Raises NotInstalled, and installs nothing, if it has no plugins, or one that can't be loaded."""
        path = Path(await self._in_thread(partial(self._repos.install_repo, repo)))
        name = self._repos.name_of(path)
        problems = [*map(str, await self._manager.add([path]))]
        added = self._below(path)
        if not added or any(plugin.instance is None for plugin in added):
            await self._forget(name, path)
            raise NotInstalled(name, problems)
        return InstalledRepo(name, {}, added, (), problems)

    @operation("repos_install", "repo", changes=True)
    async def activate(self, by: Actor, repo: InstalledRepo) -> list[str]:
        """Activate the plugins that are new in a repository. Return a line for each that stays inactive."""
        lines = []
        for plugin in repo.added:
            if self._manager.is_blacklisted(plugin.name):
                lines.append(f"{plugin.name} is blacklisted.")
            elif not plugin.active:
                try:
                    await self._manager.activate(plugin.name)
                except PluginError as error:
                    lines.append(str(error))
        return lines

    @operation("repos_update", "name", changes=True)
    async def update(self, by: Actor, name: str) -> InstalledRepo:
        """Update a repository, and reload, add and remove its plugins. If a plugin can't be loaded, the update is
        undone, all plugins are as before, and PluginError is raised."""
        updated = await self._in_thread(partial(self._repos.renew, name))
        manager, path = self._manager, self._repos.path_of(name)
        before = self._below(path)
        gone = [plugin.name for plugin in before if not plugin.plug.path.exists()]
        await manager.remove_flows(path)
        problems = [*map(str, await manager.add([path]))]
        added = [plugin for plugin in self._below(path) if plugin not in before]
        reloaded: list[str] = []
        try:
            for plugin in [plugin.name for plugin in before if plugin.name not in gone]:
                problems += await _tolerated(manager.reload(plugin))
                reloaded.append(plugin)
            for one in added:
                if one.instance is None:
                    raise KnownProblem(one.problem)
        except PluginError:
            await self._in_thread(updated.undo)
            await _tolerated(manager.remove([plugin.name for plugin in added]))
            for plugin in reloaded:
                await _tolerated(manager.reload(plugin))
            await manager.remove_flows(path)
            await manager.add([path])
            raise
        await self._in_thread(updated.keep)
        problems += await _tolerated(manager.remove(gone))
        are_active = {plugin.name: plugin.active for plugin in before if plugin.name in reloaded}
        return InstalledRepo(name, are_active, added, gone, problems)

    @operation("repos_uninstall", "name", changes=True)
    async def uninstall(self, by: Actor, name: str) -> InstalledRepo:
        """Remove a repository and its plugins. Their stored values stay."""
        path = self._repos.path_of(name)
        names = [plugin.name for plugin in self._below(path)]
        return InstalledRepo(name, {}, (), names, await self._forget(name, path))

    async def _forget(self, name: str, path: Path) -> list[str]:
        """Remove a repository and its plugins; return a line for each plugin whose `deactivate` hangs."""
        overdue = await _tolerated(self._manager.remove_below(path))
        await self._in_thread(partial(self._repos.uninstall_repo, name))
        return overdue

    def _below(self, path: Path) -> list[Plugin]:
        return [plugin for plugin in self._manager.found if plugin.plug.path.is_relative_to(path)]

    def _read_index(self) -> Deferred[None]:
        """Read the index if it is old."""
        return self._readings.run(lambda: self._in_thread(self._repos.check_for_index_update))

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        return self._pool.run(lambda: work, name=lambda: "a command for repositories")


async def _tolerated(change: Deferred[None]) -> list[str]:
    """Wait for the change; return a line for each plugin that hangs. The change succeeds nevertheless."""
    try:
        await change
    except PluginTimeout as error:
        return str(error).splitlines()
    return []
