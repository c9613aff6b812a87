"""Changes of the configuration while the bot runs."""

from __future__ import annotations

import sys

from errklein.config import SETTINGS, Config
from errklein.config.review import Change, apply, changes_of
from tests.config.test_loading import ConfigCase

FORMATTER = """
import logging

class Brief(logging.Formatter):
    def format(self, record):
        return record.getMessage()

BOT_LOG_FORMATTER = Brief({!r})
"""


class ChangesTests(ConfigCase):
    """What differs, and what applies."""

    def changed(self, before: str, after: str) -> tuple[Config, list[Change]]:
        """Apply a second file to the configuration of a first one; return it with the changes."""
        config = self.load(f"BACKEND = 'Null'\n{before}")
        fresh = self.load(f"BACKEND = 'Null'\n{after}")
        changes = list(changes_of(config, fresh))
        apply(config, fresh)
        return config, changes

    def texts(self, before: str, after: str) -> list[str]:
        """Return the changes as texts."""
        return [f"{one.name}: {one.difference}" for one in self.changed(before, after)[1]]

    def test_texts(self) -> None:
        """Of collections, only what is removed or added is shown; of other values both; of an order or a secret neither."""
        for before, after, text in (
            ("BOT_PREFIX = '!'", "BOT_PREFIX = '?'", "BOT_PREFIX: '!' → '?'"),
            ("BOT_ADMINS = ['a', 'b']", "BOT_ADMINS = ['b', 'c']", "BOT_ADMINS: removed ('a',), added ('c',)"),
            ("BOT_ADMINS = ['a', 'b']", "BOT_ADMINS = ['b', 'a']", "BOT_ADMINS: ['a', 'b'] → ['b', 'a']"),
            ("MINE = 1", "", "MINE: removed"),
            ("", "MINE = 1", "MINE: not set → 1"),
            ("MY_TOKEN = 'first-one'", "MY_TOKEN = 'second-one'", "MY_TOKEN: changed"),
            ("WEBHOOKS = {'A:b': {}}", "WEBHOOKS = {'A:b': {}, 'A:c': {}}", "WEBHOOKS: added {'A:c': {}}"),
            ("BOT_ADMINS_NOTIFICATIONS = 'x'", "", "BOT_ADMINS_NOTIFICATIONS: removed"),
            (
                "NETWORKS = {'a': {}}",
                "NETWORKS = {'a': {'BOT_ADMINS': ('b',)}}",
                "NETWORKS['a']: BOT_ADMINS: removed ('@admin',), added ('b',)",
            ),
        ):
            self.assertEqual(self.texts(before, after), [text])

    def test_networks_at_last(self) -> None:
        """Of new NETWORKS only the names are shown, since their rooms may have keys."""
        networks = "NETWORKS = {'a': {'BACKEND': 'Null', 'CHATROOM_PRESENCE': [('#ops', 'k3y')], 'MINE': 'x'}}"
        self.assertIn("NETWORKS: added ('a',)", self.texts("", networks))
        self.assertIn("NETWORKS: removed ('a',)", self.texts(networks, ""))

    def test_import_of_the_file(self) -> None:
        """Plugins that import the file get what is in use, not a file that was only read."""
        config = self.load("BACKEND = 'Null'\nMINE = 1\n")
        for number in (2, 3):
            fresh = self.load(f"BACKEND = 'Null'\nMINE = {number}\n", is_again=True)
            self.assertEqual(sys.modules["config"].MINE, number - 1)
            apply(config, fresh)
            self.assertEqual(sys.modules["config"].MINE, number)

    def test_same(self) -> None:
        """Objects that the file makes anew, and names that aren't settings, are no differences."""
        for before, after in (
            (FORMATTER.format("%(message)s"), FORMATTER.format("%(message)s")),
            ("import os\ndef helper(): pass", "import sys\ndef helper(): return 1"),
            ("mine = 1", "mine = 2"),
        ):
            self.assertEqual(self.texts(before, after), [])

    def test_applied(self) -> None:
        """Exactly the settings that need no restart have the new values, also on networks without own ones."""
        applied = {"ACCESS_CONTROLS": {"a": {}}, "BOT_ADMINS": ("x",), "COMMAND_RATE": "7/s", "BOT_LOG_LEVEL": 7}
        waiting = {"BOT_PREFIX": "?", "GRACE_PERIOD": 7.0, "OUTBOX_LIMIT": 7, "STORAGE": "Memory"}
        text = "".join(f"{name} = {value!r}\n" for name, value in (applied | waiting).items())
        config, changes = self.changed("NETWORKS = {'a': {}}", f"NETWORKS = {{'a': {{}}}}\n{text}")
        for view in (config, config.networks["a"]):
            self.assertEqual({name: getattr(view, name) for name in applied}, applied)
            self.assertEqual(
                {name: getattr(view, name) for name in waiting}, {name: SETTINGS[name].default for name in waiting}
            )
        self.assertEqual({one.name for one in changes if one.needs_restart}, set(waiting))

    def test_notifications_follow_administrators(self) -> None:
        """BOT_ADMINS_NOTIFICATIONS is BOT_ADMINS again when the file has it no more."""
        config, _ = self.changed("BOT_ADMINS_NOTIFICATIONS = 'x'", "BOT_ADMINS = ('y',)")
        self.assertEqual(config.BOT_ADMINS_NOTIFICATIONS, ("y",))

    def test_value_of_a_plugin(self) -> None:
        """A value that a plugin has set stays, unless the file has the name; then the file's is used."""
        config = self.load("BACKEND = 'Null'\nBOT_ADMINS = ['a']\n")
        config.BOT_ADMINS.append("b")  # type: ignore[attr-defined]
        config.OWN = 1
        fresh = self.load("BACKEND = 'Null'\nBOT_ADMINS = ['a']\n")
        self.assertEqual([one.difference for one in changes_of(config, fresh)], ["removed ('b',)"])
        apply(config, fresh)
        self.assertEqual((config.BOT_ADMINS, config.OWN), (["a"], 1))

    def test_type_of_a_plugin(self) -> None:
        """WEBHOOKS of another type is a plugin's, and errklein's own is empty, also after a reload."""
        config, _ = self.changed("WEBHOOKS = {'A:b': {}}", "WEBHOOKS = 5")
        self.assertEqual((config.setting("WEBHOOKS"), config.WEBHOOKS), ({}, 5))
        config, _ = self.changed("WEBHOOKS = 5", "WEBHOOKS = {'A:b': {}}")
        self.assertEqual(config.setting("WEBHOOKS"), {"A:b": {}})
