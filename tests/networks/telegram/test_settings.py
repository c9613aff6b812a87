"""Tests of the settings of a Telegram network."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError, load_config
from errklein.config.networks import find_network
from errklein.networks.telegram import NETWORK, SETTINGS
from tests.networks.telegram.server import TOKEN


class SettingsTests(SynchronousTestCase):
    """Values of BOT_IDENTITY, BOT_ADMINS and CHATROOM_PRESENCE."""

    def load(self, identity: dict[str, Any], **settings: Any) -> Any:
        """Return the configuration of the network."""
        given = {"BACKEND": "Telegram", "BOT_IDENTITY": identity, "BOT_ADMINS": (5,), "BOT_DATA_DIR": "data"}
        [view] = load_config(None, given | settings).networks.values()
        NETWORK.settings.check(view)
        return view

    def test_configuration_of_errbot(self) -> None:
        """A token, and numbers for people and rooms, are enough."""
        view = self.load({"token": TOKEN}, CHATROOM_PRESENCE=(-100123, -5))
        self.assertEqual((view.BOT_ADMINS, view.CHATROOM_PRESENCE), (("5",), ("-100123", "-5")))
        self.assertEqual(list(SETTINGS.all_warnings(view)), [])
        self.assertIs(find_network("telegram"), NETWORK)

    def test_invalid(self) -> None:
        """An error names the key and what is expected, never the token."""
        for identity, expected in (
            ({}, "'token' is missing"),
            ({"token": "s3cret"}, "'token' must look like '123456789:AAH…'"),
            ({"token": TOKEN, "webhook": "http://bot.example.org/x"}, "'webhook' must look like 'https://"),
            ({"token": TOKEN, "webhook": "https://bot.example.org"}, "'webhook' must look like 'https://"),
            ({"token": TOKEN, "server": "http://api.example.org"}, "'server' must look like 'https://"),
            ({"token": TOKEN, "server": "https://u:p@api.example.org"}, "'server' must look like 'https://"),
        ):
            error = str(self.assertRaises(ConfigError, self.load, identity))
            self.assertIn(expected, error)
            self.assertNotIn("s3cret", error)
        for server in ("http://127.0.0.1:8081", "http://localhost", "https://api.example.org:8443"):
            self.load({"token": TOKEN, "server": server})

    def test_rooms(self) -> None:
        """A room that isn't a number with a minus is an error."""
        for room in ("#ops", 5, "-0"):
            error = self.assertRaises(ConfigError, self.load, {"token": TOKEN}, CHATROOM_PRESENCE=(room,))
            self.assertIn("CHATROOM_PRESENCE", str(error))

    def test_administrators(self) -> None:
        """One that is nobody on Telegram is a warning."""
        view = self.load({"token": TOKEN}, BOT_ADMINS=("@alice", "5"))
        [warning] = SETTINGS.all_warnings(view)
        self.assertIn("'@alice' matches nobody on Telegram", warning)
        view = self.load({"token": TOKEN}, BOT_ADMINS=(1087968824,))
        self.assertIn("'1087968824' matches nobody", "".join(SETTINGS.all_warnings(view)))
