"""Chapter 17: repositories of plugins."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.contract.kit import ContractTest, decided
from tests.plugins.repos.repositories import FileServer, GitRepository, archive, plugin_files


class FunctionsTests(unittest.TestCase):
    """Functions of `errbot.repo_manager`."""

    def test_names(self) -> None:
        """The name of a repository is the last two parts of its URL."""
        from errbot.repo_manager import human_name_for_git_url

        for url in (
            "https://github.com/owner/name",
            "https://github.com/owner/name.git",
            "git@github.com:owner/name.git",
            "file:///somewhere/owner/name",
        ):
            self.assertEqual(human_name_for_git_url(url), "owner/name", url)

    def test_dependencies(self) -> None:
        """`check_dependencies` returns the missing requirements of a file."""
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
        """A requirements file may contain versions and comments."""
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
        """At first no repositories are installed."""
        manager = self.bot.repo_manager
        self.assertEqual(dict(manager.get_installed_plugin_repos()), {})
        self.assertEqual(list(manager.get_all_repos_paths()), [])

    def test_install_from_nowhere(self) -> None:
        """Installing a repository that doesn't exist raises RepoException."""
        from errbot.repo_manager import RepoException

        with self.assertRaises(RepoException):
            self.bot.repo_manager.install_repo(str(self.directory / "nothing-here"))


class IndexTests(ContractTest):
    """Indexes of the repository manager."""

    def test_index(self) -> None:
        """An index can be a file, and `search_repos` finds entries by words."""
        index = (
            '{"someone/songs": {"Songs": {"python": "3", "repo": "https://github.com/someone/songs", '
            '"path": "/songs.plug", "avatar_url": "", "documentation": "Sings.", "name": "Songs"}}}'
        )
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "index.json"
            path.write_text(index)
            manager = self.bot.repo_manager
            manager.plugin_indexes = (str(path),)
            manager.index_update()
            (entry,) = list(manager.search_repos("sings"))
        self.assertEqual((entry.entry_name, entry.name), ("someone/songs", "Songs"))
        self.assertEqual(entry.documentation, "Sings.")
        self.assertEqual(list(manager.search_repos("dances")), [])

    def test_several_indexes(self) -> None:
        """If several indexes have the same repository, the first one counts."""
        plugin = {"python": "3", "repo": "https://github.com/someone/songs", "path": "/songs.plug", "name": "Songs"}
        with tempfile.TemporaryDirectory() as directory:
            places = [Path(directory) / f"{number}.json" for number in range(2)]
            for number, path in enumerate(places):
                entry = {**plugin, "avatar_url": "", "documentation": f"Sings number {number}."}
                path.write_text(json.dumps({"someone/songs": {"Songs": entry}}))
            manager = self.bot.repo_manager
            manager.plugin_indexes = tuple(map(str, places))
            manager.index_update()
            (entry,) = list(manager.search_repos("songs"))
        self.assertEqual(entry.documentation, "Sings number 0.")


class InstalledTests(ContractTest):
    """`!repos install`, `update` and `uninstall`."""

    def start(self, **config: Any) -> None:
        """Create a git repository and an index that contains it."""
        self.repository = GitRepository(self.directory / "somewhere" / "someone" / "songs", plugin_files("Songs"))
        self.place = str(self.repository.directory)
        entry = {"python": "3", "repo": self.place, "path": "/songs.plug", "avatar_url": "", "name": "Songs"}
        index = {"someone/songs": {"Songs": {**entry, "documentation": "Sings."}}}
        super().start(BOT_PLUGIN_INDEXES=str(self.write("index.json", json.dumps(index))), **config)

    @property
    def places(self) -> str:
        """A directory without the repository."""
        return str(self.directory / "kit")

    def joined_replies(self, command: str) -> str:
        """Return all replies to the command, joined."""
        return "\n".join(self.replies(command))

    def installed(self) -> list[str]:
        """Return the installed repositories."""
        return list(self.bot.repo_manager.get_installed_plugin_repos())

    def test_by_name(self) -> None:
        """A repository in the index is cloned into BOT_DATA_DIR, and its plugins are active at once."""
        self.joined_replies("!repos install someone/songs")
        self.assertEqual(self.ask("!songs"), "1")
        self.assertEqual(self.installed(), ["someone/songs"])
        self.assertTrue((self.data / "plugins" / "someone" / "songs" / "songs.plug").exists())
        self.assertIn("someone/songs", self.ask("!repos"))

    def test_by_url(self) -> None:
        """A repository is cloned from its URL and named after the last two parts."""
        self.joined_replies(f"!repos install file://{self.place}")
        self.assertEqual(self.ask("!songs"), "1")
        self.assertEqual(self.installed(), ["someone/songs"])

    def test_archive(self) -> None:
        """A `.tar.gz` archive is downloaded and unpacked."""
        server = FileServer()
        self.addCleanup(server.close)
        server.bodies["/songs.tar.gz"] = archive(plugin_files("Songs", folder="songs/"))
        self.joined_replies(f"!repos install {server.url}/songs.tar.gz")
        self.assertEqual(self.ask("!songs"), "1")
        self.assertEqual(len(self.installed()), 1)

    def test_broken(self) -> None:
        """A repository whose plugins can't be loaded is removed."""
        self.repository.commit({"songs.py": "raise RuntimeError('broken')\n"})
        self.assertIn("broken", self.joined_replies("!repos install someone/songs"))
        self.assertEqual(list(self.data.rglob("songs.py")), [])
        self.assertIn("not found", self.ask("!songs"))

    def test_update(self) -> None:
        """`!repos update` pulls all or some repositories and reloads their plugins."""
        self.joined_replies("!repos install someone/songs")
        for number, which in enumerate(("all", "someone/songs"), 2):
            self.repository.commit(plugin_files("Songs", says=str(number)))
            self.assertIn("Done.", self.joined_replies(f"!repos update {which}"))
            self.assertEqual(self.ask("!songs"), str(number))

    def test_uninstall(self) -> None:
        """`!repos uninstall` removes the plugins and their files."""
        self.joined_replies("!repos install someone/songs")
        self.assertIn("someone/songs removed", self.joined_replies("!repos uninstall someone/songs"))
        self.assertIn("not found", self.ask("!songs"))
        self.assertEqual(self.installed(), [])
        self.assertEqual(list(self.data.rglob("songs.py")), [])
