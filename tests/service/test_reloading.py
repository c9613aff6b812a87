"""Tests for the search for changed plugins."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.plug_file import PlugFile
from errklein.service.reloading import affected, snapshot


class ChangesTests(SynchronousTestCase):
    """Which plugins a change of files is about."""

    def setUp(self) -> None:
        """Two plugins in one folder, one in another."""
        self.root = Path(self.mktemp()).absolute()
        self.plugs = [
            PlugFile("A", "a", self.root / "both" / "a.plug"),
            PlugFile("B", "b", self.root / "both" / "b.plug"),
            PlugFile("C", "c", self.root / "c" / "c.plug"),
        ]

    def affected(self, *names: str) -> list[str]:
        """The plugins to reload if these files change."""
        return affected([self.root / name for name in names], self.plugs)

    def test_affected(self) -> None:
        """A plugin's own files are about it alone, files beside or below about all of the folder."""
        self.assertEqual(self.affected("both/a.py"), ["A"])
        self.assertEqual(self.affected("both/b.plug", "c/c.py"), ["B", "C"])
        self.assertEqual(self.affected("both/helper.py"), ["A", "B"])
        self.assertEqual(self.affected("c/package/module.py"), ["C"])
        self.assertEqual(self.affected("elsewhere.py"), [])

    def test_snapshots(self) -> None:
        """Files that are written, made and removed are seen, files that are no code aren't."""
        self.root.mkdir()
        for name in ("kept.py", "written.py", "removed.plug"):
            (self.root / name).write_text("")
        before = snapshot([self.root])
        os.utime(self.root / "written.py", ns=(1, 1))
        (self.root / "removed.plug").unlink()
        (self.root / "made.py").write_text("")
        (self.root / "notes.txt").write_text("")
        names = {path.name for path, _ in before.items() ^ snapshot([self.root]).items()}
        self.assertEqual(names, {"written.py", "removed.plug", "made.py"})
