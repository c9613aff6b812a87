"""The directory of packages that plugins under test require, shared by all test bots of a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


def share_packages(data_dir: Path) -> None:
    """Link the process's directory of packages into a data directory.

    It is shared because modules stay imported when a bot stops, so their files must stay too.
    """
    (data_dir / "packages").symlink_to(_shared(), target_is_directory=True)


@cache
def _shared() -> Path:
    directory = tempfile.mkdtemp(prefix="errklein-test-packages-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)
