"""Sources of webhooks, each in one folder. A folder may be deleted; other packages add sources by the entry point `errklein.sources`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from errklein.text.suggestions import did_you_mean
from errklein.webhooks.option_values import HookError
from errklein.webhooks.source import Source

__all__ = ["ALIASES", "GROUP", "example_of", "find_source", "known_sources"]

ALIASES = {
    "discord": "post",
    "forgejo": "gitea",
    "form": "json",
    "mattermost": "post",
    "rocketchat": "post",
    "slack": "post",
}
"""The folders of sources that have another name than their folder."""

GROUP = "errklein.sources"


def known_sources() -> list[str]:
    """Return the names of all sources, sorted. No source is imported."""
    folders = {path.parent.name for path in Path(__file__).parent.glob("*/__init__.py")}
    return sorted({*folders, *(name for name, folder in ALIASES.items() if folder in folders), *_of_others()})


@cache
def find_source(name: str) -> Source:
    """Return the source of this name, which is imported only now.

    :raises HookError: There is none, or it can't be imported.
    """
    known = known_sources()
    if name not in known:
        raise HookError(f"there is no source {name!r}{did_you_mean(name, known) or '.'} Sources: {', '.join(known)}")
    other = _of_others().get(name)
    if other is None:
        found: object = import_module(f"{__name__}.{ALIASES.get(name, name)}").SOURCES[name]
    else:
        try:
            found = other.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise HookError(f"the source {name!r} of {other.value} can't be imported: {reason}") from error
    if not isinstance(found, Source):
        raise HookError(f"the source {name!r} is no errklein.webhooks.source.Source but a {type(found).__name__}")
    return found


def example_of(source: Source) -> bytes:
    """Return the body of the example in the source's folder `payloads`; b"" if it has none."""
    if not source.example:
        return b""
    other = _of_others().get(source.name)
    module = import_module(f"{__name__}.{ALIASES.get(source.name, source.name)}" if other is None else other.module)
    return (Path(str(module.__file__)).parent / "payloads" / source.example).read_bytes()


@cache
def _of_others() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP)}
