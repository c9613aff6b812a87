"""`BOT_DATA_DIR/packages`: distributions that plugins require and that errklein's environment lacks.

errklein never changes its own environment. pip first resolves the requirements in a dry run, constrained to all
installed versions. Only missing distributions are then installed, into a directory at the end of `sys.path`, so that
they hide nothing.
"""

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
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from errklein.plugins.environment import applies, installed_version, name_and_version, unfulfilled
from errklein.plugins.plug_file import ERRBOT_VERSION
from errklein.plugins.requirement_files import RequirementFile, normalized
from errklein.plugins.subprocesses import ProgramError, run

_SECONDS = 600
_PIP_ON_PATHS = """\
import runpy, sys
first, last = sys.argv[1:3]
del sys.argv[1:3]
sys.path = [first, *sys.path, last]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""pip with two more directories on its path. PYTHONPATH would put them in front of the standard library."""

_INSTALL = ["install", "--disable-pip-version-check", "--no-input"]
_ENVIRONMENT = {"PIP_NO_COLOR": "1", "PIP_USER": "0", "PIP_TARGET": "", "PIP_PREFIX": "", "PIP_ROOT": ""}
"""Overrides of the operator's settings for where pip installs to; pip ignores empty ones."""

_lock = threading.Lock()
"""Held while any bot of the process installs packages."""

_DONE = ".errklein.json"
_WANTED = re.compile(
    r"^ +(?:(\S+ \S+) depends on|The user requested(?! \(constraint\))) (([\w.-]*\w).*)$", re.MULTILINE
)
_CONSTRAINT = re.compile(r"^ +The user requested \(constraint\) (\S+?)==(\S+)$", re.MULTILINE)


class InstallError(Exception):
    """The requirements of a file can't be installed; str() is one line with the file and pip's last error."""


class PackageDirectory:
    """The packages in a data directory for this version of Python. The methods block, so call them in threads.

    `installed` is called with the normalized name of each distribution that was installed.
    """

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

    def conflict(self, requires: str, name: str, there: str, place: object) -> str:
        """Return the sentence about a requirement that conflicts with the installed version of `name`."""
        where, remedy = (self.path, f". {self.remedy}") if self._has(name) else ("errklein's environment", "")
        return f"{requires}, but {where} has {name} {there} ({place}){remedy}"

    def _has(self, name: str) -> bool:
        return any(True for _ in distributions(name=name, path=[str(self.path)]))

    def has_done(self, requirements: RequirementFile) -> bool:
        """Return whether exactly these requirements have been installed in this directory."""
        return self._done().get(str(requirements.path)) == _digest(requirements)

    def install(self, requirements: RequirementFile) -> None:
        """Install the missing requirements.

        Raises InstallError, also if an installed version would have to change.
        """
        with _lock:
            try:
                self._install(requirements)
            except OSError as error:
                where = error.filename or self.path
                raise InstallError(f"{requirements.path}: {where} can't be written: {error.strerror}") from error

    def _install(self, requirements: RequirementFile) -> None:
        deadline = time.monotonic() + _SECONDS
        self.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tidy()
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.parent) as name:
            work = Path(name)
            try:
                plan = self._resolved(requirements, work, deadline)
                if plan:
                    self._fetch([*requirements.options, *_pinned(requirements, plan)], work, deadline)
            except ProgramError as error:
                raise self._explained(requirements, error) from error
            self._move_ready()
        self.activate()
        for item in plan:
            self._on_installed(normalized(item["metadata"]["name"]))
        self._note_done(requirements)

    def _resolved(self, requirements: RequirementFile, work: Path, deadline: float) -> list[Mapping[str, Any]]:
        """Return the distributions that pip would install, from the list "install" of its installation report."""
        provided = _write_errbot(work / "provided")
        report = work / "report.json"
        given = _write(work / "requirements.txt", [*requirements.options, *(line.text for line in requirements.lines)])
        pins = [f"errbot=={ERRBOT_VERSION}", *(f"{name}=={there}" for name, there in _installed(self.path))]
        pinned = _write(work / "constraints.txt", [*pins, *requirements.constraints])
        command = [sys.executable, "-P", "-c", _PIP_ON_PATHS, str(provided), str(self.path), *_INSTALL, "--dry-run"]
        _run([*command, "--report", str(report), "-r", str(given), "-c", str(pinned)], deadline)
        plan = json.loads(report.read_text("utf-8"))["install"]
        return [item for item in plan if self._is_wanted(item, requirements)]

    def _is_wanted(self, item: Mapping[str, Any], requirements: RequirementFile) -> bool:
        """Return whether an item of pip's plan isn't installed.

        Raises InstallError if it is, but is required from a URL.
        """
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        is_errbot = normalized(name) == "errbot"
        there = ERRBOT_VERSION if is_errbot else installed_version(name)
        if there is None or (not is_errbot and self._has(name)):
            return True
        if item["is_direct"]:
            url = item["download_info"]["url"]
            required = f"{name} {version} is required from {url}"
            raise InstallError(self.conflict(required, name, there, requirements.path))
        return False

    def _fetch(self, lines: list[str], work: Path, deadline: float) -> None:
        given = _write(work / "pinned.txt", lines)
        pip = [sys.executable, "-P", "-m", "pip"]
        _run([*pip, *_INSTALL, "--no-deps", "--target", str(work / "packages"), "-r", str(given)], deadline)
        (work / "packages").rename(self._ready)

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
                    return InstallError(self.conflict(requires, name, there, requirements.path))
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


