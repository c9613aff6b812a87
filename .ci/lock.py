"""Write the versions of the image's packages to `image/`, with the hashes of their files: `lock.py [PACKAGE…]`. Needs `uv`.

Versions that are there already stay, if setup.py permits them, except those of the packages that are named; `all` are updated.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# The packages of the image, with their hashes. `.ci/lock.py` writes this file; see CONTRIBUTING.md.\n"

EXTRAS = ("apprise", "errbot", "postgres", "sentry", "xmpp")
"""The image can't be changed later, so it has what settings and plugins may need."""


def compile_lock(name: str, source: list[str], packages: list[str], stdin: str = "") -> None:
    """Write the file with the versions of a source of requirements."""
    path = ROOT / "image" / name
    path.parent.mkdir(exist_ok=True)
    updates = ["--upgrade"] if "all" in packages else [f"--upgrade-package={package}" for package in packages]
    options = ["--generate-hashes", "--python-version=3.13", "--no-header", "--no-annotate", "--quiet", *updates]
    command = ["uv", "pip", "compile", *options, "--output-file", str(path), *source]
    subprocess.run(command, cwd=ROOT, input=stdin, text=True, check=True)
    path.write_text(HEAD + path.read_text("utf-8").removeprefix(HEAD), "utf-8")


def main(packages: list[str]) -> None:
    """Write both files: the packages that run, and those that build errklein's wheel."""
    compile_lock("requirements.txt", ["setup.py", *(f"--extra={extra}" for extra in EXTRAS)], packages)
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    compile_lock("build.txt", ["-"], packages, "\n".join(build))


if __name__ == "__main__":
    main(sys.argv[1:])
