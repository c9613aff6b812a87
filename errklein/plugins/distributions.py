"""What plugins need from the package index, as a `requirements.txt` beside them, or above them, says.

Nothing is run as long as everything is there. pip reads the file itself, in a process of its own; of what stands in the
file nothing becomes an argument of ours.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from errklein.plugins.programs import ProgramError, run

FILE_NAME = "requirements.txt"

_INSTALLED = "requirements"
"""Where the digests of files that were installed are stored, by the files' paths."""

_SECONDS = 600
_COMMENT = re.compile(r"(^|\s)#.*")
_OPTION = re.compile(r"\s--.*")


if TYPE_CHECKING:
    from packaging.requirements import Requirement


class InstallError(Exception):
    """pip couldn't install what a file asks for; str() is one line with the file, and the last that pip said."""


class Requirements:
    """Sees to it that what plugins need is there. `store` remembers which files were installed. Blocks; for threads."""

    def __init__(self, store: MutableMapping[str, Any], autoinstall: bool) -> None:
        self._store = store
        self._autoinstall = autoinstall

    def settle(self, file: Path) -> str:
        """Install what the file asks for, if it isn't there yet; returns what went wrong in one line, "" if nothing did.

        A file that asks for what can't be looked up, such as a URL, is installed again only when it has changed.
        """
        try:
            data = file.read_bytes()
        except OSError as error:
            return f"{file}: it can't be read: {error.strerror}"
        missing, unknown = examine(data.decode("utf-8", "replace"))
        digest = hashlib.sha256(data).hexdigest()
        if not missing and (not unknown or self._store.get(_INSTALLED, {}).get(str(file)) == digest):
            return ""
        if not self._autoinstall:
            return f"{file}: not installed: {', '.join(missing)}" if missing else ""
        try:
            install(file)
        except InstallError as error:
            return str(error)
        self._store[_INSTALLED] = {**self._store.get(_INSTALLED, {}), str(file): digest}
        return ""


def requirement_files(roots: Iterable[Path], plugs: Iterable[Path]) -> list[Path]:
    """The requirement files at the roots, beside the `.plug` files, and in the directories between."""
    directories: dict[Path, None] = {}
    tops = [Path(root).absolute() for root in roots]
    for top in tops:
        directories[top] = None
    for plug in plugs:
        directories.update(dict.fromkeys(above(plug.parent, tops)))
    return [file for directory in directories if (file := directory / FILE_NAME).is_file()]


def above(directory: Path, tops: Iterable[Path]) -> list[Path]:
    """The directory and those above it, up to the first that is one of `tops`; alone, if none of these is above it."""
    chain = [directory, *directory.parents]
    for top in tops:
        if top in chain:
            return chain[: chain.index(top) + 1]
    return [directory]


def examine(text: str) -> tuple[list[str], list[str]]:
    """Of the lines of a requirements file, those that aren't fulfilled, and those of which that can't be told."""
    # Few bots have plugins that require something, and all of them wait for what is imported when they start.
    from packaging.requirements import InvalidRequirement, Requirement

    missing: list[str] = []
    unknown: list[str] = []
    for line in _lines(text):
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            unknown.append(line)
            continue
        if requirement.url is not None:
            unknown.append(line)
        elif not _is_fulfilled(requirement):
            missing.append(line)
    return missing, unknown


def install(file: Path) -> None:
    """Have pip install what the file asks for; raises InstallError."""
    # Nothing of the file is among the arguments.
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    try:
        run([*command, "-r", str(file.absolute())], seconds=_SECONDS, env={"PIP_NO_COLOR": "1"})
    except ProgramError as error:
        raise InstallError(f"{file}: {error}") from error
    importlib.invalidate_caches()


def install_packages(req_path: Path) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Have pip install what the file asks for; returns what sys.exc_info() tells of what went wrong, else None."""
    try:
        install(Path(req_path))
    except InstallError as error:
        return type(error), error, error.__traceback__
    return None


def check_dependencies(req_path: Path) -> tuple[str | None, list[str]]:
    """What is missing of what the file asks for: a sentence with all of it, or None, and the lines."""
    path = Path(req_path)
    missing = examine(path.read_text(encoding="utf-8", errors="replace"))[0] if path.is_file() else []
    return (f"{path} needs what isn't installed: {', '.join(missing)}" if missing else None), missing


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        line = _COMMENT.sub("", line).strip()
        if line:
            yield line if line.startswith("-") else _OPTION.sub("", line)


def _is_fulfilled(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return True
    try:
        there = version(requirement.name)
    except PackageNotFoundError:
        return False
    # The version of what is half removed may be None.
    if not there or not requirement.specifier.contains(there, prereleases=True):
        return False
    return all(_is_fulfilled(needed) for extra in requirement.extras for needed in _of_extra(requirement.name, extra))


def _of_extra(name: str, extra: str) -> Iterator[Requirement]:
    """What a distribution needs for one of its extras."""
    from packaging.requirements import Requirement

    for line in requires(name) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            requirement.marker = None
            yield requirement
