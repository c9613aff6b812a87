"""Build the distributions of errklein, check their contents, install them as users do, and run the installed commands.

Needs `build` and `twine`. Prints each command; exits with 1 at the first problem.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITHOUT = re.compile(r"__pycache__|\.pyc$|dropin\.cache$")


def run(*command: str | Path, cwd: Path) -> str:
    """Run the command and return its output; exits if it fails."""
    print("$", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{done.stderr}\nexit status {done.returncode}")
    return done.stdout + done.stderr


def source_files() -> set[str]:
    """Return the paths of the files that belong into a wheel."""
    files = {path for path in (ROOT / "errklein").rglob("*") if path.is_file()}
    files |= {*(ROOT / "twisted" / "plugins").glob("*.py"), ROOT / "errklein_pytest.py"}
    return {str(path.relative_to(ROOT)) for path in files if not WITHOUT.search(str(path))}


def check_contents(wheel: Path, sdist: Path) -> None:
    """Check that the wheel has exactly errklein's files, and that the source distribution contains the tests."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    missing, surplus = source_files() - packed, packed - source_files()
    if missing or surplus:
        sys.exit(f"{wheel.name}: missing files {sorted(missing)}, unexpected files {sorted(surplus)}")
    with tarfile.open(sdist) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    wanted = {
        "setup.py",
        "tox.ini",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "tests/__init__.py",
        "docs/conf.py",
        *source_files(),
    }
    if wanted - names:
        sys.exit(f"{sdist.name}: missing files {sorted(wanted - names)}")


def check_commands(python: Path, elsewhere: Path, version: str) -> None:
    """Check the installed command and the twistd plugin."""
    said = run(python.with_name("errklein"), "--version", cwd=elsewhere)
    if version not in said:
        sys.exit(f"errklein --version prints {said!r}, expected {version}")
    if not re.search(r"^\s+errklein ", run(python.with_name("twistd"), "--help", cwd=elsewhere), re.MULTILINE):
        sys.exit("twistd --help doesn't list errklein")
    run(python.with_name("twistd"), "errklein", "--help", cwd=elsewhere)
    run(python, "-m", "pip", "check", cwd=elsewhere)


def fresh_python(directory: Path) -> Path:
    """Return the Python of a new virtualenv."""
    run(sys.executable, "-m", "venv", directory, cwd=directory.parent)
    return directory / "bin" / "python"


def main() -> None:
    """Build and check everything."""
    with tempfile.TemporaryDirectory(prefix="packaging-") as name:
        work = Path(name)
        run(sys.executable, "-m", "build", "--outdir", work / "dist", ROOT, cwd=work)
        (wheel,), (sdist,) = (work / "dist").glob("*.whl"), (work / "dist").glob("*.tar.gz")
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=work)
        check_contents(wheel, sdist)
        version = wheel.name.split("-")[1]
        python = fresh_python(work / "wheel")
        run(python, "-m", "pip", "install", "--quiet", wheel, cwd=work)
        check_commands(python, work, version)
        run(python, "-m", "pip", "uninstall", "--yes", "errklein", cwd=work)
        run(python, "-m", "pip", "install", "--quiet", "--editable", ROOT, cwd=work)
        check_commands(python, work, version)
    print("packaging: no problems")


if __name__ == "__main__":
    main()
