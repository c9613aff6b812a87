"""The data directory is created, checked and locked."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.service._data_directory import LOCK_NAME, DataDirectory, DataDirectoryError, user_name


class DataDirectoryTests(SynchronousTestCase):
    """The data directory."""

    def setUp(self) -> None:
        """Choose a directory that doesn't exist."""
        self.path = Path(self.mktemp()).absolute() / "data"
        self.data = DataDirectory(self.path)

    def test_made(self) -> None:
        """The directory is created with mode 0700; a check creates nothing."""
        self.data.check()
        self.assertFalse(self.path.exists())
        self.data.prepare()
        self.data.prepare()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)

    def test_lock(self) -> None:
        """The second lock fails with the id of the first process, until that releases the lock."""
        self.data.prepare()
        self.data.lock()
        other = DataDirectory(self.path)
        for attempt in (other.check, other.lock):
            error = self.assertRaises(DataDirectoryError, attempt)
            self.assertIn(f"another errklein, process {os.getpid()}, uses it", str(error))
        self.data.unlock()
        other.check()
        other.lock()
        other.unlock()

    def test_shared_lock(self) -> None:
        """Processes that share the directory lock it together. Another process gets it only after all of them."""
        self.data.prepare()
        first, second = (DataDirectory(self.path, is_shared=True) for _ in range(2))
        first.lock()
        second.check()
        second.lock()
        self.assertTrue(second.is_used())
        first.unlock()
        self.assertRaises(DataDirectoryError, self.data.lock)
        second.unlock()
        self.data.lock()
        self.assertRaises(DataDirectoryError, first.lock)
        self.data.unlock()

    def test_check_keeps_the_lock(self) -> None:
        """A check by a second process doesn't release the first one's lock."""
        self.data.prepare()
        self.data.lock()
        self.assertRaises(DataDirectoryError, DataDirectory(self.path).check)
        self.assertRaises(DataDirectoryError, DataDirectory(self.path).lock)
        self.assertEqual((self.path / LOCK_NAME).read_text().strip(), str(os.getpid()))
        self.data.unlock()

    def test_not_writable(self) -> None:
        """A directory that the user can't write to is an error that names the user."""
        self.data.prepare()
        self.patch(os, "access", lambda *args, **options: False)
        error = self.assertRaises(DataDirectoryError, DataDirectory(self.path, "--data-dir").check)
        self.assertEqual(str(error).partition(" can't")[0], f"--data-dir {self.path}: the user {user_name()}")

    def test_hidden_directory(self) -> None:
        """A directory below one that the user can't enter is refused with one line."""

        def is_dir(path: Path) -> bool:
            raise PermissionError(13, "Permission denied", str(path))

        self.patch(Path, "is_dir", is_dir)
        error = self.assertRaises(DataDirectoryError, self.data.check)
        self.assertIn(f"BOT_DATA_DIR {self.path}: the user ", str(error))
        self.assertIn("can't enter a directory above it", str(error))
