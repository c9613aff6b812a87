"""`BOT_DATA_DIR/packages`: distributions that plugins require and that errklein's environment lacks. errklein never
changes its own environment. pip sees neither it nor its files, but copies of the metadata of all installed
distributions, and is constrained to their versions. It installs what is missing into a new directory, which is then
merged into one at the end of `sys.path`, so that the packages hide nothing."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
import site
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path

from errklein.plugins.plug_file import ERRBOT_VERSION
from errklein.plugins.plugin import PluginProblem
from errklein.plugins.requirement_files import (
    RequirementFile,
    RequirementLine,
    UnreadableRequirements,
    examine,
    installed_version,
    name_and_version,
    normalized,
    unfulfilled,
)
from errklein.plugins.subprocesses import ProgramError, run

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


class InstallError(Exception):
    """The requirements of a file can't be installed; str() is one line with the file and pip's last error."""


class PackageDirectory:
    """The packages in a data directory for this version of Python. The methods block, so call them in threads.
    `installed` is called with the normalized name of each distribution that was installed."""

    def __init__(self, data_dir: Path, installed: Callable[[str], None] = lambda name: None) -> None:
        self._on_installed = installed
        self.parent = data_dir.absolute() / "packages"
        self.path = self.parent / f"py{sys.version_info.major}.{sys.version_info.minor}"

    def activate(self) -> None:
        """Add the packages at the end of `sys.path`, if there are any."""
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
        """The command for the operator if packages in this directory cause a conflict."""
        return f"Repair: remove {self.path}, then restart, which installs what plugins require again"

    def _conflict(self, requires: str, name: str, there: str, location: object) -> str:
        """Return the sentence about a requirement that conflicts with the installed version of `name`."""
        where, remedy = (self.path, f". {self.remedy}") if self._has(name) else ("errklein's environment", "")
        return f"{requires}, but {where} has {name} {there} ({location}){remedy}"

    def _has(self, name: str) -> bool:
        return any(True for _ in distributions(name=name, path=[str(self.path)]))

    def settle(self, file: Path, autoinstall: bool) -> list[PluginProblem]:
        """Install the missing requirements of a file, if `autoinstall`. Return the errors and warnings. A file with
        URLs or paths is installed again when it has changed. If an installed version doesn't fulfil a requirement, it
        stays, and there is a warning."""
        try:
            requirements = RequirementFile.read(file)
        except UnreadableRequirements as error:
            return [PluginProblem(str(error), path=file)]
        examined = examine(requirements)
        requirements.lines = [line for line in requirements.lines if line not in examined.conflicts]
        problems = [PluginProblem(self._wrong_version(line), path=file, is_warning=True) for line in examined.conflicts]
        # URLs and paths can't be looked up.
        is_done = not examined.missing and (
            not examined.unknown or self._done().get(str(file)) == _digest(requirements)
        )
        if autoinstall and not is_done:
            try:
                self.install(requirements)
            except InstallError as error:
                problems.append(PluginProblem(str(error), path=file))
        elif missing := ", ".join(line.name_and_versions for line in examined.missing):
            problems.append(PluginProblem(f"{file} requires packages that are not installed: {missing}", path=file))
        return problems

    def _wrong_version(self, line: RequirementLine) -> str:
        assert line.requirement is not None
        name = line.requirement.name
        there = installed_version(name) or "another version"
        return self._conflict(f"{line.name_and_versions} is required", name, there, line.location)

    def install(self, requirements: RequirementFile) -> None:
        """Install the missing requirements. Raises InstallError, also if an installed version would have to change."""
        with _lock:
            try:
                self._install(requirements)
            except OSError as error:
                where = error.filename or self.path
                raise InstallError(f"{requirements.path}: {where} can't be written: {error.strerror}") from error

    def _install(self, requirements: RequirementFile) -> None:
        self.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tidy()
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
        self._note_done(requirements)

    def _run_pip(self, requirements: RequirementFile, work: Path) -> None:
        """Install what is missing into the directory `prefix`."""
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
        run(
            [*command, "--prefix", str(work / "prefix"), "-r", str(given), "-c", str(pinned)],
            seconds=_SECONDS,
            env=_ENVIRONMENT,
        )

    def _new_name(self, found: Distribution, requirements: RequirementFile) -> str:
        """Return the normalized name of a distribution that pip has installed. Raises InstallError if the environment
        has it, in a version to which pip can't be constrained."""
        name, version = name_and_version(found)
        there = ERRBOT_VERSION if normalized(name) == "errbot" else installed_version(name)
        if there is not None and not self._has(name):
            raise InstallError(self._conflict(f"{name} {version} is required", name, there, requirements.path))
        return normalized(name)

    @property
    def _ready(self) -> Path:
        """The directory of complete packages to be moved to their place; by the next process if this one ends."""
        return self.parent / f".ready-{self.path.name}"

    def _move_ready(self) -> None:
        if self._ready.is_dir():
            _merge(self._ready, self.path)

    def _tidy(self) -> None:
        """Finish or remove an installation that was interrupted because its process was killed."""
        self._move_ready()
        for left in self.parent.glob(".new-*"):
            shutil.rmtree(left)
        importlib.invalidate_caches()

    def _explained(self, requirements: RequirementFile, error: ProgramError) -> InstallError:
        """Return an error that explains the one of pip, if that is about an installed version."""
        for name, there in _CONSTRAINT.findall(error.output):
            for dependent, wanted, required in _WANTED.findall(error.output):
                if normalized(required) != normalized(name):
                    continue
                requires = f"{dependent} requires {wanted}" if dependent else f"{wanted} is required"
                if name == "errbot":
                    provides = f"errklein provides errbot {there} ({requirements.path})"
                    return InstallError(f"{requires}, but {provides}")
                if installed_version(name) == there:
                    return InstallError(self._conflict(requires, name, there, requirements.path))
        return InstallError(f"{requirements.path}: {error}")

    def _done(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            return dict(json.loads((self.path / _DONE).read_text("utf-8")))
        return {}

    def _note_done(self, requirements: RequirementFile) -> None:
        self.path.mkdir(mode=0o700, exist_ok=True)
        file = self.path / _DONE
        done = {**self._done(), str(requirements.path): _digest(requirements)}
        _write(file.with_suffix(".new"), [json.dumps(done)]).replace(file)


def _installed(path: Path) -> Iterator[tuple[str, str, Distribution]]:
    """Yield name, version and distribution of all installed ones, including those in `path`; pip must not change them."""
    from packaging.version import InvalidVersion, Version

    # Plugins get errklein in place of an installed errbot, too.
    seen = {"errbot"}
    for found in distributions(path=[*sys.path, str(path)]):
        # Incomplete metadata may have neither name nor version.
        name, version = name_and_version(found)
        name = normalized(name)
        if not name or name in seen:
            continue
        seen.add(name)
        # No requirement of pip can pin an invalid version (PEP 440).
        with suppress(InvalidVersion):
            yield name, str(Version(version)), found


def _write_metadata(directory: Path, name: str, version: str, found: Distribution | None = None) -> None:
    """Write what pip reads of an installed distribution, and a list of files, which it would remove instead of the real ones."""
    info = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    with suppress(UnicodeDecodeError):
        lines += [f"Requires-Dist: {needed}" for needed in (found.requires if found else None) or ()]
        lines += [
            f"Provides-Extra: {extra}" for extra in (found.metadata.get_all("Provides-Extra") if found else None) or ()
        ]
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
