"""Chapter 17, continued: small functions, and what the command line offers."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from tests.contract.kit import ContractTest


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
