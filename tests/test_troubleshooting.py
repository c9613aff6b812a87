"""The guide "If errklein doesn't start" quotes each message as errklein prints it."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein import logs
from errklein.config import ConfigError
from errklein.service import DataDirectory, DataDirectoryError, startup_checks
from errklein.storage import SQLiteStorage, StorageError
from tests import needs_network

GUIDE = Path(errklein.__file__).parent.parent / "docs" / "guides" / "does-not-start.md"

IRC = "BACKEND = 'IRC'\nBOT_IDENTITY = {'nickname': 'errklein', 'server': 'irc.example.net'}\nBOT_ADMINS = ('alice!*@*',)\n"
NULL = "BACKEND = 'Null'\n"

CONFIGURATIONS = (
    "BACKEND = 'Null'\nBOT_LOG_LEVEL = logging.INFO\n",
    "BACKEND = 'Null'\nBOT_ADMINS = (\n",
    "BACKEND = 'IRC'\nBOT_IDENTITY = {'server': 'irc.example.net'}\n",
    IRC.partition("BOT_ADMINS")[0],
    IRC.replace("errklein", "err klein"),
    IRC.replace("}", ", 'port': '6697'}"),
    IRC.replace("}", ", 'ssl_ca': '/etc/ssl/missing.pem'}"),
    IRC.replace("}", ", 'sasl_password': 7}"),
    IRC.replace("}", ", 'ssl': True, 'ssl_ca': 'ca.pem'}"),
    IRC.replace("}", ", 'username': 'err@klein'}"),
    IRC.replace("}", ", 'bind_address': 7}"),
    IRC + "IRC_ACL_PATTERN = '{nickname}'\n",
    IRC + "CHATROOM_PRESENCE = ('ops',)\n",
    IRC + "CHATROOM_PRESENCE = (('#ops', 'two words'),)\n",
    "NETWORKS = {'libera': 'IRC'}\n",
    "BACKENDS = {'libera': {'BACKEND': 'Null'}}\n",
    "NETWORKS = {'libera': {'BOT_IDENTITY': {}}}\n",
    "NETWORKS = {'two words': {'BACKEND': 'Null'}}\n",
    NULL + "GRACE_PERIOD = '10'\n",
    NULL + "BOT_EXTRA_PLUGIN_DIR = '/etc/errklein/missing'\n",
    NULL + "BOT_EXTRA_BACKEND_DIR = '/etc/errklein/missing'\n",
    NULL + "ACCESS_CONTROLS = {'status': {'allowuser': 'alice'}}\n",
    NULL + "TRUSTED_PROXIES = {'10.0.0.1': ['X-Forwarded']}\n",
    NULL + "WEBHOOKS = {'Github:notification': {'verfy': 'github'}}\n",
    NULL + "WEBHOOKS = {'Github:notification': {'verify': 'github', 'secret': 'hunter2'}}\n",
    NULL + "PUBLIC_URL = 'https://bot.example.net/bot'\n",
    NULL + "STORAGE = 'Redis'\n",
    NULL + "BOT_LOG_FILE = '/var/log/missing/errklein.log'\n",
    NULL + "BOT_LOG_SENTRY = True\n",
    NULL + "BOT_LOG_SENTRY = True\nSENTRY_DSN = 'sentry.example.org'\n",
    NULL + "BOT_DATA_DIR = 'config.py'\n",
)
"""Configurations with which errklein doesn't start."""

COMMAND_LINES = (
    ("--config", "missing.py"),
    ("--web", "3141"),
    ("--web", "http:3141"),
    ("--web", "tcp:port"),
    ("--web", "tcp:99999"),
    ("--web", "tcp:3141:host=127.0.0.1"),
    ("--web", "systemd:domain=INET:name=web"),
    ("--web", "unix:/run/missing/web.sock"),
    ("--web", "tls:certificates:3142"),
    ("--web", "ssl:3142:privateKey=key.pem"),
)
"""Command lines with which errklein doesn't start, with a valid configuration."""


class MessageTests(SynchronousTestCase):
    """An operator finds the message of a failed start in the guide."""

    def setUp(self) -> None:
        """Work in an empty directory, and leave the log and sys.path unchanged."""
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / "certificates").mkdir(parents=True)
        (self.directory / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)
        self.patch(logs, "destinations", logs.Destinations())
        self.patch(logs, "bridge_stdlib", lambda level: None)
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "config", None)
        self.quoted = re.findall(r"^- `+ ?(.+?) ?`+$", GUIDE.read_text(), re.MULTILINE)

    def check(self, *arguments: str) -> None:
        """Start errklein with the arguments, and check that its message is in the guide."""
        options = ServerOptions()
        options.parseOptions(arguments)
        failure = self.assertRaises(SystemExit, options.loadedPlugins["errklein"].makeService, options.subOptions)
        self.check_message(str(failure.code))

    def check_message(self, message: str) -> None:
        """Check that the message is in the guide, without prefix, source, line of config.py and process number."""
        message = message.partition("\n")[0].removeprefix("errklein: ").replace(str(self.directory), "/etc/errklein")
        message = re.sub(r" \(config\.py line \d+\)$", "", message)
        self.assertIn(re.sub(r"process \d+", "process 1234", message), self.quoted)

    def test_configurations(self) -> None:
        """The messages about a config.py."""
        for text in CONFIGURATIONS:
            (self.directory / "config.py").write_text(text)
            self.check("-n", "errklein")

    def test_command_lines(self) -> None:
        """The messages about options."""
        (self.directory / "config.py").write_text(NULL)
        for arguments in COMMAND_LINES:
            self.check("-n", "errklein", *arguments)

    def test_address_of_another_machine(self) -> None:
        """The message about an address that this machine doesn't have."""
        needs_network()
        (self.directory / "config.py").write_text(NULL)
        self.check("-n", "errklein", "--web", "tcp:3141:interface=192.0.2.1")

    def test_current_directory(self) -> None:
        """The messages about a current directory that can't be entered, and one that was deleted."""
        self.patch(os, "access", lambda *args, **options: False)
        self.patch(startup_checks, "user_name", lambda uid: "errklein")
        message = str(self.assertRaises(ConfigError, startup_checks.check_current_directory))
        self.check_message(message.replace(str(self.directory), "/root"))
        deleted = self.directory / "deleted"
        deleted.mkdir()
        os.chdir(deleted)
        deleted.rmdir()
        self.check_message(str(self.assertRaises(ConfigError, startup_checks.check_current_directory)))

    def test_daemon_on_terminal(self) -> None:
        """The message about a daemon with the Text network."""
        (self.directory / "config.py").write_text("BACKEND = 'Text'\n")
        self.check("errklein")

    def test_data_in_use(self) -> None:
        """The message about a second bot with the same data directory."""
        data = DataDirectory(self.directory / "data")
        data.prepare()
        data.lock()
        self.addCleanup(data.unlock)
        (self.directory / "config.py").write_text(NULL + "BOT_DATA_DIR = 'data'\n")
        self.check("-n", "errklein")

    def test_missing_data(self) -> None:
        """The message about a data directory that `errklein storage` doesn't create."""
        data = DataDirectory(self.directory / "missing")
        self.check_message(str(self.assertRaises(DataDirectoryError, data.check_exists)))

    def test_database(self) -> None:
        """The messages about a database that errklein can't use."""
        path = self.directory / "errklein.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        self.check_message(str(self.assertRaises(StorageError, SQLiteStorage, path)))
        path.write_bytes(b"nonsense" * 1000)
        self.check_message(str(self.assertRaises(StorageError, SQLiteStorage, path)))
