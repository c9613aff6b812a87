"""The index of public repositories: a JSON object of repositories and their plugins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from errklein.plugins.repos._downloads import Downloads
from errklein.plugins.repos.sources import RepoException, is_local, local_path, shown

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
