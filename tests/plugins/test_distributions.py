"""Tests for what plugins require: looked up first, then installed beside errklein's environment."""

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
from errklein.plugins.packages import PackageDirectory, RequirementConflict
from errklein.plugins.requirement_files import RequirementFile, UnreadableRequirements
from errklein.plugins.subprocesses import ProgramError


class ExamineTests(SynchronousTestCase):
    """What is there already."""

    def examine(self, text: str) -> tuple[list[str], list[str], list[str]]:
        """The lines that are missing, conflict, and can't be looked up."""
        file = Path(self.mktemp()).absolute()
        file.write_text(text, encoding="utf-8")
        found = examine(RequirementFile.read(file))
        missing, conflicts, unknown = (
            [line.name_and_versions for line in lines] for lines in (found.missing, found.conflicts, found.unknown)
        )
        return missing, conflicts, unknown

    def test_fulfilled(self) -> None:
        """Comments, markers, hashes, extras and continued lines are understood; what is there is not missing."""
        text = (
            "# comment\n\nTwisted>=20  # why\ntwisted[tls]>=22\nklein \\\n  >=20\n"
            'nothing-there; python_version < "3"\ntreq>1 --hash=sha256:00\n'
        )
        self.assertEqual(self.examine(text), ([], [], []))

    def test_missing(self) -> None:
        """What isn't there is named as it was written."""
        self.assertEqual(self.examine("no-such-thing>=1  # why\n"), (["no-such-thing>=1"], [], []))

    def test_conflicts(self) -> None:
        """What is there in a version that isn't allowed is told apart from what is missing."""
        self.assertEqual(self.examine("twisted<1\nno-such-thing\n"), (["no-such-thing"], ["twisted<1"], []))

    def test_unknown(self) -> None:
        """URLs, paths and nonsense can't be looked up; that is pip's to say."""
        lines = ["klein @ https://example.org/k.whl", "https://example.org/x.zip", "./here", "!!"]
        self.assertEqual(self.examine("\n".join(lines)), ([], [], lines))

    def test_extras(self) -> None:
        """An extra is there when all is there that it requires."""
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
        """No text makes it raise anything else than that a file can't be read."""
        try:
            found = self.examine(text)
        except (UnreadableRequirements, UnicodeEncodeError):
            return
        self.assertLessEqual(sum(map(len, found)), len(text.splitlines()) + 1)


class PlacesTests(SynchronousTestCase):
    """Which files are read."""

    def test_files(self) -> None:
        """The one at the root, the one beside the plugin, and those between; none of anywhere else."""
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
    """When pip is asked, and what is told."""

    def setUp(self) -> None:
        """Have a file, a data directory, and a pip that is only recorded and plans nothing."""
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
        """Record the command; pip plans to install nothing."""
        self.commands.append(command)
        self.options = options
        if self.fails:
            raise self.failure
        Path(command[command.index("--report") + 1]).write_text('{"install": []}')
        return ""

    def settle(self, text: str, autoinstall: bool = True) -> str:
        """What is told of a file with that text."""
        self.file.write_text(text)
        return Requirements(self.packages, autoinstall).settle(self.file)

    def test_nothing_is_run_if_all_is_there(self) -> None:
        """No process for what is fulfilled or provided, even the first time, and nothing is written."""
        self.assertEqual(self.settle("twisted\nerrbot==6.1.9\nflask<2\nWerkzeug[watchdog]<1\n"), "")
        self.assertEqual(self.commands, [])
        self.assertFalse(self.packages.parent.exists())

    def test_missing(self) -> None:
        """pip has a time limit, and nothing that stands in the file is among its arguments."""
        self.assertEqual(self.settle("--index-url=http://127.0.0.1:1\nno-such-thing\n"), "")
        (command,) = self.commands
        self.assertIn("--dry-run", command)
        self.assertNotIn("no-such-thing", " ".join(command))
        self.assertNotIn("--index-url", " ".join(command))
        self.assertTrue(0 < self.options["seconds"] <= 600)

    def test_conflict(self) -> None:
        """What is there in another version is refused without asking pip; the line has the version, file and line number."""
        error = self.assertRaises(RequirementConflict, self.settle, "\nTwisted<1  # why\n")
        self.assertEqual(self.commands, [])
        self.assertIn("Twisted<1 is required, but errklein's environment has Twisted 2", str(error))
        self.assertIn(f"({self.file}:2)", str(error))
        self.assertNotIn("\n", str(error))

    def test_what_cannot_be_looked_up(self) -> None:
        """A file with a URL is installed once, and again when it has changed, or when the packages are gone."""
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
        """What pip says last is told in one line with the file, and it is tried again the next time."""
        self.fails, self.failure = True, ProgramError("ERROR: No matching distribution")
        self.assertEqual(self.settle("a @ https://example.org\n"), f"{self.file}: ERROR: No matching distribution")
        self.settle("a @ https://example.org\n")
        self.assertEqual(len(self.commands), 2)

    def test_not_allowed(self) -> None:
        """With AUTOINSTALL_DEPS off, what is missing is named, and nothing is run."""
        told = self.settle("twisted\nno-such-thing\nno-other>=2\n", autoinstall=False)
        self.assertIn("not installed: no-such-thing, no-other>=2", told)
        self.assertEqual(self.commands, [])

    def test_unreadable(self) -> None:
        """A file that can't be read is told of."""
        self.assertIn("can't be read", Requirements(self.packages, True).settle(self.file / "below"))

    def test_nowhere_to_write(self) -> None:
        """A data directory that can't be written to is told in one line."""
        self.packages.parent.parent.write_text("a file")
        self.assertIn(f"{self.packages.parent}", self.settle("no-such-thing\n"))
