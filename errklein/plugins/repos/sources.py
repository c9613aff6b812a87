"""What may be installed: URLs of git repositories and of archives, and what they are called here."""

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
    """Something can't be done with a repository of plugins; str() is one line for the admin who asked."""


class UnknownRepo(RepoException, KeyError):
    """There is no such repository among those that are installed."""

    # As a KeyError's, it would be a string in quotes.
    __str__ = Exception.__str__


@dataclass(frozen=True)
class RepoSource:
    """Where a repository comes from, what it is called here, and whether it is an archive rather than a git repository."""

    name: str
    url: str
    is_archive: bool = False

    @classmethod
    def of(cls, url: str, name: str | None = None, *, local: bool = True) -> RepoSource:
        """The source at the URL; raises RepoException unless it is one that may be used.

        Those are https, http and ssh URLs, git@host:owner/name, and, if `local`, absolute paths and file URLs.
        """
        check_url(url, local=local)
        name = human_name_for_git_url(url) if name is None else name
        check_name(name)
        return cls(name, url, is_archive(url))


def is_local(place: str) -> bool:
    """Whether the path or URL names something on this machine rather than in the network."""
    return urlsplit(place).scheme in ("", "file")


def local_path(place: str) -> Path:
    """The path of a local place, which is a path or a file URL."""
    return Path(unquote(urlsplit(place).path)) if place.startswith("file:") else Path(place)


def is_archive(url: str) -> bool:
    """Whether the URL is that of an archive."""
    return urlsplit(url).path.endswith(_ARCHIVE)


def check_url(url: str, *, local: bool) -> None:
    """Raise RepoException unless a repository may come from there."""
    if not url or not url.isprintable() or any(character.isspace() for character in url) or url.startswith("-"):
        raise RepoException(f"{shown(url)} is no URL; {EXPECTED}")
    if _SCP.fullmatch(url):
        return
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RepoException(f"{shown(url)} is no URL: {error}; {EXPECTED}") from None
    if parts.scheme in _SCHEMES:
        if not host or host.startswith("-") or "@-" in parts.netloc:
            raise RepoException(f"{shown(url)} names no host; {EXPECTED}")
    elif parts.scheme == "file" or (not parts.scheme and url.startswith("/")):
        if not local or parts.netloc:
            raise RepoException(f"{shown(url)} is on this machine, which only an admin may ask for")
    else:
        raise RepoException(f"{shown(url)} can't be installed; {EXPECTED} over https, http or ssh")


def check_name(name: str) -> None:
    """Raise RepoException unless the name can be that of one or two directories, one in the other."""
    parts = name.split("/")
    if len(parts) > 2 or not all(_PART.fullmatch(part) for part in parts):
        raise RepoException(f"{shown(name)} can't be the name of a repository; expected letters, digits, '.', '_', '-'")


def human_name_for_git_url(url: str) -> str:
    """The last two parts of the URL, such as owner/name, without .git."""
    path = url.rstrip("/").partition("://")[2] or url.rstrip("/")
    # A password before the host is nothing to be called by.
    host, slash, rest = path.partition("?")[0].partition("/")
    parts = [part for part in re.split(r"[/:]", host.rpartition("@")[2] + slash + rest) if part]
    return str(PurePosixPath(*parts[-2:])).removesuffix(".git") if parts else ""


def shown(text: str) -> str:
    """What somebody gave, for an answer: without secrets, and not too long."""
    text = "".join(character if character.isprintable() else "?" for character in masker(text))
    return repr(truncated(text, 200))
