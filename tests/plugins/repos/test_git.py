"""Tests for git, with repositories on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.repos.sources import RepoException, git_clone, git_pull, git_tag_list, go_back, head
from errklein.plugins.subprocesses import ProgramError, run
from tests.plugins.repos.repositories import GitRepository


class GitTests(SynchronousTestCase):
    """A repository and a clone of it."""

    def setUp(self) -> None:
        """Create and clone the repository."""
        self.top = Path(self.mktemp()).absolute()
        self.origin = GitRepository(self.top / "origin", {"a.txt": "1"})
        self.clone = self.top / "clone"
        git_clone(str(self.origin.directory), self.clone)

    def test_pull(self) -> None:
        """A clone is updated and restored again; it has no unnecessary history."""
        before = head(self.clone)
        self.origin.commit({"a.txt": "2"})
        git_pull(self.clone)
        self.assertEqual((self.clone / "a.txt").read_text(), "2")
        go_back(self.clone, before)
        self.assertEqual((self.clone / "a.txt").read_text(), "1")
        git_pull(self.clone)
        self.assertEqual((self.clone / "a.txt").read_text(), "2")

    def test_local_changes_stay(self) -> None:
        """An update that would overwrite local changes is rejected."""
        (self.clone / "a.txt").write_text("mine")
        self.origin.commit({"a.txt": "2"})
        with self.assertRaises(RepoException) as raised:
            git_pull(self.clone)
        self.assertEqual(len(str(raised.exception).splitlines()), 1)
        self.assertEqual((self.clone / "a.txt").read_text(), "mine")

    def test_tags(self) -> None:
        """The tags of the repository are listed."""
        self.origin.git("tag", "v1")
        self.origin.git("tag", "v2")
        self.assertEqual(git_tag_list(self.clone), ["v1", "v2"])

    def test_nothing_there(self) -> None:
        """A missing repository is an error in one line, and leaves no files."""
        with self.assertRaises(RepoException) as raised:
            git_clone(str(self.top / "nothing"), self.top / "other")
        self.assertEqual(len(str(raised.exception).splitlines()), 1)
        self.assertFalse((self.top / "other").exists())
        with self.assertRaises(RepoException):
            git_pull(self.top)

    def test_nothing_of_it_is_run(self) -> None:
        """URLs aren't interpreted as options or commands, and hooks of the repository don't run."""
        proof = self.top / "proof"
        for url in (f"--upload-pack=touch {proof}", f"ext::sh -c touch% {proof}", f"-utouch {proof}"):
            with self.assertRaises(RepoException):
                git_clone(url, self.top / "other")
        hook = self.clone / ".git" / "hooks" / "post-merge"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {proof}\n")
        hook.chmod(0o755)
        self.origin.commit({"a.txt": "2"})
        git_pull(self.clone)
        self.assertFalse(proof.exists())


class ProgramTests(SynchronousTestCase):
    """Programs that fail."""

    def test_not_there(self) -> None:
        """The error names a program that isn't installed."""
        with self.assertRaisesRegex(ProgramError, "no-such-program can't be run"):
            run(["no-such-program"], seconds=1)

    def test_too_slow(self) -> None:
        """A program that takes too long is stopped together with its child processes."""
        with self.assertRaisesRegex(ProgramError, "exceeded the timeout"):
            run(["sh", "-c", "sleep 60 & wait"], seconds=0.05)

    def test_secrets(self) -> None:
        """Passwords in URLs don't appear in the error."""
        with self.assertRaises(ProgramError) as raised:
            run(["sh", "-c", "echo fatal: https://user:s3cret@host/a; exit 1"], seconds=5)
        self.assertEqual(str(raised.exception), "fatal: https://•••@host/a")

    def test_what_was_fatal(self) -> None:
        """The error has git's fatal line, not the advice after it."""
        with self.assertRaises(RepoException) as raised:
            git_clone(f"file://{Path(self.mktemp()).absolute()}", self.mktemp())
        self.assertIn("does not appear to be a git repository", str(raised.exception))

    def test_error_before_advice(self) -> None:
        """The error has pip's last error line, not the hint after it."""
        with self.assertRaises(ProgramError) as raised:
            run(
                ["sh", "-c", "echo 'ERROR: Invalid requirement: x=1'; echo '   ^'; echo 'hint: See above'; exit 1"],
                seconds=5,
            )
        self.assertEqual(str(raised.exception), "ERROR: Invalid requirement: x=1")

    def test_error_of_the_program_itself(self) -> None:
        """The error has the last line of a traceback of pip."""
        said = "ERROR: Exception:\nTraceback (most recent call last):\n  File x\nValueError: no number"
        with self.assertRaises(ProgramError) as raised:
            run(["sh", "-c", f"echo '{said}'; exit 2"], seconds=5)
        self.assertEqual(str(raised.exception), "ValueError: no number")

    def test_long_error(self) -> None:
        """A long line is shortened."""
        with self.assertRaises(ProgramError) as raised:
            run(["sh", "-c", f"echo 'ERROR: {'x' * 10_000}'; exit 1"], seconds=5)
        self.assertEqual(len(str(raised.exception)), 1000)

    def test_environment(self) -> None:
        """A program gets the bot's environment and additional variables, and can't prompt."""
        with mock.patch.dict(os.environ, {"ERRKLEIN_TEST": "1"}):
            self.assertEqual(run(["sh", "-c", "cat; echo $ERRKLEIN_TEST$MORE"], seconds=5, env={"MORE": "2"}), "12\n")
