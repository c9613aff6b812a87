"""The index of public repositories; BotRepoManager, `self._bot.repo_manager` for plugins; and operations on repositories."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.commands.operations import Actor, operation
from errklein.http_client import BodyTooLarge, HTTPClients
from errklein.plugins.manager import PluginManager
from errklein.plugins.plugin import KnownProblem, Plugin, PluginError, PluginTimeout
from errklein.plugins.repos import sources
from errklein.plugins.repos.sources import RepoException, RepoSource, shown
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports.values import Storage
from errklein.running import SerialQueue, ThreadWaits, WorkerPool

REPO_INDEX = "repo_index"
LAST_UPDATE = "last_update"
INSTALLED_REPOS = "installed_repos"
_LARGEST = 10_000_000  # the bytes of an index
_WORD = re.compile(r"\w+")
_FRESH = 3600.0
_PAUSE = 60.0
T = TypeVar("T")


class RepoEntry(NamedTuple):
    """A plugin in the index, and its repository."""

    entry_name: str
    name: str
    python: str | None
    repo: str
    path: str | None
    avatar_url: str | None
    documentation: str | None


def _fetch(address: str, downloads: Downloads) -> dict[str, Any]:
    if sources.is_local(address):
        try:
            data = sources.local_path(address).read_bytes()
        except OSError as error:
            raise RepoException(f"{shown(address)}: {error.strerror}") from error
    else:
        data = downloads.fetch(address, most=_LARGEST, seconds=60)
    try:
        index = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RepoException(f"{shown(address)}: the index is not valid JSON: {error}") from error
    if not isinstance(index, dict):
        raise RepoException(f"{shown(address)}: the index must be a JSON object of repositories")
    return index


def _entries(index: Mapping[str, Any], name: str) -> list[RepoEntry]:
    plugins = index.get(name)
    found = []
    for plugin, known in plugins.items() if isinstance(plugins, Mapping) else ():
        if isinstance(known, Mapping) and isinstance(known.get("repo"), str):
            keys = ("python", "path", "avatar_url", "documentation")
            texts = {key: text if isinstance(text := known.get(key), str) else None for key in keys}
            found.append(RepoEntry(name, str(known.get("name") or plugin), repo=known["repo"], **texts))
    return found


class Downloads:
    """Downloads files with limits of size and time."""

    def __init__(self, clients: HTTPClients, waits: ThreadWaits) -> None:
        self._clients = clients
        self._waits = waits

    def fetch(self, url: str, *, most: int, seconds: float) -> bytes:
        """Return the content of an https or http URL. Call it in a thread. Raises RepoException, also beyond the limits."""
        content: bytes = self._waits.result_of(self._fetch, url, most, seconds)
        return content

    async def _fetch(self, url: str, most: int, seconds: float) -> bytes:
        try:
            bare, user = _without_user(url)
            response = await self._clients.client().request("GET", bare, auth=user, max_body=most, timeout=seconds)
            content: bytes = await response.content()
        except BodyTooLarge as error:
            raise RepoException(f"{shown(url)} is larger than {most // 1_000_000} MB") from error
        except TimeoutError as error:
            raise RepoException(f"the download of {shown(url)} exceeded the timeout of {seconds:g} s") from error
        except Exception as error:
            raise RepoException(f"{shown(url)}: {_reason(error)}") from error
        if response.code != 200:
            phrase = response.phrase.decode("ascii", "replace")
            raise RepoException(f"{shown(url)}: the server responded with {response.code} {phrase}")
        return content


def _without_user(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return the URL without user name and password, and these. treq doesn't send them to another host after a redirect."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=host)), (unquote(name), unquote(password)) if at else None


def _reason(error: Any) -> str:
    for failure in getattr(error, "reasons", ()):
        return _reason(failure.value)
    return f"{type(error).__name__}: {error}"


Updated = tuple[
    Callable[[], None], Callable[[], None]
]  # functions that restore the state before an update, and discard it


class BotRepoManager(StoreMixin):
    """Installs, updates and removes repositories of plugins, which the plugin manager loads. Methods that use git or the network
    block, and raise RepoException. The mapping has the URLs of installed repositories by name, and the index."""

    log = Logger()

    def __init__(
        self,
        storage_plugin: Storage,
        plugin_dir: str | Path,
        plugin_indexes: Sequence[str] | str,
        downloads: Downloads,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.open_storage(storage_plugin, "repomgr")
        self.plugin_dir = str(plugin_dir)
        self.plugin_indexes = (plugin_indexes,) if isinstance(plugin_indexes, str) else plugin_indexes
        self._downloads = downloads
        self._now = now
        self._reading = threading.Lock()
        self._failed = float("-inf")
        self._no_index = ""

    def get_installed_plugin_repos(self) -> dict[str, str]:
        return dict(self.get(INSTALLED_REPOS, {}))

    def set_plugin_repos(self, repos: Mapping[str, str]) -> None:
        self[INSTALLED_REPOS] = dict(repos)

    def add_plugin_repo(self, name: str, url: str) -> None:
        self.set_plugin_repos({**self.get_installed_plugin_repos(), name: url})

    def get_all_repos_paths(self) -> list[str]:
        paths = []
        for name in map(str, self.get_installed_plugin_repos()):
            try:
                # A name from a backup could be a path to any directory, whose plugins would be loaded.
                sources.check_name(name)
            except RepoException as error:
                self.log.warn("Installed repositories: {error}", error=str(error))
                continue
            paths.append(str(self.path_of(name)))
        return paths

    def path_of(self, name: str) -> Path:
        return Path(self.plugin_dir, name)

    def check_for_index_update(self) -> None:
        """Read the index again if it is older than an hour; once for concurrent calls, and not within a minute after a failure."""
        with self._reading:
            age = self._now() - self.get(REPO_INDEX, {}).get(LAST_UPDATE, float("-inf"))
            if not 0 <= age < _FRESH and not 0 <= self._now() - self._failed < _PAUSE:
                self.index_update()

    def index_update(self) -> None:
        """Read the indexes in BOT_PLUGIN_INDEXES. If several contain a repository, the first one counts."""
        merged: dict[str, Any] = {}
        local: list[str] = []
        readable = False
        for address in self.plugin_indexes:
            try:
                found = _fetch(address, self._downloads)
            except RepoException as error:
                self.log.warn("The index of plugins can't be read: {error}", error=str(error))
                self._no_index = str(error)
                continue
            readable = True
            if sources.is_local(address):
                local += [name for name in found if name not in merged]
            merged = {**found, **merged}
        if readable:
            # Only local indexes may name local repositories.
            self[REPO_INDEX] = {**merged, LAST_UPDATE: self._now(), "local": local}
        else:
            self._failed = self._now()

    @property
    def without_index(self) -> str:
        """The reason why there is no index, not even an old one; "" if there is one, or if none was read yet."""
        return "" if self.get(REPO_INDEX) else self._no_index

    def get_repo_from_index(self, repo_name: str) -> list[RepoEntry]:
        return _entries(self.get(REPO_INDEX, {}), repo_name)

    def search_repos(self, query: str) -> Iterator[RepoEntry]:
        """Return the plugins whose names or descriptions contain each word of the query, in the order of the index."""
        self.check_for_index_update()
        known = self.get(REPO_INDEX, {})
        wanted = [word.lower() for word in _WORD.findall(query)]

        def is_meant(entry: RepoEntry) -> bool:
            text = " ".join([entry.entry_name, entry.name, entry.documentation or ""]).lower()
            return bool(wanted) and all(word in text for word in wanted)

        return (entry for name in known for entry in _entries(known, name) if is_meant(entry))

    def install_repo(self, repo: str) -> str:
        source = self._source(repo.strip())
        target = self.path_of(source.name)
        if target.exists():
            raise RepoException(f"{source.name} is already installed; update it, or uninstall it first")
        with self._new(source) as fetched:
            target.parent.mkdir(parents=True, exist_ok=True)
            fetched.rename(target)
        self.add_plugin_repo(source.name, source.url)
        return str(target)

    def uninstall_repo(self, name: str) -> None:
        repos = self.get_installed_plugin_repos()
        _check_installed(name, repos)
        try:
            shutil.rmtree(self.path_of(name))
        except FileNotFoundError:
            self.log.warn("{path} was already removed", path=str(self.path_of(name)))
        except OSError as error:
            raise RepoException(f"{error.filename} can't be removed: {error.strerror}") from error
        with suppress(OSError):
            # Fails if the owner's directory contains another repository.
            self.path_of(name).parent.rmdir()
        del repos[name]
        self[INSTALLED_REPOS] = repos

    def update_all_repos(self) -> Iterator[tuple[str, int, str]]:
        return self.update_repos(self.get_installed_plugin_repos())

    def update_repos(self, repos: Iterable[str]) -> Iterator[tuple[str, int, str]]:
        """Update those that are known. For each, yield its directory, whether the update succeeded, and a sentence about it."""
        installed = self.get_installed_plugin_repos()
        for name in repos:
            if name in installed:
                try:
                    _, keep = self.renew(name)
                    keep()
                except RepoException as error:
                    yield str(self.path_of(name)), False, str(error)
                else:
                    yield str(self.path_of(name)), True, "It is up to date."

    def renew(self, name: str) -> Updated:
        """Update an installed repository. The caller keeps or undoes the result."""
        repos = self.get_installed_plugin_repos()
        _check_installed(name, repos)
        path, url = self.path_of(name), repos[name]
        if not sources.is_archive(url):
            commit = sources.head(path)
            sources.git_pull(path)
            try:
                sources.check_links(path)
            except RepoException:
                sources.go_back(path, commit)
                raise
            return partial(sources.go_back, path, commit), lambda: None
        with self._new(RepoSource.of(url, name)) as fetched:
            before = Path(tempfile.mkdtemp(prefix=".old-", dir=self.plugin_dir))
            path.rename(before / "repo")
            fetched.rename(path)

        def undo() -> None:
            shutil.rmtree(path)
            (before / "repo").rename(path)
            before.rmdir()

        return undo, partial(shutil.rmtree, before)

    def _source(self, repo: str) -> RepoSource:
        if not repo:
            raise RepoException("the name or URL of a repository is missing")
        if ":" in repo or repo.startswith("/"):
            return RepoSource.of(repo)
        self.check_for_index_update()
        known = self.get_repo_from_index(repo)
        if reason := self.without_index:
            raise RepoException(f"no index is available to look up {shown(repo)} ({reason}); give a URL instead")
        if not known:
            hint = "find its name with `repos search WORD`, or give a URL"
            raise RepoException(f"{shown(repo)} is not in the index; {hint}")
        return RepoSource.of(known[0].repo, repo, local=repo in self.get(REPO_INDEX, {}).get("local", ()))

    @contextmanager
    def _new(self, source: RepoSource) -> Iterator[Path]:
        """Provide a new copy of the repository, in a directory that the caller moves to its place."""
        Path(self.plugin_dir).mkdir(parents=True, exist_ok=True)
        # Hidden directories aren't searched for plugins, so an incomplete copy is never loaded.
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.plugin_dir) as directory:
            fetched = Path(directory, "repo")
            if sources.is_archive(source.url):
                with self._archive(source.url) as archive:
                    sources.unpack(archive, fetched)
            else:
                sources.git_clone(source.url, fetched)
                sources.check_links(fetched)
            yield fetched

    def _archive(self, url: str) -> IO[bytes]:
        if not sources.is_local(url):
            return io.BytesIO(self._downloads.fetch(url, most=sources.MOST_PACKED, seconds=300))
        path = sources.local_path(url)
        # Opening a pipe blocks until another process writes to it.
        if path.exists() and not path.is_file():
            raise RepoException(f"{shown(url)} is not a regular file")
        try:
            return path.open("rb")
        except OSError as error:
            raise RepoException(f"{shown(url)} can't be read: {error.strerror}") from error


def _check_installed(name: str, repos: Mapping[str, str]) -> None:
    if name not in repos:
        names = ", ".join(repos) or "none"
        raise sources.UnknownRepo(f"{shown(name)} is not installed; installed repositories: {names}")
    sources.check_name(name)


@dataclass(frozen=True)
class Repositories:
    """Repositories by name, each with its plugins in the index, and the names of those that are installed."""

    entries: Mapping[str, Sequence[RepoEntry]]
    installed: frozenset[str]


@dataclass(frozen=True)
class InstalledRepo:
    """A repository that was installed or updated."""

    name: str
    reloaded: Mapping[str, bool]  # the names of the plugins that were reloaded, and whether they are active
    added: Sequence[Plugin]  # those that are new, loaded and inactive
    removed: Sequence[str]  # the names of those that it doesn't have any more
    problems: Sequence[str]  # a line for each, which may contain texts of exceptions

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
        name = str(path.relative_to(self._repos.plugin_dir))
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
        """Update a repository, and reload, add and remove its plugins. If one can't be loaded, undo all and raise PluginError."""
        undo, keep = await self._in_thread(partial(self._repos.renew, name))
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
            await self._in_thread(undo)
            await _tolerated(manager.remove([plugin.name for plugin in added]))
            for plugin in reloaded:
                await _tolerated(manager.reload(plugin))
            await manager.remove_flows(path)
            await manager.add([path])
            raise
        await self._in_thread(keep)
        problems += await _tolerated(manager.remove(gone))
        are_active = {plugin.name: plugin.active for plugin in before if plugin.name in reloaded}
        return InstalledRepo(name, are_active, added, gone, problems)

    @operation("repos_uninstall", "name", changes=True)
    async def uninstall(self, by: Actor, name: str) -> InstalledRepo:
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
