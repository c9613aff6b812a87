"""Build the distributions of errklein, check their contents, install them as users do, and run the installed commands.

Needs `build` and `twine`; with `--installers`, also `pipx` and `uv`, by which the wheel is installed, too. Prints each
command; exits with 1 at the first problem.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITHOUT = re.compile(r"__pycache__|\.pyc$|dropin\.cache$")

Program = Callable[[str], Sequence[str | Path]]
"""Returns the beginning of the command line that runs an installed program."""


def run(*command: str | Path, cwd: Path, umask: int = -1) -> str:
    """Run the command and return its output; exits if it fails."""
    print("$", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600, umask=umask
    )
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


def build(source: Path, output: Path, *options: str, umask: int = -1) -> tuple[Path, Path]:
    """Build both distributions, and return their paths: the wheel and the source distribution."""
    run(sys.executable, "-m", "build", *options, "--outdir", output, source, cwd=output.parent, umask=umask)
    (wheel,), (sdist,) = output.glob("*.whl"), output.glob("*.tar.gz")
    return wheel, sdist


def check_reproducible(wheel: Path, sdist: Path, work: Path) -> None:
    """Check that another build has the same bytes.

    Its files have other times, and modes of another umask, and the wheel isn't built from the source distribution, but
    where an earlier build has left a module.
    """
    with tarfile.open(sdist) as source:
        source.extractall(work / "again", filter="data")
    [copy] = (work / "again").iterdir()
    for path in copy.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path)
    left = copy / "build" / "lib" / "errklein" / "left.py"
    left.parent.mkdir(parents=True)
    left.touch()
    built = build(copy, work / "dist-again", "--sdist", "--wheel", umask=0o077)
    for first, again in zip((wheel, sdist), built, strict=True):
        if (first.name, first.read_bytes()) != (again.name, again.read_bytes()):
            sys.exit(f"{first} and {again} differ, although they are built from the same files")


def check_commands(program: Program, directory: Path, version: str) -> None:
    """Check the installed commands, the twistd plugin, and the files that `errklein examples` writes."""
    said = run(*program("errklein"), "--version", cwd=directory)
    if version not in said:
        sys.exit(f"errklein --version prints {said!r}, expected {version}")
    for command in (program("twistd"), [*program("python"), "-m", "twisted"]):
        if not re.search(r"^\s+errklein ", run(*command, "--help", cwd=directory), re.MULTILINE):
            sys.exit(f"{command[0]} … --help doesn't list errklein")
        run(*command, "errklein", "--help", cwd=directory)
    with tempfile.TemporaryDirectory(dir=directory) as name:
        run(*program("errklein"), "examples", name, cwd=directory)
        written = {f"errklein/examples/{path.relative_to(name)}" for path in Path(name).rglob("*") if path.is_file()}
    examples = {name for name in source_files() if name.startswith("errklein/examples/")}
    if not written == examples != set():
        sys.exit(f"errklein examples has written {sorted(written)}, expected {sorted(examples)}")


def fresh_python(directory: Path) -> Path:
    """Return the Python of a new virtualenv."""
    run(sys.executable, "-m", "venv", directory, cwd=directory.parent)
    return directory / "bin" / "python"


def check_pip(wheel: Path, work: Path, version: str) -> None:
    """Install the wheel, and after that the checkout, by pip."""
    python = fresh_python(work / "wheel")
    for arguments in ([wheel], ["--editable", ROOT]):
        run(python, "-m", "pip", "install", "--quiet", *arguments, cwd=work)
        check_commands(lambda name: [python.with_name(name)], work, version)
        run(python, "-m", "pip", "check", cwd=work)
        run(python, "-m", "pip", "uninstall", "--yes", "errklein", cwd=work)


def check_installers(wheel: Path, work: Path, version: str) -> None:
    """Install the wheel by pipx, and run it by uvx without an installation."""
    home = work / "pipx"
    os.environ |= {
        "PIPX_HOME": str(home),
        "PIPX_BIN_DIR": str(work / "bin"),
        "PIPX_MAN_DIR": str(work / "man"),
        "UV_CACHE_DIR": str(work / "uv"),
        "UV_PYTHON": sys.executable,
    }
    run(sys.executable, "-m", "pipx", "install", wheel, cwd=work)
    run(work / "bin" / "errklein", "--version", cwd=work)
    check_commands(lambda name: [home / "venvs" / "errklein" / "bin" / name], work, version)
    uvx = Path(sys.executable).with_name("uvx")
    check_commands(lambda name: [uvx, "--from", wheel, name], work, version)


def main() -> None:
    """Build and check everything."""
    # Without it, builds differ by their times.
    os.environ.setdefault("SOURCE_DATE_EPOCH", str(int(time.time())))
    with tempfile.TemporaryDirectory(prefix="packaging-") as name:
        work = Path(name)
        wheel, sdist = build(ROOT, work / "dist")
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist, cwd=work)
        version = wheel.name.split("-")[1]
        if "--installers" in sys.argv[1:]:
            check_installers(wheel, work, version)
        else:
            check_contents(wheel, sdist)
            check_reproducible(wheel, sdist, work)
            check_pip(wheel, work, version)
    print("packaging: no problems")


if __name__ == "__main__":
    main()
