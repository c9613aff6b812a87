"""Sources of repositories: URLs of git repositories and archives, and the names under which they are installed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from errklein.text import truncated
from errklein.text.masking import masker

EXPECTED = "expected the name of a repository in the index, or the URL of a git repository or of a .tar.gz archive"

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_SCP = re.compile(r"[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!-)\S+", re.ASCII)
_SCHEMES = ("https", "http", "ssh")
_ARCHIVE = ".tar.gz"


class RepoException(Exception):
    """An operation on a repository of plugins failed. The text is one line for the administrator."""


class UnknownRepo(RepoException, KeyError):
    """No repository of that name is installed."""

    # KeyError's str() would add quotes.
    __str__ = Exception.__str__


@dataclass(frozen=True)
class RepoSource:
    """The URL of a repository, its name here, and whether it is an archive instead of a git repository."""

    name: str
    url: str
    is_archive: bool = False

    @classmethod
    def of(cls, url: str, name: str | None = None, *, local: bool = True) -> RepoSource:
        """Return the source for a URL. Raises RepoException if the URL isn't allowed. Allowed are https, http and ssh
        URLs, git@host:owner/name and, if `local` is True, absolute paths and file URLs."""
        check_url(url, local=local)
        name = human_name_for_git_url(url) if name is None else name
        check_name(name)
        return cls(name, url, is_archive(url))


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
