"""The bot's data directory: its creation, its permissions, and the lock of the processes that use it."""

from __future__ import annotations

import fcntl
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

LOCK_NAME = "errklein.lock"  # the name of the lock file, which contains the id of the process that holds the lock


class DataDirectoryError(Exception):
    """The data directory can't be used. The text is one line with the directory and the reason."""


@dataclass
class DataDirectory:
    """The data directory of a bot; `source` is the setting or option that names it. It may be shared by the processes of a
    bot whose values are in another database; other processes get it alone."""

    path: Path
    source: str = "BOT_DATA_DIR"
    is_shared: bool = False
    _lock: int | None = None

    def check(self) -> None:
        """Raise DataDirectoryError if the directory can't be used, or if another process uses it. Nothing is changed."""
        self.check_access()
        if (self.path / LOCK_NAME).exists():
            os.close(self._open_lock(os.O_RDWR))

    def is_used(self) -> bool:
        try:
            replace(self, is_shared=False).check()
        except DataDirectoryError:
            return True
        return False

    def check_exists(self) -> None:
        if not self._is_directory() and not self.path.exists():
            raise self._error("the directory doesn't exist; name the bot's configuration with --config")

    def check_access(self) -> None:
        if not self._is_directory():
            self._check_parent()
        elif not os.access(self.path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            raise self._error(f"the user {user_name()} can't write to it; {self._remedy()}")

    def check_readable(self, *, missing_ok: bool = False) -> None:
        if missing_ok and not self._is_directory():
            return
        self.check_exists()
        for path in (self.path, *self.path.glob("*.sqlite*")):
            if not os.access(path, os.R_OK | (os.X_OK if path is self.path else 0), effective_ids=True):
                raise self._error(f"the user {user_name()} can't read {path}; {self._remedy()}")

    def is_own(self) -> bool:
        """Return whether the bot's user runs this process, or the directory is missing. The bot's user owns the lock
        file; before the first start, it owns the directory."""
        return not self._is_directory() or self._owner() == os.geteuid()

    def check_user(self) -> None:
        """Raise DataDirectoryError unless `is_own`: the bot couldn't use files that another user writes."""
        if not self.is_own():
            raise self._error(f"the bot couldn't use files of the user {user_name()}; {self._remedy()}")

    def _is_directory(self) -> bool:
        try:
            return self.path.is_dir()
        except PermissionError:
            text = f"the user {user_name()} can't enter a directory above it; run as the bot's user"
            raise self._error(text) from None

    def _owner(self) -> int:
        # The directory may be impossible to enter.
        with suppress(OSError):
            return (self.path / LOCK_NAME).stat().st_uid
        return self.path.stat().st_uid

    def _remedy(self) -> str:
        owner = self._owner()
        if owner == os.geteuid():
            return "check its mode"
        remedy = f"run as {user_name(owner)} (the owner of {self.path})"
        return remedy if owner else f"{remedy}, or give it to the bot's user"

    def prepare(self) -> None:
        """Create the directory and missing parents with mode 0700. An existing directory isn't changed."""
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            for path in reversed(missing):
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._error(f"it can't be created: {error.strerror}") from None

    def lock(self) -> None:
        """Lock the directory until `unlock`, or until the process ends. Raises DataDirectoryError if it is locked."""
        lock = self._open_lock(os.O_RDWR | os.O_CREAT)
        os.ftruncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        self._lock = lock

    def unlock(self) -> None:
        """Release the lock. The lock file stays, since its removal would race with a process that is locking it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open_lock(self, flags: int) -> int:
        try:
            lock = os.open(self.path / LOCK_NAME, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error(f"{LOCK_NAME}: {error.strerror}") from None
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if self.is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            text = f"another errklein{f', process {other},' if other else ''} uses it; stop it first"
            raise self._error(text) from None
        return lock

    def _check_parent(self) -> None:
        if self.path.exists():
            raise self._error(f"it isn't a directory; name another path, such as {self.path.parent / 'errklein-data'}")
        parent = next(parent for parent in self.path.parents if parent.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            raise self._error(f"it can't be created, since {parent} isn't a writable directory")

    def _error(self, problem: str) -> DataDirectoryError:
        return DataDirectoryError(f"{self.source} {self.path}: {problem}")


def user_name(uid: int | None = None) -> str:
    """Return the name of the user, by default of the process's; its number if it has no name."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
