"""Requirements of plugins: their files, what of them is installed, and the directory of packages for the rest. A requirement file
has pip's format, https://pip.pypa.io/en/stable/reference/requirements-file-format/. What errklein provides is left out.

`BOT_DATA_DIR/packages` has distributions that plugins require and that errklein's environment lacks. errklein never changes its
own environment. pip sees neither it nor its files, but copies of the metadata of all installed distributions, and is
constrained to their versions. It installs what is missing into a new directory, which is then merged into one at the end of
`sys.path`, so that the packages hide nothing."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import os
import re
import shutil
import site
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from errklein.plugins.plug_file import ERRBOT_VERSION
from errklein.plugins.plugin import PluginProblem
from errklein.plugins.subprocesses import ProgramError, run

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# packaging is imported late: it takes 0.1 s, and most starts don't need it.

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

_SECONDS = 600
_PIP_ALONE = """\
import runpy, sys
sys.path.insert(0, sys.argv[1])
import pip
sys.path[0] = sys.argv[2]
del sys.argv[1:3]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""pip from the directory of the first argument, for which the distributions in that of the second one are installed."""

_INSTALL = ["install", "--disable-pip-version-check", "--no-input", "--no-warn-script-location"]
_ENVIRONMENT = {"PIP_NO_COLOR": "1", "PIP_USER": "0", "PIP_TARGET": "", "PIP_PREFIX": "", "PIP_ROOT": ""}
"""Overrides of the operator's settings for where pip installs to; pip ignores empty ones."""

_lock = threading.Lock()  # held while any bot of the process installs packages

_DONE = ".errklein.json"
_WANTED = re.compile(
    r"^ +(?:(\S+ \S+) depends on|The user requested(?! \(constraint\))) (([\w.-]*\w).*)$", re.MULTILINE
)
_CONSTRAINT = re.compile(r"^ +The user requested \(constraint\) (\S+?)==(\S+)$", re.MULTILINE)


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


def requirements_of(name: str, extras: Collection[str] = ()) -> Iterator[Requirement]:
    """Yield the requirements of an installed distribution that apply here, including those of the extras."""
    from packaging.requirements import InvalidRequirement, Requirement

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
    """Return a line, with the command that repairs it, for each requirement of errklein that is missing or has a wrong version."""
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
    a wrong version, each with a sentence. Those in `provided`, which are normalized names, count as fulfilled."""
    waiting = [(name, frozenset(extras)) for name in names]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for requirement in requirements_of(name, extras):
            if (required := normalized(requirement.name)) in provided:
                continue
            there = installed_version(requirement.name)
            wanted = f"{requirement.name}{requirement.specifier}"
            if there is None:
                yield wanted, f"{wanted} is missing; {name} requires it"
                continue
            if not requirement.specifier.contains(there, prereleases=True):
                yield wanted, f"{requirement.name} {there} is installed; {name} requires {wanted}"
            following = (required, frozenset(requirement.extras))
            if following not in seen:
                seen.add(following)
                waiting.append(following)


def _with_repair(problem: str, wanted: str) -> str:
    return f"{problem}. Repair: {sys.executable} -m pip install '{wanted}'"


class UnreadableRequirements(Exception):
    """A requirement file can't be read; str() is one line with the file and the reason."""


@dataclass(frozen=True)
class RequirementLine:
    """A requirement as written. `requirement` is None for a URL or path without a name, and for an invalid line."""

    text: str
    requirement: Requirement | None
    location: str

    @property
    def name_and_versions(self) -> str:
        return _OPTIONS_OF_LINE.sub("", self.text)


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
                self._option(line, path, f"{path}:{number}", is_constraint)
            else:
                self._requirement(line, f"{path}:{number}", is_constraint)

    def _option(self, line: str, path: Path, location: str, is_constraint: bool) -> None:
        if (match := _FILE_OPTION.match(line)) is None:
            self.options.append(line)
            return
        option, value = _LONG.get(match[1], match[1]), match[2].strip().strip("\"'")
        meant = expanded(value)
        if option == "--editable":
            # pip makes no links to a source tree in a directory that `--target` names.
            self._requirement(value, location, is_constraint)
        elif _URL.match(meant):
            self.options.append(line)
        elif option == "--find-links":
            # As in pip, a path is relative to the file if it exists there.
            beside = path.parent / meant
            self.options.append(f"--find-links {beside.absolute() if beside.exists() else value}")
        else:
            self._read(path.parent / meant, is_constraint or option == "--constraint")

    def _requirement(self, line: str, location: str, is_constraint: bool) -> None:
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
            self.lines.append(RequirementLine(line, requirement, location))


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
    name = requested
    if (egg := _EGG.search(requested)) is not None:
        name = egg[1]
    elif "/" in requested:
        last = re.split(r"[#?;]|\s", requested)[0].rstrip("/").rpartition("/")[2]
        found = _NAME_IN_URL.fullmatch(last)
        name = "" if found is None else found[1]
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


