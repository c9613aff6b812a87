"""Tests of the settings of a Matrix network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError, load_config
from errklein.networks.matrix import SETTINGS, MatrixSettings
from errklein.service.startup_checks import check_network

PASSWORD = {"homeserver": "https://matrix.example.org/", "user": "@err:example.org", "password": "v3ry-s3cret"}


def read(identity: dict[str, Any], rooms: Any = ()) -> MatrixSettings:
    """Return the settings of a network with this identity."""
    return MatrixSettings.read(SimpleNamespace(network="matrix", BOT_IDENTITY=identity, CHATROOM_PRESENCE=rooms))


class SettingsTests(SynchronousTestCase):
    """Values of BOT_IDENTITY and CHATROOM_PRESENCE."""

    def test_login(self) -> None:
        """The bot logs in with a name and a password, or has a token."""
        settings = read(PASSWORD)
        self.assertEqual((settings.homeserver, settings.user), ("https://matrix.example.org", "@err:example.org"))
        self.assertEqual((settings.missed, settings.invitations), (200, "direct"))
        self.assertEqual(read({"homeserver": "http://localhost:8008", "token": "syt_x"}).token, "syt_x")
        self.assertEqual(read({**PASSWORD, "user": "err"}).user, "err")

    def test_no_secrets_are_shown(self) -> None:
        """Neither the password nor the token is in the `repr`."""
        self.assertNotIn("v3ry-s3cret", repr(read(PASSWORD)))
        self.assertNotIn("syt_x", repr(read({"homeserver": "http://localhost:8008", "token": "syt_x"})))

    def test_invalid(self) -> None:
        """An error names the key, and what is expected."""
        for changed, expected in [
            ({"password": ""}, "either 'user' and 'password', or 'token'"),
            ({"token": "syt_x"}, "either 'user' and 'password', or 'token'"),
            ({"user": ""}, "'user'"),
            ({"user": None}, "'user' is missing"),
            ({"user": "@err"}, "such as '@err:example.org'"),
            ({"homeserver": "matrix.example.org"}, "'homeserver' must be the URL"),
            ({"homeserver": "https://bot:pw@matrix.example.org"}, "'homeserver' must be the URL"),
            ({"homeserver": "https://matrix.example.org/_matrix"}, "'homeserver' must be the URL"),
            ({"homeserver": "https://matrix.example.org:http"}, "'homeserver' must be the URL"),
            ({"missed": -1}, "'missed' is -1"),
            ({"missed": True}, "'missed' is True"),
            ({"invitations": "everybody"}, "'direct', 'all' or 'admins'"),
        ]:
            error = self.assertRaises(ConfigError, read, {**PASSWORD, **changed})
            self.assertIn(expected, str(error))
            self.assertNotIn("pw@", str(error))

    def test_checked_settings(self) -> None:
        """What a start refuses is refused before, by a reload and by a check without a connection."""
        settings = {"BACKEND": "Matrix", "BOT_IDENTITY": PASSWORD, "BOT_ADMINS": ("@alice:example.org",)}
        for changed in ({"CHATROOM_PRESENCE": ("#ops",)}, {"BOT_IDENTITY": {**PASSWORD, "token": "syt_x"}}):
            config = load_config(None, {"NETWORKS": {"net": {**settings, **changed}}})
            self.assertRaises(ConfigError, check_network, config.networks["net"])

    def test_rooms(self) -> None:
        """Rooms have aliases or ids, also without a server; a password, as other networks have it, is ignored."""
        rooms = ("#ops:example.org", "!abc", ("!old:example.org", "key"))
        self.assertEqual(list(read(PASSWORD, rooms).rooms()), ["#ops:example.org", "!abc", "!old:example.org"])
        for invalid in ("#ops", "ops:example.org", 3, ()):
            self.assertRaises(ConfigError, read, PASSWORD, (invalid,))

    def test_encryption_on_the_way(self) -> None:
        """Requests can't be read on their way with TLS, and on the same computer."""
        for url, expected in [
            ("https://matrix.example.org", True),
            ("http://localhost:8008", True),
            ("http://127.0.0.1:8008", True),
            ("http://[::1]:8008", True),
            ("http://matrix.example.org", False),
            ("http://127.example.org", False),
        ]:
            self.assertEqual(read({**PASSWORD, "homeserver": url}).is_encrypted, expected, url)

    def test_warnings(self) -> None:
        """What is probably a mistake is named: no encryption, and administrators who are nobody or everybody."""
        view: Any = SimpleNamespace(
            BACKEND="Matrix",
            BOT_IDENTITY={**PASSWORD, "homeserver": "http://matrix.example.org"},
            BOT_ADMINS=("@alice:example.org", "alice", "@*:example.org"),
        )
        found = list(SETTINGS.warnings(view))
        self.assertEqual(len(found), 3, found)
        for warning, part in zip(
            found, ("without encryption", "'alice' matches nobody", "'@*:example.org' is an"), strict=True
        ):
            self.assertIn(part, warning)
