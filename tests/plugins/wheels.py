"""Wheels for tests of what pip installs, written without building anything."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_wheel(
    directory: Path,
    name: str,
    version: str = "1.0",
    requires: Iterable[str] = (),
    files: Mapping[str, str | bytes] | None = None,
    entry_points: str = "",
) -> Path:
    """Write a distribution into the directory; its files are one module of its name unless others are given."""
    directory.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    contents = {
        **({f"{name}.py": "answer = 42\n"} if files is None else files),
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", *metadata, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{info}/entry_points.txt": entry_points} if entry_points else {}),
    }
    record = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in (contents | {f"{info}/RECORD": record}).items():
            archive.writestr(path, content)
    return wheel