def _run(command: list[str], deadline: float) -> None:
    run(command, seconds=max(deadline - time.monotonic(), 1), env=_ENVIRONMENT)


def _installed(path: Path) -> Iterator[tuple[str, str]]:
    """Yield names and versions of all installed distributions, including those in `path`; pip must not change them."""
    from packaging.version import InvalidVersion, Version

    seen = set()
    for found in distributions(path=[*sys.path, str(path)]):
        # Incomplete metadata may have neither name nor version.
        name, version = name_and_version(found)
        name = normalized(name)
        if not name or name in seen:
            continue
        seen.add(name)
        # No requirement of pip can pin an invalid version (PEP 440).
        with suppress(InvalidVersion):
            yield name, str(Version(version))


def _pinned(requirements: RequirementFile, plan: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a requirements file for exactly the distributions of pip's plan.

    URLs and paths are the given ones, since pip's report leaves out passwords. pip requires hashes for all lines or
    none.
    """
    direct = [
        line.text
        for line in requirements.lines
        if line.requirement is None or (not line.is_plain and applies(line.requirement))
    ]
    yield from direct
    names = {item["metadata"]["name"]: item for item in plan if not (item["is_direct"] and item["requested"])}
    hashes = {name: item["download_info"].get("archive_info", {}).get("hashes", {}) for name, item in names.items()}
    can_hash = not direct and all(found.get("sha256") for found in hashes.values())
    for name, item in names.items():
        if item["is_direct"]:
            yield f"{name} @ {item['download_info']['url']}"
        else:
            pin = f"{name}=={item['metadata']['version']}"
            yield f"{pin} --hash=sha256:{hashes[name]['sha256']}" if can_hash else pin


def _write_errbot(directory: Path) -> Path:
    """Write the metadata of an errbot without requirements, so that pip considers errbot installed."""
    info = directory / f"errbot-{ERRBOT_VERSION}.dist-info"
    info.mkdir(parents=True)
    _write(info / "METADATA", ["Metadata-Version: 2.1", "Name: errbot", f"Version: {ERRBOT_VERSION}"])
    return directory


def _write(file: Path, lines: Iterable[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return file


def _merge(source: Path, target: Path) -> None:
    """Move all files in `source` into `target`, replacing files; may be interrupted and repeated.

    Shared directories, such as namespace packages, are merged. Metadata is moved last, when a distribution is complete.
    """
    target.mkdir(mode=0o700, exist_ok=True)
    for entry in sorted(source.iterdir(), key=lambda entry: (entry.suffix == ".dist-info", entry.name)):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _merge(entry, place)
        else:
            if place.is_dir():
                shutil.rmtree(place)
            elif entry.is_dir():
                place.unlink(missing_ok=True)
            entry.replace(place)
    source.rmdir()


def _digest(requirements: RequirementFile) -> str:
    lines = [*requirements.options, "", *requirements.constraints, "", *(line.text for line in requirements.lines)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
