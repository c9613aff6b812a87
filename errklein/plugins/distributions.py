"""Requirements of plugins: checks each `requirements.txt` and installs missing packages.

The files lie beside `.plug` files or in directories above them. pip isn't run if everything is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from errklein.plugins.environment import applies, installed_version, requirements_of
from errklein.plugins.packages import InstallError, PackageDirectory
from errklein.plugins.plugin import PluginProblem
from errklein.plugins.requirement_files import RequirementFile, RequirementLine, UnreadableRequirements

if TYPE_CHECKING:
    from packaging.requirements import Requirement

FILE_NAME = "requirements.txt"


class Requirements:
    """Installs the requirements of plugins. The methods block, so call them in threads."""

    def __init__(self, packages: PackageDirectory, autoinstall: bool) -> None:
        self.packages = packages
        self._autoinstall = autoinstall

    def settle(self, file: Path) -> list[PluginProblem]:
        """Install the missing requirements of a file. Return the errors and warnings.

        A file with URLs or paths is installed again when it has changed. If an installed version doesn't fulfil a
        requirement, it stays, and there is a warning.
        """
        try:
            requirements = RequirementFile.read(file)
        except UnreadableRequirements as error:
            return [PluginProblem(str(error), path=file)]
        examined = examine(requirements)
        requirements.lines = [line for line in requirements.lines if line not in examined.conflicts]
        problems = [PluginProblem(self._explained(line), path=file, is_warning=True) for line in examined.conflicts]
        is_done = not examined.missing and (not examined.unknown or self.packages.has_done(requirements))
        if self._autoinstall and not is_done:
            try:
                self.packages.install(requirements)
            except InstallError as error:
                problems.append(PluginProblem(str(error), path=file))
        elif missing := ", ".join(line.name_and_versions for line in examined.missing):
            problems.append(PluginProblem(f"{file} requires packages that are not installed: {missing}", path=file))
        return problems

    def _explained(self, line: RequirementLine) -> str:
        assert line.requirement is not None
        name = line.requirement.name
        there = installed_version(name) or "another version"
        return self.packages.conflict(f"{line.name_and_versions} is required", name, there, line.place)


@dataclass
class Examined:
    """The lines of a file that aren't fulfilled: not installed, in a wrong version, or unknown (URLs and paths)."""

    missing: list[RequirementLine] = field(default_factory=list)
    conflicts: list[RequirementLine] = field(default_factory=list)
    unknown: list[RequirementLine] = field(default_factory=list)


def examine(requirements: RequirementFile) -> Examined:
    """Compare each line of the file with the installed distributions."""
    examined = Examined()
    for line in requirements.lines:
        if line.requirement is not None and not applies(line.requirement):
            continue
        if line.requirement is None or not line.is_plain:
            examined.unknown.append(line)
        elif (there := installed_version(line.requirement.name)) is None:
            examined.missing.append(line)
        elif not line.requirement.specifier.contains(there, prereleases=True):
            examined.conflicts.append(line)
        elif not _has_extras(line.requirement):
            examined.missing.append(line)
    return examined


def requirement_files(roots: Iterable[Path], plugs: Iterable[Path]) -> list[Path]:
    """Return the requirement files at the roots, beside the `.plug` files, and in the directories between."""
    tops = [Path(root).absolute() for root in roots]
    directories = dict.fromkeys(tops)
    for plug in plugs:
        directories.update(dict.fromkeys(above(plug.parent, tops)))
    return [file for directory in directories if (file := directory / FILE_NAME).is_file()]


def above(directory: Path, tops: Iterable[Path]) -> list[Path]:
    """Return the directory and its parents up to the first of `tops`; only the directory if none is a parent."""
    chain = [directory, *directory.parents]
    for top in tops:
        if top in chain:
            return chain[: chain.index(top) + 1]
    return [directory]


def _has_extras(requirement: Requirement, seen: frozenset[str] = frozenset()) -> bool:
    """Return whether the additional requirements of the extras are installed in allowed versions."""
    if not requirement.extras or str(requirement) in seen:
        return True
    seen |= {str(requirement)}
    for needed in requirements_of(requirement.name, requirement.extras):
        if applies(needed):
            continue
        there = installed_version(needed.name)
        if there is None or not needed.specifier.contains(there, prereleases=True) or not _has_extras(needed, seen):
            return False
    return True
