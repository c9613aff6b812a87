"""The source files of loaded plugins that differ from the running code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from errklein.plugins.execution import PluginExecution
from errklein.plugins.imports import PluginLoader, package_of
from errklein.plugins.plug_file import PlugFile
from errklein.running import SerialQueue, TimedOut, result_within

TIMEOUT = 3.0  # the seconds after which a comparison that hasn't ended is left out


@dataclass
class FileChanges:
    """The names of a plugin's files that were changed or removed after they were loaded; "" for people who may not read them."""

    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def remarks(self, reload: str) -> Iterator[str]:
        """Yield a line for each kind of change. `reload` is the command to apply changes."""
        if self.changed:
            yield f"{_subject(self.changed)} changed after loading: {reload}"
        if self.removed:
            verb = "was" if len(self.removed) == 1 else "were"
            yield f"{_subject(self.removed)} {verb} removed after loading"


class ChangedFiles:
    """Compares plugins' files with the running code in a thread, in one at a time, since a network drive may hang."""

    def __init__(self, execution: PluginExecution) -> None:
        self._execution = execution
        self._comparisons = SerialQueue(execution.reactor)

    async def find(self, plugs: Sequence[PlugFile]) -> Mapping[str, FileChanges] | None:
        """Return the changes by the plugin's name; None if the disk doesn't respond within `TIMEOUT` seconds."""
        compare = partial(self._execution.in_thread, partial(_compare, plugs), "comparing plugins' files")
        try:
            return await result_within(self._execution.reactor, TIMEOUT, self._comparisons.run(compare))
        except TimedOut:
            return None


def _compare(plugs: Sequence[PlugFile]) -> dict[str, FileChanges]:
    """Return the changes of plugins that have any. Blocks on the disk."""
    names = {package_of(plug): plug.name for plug in plugs}
    found: dict[str, FileChanges] = {}
    for module, loaded in sorted(sys.modules.copy().items()):
        name = names.get(".".join(module.split(".", 2)[:2]))
        if name is None:
            continue
        loader = getattr(getattr(loaded, "__spec__", None), "loader", None)
        if not isinstance(loader, PluginLoader):
            continue
        try:
            if loader.has_changed():
                found.setdefault(name, FileChanges()).changed.append(Path(loader.path).name)
        except (FileNotFoundError, NotADirectoryError):
            found.setdefault(name, FileChanges()).removed.append(Path(loader.path).name)
    return found


def _subject(names: list[str]) -> str:
    """Return the names, or only the kind if they aren't known."""
    if all(names):
        return ", ".join(names)
    return "a file" if len(names) == 1 else "files"
