"""Misspelt settings are reported with a suggestion."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import SETTINGS, configuration_warnings, load_config


class MisspeltSettings(SynchronousTestCase):
    """The warnings of `errklein check`, which the start logs too."""

    def warnings(self, text: str) -> list[str]:
        """Return the warnings about a config.py with that text."""
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "config", None)
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "config.py").write_text("BACKEND = 'Null'\n" + dedent(text))
        return configuration_warnings(load_config(directory / "config.py"))

    def test_suggestion(self) -> None:
        """A name that is nearly a setting's is reported with its line and the setting's name."""
        for name, meant in (
            ("BOT_ADMIN", "BOT_ADMINS"),
            ("BOT_EXTRA_PLUGINS_DIR", "BOT_EXTRA_PLUGIN_DIR"),
            ("BTO_ADMINS", "BOT_ADMINS"),
            ("BOT_PLUGIN_INDEX", "BOT_PLUGIN_INDEXES"),
            ("BOT_EXTRA_BACKEND", "BOT_EXTRA_BACKEND_DIR"),
            ("WEBHOOK_TIME_OUT", "WEBHOOK_TIMEOUT"),
            ("COMPACT_OUTPUTS", "COMPACT_OUTPUT"),
            ("BOT_LOG_FORMAT", "BOT_LOG_FORMATTER"),
        ):
            [warning] = self.warnings(f"\n{name} = 'x'\n")
            self.assertEqual(warning, f"config.py line 3: unknown setting {name}; did you mean {meant}?")

    def test_misspelt_in_a_network(self) -> None:
        """A key of a network's dict is reported with the name of the network."""
        [warning] = self.warnings("""\
            NETWORKS = {
                "first": {"BACKEND": "Null"},
                "second": {
                    "BACKEND": "Null",
                    "BOT_ADMIN": ("alice",),
                },
            }
        """)
        self.assertEqual(
            warning, "config.py line 6: unknown setting BOT_ADMIN in NETWORKS['second']; did you mean BOT_ADMINS?"
        )

    def test_unknown_line(self) -> None:
        """A name that config.py imports is reported without a line."""
        [warning] = self.warnings("globals()['BOT_ADMIN'] = 'x'\n")
        self.assertEqual(warning, "config.py: unknown setting BOT_ADMIN; did you mean BOT_ADMINS?")
        [warning] = configuration_warnings(load_config(None, {"BACKEND": "Null", "BOT_ADMIN": "x"}))
        self.assertEqual(warning, "unknown setting BOT_ADMIN; did you mean BOT_ADMINS?")

    def test_several_assignments(self) -> None:
        """The line is left out if a name is assigned several times, and assignments in functions don't count."""
        for text, place in (
            ("BOT_ADMIN = 1\nif BACKEND:\n  BOT_ADMIN = 2\n", "config.py"),
            ("BOT_ADMIN = 1\nfrom os import path as BOT_ADMIN\n", "config.py"),
            ("if BACKEND:\n  BOT_ADMIN = 2\ndef f():\n  BOT_ADMIN = 3\n", "config.py line 3"),
            ("class A:\n  BOT_ADMIN = 2\nBOT_ADMIN, B = 1, [BOT_ADMIN for BOT_ADMINS in ()]", None),
            ("BOT_ADMIN = [1 for BOT_ADMIN in ()]\n", "config.py line 2"),
        ):
            warnings = [warning for warning in self.warnings(text) if "BOT_ADMIN;" in warning]
            expected = [] if place is None else [f"{place}: unknown setting BOT_ADMIN; did you mean BOT_ADMINS?"]
            self.assertEqual(warnings, expected, text)

    def test_read_by_plugins(self) -> None:
        """A name that a plugin reads is a setting of the plugin. Plugins are asked only if a name resembles a setting's."""
        config = load_config(None, {"BACKEND": "Null", "BOT_ADMIN": "x"})
        self.assertEqual(configuration_warnings(config, lambda: {"BOT_ADMIN"}), [])
        configuration_warnings(load_config(None, {"BACKEND": "Null"}), lambda: self.fail("asked"))

    def test_other_names(self) -> None:
        """Settings of plugins and helpers of the file are accepted: other words, lower case, names the file itself uses."""
        self.assertEqual(
            self.warnings("""
                import logging as BACKEND_logging
                HERE, GITHUB_TOKEN, BOT_ADMINS_FILE, SLACK_LOG_LEVEL, JIRA_DATA_DIR, BOT_ROOM = "abcdef"
                bot_admin = _BOT_ADMIN = "x"
                CHATROOM_NAME = IRC_CHANNEL = LOG_LEVEL = MESSAGE_LIMIT = "x"
                ADMINS_OF_BOT, BOT_ADMIN = "alice", "bob"
                BOT_ADMINS = (ADMINS_OF_BOT, f"{BOT_ADMIN}")
            """),
            [],
        )

    def test_known_settings(self) -> None:
        """No setting is reported, whatever others it resembles."""
        settings = {name: setting.default for name, setting in SETTINGS.items()}
        self.assertEqual(configuration_warnings(load_config(None, settings | {"BOT_ADMINS_NOTIFICATIONS": ()})), [])
