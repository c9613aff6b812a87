"""Sources of repositories: URLs of git repositories and archives, the names under which they are installed, and copies.
git runs in ways that execute nothing from the repository. The program knows the operator's proxies, keys and credentials.
As a separate process it can be stopped and can't block the bot. Archives may contain only regular files and directories
in one directory. What reads or writes files is for threads."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from errklein.plugins.subprocesses import ProgramError, run
from errklein.text import truncated
from errklein.text.masking import masker

EXPECTED = "expected the name of a repository in the index, or the URL of a git repository or of a .tar.gz archive"

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_SCP = re.compile(r"[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!-)\S+", re.ASCII)
_SCHEMES = ("https", "http", "ssh")
_ARCHIVE = ".tar.gz"

MOST_PACKED = 50_000_000
MOST_UNPACKED = 200_000_000
MOST_FILES = 10_000
DEEPEST = 50  # the number of nested directories. Python can't remove directories that are nested much deeper.
MOST_HEADERS = 64_000  # the limit for the headers of one file or directory, in bytes. tarfile keeps them in memory.

_EXPECTED = "expected a .tar.gz archive of regular files in one directory"

_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OverflowError, ValueError, RecursionError)
"""Exceptions of gzip and tarfile for damaged archives."""

_SECONDS = 300
_CONFIG = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.ext.allow=never", "submodule.recurse=false")
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20"),
    "LC_ALL": "C",
}


class RepoException(Exception):
    """An operation on a repository of plugins failed. The text is one line for the administrator."""


class UnknownRepo(RepoException, KeyError):
    """No repository of that name is installed."""

    # KeyError's str() would add quotes.
    __str__ = Exception.__str__


@dataclass(frozen=True)
class RepoSource:
    """The URL of a repository, and its name here."""

    name: str
    url: str

    @classmethod
    def of(cls, url: str, name: str | None = None, *, local: bool = True) -> RepoSource:
        """Return the source for a URL over https, http or ssh, git@host:owner/name or, if `local`, a path; or RepoException."""
        check_url(url, local=local)
        name = human_name_for_git_url(url) if name is None else name
        check_name(name)
        return cls(name, url)


def is_local(address: str) -> bool:
    """Return whether the path or URL is on this machine."""
    return urlsplit(address).scheme in ("", "file")


def local_path(address: str) -> Path:
    """Return the path for a path or file URL."""
    return Path(unquote(urlsplit(address).path)) if address.startswith("file:") else Path(address)


def is_archive(url: str) -> bool:
    """Return whether the URL is the URL of an archive."""
    return urlsplit(url).path.endswith(_ARCHIVE)


def check_url(url: str, *, local: bool) -> None:
    """Raise RepoException if repositories can't be installed from the URL."""
    if not url or not url.isprintable() or any(character.isspace() for character in url) or url.startswith("-"):
        raise RepoException(f"{shown(url)} is not a valid URL; {EXPECTED}")
    if _SCP.fullmatch(url):
        return
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RepoException(f"{shown(url)} is not a valid URL ({error}); {EXPECTED}") from None
    if parts.scheme in _SCHEMES:
        if not host or host.startswith("-") or "@-" in parts.netloc:
            raise RepoException(f"{shown(url)} has no host; {EXPECTED}")
    elif parts.scheme == "file" or (not parts.scheme and url.startswith("/")):
        if not local or parts.netloc:
            raise RepoException(f"{shown(url)} is on this machine; only administrators may install from local paths")
    else:
        raise RepoException(f"{shown(url)} can't be installed; {EXPECTED} over https, http or ssh")


def check_name(name: str) -> None:
    """Raise RepoException unless the name consists of one or two valid names of directories."""
    parts = name.split("/")
    if len(parts) > 2 or not all(_PART.fullmatch(part) for part in parts):
        raise RepoException(f"invalid name of a repository: {shown(name)}; expected letters, digits, '.', '_', '-'")


def human_name_for_git_url(url: str) -> str:
    """Return the last two parts of the URL without .git, such as owner/name."""
    path = url.rstrip("/").partition("://")[2] or url.rstrip("/")
    # The name must not contain a password before the host.
    host, slash, rest = path.partition("?")[0].partition("/")
    parts = [part for part in re.split(r"[/:]", host.rpartition("@")[2] + slash + rest) if part]
    return str(PurePosixPath(*parts[-2:])).removesuffix(".git") if parts else ""


def shown(text: str) -> str:
    """Return a text from outside for error messages: quoted, without secrets, and shortened."""
    text = "".join(character if character.isprintable() else "?" for character in masker(text))
    return repr(truncated(text, 200))


def unpack(archive: IO[bytes], target: Path) -> None:
    """Unpack the archive's only directory into `target`, a new directory. Files stay if it raises RepoException."""
    target.mkdir(parents=True)
    try:
        # The limits hold for the bytes read, whatever the headers claim.
        with gzip.open(archive) as stream:
            limited: Any = _Limited(stream)
            with tarfile.open(fileobj=limited, mode="r|") as tar:
                _extract(_members(tar, limited), tar, target)
    except _UNREADABLE as error:
        raise RepoException(f"the archive can't be read ({error}); {_EXPECTED}") from error
    except OSError as error:
        raise RepoException(f"the archive can't be unpacked: {error.strerror or error}") from error


