"""Files that a command writes for the user to edit; what is there is never overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path


def read_template(name: str) -> str:
    """The text of a file in `templates`."""
    return (files("errklein.cli") / "templates" / name).read_text("utf-8")


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Write the files, and make their directories; raises SystemExit with one line if that can't be done."""
    try:
        for path in texts:
            if path.exists():
                raise SystemExit(f"errklein: {path} is there already; nothing was written")
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise SystemExit(f"errklein: {error.filename} can't be written: {error.strerror}") from None
