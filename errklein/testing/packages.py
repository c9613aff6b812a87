"""Packages that plugins under test require, installed once for all test bots of a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


def share_packages(data_dir: Path) -> None:
    """Share one directory of packages among all test bots of this process, of which `data_dir` is the data directory of one.

    Modules stay imported when a bot stops, so their files must stay too.
    """
    (data_dir / "packages").symlink_to(_shared(), target_is_directory=True)


@cache
def _shared() -> Path:
    directory = tempfile.mkdtemp(prefix="errklein-test-packages-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)
