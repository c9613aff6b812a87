"""Tests for requirement files, which are read as pip reads them, without distributions that errklein provides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.packages import (
    PROVIDED,
    RequirementFile,
    UnreadableRequirements,
    above,
    examine,
    is_provided,
    requirement_files,
)


class RequirementFilesTestCase(SynchronousTestCase):
    """A test case with a directory of requirement files."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def write(self, path: str, text: str) -> Path:
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def read(self, text: str) -> RequirementFile:
        return RequirementFile.read(self.write("requirements.txt", text))

    def lines(self, text: str) -> list[str]:
        return [line.text for line in self.read(text).lines]


class FormatTests(RequirementFilesTestCase):
    """Lines, options and included files."""

    def test_lines(self) -> None:
        """Empty lines and comments are removed, continued lines are joined, and hashes are kept."""
        text = "# first\n\nrequests>=2  # why\ntreq \\\n  >=20\nfoo#bar\nfoo==1 --hash=sha256:00\n \t\n"
        self.assertEqual(self.lines(text), ["requests>=2", "treq   >=20", "foo#bar", "foo==1 --hash=sha256:00"])

    def test_where(self) -> None:
        """A line has the file and the number of its first line."""
        made = self.read("\n# comment\nfoo \\\n  >=1\nbar\n")
        self.assertEqual([line.location for line in made.lines], [f"{made.path}:3", f"{made.path}:5"])

    def test_a_comment_ends_a_continued_line(self) -> None:
        """As in pip, a comment in a continued line isn't continued."""
        self.assertEqual(self.lines("foo \\\n# comment \\\nbar\n"), ["foo", "bar"])
        self.assertEqual(self.lines("foo \\\n"), ["foo"])

    def test_byte_order_mark(self) -> None:
        """A byte order mark is ignored."""
        self.assertEqual(self.lines("\ufefffoo\n"), ["foo"])

    def test_included_files(self) -> None:
        """Included files are read in place, with paths relative to the including file."""
        self.write("more/one.txt", "one\n-r two.txt\n")
        self.write("more/two.txt", "two\n")
        self.write("three.txt", "three\n")
        text = "zero\n-r more/one.txt\n--requirement=three.txt\nfour\n"
        self.assertEqual(self.lines(text), ["zero", "one", "two", "three", "four"])

    def test_a_circle(self) -> None:
        """Files that include each other are read once."""
        self.write("a/other.txt", "other\n-r ../requirements.txt\n-r ../a/other.txt\n")
        self.assertEqual(self.lines("-r a/other.txt\nfirst\n"), ["other", "first"])

    def test_a_missing_file(self) -> None:
        """The error names the missing included file and the plugin's file."""
        error = self.assertRaises(UnreadableRequirements, self.read, "-r nowhere.txt\n")
        self.assertIn("requirements.txt: ", str(error))
        self.assertIn("nowhere.txt: it can't be read: No such file", str(error))

    def test_a_path_that_is_none(self) -> None:
        """An invalid path of an included file is an error too."""
        error = self.assertRaises(UnreadableRequirements, self.read, "-r a\0b\n")
        self.assertIn("it can't be read", str(error))

    def test_constraints(self) -> None:
        """Lines of constraint files are constraints, those of files that they include too."""
        self.write("limits.txt", "foo<2\n-r more.txt\n")
        self.write("more.txt", "bar<3\n")
        made = self.read("-c limits.txt\nfoo\n")
        self.assertEqual((made.constraints, [line.text for line in made.lines]), (["foo<2", "bar<3"], ["foo"]))

    def test_options(self) -> None:
        """Options are kept for pip; a directory of wheels may be relative to the file."""
        (self.directory / "wheels").mkdir()
        options = ["--index-url https://example.org", "--pre", "-r https://example.org/r.txt", "--find-links nowhere"]
        made = self.read("\n".join([*options, "-f wheels", "foo"]))
        self.assertEqual(made.options, [*options, f"--find-links {self.directory / 'wheels'}"])

    def test_environment_variables(self) -> None:
        """A variable's value is used to look up a name, and isn't part of the text, which may be shown."""
        with mock.patch.dict(os.environ, {"THING": "thing", "TOKEN": "s3cret"}):
            named, url = self.read("${THING}>1\nfoo @ https://${TOKEN}@example.org/foo.zip\n").lines
        assert named.requirement is not None
        self.assertEqual((named.requirement.name, named.text), ("thing", "${THING}>1"))
        self.assertNotIn("s3cret", url.text)

    def test_editable(self) -> None:
        """An editable requirement is treated as an ordinary one."""
        (line,) = self.read("-e git+https://example.org/thing#egg=thing\n").lines
        self.assertEqual(line.text, "git+https://example.org/thing#egg=thing")
        self.assertIsNone(line.requirement)


class ProvidedTests(RequirementFilesTestCase):
    """Distributions that errklein provides."""

    def test_lines(self) -> None:
        """errbot, Flask and Werkzeug are left out in any spelling, with versions, extras and markers; others stay."""
        provided = [
            "errbot",
            "ErrBot==6.1.9",
            "errbot[irc]>=6 ; python_version>'3'",
            "flask<2",
            "FLASK ~= 1.0 --hash=sha256:00",
            "Werkzeug (<1)",
            "errbot @ git+https://github.com/errbotio/errbot@6.1.9",
            "git+https://github.com/errbotio/errbot.git@6.1.9",
            "-e git+ssh://git@example.org/fork#egg=Errbot",
            "https://example.org/errbot-6.1.9.tar.gz",
            "https://example.org/Flask-1.0-py3-none-any.whl#sha256=00",
        ]
        others = ["errbot-backend-discord", "Flask-Login", "https://example.org/err-flask-1.0.zip", "./errbot-plugin"]
        self.assertEqual(self.lines("\n".join([*provided, *others])), others)

    def test_in_other_files(self) -> None:
        """They are also left out in included files and constraints."""
        self.write("more.txt", "errbot\nfoo\n")
        self.write("limits.txt", "Werkzeug<1\nfoo<2\n")
        made = self.read("-r more.txt\n-c limits.txt\n")
        self.assertEqual(([line.text for line in made.lines], made.constraints), (["foo"], ["foo<2"]))

    @given(st.sampled_from(sorted(PROVIDED)), st.data())
    def test_spellings(self, name: str, data: st.DataObject) -> None:
        """Names are case-insensitive."""
        spelt = "".join(data.draw(st.sampled_from([letter, letter.upper()])) for letter in name)
        self.assertTrue(is_provided(spelt))
        self.assertFalse(is_provided(f"{spelt}-extension"))


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
        with mock.patch("errklein.plugins.packages.requirements_of", return_value=self.needed()):
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
