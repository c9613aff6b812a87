"""Creation of files from templates, without ever overwriting a file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path


def read_template(name: str) -> str:
    """Return the text of a file in `templates`."""
    return (files("errklein.cli") / "templates" / name).read_text("utf-8")


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Create the files and their directories.

    Raises SystemExit with one line if one of the files exists, and creates none then, or if one can't be written.
    """
    try:
        for path in texts:
            if path.exists():
                raise SystemExit(f"errklein: {path} exists already; no file was written")
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise SystemExit(f"errklein: {error.filename} can't be written: {error.strerror}") from None
