"""The check of the current directory before a start."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError, load_config
from errklein.service import Listening, errors_end_program, load_with_options
from errklein.service.startup_checks import check_current_directory, check_in_process
from tests import needs_network
from tests.processes import run

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Take the effective user nobody in the context, if the process runs as root."""
    user = os.geteuid()
    os.seteuid(NOBODY if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


class CurrentDirectoryTests(SynchronousTestCase):
    """A start in a directory that can't be used."""

    def setUp(self) -> None:
        """Change to a new directory for the test."""
        self.addCleanup(os.chdir, Path.cwd())
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        os.chdir(self.directory)

    def message(self) -> str:
        """Return the error of the check for another user than root."""
        with as_nobody():
            return str(self.assertRaises(ConfigError, check_current_directory))

    def test_not_entered(self) -> None:
        """A directory that the user can't enter is one line with the user, the directory and the remedy."""
        self.directory.chmod(0)
        self.assertRegex(
            self.message(),
            rf"^the user \w+ can't enter the current directory {self.directory}; run `cd /` first, and use absolute paths$",
        )

    def test_without_config(self) -> None:
        """The search for ./config.py, which every command makes without --config, reports it too."""
        self.directory.chmod(0)
        with as_nobody():
            error = self.assertRaises(ConfigError, load_with_options, None)
        self.assertIn("can't enter the current directory", str(error))

    def test_name_of_the_bot(self) -> None:
        """Without a config.py, the bot is called errklein; with one, as it is for errbot."""
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)
        self.assertEqual(load_with_options(None).BOT_IDENTITY, {"username": "@errklein"})
        (self.directory / "config.py").write_text("BACKEND = 'Text'\n")
        self.assertEqual(load_with_options(None).BOT_IDENTITY, {})

    def test_variables(self) -> None:
        """Without a config.py, each variable replaces one of the built-in defaults; the variables are removed from the environment."""
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)
        variables = {"ERRKLEIN_SET__BACKEND": "Null", "ERRKLEIN_SET__WEB": "tcp:80"}
        with patch.dict(os.environ, variables):
            config = load_with_options(None)
            self.assertNotIn("ERRKLEIN_SET__BACKEND", os.environ)
        self.assertEqual((config.BACKEND, config.WEB), ("Null", ("tcp:80",)))
        self.assertEqual(config.BOT_IDENTITY, {"username": "@errklein"})
        config = load_with_options(None, variables={"ERRKLEIN_SET__BOT_PREFIX": "?"})
        self.assertEqual((config.BOT_PREFIX, config.WEB), ("?", ("tcp:3141:interface=127.0.0.1",)))

    def test_variable_of_networks(self) -> None:
        """With NETWORKS as a variable, the identity is that of the first network."""
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)
        networks = 'a = {BACKEND = "Null", BOT_IDENTITY = {username = "@a"}}'
        config = load_with_options(None, variables={"ERRKLEIN_SET__NETWORKS": networks})
        self.assertEqual(config.BOT_IDENTITY, {"username": "@a"})

    def test_deleted(self) -> None:
        """A deleted directory is one line, too."""
        self.directory.rmdir()
        error = self.assertRaises(ConfigError, check_current_directory)
        self.assertEqual(str(error), "the current directory was deleted; run `cd /` first, and use absolute paths")

    def test_run_with_config(self) -> None:
        """twistd changes to the current directory, so a bot doesn't start even with --config."""
        self.patch(os, "access", lambda *args, **options: False)
        options = ServerOptions()
        options.parseOptions(["-n", "errklein", "--config", "/missing/config.py"])
        error = self.assertRaises(SystemExit, options.loadedPlugins["errklein"].makeService, options.subOptions)
        self.assertIn("can't enter the current directory", str(error))

    def test_other_directory(self) -> None:
        """With --rundir, twistd changes to another directory, and the current one isn't checked."""
        self.patch(os, "access", lambda *args, **options: False)
        options = ServerOptions()
        options.parseOptions(["-n", "--rundir=/", "errklein", "--config", "/missing/config.py"])
        error = self.assertRaises(SystemExit, options.loadedPlugins["errklein"].makeService, options.subOptions)
        self.assertIn("no configuration file at", str(error))


