"""Sources of webhooks, each in one folder. A folder may be deleted; other packages add sources by the entry point `errklein.sources`."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from errklein.text.suggestions import did_you_mean
from errklein.webhooks.option_values import HookError
from errklein.webhooks.source import Source

__all__ = ["ALIASES", "example_of", "find_source", "known_sources"]

ALIASES = {
    "discord": "post",
    "forgejo": "gitea",
    "form": "json",
    "mattermost": "post",
    "rocketchat": "post",
    "slack": "post",
}
"""The folders of sources that have another name than their folder."""


def known_sources() -> list[str]:
    """Return the names of all sources, sorted. No source is imported."""
    return sorted(_entries())


@cache
def find_source(name: str) -> Source:
    """Return the source of this name, which is imported only now. Raises HookError: there is none, or it can't be imported."""
    if (entry := _entries().get(name)) is None:
        known = known_sources()
        raise HookError(f"there is no source {name!r}{did_you_mean(name, known) or '.'} Sources: {', '.join(known)}")
    try:
        found = entry.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise HookError(f"the source {name!r} of {entry.value} can't be imported: {reason}") from error
    source = found.get(name) if isinstance(found, Mapping) else found
    if not isinstance(source, Source):
        raise HookError(f"the source {name!r} is no errklein.webhooks.source.Source but a {type(source).__name__}")
    return source


def example_of(source: Source) -> bytes:
    """Return the body of the example in the source's folder `payloads`; b"" if it has none."""
    folder = Path(str(import_module(_entries()[source.name].module).__file__)).parent
    return (folder / "payloads" / source.example).read_bytes() if source.example else b""


@cache
def _entries() -> Mapping[str, EntryPoint]:
    """Return what is imported for each source: of a folder the table `SOURCES`. No other package replaces a source of
    errklein."""
    folders = {path.parent.name for path in Path(__file__).parent.glob("*/__init__.py")}
    names = {**{folder: folder for folder in folders}, **ALIASES}
    own = (EntryPoint(name, f"{__name__}.{names[name]}:SOURCES", __name__) for name in names if names[name] in folders)
    return {found.name: found for found in (*entry_points(group=__name__), *own)}
