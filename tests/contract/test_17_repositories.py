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


class IndexTests(ContractTest):
    """`_bot.repo_manager`."""

    def test_index(self) -> None:
        """An index is read from a path; entries are found by words."""
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
        """Of what several indexes name the first one's word counts."""
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
    """`!repos install`, `update` and `uninstall`, of a repository on this machine."""

    def start(self, **config: Any) -> None:
        """Have a git repository and an index that names it."""
        self.repository = GitRepository(self.directory / "somewhere" / "someone" / "songs", plugin_files("Songs"))
        self.place = str(self.repository.directory)
        entry = {"python": "3", "repo": self.place, "path": "/songs.plug", "avatar_url": "", "name": "Songs"}
        index = {"someone/songs": {"Songs": {**entry, "documentation": "Sings."}}}
        super().start(BOT_PLUGIN_INDEXES=str(self.write("index.json", json.dumps(index))), **config)

    @property
    def places(self) -> str:
        """Where plugins are found, which isn't where the repository is."""
        return str(self.directory / "kit")

    def told(self, command: str) -> str:
        """What the bot says to a command that answers in several messages."""
        return "\n".join(self.replies(command))

    def installed(self) -> list[str]:
        """The repositories that are installed."""
        return list(self.bot.repo_manager.get_installed_plugin_repos())

    def test_by_name(self) -> None:
        """What the index names is cloned into BOT_DATA_DIR, and its plugins are active at once."""
        self.told("!repos install someone/songs")
        self.assertEqual(self.ask("!songs"), "1")
        self.assertEqual(self.installed(), ["someone/songs"])
        self.assertTrue((self.data / "plugins" / "someone" / "songs" / "songs.plug").exists())
        self.assertIn("someone/songs", self.ask("!repos"))

    def test_by_url(self) -> None:
        """What is in no index is cloned from its URL, and named by the last two parts of that."""
        self.told(f"!repos install file://{self.place}")
        self.assertEqual(self.ask("!songs"), "1")
        self.assertEqual(self.installed(), ["someone/songs"])

    def test_archive(self) -> None:
        """A .tar.gz is fetched and unpacked."""
        server = FileServer()
        self.addCleanup(server.close)
        server.bodies["/songs.tar.gz"] = archive(plugin_files("Songs", folder="songs/"))
        self.told(f"!repos install {server.url}/songs.tar.gz")
        self.assertEqual(self.ask("!songs"), "1")
        self.assertEqual(len(self.installed()), 1)

    def test_broken(self) -> None:
        """What doesn't load isn't kept."""
        self.repository.commit({"songs.py": "raise RuntimeError('broken')\n"})
        self.assertIn("broken", self.told("!repos install someone/songs"))
        self.assertEqual(list(self.data.rglob("songs.py")), [])
        self.assertIn("not found", self.ask("!songs"))

    def test_update(self) -> None:
        """The newest state is fetched, of repositories by name or of all, and their plugins are reloaded."""
        self.told("!repos install someone/songs")
        for number, which in enumerate(("all", "someone/songs"), 2):
            self.repository.commit(plugin_files("Songs", says=str(number)))
            self.assertIn("Done.", self.told(f"!repos update {which}"))
            self.assertEqual(self.ask("!songs"), str(number))

    def test_uninstall(self) -> None:
        """Its plugins are gone, and its files too."""
        self.told("!repos install someone/songs")
        self.assertIn("someone/songs removed", self.told("!repos uninstall someone/songs"))
        self.assertIn("not found", self.ask("!songs"))
        self.assertEqual(self.installed(), [])
        self.assertEqual(list(self.data.rglob("songs.py")), [])
