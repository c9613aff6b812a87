"""Requirement files of plugins: where they are, what they require, and what of it is installed.

What errklein provides is left out.

The format is pip's, see https://pip.pypa.io/en/stable/reference/requirements-file-format/: one requirement or option
per line, comments, continued lines, environment variables, and other files with `-r` and `-c`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# packaging is imported late: it takes 0.1 s, and most starts don't need it.


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution; None if it is missing or its metadata is incomplete."""
    try:
        return name_and_version(distribution(name))[1] or None
    except PackageNotFoundError:
        return None


def name_and_version(found: Distribution) -> tuple[str, str]:
    """Return the name and version of a distribution; "" for what incomplete metadata lacks."""
    try:
        # Both may be None for a partly removed distribution.
        return found.name or "", found.version or ""
    except UnicodeDecodeError:
        # Metadata of old distributions may be Latin-1. Their directory has the same name and version, in ASCII.
        name, _, rest = Path(getattr(found, "_path", "")).stem.partition("-")
        return name, rest.partition("-")[0]


def applies(requirement: Requirement, extras: Iterable[str] = ()) -> bool:
    """Return whether the requirement's marker is true here, without an extra or with one of `extras`."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def requirements_of(name: str, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Yield the requirements of an installed distribution that apply here, including those of the extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    extras = tuple(extras)
    try:
        lines = distribution(name).requires or ()
    except UnicodeDecodeError:
        return
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if applies(requirement, extras):
            yield requirement


def environment_problems() -> list[str]:
    """Return a line for each requirement of errklein, direct or indirect, that is missing or has a wrong version. Each
    contains the command that repairs it. The result is empty if errklein isn't installed, since its requirements are
    unknown then."""
    try:
        import packaging.requirements  # noqa: F401
    except ImportError:
        return [_with_repair("packaging is missing; errklein requires it", "packaging")]
    if installed_version("errklein") is None:
        return []
    return [_with_repair(problem, wanted) for wanted, problem in unfulfilled(["errklein"])]


def unfulfilled(
    names: Iterable[str], provided: Collection[str] = (), extras: Iterable[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield the requirements of the named distributions and their `extras`, direct or indirect, that are missing or have
    a wrong version. Each is a pair of the requirement and a sentence. Requirements in `provided`, which are normalized names, count as
    fulfilled."""
    from packaging.utils import canonicalize_name

    waiting = [(name, frozenset(extras)) for name in names]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for requirement in requirements_of(name, extras):
            required = canonicalize_name(requirement.name)
            if required in provided:
                continue
            there = installed_version(requirement.name)
            wanted = f"{requirement.name}{requirement.specifier}"
            if there is None:
                yield wanted, f"{wanted} is missing; {name} requires it"
                continue
            if not requirement.specifier.contains(there, prereleases=True):
                yield wanted, f"{requirement.name} {there} is installed; {name} requires {wanted}"
            following = (str(required), frozenset(requirement.extras))
            if following not in seen:
                seen.add(following)
                waiting.append(following)


def _with_repair(problem: str, wanted: str) -> str:
    return f"{problem}. Repair: {sys.executable} -m pip install '{wanted}'"


FILE_NAME = "requirements.txt"

PROVIDED = frozenset({"errbot", "flask", "werkzeug"})
"""Normalized names of the distributions that errklein provides, whatever version plugins require."""

