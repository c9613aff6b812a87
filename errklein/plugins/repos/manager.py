"""BotRepoManager, which plugins use as `self._bot.repo_manager`."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from twisted.logger import Logger

from errklein.plugins.repos import index, sources
from errklein.plugins.repos._archives import MOST_PACKED, unpack
from errklein.plugins.repos.git import check_links, git_clone, git_pull, go_back, head
from errklein.plugins.repos.index import Downloads, RepoEntry
from errklein.plugins.repos.sources import RepoException, RepoSource, UnknownRepo, check_name, shown
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports.values import Storage

REPO_INDEX = "repo_index"
LAST_UPDATE = "last_update"
INSTALLED_REPOS = "installed_repos"

_FRESH = 3600.0
_PAUSE = 60.0
_SECONDS = 300


@dataclass(frozen=True)
class Updated:
    """An update of a repository: `undo` restores the previous state, and `keep` discards it."""

    undo: Callable[[], None]
    keep: Callable[[], None]


class BotRepoManager(StoreMixin):
    """Installs, updates and removes repositories of plugins. The plugin manager loads the plugins. Methods that use git
    or the network block, so call them in threads. They raise RepoException. The mapping contains the URLs of installed
    repositories by name under "installed_repos", and the index as last read under "repo_index"."""

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
        """Record these as the only installed repositories."""
        self[INSTALLED_REPOS] = dict(repos)

    def add_plugin_repo(self, name: str, url: str) -> None:
        self.set_plugin_repos({**self.get_installed_plugin_repos(), name: url})

    def get_all_repos_paths(self) -> list[str]:
        """Return the directories of installed repositories. Invalid names are ignored with a warning."""
        paths = []
        for name in map(str, self.get_installed_plugin_repos()):
            try:
                # A name from a backup could be a path to any directory, whose plugins would be loaded.
                check_name(name)
            except RepoException as error:
                self.log.warn("Installed repositories: {error}", error=str(error))
                continue
            paths.append(str(self.path_of(name)))
        return paths

    def path_of(self, name: str) -> Path:
        return Path(self.plugin_dir, name)

    def name_of(self, path: Path) -> str:
        return str(path.relative_to(self.plugin_dir))

    def check_for_index_update(self) -> None:
        """Read the index again if it is older than an hour. Concurrent calls read it once. After a failure it isn't
        read for a minute."""
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
                found = index.fetch(address, self._downloads)
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
        """Return the plugins of a repository in the index."""
        return index.entries(self.get(REPO_INDEX, {}), repo_name)

    def search_repos(self, query: str) -> Iterator[RepoEntry]:
        """Yield the plugins in the index whose names or descriptions contain each word of the query."""
        self.check_for_index_update()
        return index.search(self.get(REPO_INDEX, {}), query)

    def install_repo(self, repo: str) -> str:
        """Install the repository with that name in the index, or at that URL. Return its directory."""
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
        """Remove the repository and its directory. Raises UnknownRepo."""
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
        """Update all installed repositories, as `update_repos` does."""
        return self.update_repos(self.get_installed_plugin_repos())

    def update_repos(self, repos: Iterable[str]) -> Iterator[tuple[str, int, str]]:
        """Update repositories. For each, yield its directory, whether the update succeeded, and a sentence about it.
        Unknown names are ignored."""
        installed = self.get_installed_plugin_repos()
        for name in repos:
            if name in installed:
                try:
                    self.renew(name).keep()
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
            commit = head(path)
            git_pull(path)
            try:
                check_links(path)
            except RepoException:
                go_back(path, commit)
                raise
            return Updated(partial(go_back, path, commit), lambda: None)
        with self._new(RepoSource.of(url, name)) as fetched:
            before = Path(tempfile.mkdtemp(prefix=".old-", dir=self.plugin_dir))
            path.rename(before / "repo")
            fetched.rename(path)

        def undo() -> None:
            shutil.rmtree(path)
            (before / "repo").rename(path)
            before.rmdir()

        return Updated(undo, partial(shutil.rmtree, before))

    def _source(self, repo: str) -> RepoSource:
        if not repo:
            raise RepoException("the name or URL of a repository is missing")
        if ":" in repo or repo.startswith("/"):
            return RepoSource.of(repo)
        self.check_for_index_update()
        known = self.get_repo_from_index(repo)
        if self.without_index:
            raise RepoException(
                f"no index is available to look up {shown(repo)} ({self.without_index}); give a URL instead"
            )
        if not known:
            raise RepoException(
                f"{shown(repo)} is not in the index; find its name with `repos search WORD`, or give a URL"
            )
        return RepoSource.of(known[0].repo, repo, local=repo in self.get(REPO_INDEX, {}).get("local", ()))

    @contextmanager
    def _new(self, source: RepoSource) -> Iterator[Path]:
        """Provide a new copy of the repository, in a directory that the caller moves to its place."""
        Path(self.plugin_dir).mkdir(parents=True, exist_ok=True)
        # Hidden directories aren't searched for plugins, so an incomplete copy is never loaded.
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.plugin_dir) as directory:
            fetched = Path(directory, "repo")
            if source.is_archive:
                with self._archive(source.url) as archive:
                    unpack(archive, fetched)
            else:
                git_clone(source.url, fetched)
                check_links(fetched)
            yield fetched

    def _archive(self, url: str) -> IO[bytes]:
        """Open the archive at a URL or path for reading. Raises RepoException."""
        if not sources.is_local(url):
            return io.BytesIO(self._downloads.fetch(url, most=MOST_PACKED, seconds=_SECONDS))
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
        raise UnknownRepo(f"{shown(name)} is not installed; installed repositories: {', '.join(repos) or 'none'}")
    check_name(name)
