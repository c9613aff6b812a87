"""Chapter 17, continued: small functions, and what the command line offers."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.contract.kit import ContractTest
from tests.plugins.repos.repositories import FileServer, GitRepository, archive, plugin_files


class UtilitiesTests(unittest.TestCase):
    """`errbot.utils`."""

    def test_constants(self) -> None:
        """Where repositories are, and what system this is."""
        from errbot.utils import ON_WINDOWS, PLUGINS_SUBDIR

        self.assertEqual(PLUGINS_SUBDIR, "plugins")
        self.assertEqual(ON_WINDOWS, os.name == "nt")

    def test_rate_limited(self) -> None:
        """A function is called with a pause between, and returns what it returns."""
        from errbot.utils import rate_limited

        @rate_limited(0.001)
        def double(number: int) -> int:
            return 2 * number

        self.assertEqual([double(1), double(2)], [2, 4])

    def test_deprecated(self) -> None:
        """An old name calls the function all the same."""
        from errbot.utils import deprecated

        def new(number: int) -> int:
            return number + 1

        @deprecated(new)
        def old(number: int) -> int:
            return number

        self.assertIn(old(1), (1, 2))

    def test_entry_points(self) -> None:
        """Of a group that nobody uses there is nothing."""
        from errbot.utils import entry_point_plugins

        self.assertEqual(list(entry_point_plugins("of.nobody.at.all")), [])

    def test_versions(self) -> None:
        """Three numbers and a stage."""
        from errbot.utils import version2tuple

        self.assertLess(version2tuple("1.2.3"), version2tuple("1.10.0"))
        for text in ("1", "1.2", "a.b.c", "1.2.3-gamma", "-1.2.3"):
            with self.assertRaises(ValueError):
                version2tuple(text)

    def test_parts_are_generated(self) -> None:
        """One after the other."""
        from errbot.utils import split_string_after

        parts = split_string_after("abcdef", 4)
        self.assertEqual(next(parts), "abcd")
        self.assertEqual(next(parts), "ef")
        with self.assertRaises(StopIteration):
            next(parts)


class WizardTests(unittest.TestCase):
    """`errbot.plugin_wizard`."""

    def test_callable(self) -> None:
        """It is a function of a directory."""
        from errbot.plugin_wizard import new_plugin_wizard

        self.assertTrue(callable(new_plugin_wizard))


class RepositoryTests(ContractTest):
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
