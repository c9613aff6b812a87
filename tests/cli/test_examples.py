"""`errklein examples` writes the files that the documentation shows."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein import cli

EXAMPLES = Path(errklein.__file__).parent / "examples"


def contents(directory: Path) -> Mapping[str, bytes]:
    """Return the contents of the files in the directory and its directories, by their paths."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class ExamplesTests(SynchronousTestCase):
    """Calls in this process."""

    def setUp(self) -> None:
        """Choose a directory that doesn't exist."""
        self.directory = Path(self.mktemp())

    def write(self) -> list[str]:
        """Write the examples, and return the lines that are printed."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(cli.main(["examples", str(self.directory)]), 0)
        return out.getvalue().splitlines()

    def test_all_files_are_written_and_listed(self) -> None:
        """Each example is written as it is in the package, and its path is printed."""
        printed = self.write()
        written = contents(self.directory)
        self.assertEqual(written, contents(EXAMPLES))
        self.assertEqual(sorted(printed), sorted(str(self.directory / name) for name in written))
        self.assertIn("monitoring/errklein.rules.yml", written)

    def test_missing_files_are_added(self) -> None:
        """A second call writes and lists only what is missing; a third says that nothing is."""
        self.write()
        (self.directory / "nginx.conf").unlink()
        self.assertEqual(self.write(), [str(self.directory / "nginx.conf")])
        self.assertEqual(contents(self.directory), contents(EXAMPLES))
        self.assertEqual(self.write(), [f"{self.directory} has all examples already"])

    def test_changed_files_are_kept(self) -> None:
        """If a file differs, the error names it, and nothing is written."""
        self.directory.mkdir()
        changed = self.directory / "nginx.conf"
        changed.write_text("mine")
        exit_ = self.assertRaises(SystemExit, cli.main, ["examples", str(self.directory)])
        self.assertEqual(exit_.code, f"errklein: {changed} exists already and differs; no file was written")
        self.assertEqual(contents(self.directory), {"nginx.conf": b"mine"})

    def test_links_that_lead_nowhere_are_kept(self) -> None:
        """A link to a missing file isn't followed."""
        self.directory.mkdir()
        (self.directory / "nginx.conf").symlink_to("elsewhere")
        exit_ = self.assertRaises(SystemExit, cli.main, ["examples", str(self.directory)])
        self.assertIn("can't be written", str(exit_.code))
        self.assertFalse((self.directory / "elsewhere").exists())

    def test_directory_that_is_a_file(self) -> None:
        """A directory that can't be created is an error of one line."""
        self.directory.write_text("a file")
        exit_ = self.assertRaises(SystemExit, cli.main, ["examples", str(self.directory)])
        self.assertIn("can't be written", str(exit_.code))
