"""The source of a loaded module, which can be compared with its file."""

from __future__ import annotations

import time
from importlib.util import source_hash
from pathlib import Path

_SETTLED = 2_000_000_000
"""Nanoseconds after which a change of a file also changes its time: the coarsest resolution of file systems, FAT's."""


class LoadedSource:
    """The path and the hash of a source that was loaded.

    A file whose time and size are those of the last comparison isn't read again.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = Path(path)
        self._hash = source_hash(data)
        self._unchanged: tuple[int, int] | None = None

    def has_changed(self) -> bool:
        """Return whether the file differs from the source. Blocks on the disk.

        Raises FileNotFoundError or NotADirectoryError if the file was removed. An unreadable file counts as changed.
        """
        try:
            status = self.path.stat()
            state = (status.st_mtime_ns, status.st_size)
            if state == self._unchanged:
                return False
            if source_hash(self.path.read_bytes()) != self._hash:
                return True
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError:
            return True
        if time.time_ns() - status.st_mtime_ns > _SETTLED:
            self._unchanged = state
        return False
