"""Creation of files from templates, without ever overwriting a file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from importlib.resources import files
from os.path import lexists
from pathlib import Path

_ERRBOT = """\
#!/bin/sh
# errbot's command line, run by errklein. Written by `errklein errbot-command`.
exec {python} -P -c 'import sys; from errklein.cli.errbot_options import main; sys.exit(main())' "$@"
"""


def write_errbot_command(directory: Path) -> None:
    """Write a command `errbot` that runs errklein, and print its path. Raises SystemExit with one line if one exists."""
    path = directory / "errbot"
    if not directory.is_dir():
        raise SystemExit(f"errklein: {directory} is not a directory; name one of PATH, such as /usr/local/bin")
    write_new_files({path: _ERRBOT.format(python=shlex.quote(sys.executable))})
    path.chmod(0o755)
    sys.stdout.write(f"{path} runs errklein with errbot's options\n")


def read_template(name: str) -> str:
    """Return the text of a file in `templates`."""
    return (files("errklein.cli") / "templates" / name).read_text("utf-8")


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Create the files and their directories.

    Raises SystemExit with one line if one of the files exists, and creates none then, or if one can't be written.
    """
    try:
        for path in texts:
            if lexists(path):
                raise SystemExit(f"errklein: {path} exists already; no file was written")
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise SystemExit(f"errklein: {error.filename} can't be written: {error.strerror}") from None
