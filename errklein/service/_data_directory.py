"""The directory where the bot keeps its data: who may use it, and that only one process does."""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK_NAME = "errklein.lock"


class DataDirectoryError(Exception):
    """The data directory can't be used; the text is one line that says why."""


@dataclass
class DataDirectory:
    """The directory at `path`, for use by `uid` and `gid`; None means whoever the process is."""

    path: Path
    uid: int | None = None
    gid: int | None = None
    _lock: int | None = None

    def check(self) -> None:
        """Raise DataDirectoryError if the directory can't be used; change nothing."""
        try:
            is_directory = self.path.is_dir()
        except PermissionError:
            raise self._error(f"user {_user_name(None)} can't enter a directory above it") from None
        if not is_directory:
            self._check_parent()
            return
        with acting_as(self.uid, self.gid):
            if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
                raise self._error(f"expected a directory that user {_user_name(self.uid)} can write to")
            if (self.path / LOCK_NAME).exists():
                os.close(self._open_lock(os.O_RDWR))

    def prepare(self) -> None:
        """Make the directory, and those above it that are missing, for its user alone; nothing if it is there."""
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        owner = self.owner()
        try:
            for path in reversed(missing):
                path.mkdir(mode=0o700, exist_ok=True)
                if owner is not None:
                    os.chown(path, *owner)
        except OSError as error:
            raise self._error(f"it can't be made: {error.strerror}") from None

    def owner(self) -> tuple[int, int] | None:
        """The user and group that what the process makes must be given to; None if it is theirs anyway."""
        if self.uid is None or os.geteuid() != 0:
            return None
        return self.uid, self.gid if self.gid is not None else pwd.getpwuid(self.uid).pw_gid

    def lock(self) -> None:
        """Keep every other process out, until `unlock` or the end of this one."""
        lock = self._open_lock(os.O_RDWR | os.O_CREAT)
        os.ftruncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        self._lock = lock

    def unlock(self) -> None:
        """Let others in. The lock's file stays, since removing it would race with whoever is about to lock it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open_lock(self, flags: int) -> int:
        try:
            lock = os.open(self.path / LOCK_NAME, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error(f"{LOCK_NAME}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise self._error(f"another errklein{f', process {holder},' if holder else ''} uses it") from None
        return lock

    def _check_parent(self) -> None:
        if self.path.exists():
            raise self._error("expected a directory")
        parent = next(parent for parent in self.path.parents if parent.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            raise self._error(f"it can't be made in {parent}; expected a directory that can be written to")

    def _error(self, problem: str) -> DataDirectoryError:
        return DataDirectoryError(f"BOT_DATA_DIR: {self.path}: {problem}")


@contextmanager
def acting_as(uid: int | None, gid: int | None) -> Iterator[None]:
    """Have the rights of that user and group meanwhile, if the process may choose."""
    if uid is None or os.geteuid() != 0 or uid == 0:
        yield
        return
    groups, old_gid = os.getgroups(), os.getegid()
    user = pwd.getpwuid(uid)
    gid = gid if gid is not None else user.pw_gid
    os.setgroups(os.getgrouplist(user.pw_name, gid))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(old_gid)
        os.setgroups(groups)


def _user_name(uid: int | None) -> str:
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
