"""Tests for requirements of plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins import packages
from errklein.plugins.distributions import (
    Requirements,
    above,
    examine,
    requirement_files,
)
from errklein.plugins.packages import PackageDirectory
from errklein.plugins.requirement_files import RequirementFile, UnreadableRequirements
from errklein.plugins.subprocesses import ProgramError


class ExamineTests(SynchronousTestCase):
    """Requirements compared with installed distributions."""

    def examine(self, text: str) -> tuple[list[str], list[str], list[str]]:
        """Return the lines that are missing, that conflict, and that are unknown."""
        file = Path(self.mktemp()).absolute()
        file.write_text(text, encoding="utf-8")
        found = examine(RequirementFile.read(file))
        missing, conflicts, unknown = (
            [line.name_and_versions for line in lines] for lines in (found.missing, found.conflicts, found.unknown)
        )
        return missing, conflicts, unknown

    def test_fulfilled(self) -> None:
        """Comments, markers, hashes, extras and continued lines are understood; installed packages aren't missing."""
        text = (
            "# comment\n\nTwisted>=20  # why\ntwisted[tls]>=22\nklein \\\n  >=20\n"
            'nothing-there; python_version < "3"\ntreq>1 --hash=sha256:00\n'
        )
        self.assertEqual(self.examine(text), ([], [], []))

    def test_missing(self) -> None:
        """A missing requirement is named as written."""
        self.assertEqual(self.examine("no-such-thing>=1  # why\n"), (["no-such-thing>=1"], [], []))

    def test_conflicts(self) -> None:
        """A wrong version is a conflict, and not missing."""
        self.assertEqual(self.examine("twisted<1\nno-such-thing\n"), (["no-such-thing"], ["twisted<1"], []))

    def test_unknown(self) -> None:
        """URLs, paths and invalid lines are unknown; pip decides about them."""
        lines = ["klein @ https://example.org/k.whl", "https://example.org/x.zip", "./here", "!!"]
        self.assertEqual(self.examine("\n".join(lines)), ([], [], lines))

    def test_extras(self) -> None:
        """An extra is installed if everything that it requires is."""
        missing, _, _ = self.examine("twisted[tls]\ntwisted[no-such-extra]\n")
        self.assertEqual(missing, [])
        with mock.patch("errklein.plugins.distributions.requirements_of", return_value=self.needed()):
            self.assertEqual(self.examine("twisted[extra]\n")[0], ["twisted[extra]"])

    def needed(self) -> list[Any]:
        """What an extra requires that isn't there."""
        from packaging.requirements import Requirement

        return [Requirement('no-such-thing; extra == "extra"')]

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Any text is read, or raises UnreadableRequirements."""
        try:
            found = self.examine(text)
        except (UnreadableRequirements, UnicodeEncodeError):
            return
        self.assertLessEqual(sum(map(len, found)), len(text.splitlines()) + 1)


class PlacesTests(SynchronousTestCase):
    """The requirement files that are read."""

    def test_files(self) -> None:
        """The files at the root, beside the plugin, and between them are read, and no others."""
        root = Path(self.mktemp()).absolute()
        (root / "a" / "b" / "c").mkdir(parents=True)
        (root / "other").mkdir()
        for directory in (root, root / "a", root / "a" / "b" / "c", root / "other", root.parent):
            (directory / "requirements.txt").write_text("")
        found = requirement_files([root], [root / "a" / "b" / "c" / "x.plug"])
        self.assertCountEqual([file.parent for file in found], [root, root / "a", root / "a" / "b" / "c"])

    def test_no_root_above(self) -> None:
        """Without a root above it, only the directory itself counts."""
        self.assertEqual(above(Path("/x/y"), [Path("/z")]), [Path("/x/y")])


class SettleTests(SynchronousTestCase):
    """When pip is run, and the errors that are reported."""

    def setUp(self) -> None:
        """Create a file, a data directory, and a pip that is recorded and plans nothing."""
        top = Path(self.mktemp()).absolute()
        top.mkdir()
        self.file = top / "requirements.txt"
        self.packages = PackageDirectory(top / "data")
        self.commands: list[list[str]] = []
        self.failure = ProgramError("")
        self.fails = False
        patch = mock.patch.object(packages, "run", self.run_instead)
        patch.start()
        self.addCleanup(patch.stop)

    def run_instead(self, command: list[str], **options: Any) -> str:
        """Record the command of pip, which plans to install nothing."""
        self.commands.append(command)
        self.options = options
        self.given = Path(command[command.index("-r") + 1]).read_text().splitlines()
        if self.fails:
            raise self.failure
        Path(command[command.index("--report") + 1]).write_text('{"install": []}')
        return ""

    def settle(self, text: str, autoinstall: bool = True) -> str:
        """Return the errors and warnings for a file with that text."""
        self.file.write_text(text)
        problems = Requirements(self.packages, autoinstall).settle(self.file)
        self.warnings = [problem.text for problem in problems if problem.is_warning]
        return "; ".join(problem.text for problem in problems)

    def test_nothing_is_run_if_all_is_there(self) -> None:
        """If all requirements are fulfilled or provided, no process runs and nothing is written."""
        self.assertEqual(self.settle("twisted\nerrbot==6.1.9\nflask<2\nWerkzeug[watchdog]<1\n"), "")
        self.assertEqual(self.commands, [])
        self.assertFalse(self.packages.parent.exists())

    def test_missing(self) -> None:
        """pip has a time limit, and its arguments contain nothing from the file."""
        self.assertEqual(self.settle("--index-url=http://127.0.0.1:1\nno-such-thing\n"), "")
        (command,) = self.commands
        self.assertIn("--dry-run", command)
        self.assertNotIn("no-such-thing", " ".join(command))
        self.assertNotIn("--index-url", " ".join(command))
        self.assertTrue(0 < self.options["seconds"] <= 600)

    def test_conflict(self) -> None:
        """A wrong version is a warning with the version, the file and the line number; pip isn't run for it."""
        for autoinstall in (True, False):
            warning = self.settle("\nTwisted<1  # why\n", autoinstall)
            self.assertEqual(self.commands, [])
            self.assertIn("Twisted<1 is required, but errklein's environment has Twisted 2", warning)
            self.assertIn(f"({self.file}:2)", warning)
            self.assertNotIn("\n", warning)
            self.assertEqual(self.warnings, [warning])

    def test_conflict_and_missing(self) -> None:
        """Beside a wrong version, missing packages are installed."""
        self.assertIn("Twisted<1 is required", self.settle("Twisted<1\nno-such-thing\n"))
        self.assertEqual(len(self.commands), 1)
        self.assertEqual(self.given, ["no-such-thing"])

    def test_what_cannot_be_looked_up(self) -> None:
        """A file with a URL is installed once, and again after a change or if the packages are removed."""
        line = "thing @ https://example.org/thing.whl\n"
        self.settle(line)
        self.settle(line)
        self.assertEqual(len(self.commands), 1)
        self.settle(line + "other @ https://example.org/other.whl\n")
        self.assertEqual(len(self.commands), 2)
        (self.packages.path / ".errklein.json").unlink()
        self.settle(line + "other @ https://example.org/other.whl\n")
        self.assertEqual(len(self.commands), 3)

    def test_failure(self) -> None:
        """pip's last error is reported in one line with the file, and the next start tries again."""
        self.fails, self.failure = True, ProgramError("ERROR: No matching distribution")
        self.assertEqual(self.settle("a @ https://example.org\n"), f"{self.file}: ERROR: No matching distribution")
        self.settle("a @ https://example.org\n")
        self.assertEqual(len(self.commands), 2)

    def test_not_allowed(self) -> None:
        """With AUTOINSTALL_DEPS off, missing requirements are named, and pip isn't run."""
        told = self.settle("twisted\nno-such-thing\nno-other>=2\n", autoinstall=False)
        self.assertIn("not installed: no-such-thing, no-other>=2", told)
        self.assertEqual(self.warnings, [])
        self.assertEqual(self.commands, [])

    def test_unreadable(self) -> None:
        """An unreadable file is reported."""
        [problem] = Requirements(self.packages, True).settle(self.file / "below")
        self.assertIn("can't be read", problem.text)
        self.assertFalse(problem.is_warning)

    def test_nowhere_to_write(self) -> None:
        """A data directory that isn't writable is reported in one line."""
        self.packages.parent.parent.write_text("a file")
        self.assertIn(f"{self.packages.parent}", self.settle("no-such-thing\n"))
