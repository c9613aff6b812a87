"""Chapter 17: repositories, and what else there is."""

from __future__ import annotations

import datetime
import logging
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.contract.kit import ContractTest, decided


class RepositoryTests(unittest.TestCase):
    """Functions about repositories."""

    def test_names(self) -> None:
        """A repository is named by the last two parts of its URL."""
        from errbot.repo_manager import human_name_for_git_url

        for url in (
            "https://github.com/owner/name",
            "https://github.com/owner/name.git",
            "git@github.com:owner/name.git",
            "file:///somewhere/owner/name",
        ):
            self.assertEqual(human_name_for_git_url(url), "owner/name", url)

    def test_dependencies(self) -> None:
        """What a requirements.txt asks for and isn't installed."""
        from errbot.repo_manager import check_dependencies

        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "requirements.txt"
            self.assertEqual(check_dependencies(path), (None, []))
            path.write_text("jinja2\n")
            self.assertEqual(check_dependencies(path), (None, []))
            path.write_text("jinja2\nthere-is-no-such-distribution\n")
            told, missing = check_dependencies(path)
            self.assertEqual(missing, ["there-is-no-such-distribution"])
            self.assertIn("there-is-no-such-distribution", told)

    @decided("a name with a version counts as missing")
    def test_versions(self) -> None:
        """Requirements may name versions, and comments are comments."""
        from errbot.repo_manager import check_dependencies

        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "requirements.txt"
            path.write_text("# for templates\njinja2>=2\n")
            self.assertEqual(check_dependencies(path), (None, []))


class ManagerTests(ContractTest):
    """`_bot.repo_manager`."""

    def start(self, **config: Any) -> None:
        """Start the bot with an index that needs no network."""
        super().start(BOT_PLUGIN_INDEXES=str(self.write("index.json", "{}")), **config)

    def test_nothing_installed(self) -> None:
        """At first there are no repositories."""
        manager = self.bot.repo_manager
        self.assertEqual(dict(manager.get_installed_plugin_repos()), {})
        self.assertEqual(list(manager.get_all_repos_paths()), [])

    def test_install_from_nowhere(self) -> None:
        """What can't be had is a RepoException."""
        from errbot.repo_manager import RepoException

        with self.assertRaises(RepoException):
            self.bot.repo_manager.install_repo(str(self.directory / "nothing-here"))


class UtilitiesTests(unittest.TestCase):
    """`errbot.utils`."""

    def test_time_spans(self) -> None:
        """In words."""
        from errbot.utils import format_timedelta

        for span, words in (
            ({"hours": 2, "minutes": 3, "seconds": 4}, "2 hours and 3 minutes"),
            ({"minutes": 3, "seconds": 4}, "3 minutes"),
            ({"seconds": 4}, "4 seconds"),
        ):
            self.assertEqual(format_timedelta(datetime.timedelta(**span)), words)

    def test_versions(self) -> None:
        """As tuples that sort."""
        from errbot.utils import version2tuple

        order = ["1.2.3-alpha", "1.2.3-beta", "1.2.3-rc1", "1.2.3-rc2", "1.2.3", "1.2.4"]
        self.assertEqual(sorted(order, key=version2tuple), order)
        with self.assertRaises(ValueError):
            version2tuple("1.2.3.4.5")

    def test_parts(self) -> None:
        """A text in parts of a length; one empty part of an empty text."""
        from errbot.utils import split_string_after

        self.assertEqual(list(split_string_after("abcd", 3)), ["abc", "d"])
        self.assertEqual(list(split_string_after("", 3)), [""])

    def test_roots(self) -> None:
        """The directories below that have .plug files."""
        from errbot.utils import collect_roots, find_roots

        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            for place in ("a", "b/c", ".hidden"):
                (directory / place).mkdir(parents=True)
                (directory / place / "x.plug").write_text("")
            expected = sorted([directory / "a", directory / "b" / "c"])
            self.assertEqual(sorted(Path(path) for path in find_roots(directory)), expected)
            self.assertEqual(sorted(Path(path) for path in collect_roots([name])), expected)


class LogTests(ContractTest):
    """Loggers."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """

    def test_names(self) -> None:
        """They are called errbot, whoever logs."""
        self.assertEqual(self.instance().log, logging.getLogger("errbot.plugins.Tried"))
