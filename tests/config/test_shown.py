"""The settings as `errklein config show` prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errklein.config import SETTINGS
from errklein.config.review import shown_settings
from tests.config.test_loading import ConfigCase


class ShownSettingsTests(ConfigCase):
    """Each setting with its value and its source."""

    def shown(self, text: str, options: dict[str, tuple[str, Any]] | None = None, **more: Any) -> list[str]:
        """Return the lines for a config.py."""
        return list(shown_settings(self.load(text, **more), options or {}))

    def test_sources(self) -> None:
        """The source of a value is a line of the config.py, the environment, an option or the default. What is set comes first."""
        text = "import os\nBACKEND = 'Null'\nWEB = 'tcp:1'\nBOT_PREFIX = os.getenv('NO_SUCH', '?')\nMINE = 7\nPLACE, OTHER = 1, 2\n"
        lines = self.shown(text, {"WEB": ("--web", ["tcp:2"])}, overrides={"BOT_DATA_DIR": "/d"})
        self.assertEqual(
            lines[:6],
            [
                "BACKEND = 'Null'  # config.py line 2",
                "BOT_PREFIX = '?'  # config.py line 4, from the environment",
                "WEB = ['tcp:2']  # --web",
                "MINE = 7  # config.py line 5",
                "OTHER = 2  # config.py line 6",
                "PLACE = 1  # config.py line 6",
            ],
        )
        self.assertIn("GRACE_PERIOD = 10.0  # default", lines)
        self.assertLess(set(SETTINGS), {line.partition(" = ")[0] for line in lines})

    def test_directories_of_plugins(self) -> None:
        """BOT_EXTRA_PLUGIN_DIR includes the directories of --plugin-dir."""
        here = str(Path.cwd())
        lines = self.shown(f"BACKEND = 'Null'\nBOT_EXTRA_PLUGIN_DIR = {here!r}", plugin_dirs=["/"])
        self.assertIn(f"BOT_EXTRA_PLUGIN_DIR = [{here!r}, '/']  # config.py line 2, --plugin-dir", lines)

    def test_networks(self) -> None:
        """Settings of networks have lines of their own."""
        lines = self.shown(
            "NETWORKS = {\n 'a': {'BACKEND': 'null',\n  'BOT_PREFIX': '.'},\n 'b': {'BACKEND': 'Test'},\n}\n"
        )
        self.assertEqual(lines[0], "NETWORKS = ['a', 'b']  # config.py line 1")
        self.assertEqual(
            lines[-3:],
            [
                "NETWORKS['a']['BACKEND'] = 'Null'  # config.py line 2",
                "NETWORKS['a']['BOT_PREFIX'] = '.'  # config.py line 3",
                "NETWORKS['b']['BACKEND'] = 'Test'  # config.py line 4",
            ],
        )

    def test_of_a_plugin(self) -> None:
        """A plugin's value under the name of a setting isn't errklein's."""
        lines = self.shown("BACKEND = 'Null'\nWEB = {'a': 1}\n")
        self.assertIn("WEB = ()  # default; config.py line 2 is a plugin's", lines)

    def test_secrets(self) -> None:
        """Secrets are masked, also short ones, and also values that might be secret."""
        lines = "\n".join(
            self.shown(
                """
                BOT_IDENTITY = {"nickname": "bot", "server": "irc.example", "password": "S1", "app": "S2", "ssl": True}
                BACKEND = "IRC"
                BOT_ADMINS = ("me",)
                BOT_ADMINS_FALLBACK = ["page", "--token", "S3"]
                CHATROOM_PRESENCE = (("#ops", "S4"), "#open")
                SENTRY_DSN = "https://S5@sentry.example/1"
                SENTRY_OPTIONS = {"auth_token": "S6"}
                STORAGE_CONFIG = {"basedir": "/x", "url": "S7"}
                GH_TOKEN = "S8"
                MINE = {"nested": [{"password": "S9"}]}
                WEBHOOKS = {"A:b": {"verify": "github", "secret": "env:GH"}}
                """
            )
        )
        self.assertNotRegex(lines, r"S\d")
        for shown in (
            "BOT_IDENTITY = {'nickname': 'bot', 'server': 'irc.example', 'password': '•••', 'app': '•••', 'ssl': True}",
            "CHATROOM_PRESENCE = (('#ops', '•••'), '#open')",
            "STORAGE_CONFIG = {'basedir': '/x', 'url': '•••'}",
            "WEBHOOKS = {'A:b': {'verify': 'github', 'secret': 'env:GH'}}",
        ):
            self.assertIn(f"{shown}  # config.py line", lines)