class ListeningTests(SynchronousTestCase):
    """The endpoints of the options and settings."""

    def test_status(self) -> None:
        """The endpoint of --status can't be one of --web, also in another spelling; errors name the option."""
        config = load_config(None)
        Listening(config, ["tcp:3141"], "tcp:9141:interface=127.0.0.1").check()
        both = Listening(config, ["tcp:port=9141:interface=127.0.0.1"], "tcp:9141:interface=127.0.0.1")
        error = self.assertRaises(ConfigError, both.check)
        self.assertIn("--status tcp:9141:interface=127.0.0.1: the endpoint is also that of --web", str(error))
        error = self.assertRaises(ConfigError, Listening(config, [], "9141").check)
        self.assertTrue(str(error).startswith("--status 9141: "), error)

    def test_console(self) -> None:
        """A console to which no link would lead, or only one in clear over a network, is an error at the start."""
        proxies = {"TRUSTED_PROXIES": {"192.0.2.7": ["X-Forwarded-For"]}}
        at = {"CONSOLE_URL": "https://console.example"}
        clear = "the console isn't served in clear over a network"
        for endpoint, settings, problem in (
            ("tcp:9142:interface=127.0.0.1", {}, ""),
            ("tcp6:9142:interface=\\:\\:1", {}, ""),
            ("tcp:9142", {}, clear),
            ("tcp:9142:interface=192.0.2.1", {}, "CONSOLE_URL to an address with https"),
            ("tcp:9142:interface=192.0.2.1", at, clear),
            ("tcp:9142:interface=192.0.2.1", {**at, **proxies}, ""),
            ("tcp:9142", proxies, ""),
            (
                "tcp:9142:interface=127.0.0.1",
                {"CONSOLE_URL": "http://console.example"},
                "CONSOLE_URL to an address with https",
            ),
            ("tcp:9142:interface=127.0.0.1", {"CONSOLE_URL": "http://localhost:80"}, ""),
            ("tcp:0:interface=127.0.0.1", {}, "set CONSOLE_URL"),
            ("unix:/run/errklein/console.sock", {}, "set CONSOLE_URL"),
            ("unix:/run/errklein/console.sock", at, ""),
        ):
            config = load_config(None, {"BACKEND": "Null", "CONSOLE": endpoint, **settings})
            if problem:
                error = str(self.assertRaises(ConfigError, Listening(config).check))
                self.assertTrue(error.startswith(f"CONSOLE {endpoint}: "), error)
                self.assertIn(problem, error)
            else:
                Listening(config).check()


class ErrorsTests(SynchronousTestCase):
    """The errors that end the program."""

    def test_secrets(self) -> None:
        """An error about a setting doesn't show the password in its value."""
        with self.assertRaises(SystemExit) as raised, errors_end_program():
            load_config(None, {"BACKEND": "Null", "PUBLIC_URL": "https://bot:hunter2@bot.example.net/x"})
        self.assertIn("errklein: PUBLIC_URL: expected", str(raised.exception))
        self.assertNotIn("hunter2", str(raised.exception))


class CheckInProcessTests(SynchronousTestCase):
    """The check in another process before a restart."""

    def check(self, config: str) -> str:
        """Check a configuration, and return what is written to standard error."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "config.py").write_text(config)
        options = [[], None, None, str(directory / "config.py"), None, None, []]
        done = run([sys.executable], *check_in_process(options), cwd=directory, fresh=True)
        return done.stderr

    def test_modules(self) -> None:
        """Modules are found where this process finds them, as errklein's own if it runs from a folder without an installation."""
        extra = Path(self.mktemp()).absolute()
        extra.mkdir()
        (extra / "found_here_alone.py").write_text("")
        self.patch(sys, "path", [*sys.path, str(extra)])
        self.assertEqual(self.check("import found_here_alone\n"), "")

    def test_endpoints(self) -> None:
        """An invalid endpoint in the configuration is found; an address in use isn't, since the running bot uses it."""
        needs_network()
        self.assertIn("WEB tcp:port: 'port' isn't a number", self.check("WEB = 'tcp:port'\n"))
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            self.assertEqual(self.check(f"WEB = 'tcp:{own.getsockname()[1]}:interface=127.0.0.1'\n"), "")
