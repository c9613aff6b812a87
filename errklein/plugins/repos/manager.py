"""The repositories of plugins that are installed, and those that can be: `self._bot.repo_manager`."""

from __future__ import annotations

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
from errklein.plugins.repos._downloads import download
from errklein.plugins.repos.git import check_links, git_clone, git_pull, go_back, head
from errklein.plugins.repos.index import RepoEntry
from errklein.plugins.repos.sources import RepoException, RepoSource, UnknownRepo, check_name, shown
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports import Storage

REPO_INDEX = "repo_index"
LAST_UPDATE = "last_update"
INSTALLED_REPOS = "installed_repos"

_FRESH = 3600.0
_PAUSE = 60.0
_SECONDS = 300


@dataclass(frozen=True)
class Updated:
    """A repository that was updated: `undo` brings the state from before back, `keep` gives it up."""

    undo: Callable[[], None]
    keep: Callable[[], None]


class BotRepoManager(StoreMixin):
    """Installs, updates and removes repositories; loading their plugins is the plugin manager's.

    Methods that use git or the network block: they are for threads. They raise RepoException. As a mapping it is what is stored:
    the URLs of repositories by name under "installed_repos", and the index as it was last read under "repo_index".
    """

    log = Logger()

    def __init__(
        self,
        storage_plugin: Storage,
        plugin_dir: str | Path,
        plugin_indexes: Sequence[str] | str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.open_storage(storage_plugin, "repomgr")
        self.plugin_dir = str(plugin_dir)
        self.plugin_indexes = (plugin_indexes,) if isinstance(plugin_indexes, str) else plugin_indexes
        self._now = now
        self._reading = threading.Lock()
        self._failed = float("-inf")
        self._no_index = ""

    def get_installed_plugin_repos(self) -> dict[str, str]:
        """The URLs of installed repositories, by name."""
        return dict(self.get(INSTALLED_REPOS, {}))

    def set_plugin_repos(self, repos: Mapping[str, str]) -> None:
        """Record that these repositories are installed, and no others."""
        self[INSTALLED_REPOS] = dict(repos)

    def add_plugin_repo(self, name: str, url: str) -> None:
        """Record that the repository is installed."""
        self.set_plugin_repos({**self.get_installed_plugin_repos(), name: url})

    def get_all_repos_paths(self) -> list[str]:
        """The directories of installed repositories. Invalid names are ignored with a warning."""
        paths = []
        for name in map(str, self.get_installed_plugin_repos()):
            try:
                # Names from a backup could lead to any directory, and its plugins would be loaded.
                check_name(name)
            except RepoException as error:
                self.log.warn("Installed repositories: {error}", error=str(error))
                continue
            paths.append(str(self.path_of(name)))
        return paths

    def path_of(self, name: str) -> Path:
        """The directory of the repository of that name."""
        return Path(self.plugin_dir, name)

    def name_of(self, path: Path) -> str:
        """The name of the repository in that directory."""
        return str(path.relative_to(self.plugin_dir))

    def check_for_index_update(self) -> None:
        """Read the index anew if it is older than an hour, once for all who ask; after a failure, not for a minute."""
        with self._reading:
            age = self._now() - self.get(REPO_INDEX, {}).get(LAST_UPDATE, float("-inf"))
            if not 0 <= age < _FRESH and not 0 <= self._now() - self._failed < _PAUSE:
                self.index_update()

    def index_update(self) -> None:
        """Read the index anew: all of BOT_PLUGIN_INDEXES that can be read. Of a repository in several, the first one tells."""
        merged: dict[str, Any] = {}
        local: list[str] = []
        readable = False
        for place in self.plugin_indexes:
            try:
                found = index.fetch(place)
            except RepoException as error:
                self.log.warn("No index of plugins: {error}", error=str(error))
                self._no_index = str(error)
                continue
            readable = True
            if sources.is_local(place):
                local += [name for name in found if name not in merged]
            merged = {**found, **merged}
        if readable:
            # What a remote index calls a repository on this machine isn't one.
            self[REPO_INDEX] = {**merged, LAST_UPDATE: self._now(), "local": local}
        else:
            self._failed = self._now()

    @property
    def without_index(self) -> str:
        """Why there is no index, not even an old one; "" if there is one, or none was looked for."""
        return "" if self.get(REPO_INDEX) else self._no_index

    def get_repo_from_index(self, repo_name: str) -> list[RepoEntry]:
        """The plugins of a repository in the index."""
        return index.entries(self.get(REPO_INDEX, {}), repo_name)

    def search_repos(self, query: str) -> Iterator[RepoEntry]:
        """The plugins in the index in whose names or descriptions each word of the query occurs."""
        self.check_for_index_update()
        return index.search(self.get(REPO_INDEX, {}), query)

    def install_repo(self, repo: str) -> str:
        """Have the repository of that name in the index, or at that URL; returns its directory."""
        source = self._source(repo.strip())
        target = self.path_of(source.name)
        if target.exists():
            raise RepoException(f"{source.name} is already there; update it, or uninstall it first")
        with self._new(source) as fetched:
            target.parent.mkdir(parents=True, exist_ok=True)
            fetched.rename(target)
        self.add_plugin_repo(source.name, source.url)
        return str(target)

    def uninstall_repo(self, name: str) -> None:
        """Remove the repository and its directory; raises UnknownRepo."""
        repos = self.get_installed_plugin_repos()
        _check_installed(name, repos)
        try:
            shutil.rmtree(self.path_of(name))
        except FileNotFoundError:
            self.log.warn("{path} was gone already", path=str(self.path_of(name)))
        except OSError as error:
            raise RepoException(f"{error.filename} can't be removed: {error.strerror}") from error
        with suppress(OSError):
            # The owner's directory, unless another repository is in it.
            self.path_of(name).parent.rmdir()
        del repos[name]
        self[INSTALLED_REPOS] = repos

    def update_all_repos(self) -> Iterator[tuple[str, int, str]]:
        """As `update_repos`, for all installed repositories."""
        return self.update_repos(self.get_installed_plugin_repos())

    def update_repos(self, repos: Iterable[str]) -> Iterator[tuple[str, int, str]]:
        """Update each repository; yields its directory, whether that was possible, and a sentence about it.

        Unknown names are ignored.
        """
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
        """Have the newest state of an installed repository, which then is to be kept or undone."""
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
            raise RepoException("no repository was named")
        if ":" in repo or repo.startswith("/"):
            return RepoSource.of(repo)
        self.check_for_index_update()
        known = self.get_repo_from_index(repo)
        if self.without_index:
            raise RepoException(f"there is no index to find {shown(repo)} in: {self.without_index}; a URL needs none")
        if not known:
            raise RepoException(
                f"{shown(repo)} is not in the index; `repos search` looks for words, and a URL needs none"
            )
        return RepoSource.of(known[0].repo, repo, local=repo in self.get(REPO_INDEX, {}).get("local", ()))

    @contextmanager
    def _new(self, source: RepoSource) -> Iterator[Path]:
        """The repository as it is there now, in a directory that is to be moved to its place."""
        Path(self.plugin_dir).mkdir(parents=True, exist_ok=True)
        # Hidden, so that nobody looks for plugins in what isn't complete.
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.plugin_dir) as directory:
            fetched = Path(directory, "repo")
            if source.is_archive:
                with _archive(source.url) as archive:
                    unpack(archive, fetched)
            else:
                git_clone(source.url, fetched)
                check_links(fetched)
            yield fetched


def _check_installed(name: str, repos: Mapping[str, str]) -> None:
    if name not in repos:
        raise UnknownRepo(f"{shown(name)} is not installed; the installed ones are: {', '.join(repos) or 'none'}")
    check_name(name)


@contextmanager
def _archive(url: str) -> Iterator[IO[bytes]]:
    """The archive, open for reading from its beginning; raises RepoException."""
    if not sources.is_local(url):
        with tempfile.TemporaryFile() as archive:
            download(url, archive, most=MOST_PACKED, seconds=_SECONDS)
            archive.seek(0)
            yield archive
        return
    path = sources.local_path(url)
    # Opening a pipe blocks until another process writes to it.
    if path.exists() and not path.is_file():
        raise RepoException(f"{shown(url)} is not a regular file")
    try:
        opened = path.open("rb")
    except OSError as error:
        raise RepoException(f"{shown(url)} can't be read: {error.strerror}") from error
    with opened as archive:
        yield archive