class InstallError(Exception):
    """The requirements of a file can't be installed; str() is one line with the file and pip's last error."""


class PackageDirectory:
    """The packages in a data directory for this version of Python. The methods block, so call them in threads.
    `installed` is called with the normalized name of each distribution that was installed."""

    def __init__(self, data_dir: Path, installed: Callable[[str], None] = lambda name: None) -> None:
        self._on_installed = installed
        self.parent = data_dir.absolute() / "packages"
        self.path = self.parent / f"py{sys.version_info.major}.{sys.version_info.minor}"
        # Complete packages to be moved to their place; by the next process if this one ends.
        self._ready = self.parent / f".ready-{self.path.name}"

    def activate(self) -> None:
        if self.path.is_dir():
            # This also processes .pth files, which some namespace packages need.
            site.addsitedir(str(self.path.resolve()))
            importlib.invalidate_caches()

    def extend_path(self) -> None:
        """Add the packages to `sys.path` without running .pth files, so that stored values can be unpickled."""
        if self.path.is_dir() and str(self.path) not in sys.path:
            sys.path.append(str(self.path))

    def problems(self) -> list[str]:
        """Return a line for each requirement of the packages that is missing or in a wrong version, with the remedy."""
        if not self.path.is_dir():
            return []
        names = [name for name, _ in map(name_and_version, distributions(path=[str(self.path)])) if name]
        return [f"{problem}. {self.remedy}" for _, problem in unfulfilled(names, provided=["errbot"])]

    @property
    def remedy(self) -> str:
        return f"Repair: remove {self.path}, then restart, which installs what plugins require again"

    def _conflict(self, requires: str, name: str, there: str, location: object) -> str:
        where, remedy = (self.path, f". {self.remedy}") if self._has(name) else ("errklein's environment", "")
        return f"{requires}, but {where} has {name} {there} ({location}){remedy}"

    def _has(self, name: str) -> bool:
        return any(True for _ in distributions(name=name, path=[str(self.path)]))

    def settle(self, file: Path, autoinstall: bool) -> list[PluginProblem]:
        """Install the missing requirements of a file, if `autoinstall`. Return the errors and warnings. A file with URLs or paths
        is installed again when it has changed. An installed version that doesn't fulfil a requirement stays, with a warning."""
        try:
            requirements = RequirementFile.read(file)
        except UnreadableRequirements as error:
            return [PluginProblem(str(error), path=file)]
        examined = examine(requirements)
        requirements.lines = [line for line in requirements.lines if line not in examined.conflicts]
        problems = []
        for line in examined.conflicts:
            assert line.requirement is not None
            name = line.requirement.name
            there = installed_version(name) or "another version"
            conflict = self._conflict(f"{line.name_and_versions} is required", name, there, line.location)
            problems.append(PluginProblem(conflict, path=file, is_warning=True))
        # URLs and paths can't be looked up.
        is_unknown = bool(examined.unknown) and self._done().get(str(file)) != _digest(requirements)
        if autoinstall and (examined.missing or is_unknown):
            try:
                self.install(requirements)
            except InstallError as error:
                problems.append(PluginProblem(str(error), path=file))
        elif missing := ", ".join(line.name_and_versions for line in examined.missing):
            problems.append(PluginProblem(f"{file} requires packages that are not installed: {missing}", path=file))
        return problems

    def install(self, requirements: RequirementFile) -> None:
        """Install the missing requirements. Raises InstallError, also if an installed version would have to change."""
        with _lock:
            try:
                self.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Several processes of a bot may share the directory.
                lock = os.open(self.parent, os.O_RDONLY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    self._install(requirements)
                finally:
                    os.close(lock)
            except OSError as error:
                where = error.filename or self.path
                raise InstallError(f"{requirements.path}: {where} can't be written: {error.strerror}") from error

    def _install(self, requirements: RequirementFile) -> None:
        # Finish or remove an installation that was interrupted because its process was killed.
        self._move_ready()
        for left in self.parent.glob(".new-*"):
            shutil.rmtree(left)
        importlib.invalidate_caches()
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.parent) as name:
            work = Path(name)
            try:
                self._run_pip(requirements, work)
            except ProgramError as error:
                raise self._explained(requirements, error) from error
            # Packages with compiled modules may be in another directory than those without, and distributors name them.
            for directory in {info.parent for info in work.glob("prefix/**/*.dist-info")}:
                _merge(directory, work / "packages")
            names = [self._new_name(found, requirements) for found in distributions(path=[str(work / "packages")])]
            if names:
                (work / "packages").rename(self._ready)
        self._move_ready()
        self.activate()
        for name in names:
            self._on_installed(name)
        self.path.mkdir(mode=0o700, exist_ok=True)
        done = {**self._done(), str(requirements.path): _digest(requirements)}
        file = self.path / _DONE
        _write(file.with_suffix(".new"), [json.dumps(done)]).replace(file)

    def _run_pip(self, requirements: RequirementFile, work: Path) -> None:
        known, pins = work / "known", [f"errbot=={ERRBOT_VERSION}"]
        _write_metadata(known, "errbot", ERRBOT_VERSION)
        for name, version, found in _installed(self.path):
            pins.append(f"{name}=={version}")
            _write_metadata(known, name, version, found)
        given = _write(work / "requirements.txt", [*requirements.options, *(line.text for line in requirements.lines)])
        pinned = _write(work / "constraints.txt", [*pins, *requirements.constraints])
        pip = find_spec("pip")
        directory = str(Path(pip.origin).parent.parent) if pip and pip.origin else ""
        command = [sys.executable, "-P", "-S", "-c", _PIP_ALONE, directory, str(known), *_INSTALL]
        command += ["--prefix", str(work / "prefix"), "-r", str(given), "-c", str(pinned)]
        run(command, seconds=_SECONDS, env=_ENVIRONMENT)

    def _new_name(self, found: Distribution, requirements: RequirementFile) -> str:
        """Return the normalized name of a distribution that pip has installed. Raises InstallError if the environment
        has it, in a version to which pip can't be constrained."""
        name, version = name_and_version(found)
        there = ERRBOT_VERSION if normalized(name) == "errbot" else installed_version(name)
        if there is not None and not self._has(name):
            raise InstallError(self._conflict(f"{name} {version} is required", name, there, requirements.path))
        return normalized(name)

    def _move_ready(self) -> None:
        if self._ready.is_dir():
            _merge(self._ready, self.path)

    def _explained(self, requirements: RequirementFile, error: ProgramError) -> InstallError:
        for name, there in _CONSTRAINT.findall(error.output):
            for dependent, wanted, required in _WANTED.findall(error.output):
                if normalized(required) != normalized(name):
                    continue
                requires = f"{dependent} requires {wanted}" if dependent else f"{wanted} is required"
                if name == "errbot":
                    return InstallError(f"{requires}, but errklein provides errbot {there} ({requirements.path})")
                if installed_version(name) == there:
                    return InstallError(self._conflict(requires, name, there, requirements.path))
        return InstallError(f"{requirements.path}: {error}")

    def _done(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            return dict(json.loads((self.path / _DONE).read_text("utf-8")))
        return {}


def _installed(path: Path) -> Iterator[tuple[str, str, Distribution]]:
    """Yield name, version and distribution of all installed ones, including those in `path`; pip must not change them."""
    from packaging.version import InvalidVersion, Version

    # Plugins get errklein in place of an installed errbot, too.
    seen = {"errbot"}
    for found in distributions(path=[*sys.path, str(path)]):
        name, version = name_and_version(found)
        name = normalized(name)
        # Incomplete metadata may have neither name nor version. No requirement of pip can pin an invalid one (PEP 440).
        if name and name not in seen:
            seen.add(name)
            with suppress(InvalidVersion):
                yield name, str(Version(version)), found


def _write_metadata(directory: Path, name: str, version: str, found: Distribution | None = None) -> None:
    """Write what pip reads of an installed distribution, and a list of files, which it would remove instead of the real ones."""
    info = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    with suppress(UnicodeDecodeError):
        if found is not None:
            lines += [f"Requires-Dist: {needed}" for needed in found.requires or ()]
            lines += [f"Provides-Extra: {extra}" for extra in found.metadata.get_all("Provides-Extra") or ()]
    _write(info / "METADATA", lines)
    _write(info / "RECORD", [f"{info.name}/{file},," for file in ("METADATA", "RECORD")])


def _write(file: Path, lines: Iterable[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return file


def _merge(source: Path, target: Path) -> None:
    """Move all files in `source` into `target`, replacing files; may be interrupted and repeated. Shared directories,
    such as namespace packages, are merged. Metadata is moved last, when a distribution is complete."""
    target.mkdir(mode=0o700, exist_ok=True)
    for entry in sorted(source.iterdir(), key=lambda entry: (entry.suffix == ".dist-info", entry.name)):
        moved = target / entry.name
        if entry.is_dir() and moved.is_dir():
            _merge(entry, moved)
        else:
            if moved.is_dir():
                shutil.rmtree(moved)
            elif entry.is_dir():
                moved.unlink(missing_ok=True)
            entry.replace(moved)
    source.rmdir()


def _digest(requirements: RequirementFile) -> str:
    lines = [*requirements.options, "", *requirements.constraints, "", *(line.text for line in requirements.lines)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
