"""The command `errklein config`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli


class ShowTests(SynchronousTestCase):
    """`errklein config show`."""

    def setUp(self) -> None:
        """Enter an empty directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)

    def show(self, *arguments: str, **variables: str) -> list[str]:
        """Return the lines, with variables of the environment."""
        out = io.StringIO()
        with patch.dict(os.environ, variables), patch.object(sys, "stdout", out):
            self.assertEqual(cli.main(["config", "show", *arguments]), 0)
            self.assertEqual([name for name in variables if name in os.environ], [])
        return out.getvalue().splitlines()

    def test_sources(self) -> None:
        """Each setting that is set is printed with its source: a line, a variable, a file or an option. Secrets are masked."""
        secret = Path("identity").absolute()
        secret.write_text('username = "@bot"\npassword = "correct-horse"\n')
        Path("config.py").write_text("BACKEND = 'Null'\nBOT_PREFIX = '.'\nCOMMAND_RATE = None\n")
        shown = self.show(
            "--web",
            "tcp:3141",
            ERRKLEIN_SET__BOT_PREFIX="?",
            ERRKLEIN_FILE__BOT_IDENTITY=str(secret),
            ERRKLEIN_SET__BOT_ADMINS='["@alice"]',
        )
        self.assertEqual(
            shown,
            [
                "BACKEND = 'Null'  # config.py line 1",
                f"BOT_IDENTITY = {{'username': '@bot', 'password': '•••'}}  # ERRKLEIN_FILE__BOT_IDENTITY {secret}",
                "BOT_ADMINS = ('@alice',)  # ERRKLEIN_SET__BOT_ADMINS",
                "BOT_PREFIX = '?'  # ERRKLEIN_SET__BOT_PREFIX",
                "WEB = ['tcp:3141']  # --web",
                "COMMAND_RATE = None  # config.py line 3",
            ],
        )

    def test_all(self) -> None:
        """--all prints the settings with their default, too."""
        Path("config.py").write_text("BACKEND = 'Null'\n")
        shown = self.show("--all", ERRKLEIN_SET__BOT_PREFIX="?")
        self.assertEqual(
            shown[:2], ["BACKEND = 'Null'  # config.py line 1", "BOT_PREFIX = '?'  # ERRKLEIN_SET__BOT_PREFIX"]
        )
        self.assertIn("GRACE_PERIOD = 10.0  # default", shown)

    def test_nothing(self) -> None:
        """Without a configuration, there is one line."""
        self.assertEqual(self.show(), ["# each setting has its default, which --all prints"])

    def test_error(self) -> None:
        """An invalid variable is one line, without its value."""
        with patch.dict(os.environ, {"ERRKLEIN_SET__BOT_ASYNC": "hunter2"}):
            error = self.assertRaises(SystemExit, cli.main, ["config", "show"])
        self.assertEqual(
            str(error),
            "errklein: BOT_ASYNC: invalid TOML; expected a value true or false (ERRKLEIN_SET__BOT_ASYNC)",
        )
