"""Chapter 17: `errbot.utils`, loggers and the plugin wizard."""

from __future__ import annotations

import datetime
import logging
import os
import tempfile
import time
import unittest
from pathlib import Path

from tests.contract.kit import ContractTest


class UtilitiesTests(unittest.TestCase):
    """`errbot.utils`."""

    def test_time_spans(self) -> None:
        """`format_timedelta` returns a duration in words."""
        from errbot.utils import format_timedelta

        for span, words in (
            ({"hours": 2, "minutes": 3, "seconds": 4}, "2 hours and 3 minutes"),
            ({"minutes": 3, "seconds": 4}, "3 minutes"),
            ({"seconds": 4}, "4 seconds"),
        ):
            self.assertEqual(format_timedelta(datetime.timedelta(**span)), words)

    def test_versions(self) -> None:
        """`version2tuple` returns tuples that sort as versions; invalid versions raise ValueError."""
        from errbot.utils import version2tuple

        order = ["1.2.3-alpha", "1.2.3-beta", "1.2.3-rc1", "1.2.3-rc2", "1.2.3", "1.2.4", "1.10.0"]
        self.assertEqual(sorted(order, key=version2tuple), order)
        for text in ("1", "1.2", "1.2.3.4.5", "a.b.c", "1.2.3-gamma", "-1.2.3"):
            with self.assertRaises(ValueError):
                version2tuple(text)

    def test_parts(self) -> None:
        """`split_string_after` yields parts of a length; for an empty text it yields one empty part."""
        from errbot.utils import split_string_after

        parts = split_string_after("abcd", 3)
        self.assertEqual(next(parts), "abc")
        self.assertEqual(list(parts), ["d"])
        self.assertEqual(list(split_string_after("", 3)), [""])

    def test_roots(self) -> None:
        """`find_roots` and `collect_roots` return the directories with `.plug` files, without hidden ones."""
        from errbot.utils import collect_roots, find_roots

        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            for place in ("a", "b/c", ".hidden"):
                (directory / place).mkdir(parents=True)
                (directory / place / "x.plug").write_text("")
            expected = sorted([directory / "a", directory / "b" / "c"])
            self.assertEqual(sorted(Path(path) for path in find_roots(directory)), expected)
            self.assertEqual(sorted(Path(path) for path in collect_roots([name])), expected)

    def test_constants(self) -> None:
        """PLUGINS_SUBDIR and ON_WINDOWS have errbot's values."""
        from errbot.utils import ON_WINDOWS, PLUGINS_SUBDIR

        self.assertEqual(PLUGINS_SUBDIR, "plugins")
        self.assertEqual(ON_WINDOWS, os.name == "nt")

    def test_entry_points(self) -> None:
        """`entry_point_plugins` of an unused group returns an empty list."""
        from errbot.utils import entry_point_plugins

        self.assertEqual(list(entry_point_plugins("of.nobody.at.all")), [])

    def test_rate_limited(self) -> None:
        """`rate_limited` delays calls that are too early."""
        from errbot.utils import rate_limited

        began = time.monotonic()
        calls = []

        @rate_limited(0.01)
        def call(number: int) -> int:
            calls.append(time.monotonic())
            return number

        self.assertEqual([call(number) for number in range(3)], [0, 1, 2])
        self.assertGreaterEqual(calls[2] - began, 0.019)

    def test_deprecated(self) -> None:
        """`deprecated` calls the new function."""
        from errbot.utils import deprecated

        def new() -> str:
            return "new"

        @deprecated(new)
        def old() -> str:
            return "old"

        self.assertEqual(old(), "new")


class LogTests(ContractTest):
    """Loggers."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """

    def test_names(self) -> None:
        """The logger of a plugin is `errbot.plugins.<Name>`."""
        self.assertEqual(self.instance().log, logging.getLogger("errbot.plugins.Tried"))


class WizardTests(unittest.TestCase):
    """`errbot.plugin_wizard`."""

    def test_callable(self) -> None:
        """`new_plugin_wizard` can be imported."""
        from errbot.plugin_wizard import new_plugin_wizard

        self.assertTrue(callable(new_plugin_wizard))