_COMMENT = re.compile(r"(^|(?<!\s)\s++)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_OPTIONS_OF_LINE = re.compile(r"(?<!\s)\s++-.*")
_FILE_OPTION = re.compile(
    r"(-r|-c|-f|-e|--requirement|--constraint|--find-links|--editable)(?:\s*=\s*|\s+|(?<=^-.))(.+)"
)
_LONG = {"-r": "--requirement", "-c": "--constraint", "-f": "--find-links", "-e": "--editable"}
_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_EGG = re.compile(r"[#&]egg=([\w.-]+)")
_NAME_IN_URL = re.compile(r"([A-Za-z0-9][\w.]*?(?:-[A-Za-z_]\w*)*)(?:-\d[^/]*|\.git(?:@[^/]*)?|@[^/]*)?/?")


class UnreadableRequirements(Exception):
    """A requirement file can't be read; str() is one line with the file and the reason."""


@dataclass(frozen=True)
class RequirementLine:
    """A requirement as written. `requirement` is None for a URL or path without a name, and for an invalid line."""

    text: str
    requirement: Requirement | None
    file: Path
    number: int

    @property
    def name_and_versions(self) -> str:
        """The requirement without options and comments."""
        return _OPTIONS_OF_LINE.sub("", self.text)

    @property
    def location(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass
class RequirementFile:
    """The requirements of a file and the files that it includes, without those that errklein provides."""

    path: Path
    lines: list[RequirementLine] = field(default_factory=list)
    options: list[str] = field(default_factory=list)  # options of pip, such as `--index-url …`, one a line
    constraints: list[str] = field(default_factory=list)  # lines of the constraint files
    _seen: set[tuple[Path, bool]] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> RequirementFile:
        """Read the file; raises UnreadableRequirements."""
        made = cls(path)
        made._read(path, is_constraint=False)
        return made

    def _read(self, path: Path, is_constraint: bool) -> None:
        # A file that includes itself is read once; pip refuses it.
        try:
            seen_as = (path.resolve(), is_constraint)
            if seen_as in self._seen:
                return
            self._seen.add(seen_as)
            text = path.read_bytes().decode("utf-8-sig", "replace")
        except (OSError, RuntimeError, ValueError) as error:
            # RuntimeError: a loop of symbolic links; ValueError: a null byte in the path.
            included = "" if path == self.path else f"{path}: "
            reason = getattr(error, "strerror", None) or error
            raise UnreadableRequirements(f"{self.path}: {included}it can't be read: {reason}") from error
        for number, line in logical_lines(text):
            if line.startswith("-"):
                self._option(line, path, number, is_constraint)
            else:
                self._requirement(line, path, number, is_constraint)

    def _option(self, line: str, path: Path, number: int, is_constraint: bool) -> None:
        match = _FILE_OPTION.match(line)
        if match is None:
            self.options.append(line)
            return
        option, value = _LONG.get(match[1], match[1]), match[2].strip().strip("\"'")
        meant = expanded(value)
        if option == "--editable":
            # pip makes no links to a source tree in a directory that `--target` names.
            self._requirement(value, path, number, is_constraint)
        elif _URL.match(meant):
            self.options.append(line)
        elif option == "--find-links":
            # As in pip, a path is relative to the file if it exists there.
            beside = path.parent / meant
            self.options.append(f"--find-links {beside.absolute() if beside.exists() else value}")
        else:
            self._read(path.parent / meant, is_constraint or option == "--constraint")

    def _requirement(self, line: str, path: Path, number: int, is_constraint: bool) -> None:
        from packaging.requirements import InvalidRequirement, Requirement

        text = expanded(_OPTIONS_OF_LINE.sub("", line))
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            requirement = None
        if is_provided(text if requirement is None else requirement.name):
            return
        if is_constraint:
            self.constraints.append(line)
        else:
            self.lines.append(RequirementLine(line, requirement, path, number))


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield pairs of line number and line, without empty lines and comments; continued lines are joined."""
    waiting: list[str] = []
    began = 0
    for number, line in enumerate(text.splitlines(), 1):
        began = began if waiting else number
        is_comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            waiting.append(line[:-1])
            continue
        # As in pip, a comment line ends a continued line and becomes its comment.
        joined = "".join([*waiting, " " + line if is_comment else line])
        waiting = []
        if stripped := _COMMENT.sub("", joined).strip():
            yield began, stripped
    if stripped := _COMMENT.sub("", "".join(waiting)).strip():
        yield began, stripped


def expanded(text: str) -> str:
    """Return the text with environment variables such as `${TOKEN}` replaced. Unknown variables stay unchanged."""
    return _VARIABLE.sub(lambda found: os.environ.get(found[1]) or found[0], text)


def is_provided(requested: str) -> bool:
    """Return whether errklein provides the distribution with that name, URL or path."""
    egg = _EGG.search(requested)
    if egg is not None:
        name = egg[1]
    elif "/" in requested:
        last = re.split(r"[#?;]|\s", requested)[0].rstrip("/").rpartition("/")[2]
        found = _NAME_IN_URL.fullmatch(last)
        name = "" if found is None else found[1]
    else:
        name = requested
    return normalized(name) in PROVIDED


def normalized(name: str) -> str:
    """Return the name of a distribution in normalized form (PEP 503)."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


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
        requirement = line.requirement
        if requirement is not None and not applies(requirement):
            continue
        if requirement is None or requirement.url is not None:
            examined.unknown.append(line)
        elif (there := installed_version(requirement.name)) is None:
            examined.missing.append(line)
        elif not requirement.specifier.contains(there, prereleases=True):
            examined.conflicts.append(line)
        elif requirement.extras and any(unfulfilled([requirement.name], PROVIDED, requirement.extras)):
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