def _members(tar: tarfile.TarFile, stream: _Limited) -> Iterator[tarfile.TarInfo]:
    """Yield the members of the archive. At most MOST_HEADERS bytes of metadata of each are in memory."""
    for member in tar:
        stream.expect(member.size if member.isreg() else 0)
        # tarfile keeps each member, and copies global headers to each.
        member.pax_headers = {}
        tar.pax_headers = {}
        yield member


def _extract(members: Iterable[tarfile.TarInfo], tar: tarfile.TarFile, target: Path) -> None:
    tops: set[str] = set()
    for count, member in enumerate(members, 1):
        if count > MOST_FILES:
            raise RepoException(f"the archive contains more than {MOST_FILES} files")
        _check(member)
        top, *rest = PurePosixPath(member.name).parts or ("",)
        if not top:
            continue
        if top.startswith(("/", "..")):
            raise RepoException(f"{shown(member.name)} in the archive leads out of its directory; {_EXPECTED}")
        tops.add(top)
        if len(tops) > 1 or not (rest or member.isdir()):
            raise RepoException(f"the archive contains {shown(top)} beside its directory; {_EXPECTED}")
        path = target.joinpath(*rest)
        if member.isreg() and path.exists():
            raise RepoException(f"{shown(member.name)} is in the archive twice")
        # The filter rejects members outside of the directory.
        inner = member.replace(name=str(PurePosixPath(*rest)), deep=False)
        tar.extract(inner, target, set_attrs=False, filter="data")


def _check(member: tarfile.TarInfo) -> None:
    if not (member.isdir() or member.isreg()) or member.issparse():
        raise RepoException(f"{shown(member.name)} in the archive is not a regular file; {_EXPECTED}")
    if member.name.count("/") > DEEPEST:
        raise RepoException(f"{shown(member.name)} in the archive is nested more than {DEEPEST} directories deep")


class _Limited(io.RawIOBase):
    """A file with two limits: one for all its bytes, and one for the bytes until the next member."""

    def __init__(self, file: gzip.GzipFile) -> None:
        super().__init__()
        self._file = file
        self._left = MOST_UNPACKED
        self._left_here = MOST_HEADERS

    def expect(self, content: int) -> None:
        self._left_here = content + MOST_HEADERS

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise RepoException(f"the archive unpacks to more than {MOST_UNPACKED // 1_000_000} MB")
        self._left_here -= len(data)
        if self._left_here < 0:
            most = f"{MOST_HEADERS // 1000} kB"
            raise RepoException(f"the headers of a file in the archive are larger than {most}; {_EXPECTED}")
        return data


def git_clone(url: str, path: str | Path) -> None:
    """Clone the newest commit of the repository into a new directory. Raises RepoException."""
    check_url(url, local=True)
    options = ["--quiet", "--depth", "1", "--no-local", "--no-recurse-submodules", "--template="]
    _git("clone", *options, "--", url, str(Path(path).absolute()))


def git_pull(repo_path: str | Path) -> None:
    """Update to the newest commit. Raises RepoException if local changes conflict, or if the history was rewritten."""
    _git("pull", "--quiet", "--ff-only", "--no-recurse-submodules", directory=Path(repo_path))


def git_tag_list(repo_path: str | Path) -> list[str]:
    """Return the names of the tags in the remote repository, sorted. Raises RepoException."""
    lines = _git("ls-remote", "--tags", "--refs", "--quiet", directory=Path(repo_path)).splitlines()
    return sorted(line.partition("refs/tags/")[2] for line in lines if "refs/tags/" in line)


def head(directory: Path) -> str:
    """Return the commit that is checked out."""
    return _git("rev-parse", "--verify", "HEAD", directory=directory).strip()


def go_back(directory: Path, commit: str) -> None:
    """Check the commit out again. Raises RepoException if that would overwrite local changes."""
    _git("reset", "--quiet", "--keep", commit, directory=directory)


def _git(*arguments: str, directory: Path | None = None) -> str:
    # Without --git-dir, git would use a repository in a parent directory.
    there = () if directory is None else (f"--git-dir={directory / '.git'}", f"--work-tree={directory}")
    try:
        command = ["git", *(part for option in _CONFIG for part in ("-c", option)), *there, *arguments]
        return run(command, seconds=_SECONDS, env=_ENVIRONMENT, directory=directory)
    except ProgramError as error:
        raise RepoException(f"git: {error}") from error


def check_links(directory: Path) -> None:
    """Raise RepoException if a link leads out of the directory, or if directories are nested too deep."""
    top = Path(os.path.realpath(directory))
    for parent, directories, files in os.walk(top):
        here = Path(parent)
        if len(here.relative_to(top).parts) >= DEEPEST:
            raise RepoException(f"directories in the repository are nested more than {DEEPEST} deep")
        directories[:] = [name for name in directories if here != top or name != ".git"]
        for path in (here / name for name in (*directories, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top):
                raise RepoException(f"{shown(str(path.relative_to(top)))} is a link that leads out of the repository")
