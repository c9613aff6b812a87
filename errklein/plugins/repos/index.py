"""The index of public repositories, a JSON object of repositories and their plugins; and downloads by HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from errklein.http_client import BodyTooLarge, HTTPClients
from errklein.plugins.repos.sources import RepoException, is_local, local_path, shown
from errklein.running import ThreadWaits

_LARGEST = 10_000_000
_SECONDS = 60
_WORD = re.compile(r"\w+")

Index = Mapping[str, Any]  # a mapping of names of repositories to mappings of plugins to their descriptions


class RepoEntry(NamedTuple):
    """A plugin in the index, and its repository."""

    entry_name: str
    name: str
    python: str | None
    repo: str
    path: str | None
    avatar_url: str | None
    documentation: str | None


def fetch(address: str, downloads: Downloads) -> dict[str, Any]:
    """Return the index at a URL or path. Blocks. Raises RepoException."""
    if is_local(address):
        try:
            data = local_path(address).read_bytes()
        except OSError as error:
            raise RepoException(f"{shown(address)}: {error.strerror}") from error
    else:
        data = downloads.fetch(address, most=_LARGEST, seconds=_SECONDS)
    try:
        index = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RepoException(f"{shown(address)}: the index is not valid JSON: {error}") from error
    if not isinstance(index, dict):
        raise RepoException(f"{shown(address)}: the index must be a JSON object of repositories")
    return index


def entries(index: Index, name: str) -> list[RepoEntry]:
    """Return the plugins of the repository of that name. Invalid entries are ignored."""
    plugins = index.get(name)
    if not isinstance(plugins, Mapping):
        return []
    found = []
    for plugin, known in plugins.items():
        if isinstance(known, Mapping) and isinstance(known.get("repo"), str):
            keys = ("python", "path", "avatar_url", "documentation")
            texts = {key: text if isinstance(text := known.get(key), str) else None for key in keys}
            found.append(RepoEntry(name, str(known.get("name") or plugin), repo=known["repo"], **texts))
    return found


def search(index: Index, query: str) -> Iterator[RepoEntry]:
    """Yield the plugins whose names or descriptions contain each word of the query, in the order of the index."""
    wanted = [word.lower() for word in _WORD.findall(query)]
    for name in index:
        for entry in entries(index, name):
            text = " ".join([entry.entry_name, entry.name, entry.documentation or ""]).lower()
            if wanted and all(word in text for word in wanted):
                yield entry


class Downloads:
    """Downloads files with limits of size and time."""

    def __init__(self, clients: HTTPClients, waits: ThreadWaits) -> None:
        self._clients = clients
        self._waits = waits

    def fetch(self, url: str, *, most: int, seconds: float) -> bytes:
        """Return the content of an https or http URL. Call it in a thread, which waits. Raises RepoException if it
        can't be downloaded, is larger than `most` bytes, or takes longer than `seconds`."""
        content: bytes = self._waits.result_of(self._fetch, url, most, seconds)
        return content

    async def _fetch(self, url: str, most: int, seconds: float) -> bytes:
        try:
            bare, user = _without_user(url)
            client = self._clients.client()
            response = await client.request("GET", bare, auth=user, max_body=most, timeout=seconds)
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
    """Return the exception's class and text; those of the cause if Twisted has wrapped it."""
    for failure in getattr(error, "reasons", ()):
        return _reason(failure.value)
    return f"{type(error).__name__}: {error}"
