"""Versions of builds: from git, from archives, and without either."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import errklein
import tests

ROOT = Path(errklein.__file__).parent.parent
NEEDED = (".gitattributes", ".git_archival.txt", "README.md", "setup.py")


class BuildVersionTests(SynchronousTestCase):
    """The version that setup.py gives to a build."""

    def setUp(self) -> None:
        """Copy what decides the version to a directory of its own."""
        tests.needs_network()
        self.work = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.work)
        self.tree = self.work / "tree"
        self.tree.mkdir()
        for name in NEEDED:
            shutil.copy(ROOT / name, self.tree)

    def run_in(self, directory: Path, *command: str, path: str | None = None) -> str:
        names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"}
        environment = {**os.environ, **names, "PATH": path or os.environ["PATH"]}
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def version(self, directory: Path | None = None, path: str | None = None) -> str:
        return self.run_in(directory or self.tree, sys.executable, "setup.py", "--version", path=path)

    def commit(self) -> str:
        """Commit the tree, and return the beginning of the hash."""
        if not (self.tree / ".git").exists():
            self.run_in(self.tree, "git", "init", "--quiet")
        self.run_in(self.tree, "git", "add", "--all")
        self.run_in(self.tree, "git", "commit", "--quiet", "--allow-empty", "--message", "Change")
        return self.run_in(self.tree, "git", "rev-parse", "HEAD")[:9]

    def archive(self) -> Path:
        """Return the directory with the unpacked archive of the last commit."""
        unpacked = Path(tempfile.mkdtemp(dir=self.work))
        self.run_in(self.tree, "git", "archive", "--output", str(self.work / "archive.tar"), "HEAD")
        self.run_in(unpacked, "tar", "xf", str(self.work / "archive.tar"))
        return unpacked

    def test_version_of_a_commit(self) -> None:
        """A later commit has a higher version, which ends in the commit."""
        first = self.commit()
        self.assertEqual(self.version(), f"0.2.0.dev1+g{first}")
        second = self.commit()
        self.assertEqual(self.version(), f"0.2.0.dev2+g{second}")

    def test_version_of_a_changed_tree(self) -> None:
        """The version says that files were changed since the commit."""
        commit = self.commit()
        (self.tree / "README.md").write_text("changed")
        self.assertRegex(self.version(), rf"^0\.2\.0\.dev1\+g{commit}\.d\d{{8}}$")

    def test_version_of_a_release(self) -> None:
        """A tagged commit has the version of its tag, and so has its archive."""
        self.commit()
        self.run_in(self.tree, "git", "tag", "v0.2.0")
        self.assertEqual((self.version(), self.version(self.archive())), ("0.2.0", "0.2.0"))

    def test_version_of_an_archive(self) -> None:
        """An archive that git has made has the commit in its version."""
        commit = self.commit()
        self.assertEqual(self.version(self.archive()), f"0.2.0.dev0+g{commit}")

    def test_version_of_a_shallow_clone(self) -> None:
        """A clone without history has the commit in its version."""
        self.commit()
        commit = self.commit()
        self.run_in(self.work, "git", "clone", "--quiet", "--depth=1", self.tree.as_uri(), "clone")
        self.assertEqual(self.version(self.work / "clone"), f"0.2.0.dev1+g{commit}")

    def test_version_without_git(self) -> None:
        """A tree without git's data, without the git command, or with a damaged repository can be built, too."""
        self.assertEqual(self.version(), "0.2.0.dev0")
        self.commit()
        self.assertEqual(self.version(path=str(self.work)), "0.2.0.dev0")
        (self.tree / ".git" / "HEAD").write_text("damaged")
        self.assertEqual(self.version(), "0.2.0.dev0")

    def test_tree_inside_of_another_repository(self) -> None:
        """The version isn't that of a repository around the tree."""
        self.commit()
        inner = self.tree / "inner"
        inner.mkdir()
        for name in NEEDED:
            shutil.copy(ROOT / name, inner)
        self.assertEqual(self.version(inner), "0.2.0.dev0")
