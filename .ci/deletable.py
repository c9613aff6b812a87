"""Delete an optional part, and run the tests of the rest: `deletable.py [PART…] [--tests NAMES]`.

A part is its folder or file, its entry in the files that name it, and its mirrored tests. Nothing else is edited, so nothing
else may need it. Everything happens in copies of the checkout. Exits with 1 if tests fail. Without names, all parts are tried; with `--tests "NAME…"`, only some tests are run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".git", "venv*", "_trial_temp*", "__pycache__", "_build", ".hypothesis", "*.egg-info")


@dataclass(frozen=True)
class Part:
    """The paths that are deleted, and a pattern of the entry in each file that names the part."""

    paths: Sequence[str]
    entries: Mapping[str, str] = field(default_factory=dict)


def of_network(name: str, values: str = "") -> Part:
    """Return the part of a network. The scripts of acceptance, whose tests `.ci/full` names, import all of these networks."""
    paths = (f"errklein/networks/{name}", f"tests/networks/{name}", "tests/networks/test_acceptance.py")
    entries = {".ci/full": r"^step xmpp .*long_tests\.networks.*\n"}
    return Part((*paths, "long_tests/networks"), entries | ({"errklein/compat/names.txt": values} if values else {}))


PARTS: Mapping[str, Part] = {
    "status": Part(("errklein/status.py", "tests/status", "long_tests/status")),
    "console": Part(
        (
            "errklein/console",
            "errklein/core_plugins/console.plug",
            "errklein/core_plugins/console.py",
            "tests/console",
            "tests/core_plugins/test_console.py",
        )
    ),
    "sources.gitea": Part(
        ("errklein/sources/gitea", "tests/sources/test_gitea.py", "tests/sources/payloads/gitea-synthetic.json"),
        {"errklein/sources/__init__.py": r'^    "forgejo": "gitea",\n'},
    ),
    "core_plugins.versionchecker": Part(
        (
            "errklein/core_plugins/versionchecker.py",
            "errklein/core_plugins/versionchecker.plug",
            "tests/core_plugins/test_versionchecker.py",
            "tests/contract/test_13_versionchecker.py",
        ),
        {"errklein/compat/names.txt": r"^errbot\.core_plugins\.vcheck\n    .*\n"},
    ),
    "networks.matrix": of_network("matrix"),
    "networks.slack": of_network("slack"),
    "networks.xmpp": of_network("xmpp", r"^errbot\.backends\.xmpp\n    .*\n"),
    "networks.telegram": of_network("telegram", r"^errbot\.backends\.telegram_messenger\n    .*\n    .*\n"),
    "networks.apprise": Part(("errklein/networks/apprise", "tests/networks/apprise")),
    "postgres": Part(
        ("errklein/postgres", "tests/postgres", "long_tests/postgres"),
        {"setup.py": r'^        "errklein\.databases": .*\n', ".ci/full": r'^tests "tests-postgres.*\n'},
    ),
    "compat.backends": Part(("errklein/compat/backends", "tests/compat/backends")),
}


def without(part: Part, directory: Path) -> Path:
    """Return a copy of the checkout without the part."""
    copy = directory / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for path in part.paths:
        (shutil.rmtree if (copy / path).is_dir() else os.remove)(copy / path)
    for name, entry in part.entries.items():
        file = copy / name
        text, count = re.subn(entry, "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if not count:
            sys.exit(f"{name} has no entry {entry}")
        file.write_text(text, encoding="utf-8")
    return copy


def main() -> int:
    """Try the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tests", default="tests")
    options = parser.parse_args()
    failed = []
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="deletable-") as directory:
            copy = without(PARTS[name], Path(directory))
            # Network tests start fresh interpreters, which find the copy as this one does.
            environment = {**os.environ, "PYTHONPATH": str(copy), "ERRKLEIN_QUICK_TESTS": "1"}
            command = [sys.executable, "-m", "twisted.trial", "-j2", *options.tests.split()]
            done = subprocess.run(
                command,
                cwd=copy,
                env=environment,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        ran = re.search(r"^Ran [1-9]\d* tests.*", done.stdout, re.MULTILINE)
        if done.returncode or not ran:
            failed.append(name)
            # Without the list of skipped tests.
            first = re.search(r"^=+\n\[(?!SKIPPED)", done.stdout, re.MULTILINE)
            print(done.stdout[first.start() if first else 0 :][:20_000])
        print(
            f"without {name}: {ran[0] if ran else 'no tests'}, {'failed' if name in failed else 'passed'}", flush=True
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
