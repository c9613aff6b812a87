"""docs/reference/troubleshooting.md quotes each message as errklein has it."""

from __future__ import annotations

import ast
import os
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from unittest.mock import patch

from twisted.internet.protocol import Factory
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from errklein import logs
from errklein.config import ConfigError
from errklein.listening import ListenError, Listeners
from errklein.service import DataDirectory, DataDirectoryError, startup_checks
from errklein.storage import SQLiteStorage, StorageError
from tests import needs_network
from tests.processes import ROOT
from tests.test_pages import FENCED

PAGE = ROOT / "docs" / "reference" / "troubleshooting.md"

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

VARIABLES: Sequence[Mapping[str, str]] = (
    {"SET__BOT_ADMIN": "alice"},
    {"SET__BOT_PREFIX": "!", "FILE__BOT_PREFIX": "{}/prefix"},
    {"SET__BOT_ADMINS": "alice"},
    {"FILE__BOT_PREFIX": "{}/prefix"},
)
"""Variables with which errklein doesn't start, without their beginning. "{}" is the directory of the configuration."""

COMMAND_LINES = (
    ("--config", "missing.py"),
    ("--web", "3141"),
    ("--web", "http:3141"),
    ("--web", "tcp:port"),
    ("--web", "tcp:3141:host=127.0.0.1"),
    ("--web", "tls:certificates:3142"),
    ("--web", "ssl:3142:privateKey=key.pem"),
)
"""Command lines with which errklein doesn't start, with a valid configuration."""

ENDPOINTS = (
    "tcp:99999",
    "tcp:3141:interface=192.0.2.1",
    "systemd:domain=INET:name=web",
    "unix:/run/missing/web.sock",
)
"""Endpoints that can't be opened."""


OTHERS = (
    "ERROR: Package 'errklein' requires a different Python",
    "errklein: command not found",
    "No module named errklein",
    "Unknown command: errklein",
    "Permission denied",
    "203/EXEC",
    "Another twistd server is running",
    "Connection refused",
    "502 Bad Gateway",
    "BOT_DATA_DIR …: errklein.lock: ",
)
"""Beginnings of messages of pip, the shell, twistd, systemd, nginx, curl and the file system."""

PLACEHOLDER = "…"

FEWEST = 5
"""The number of letters of the shortest text of the code that counts as a part of a message."""

LEAST = 1 / 3
"""The part of a message's letters, apart from values, that must be the code's own. Reasons of the system are the rest."""

VALUE = re.compile(r"^[\w-]+: |'[^']*'|\([^()]*\)|\S*[/_#=]\S*|\S+\.\w\S*")
"""Names, paths and numbers in a message."""


def quoted() -> list[str]:
    """Return the messages in the headings of the page."""
    headings = re.findall(r"^### (.*)$", FENCED.sub("", PAGE.read_text("utf-8")), re.MULTILINE)
    return [
        text.strip() for heading in headings for _, text in re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", heading)
    ]


@cache
def texts_of_code() -> set[str]:
    """Return the texts in errklein's modules, with PLACEHOLDER for each value that is put in."""
    paths = (ROOT / "errklein").rglob("*.py")
    return {text.removeprefix("errklein: ") for path in paths for text in texts(ast.parse(path.read_text("utf-8")))}


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the texts in a tree, but not the parts of one, and no docstrings."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"\{[^{}]*\}|%[srd]", PLACEHOLDER, node.value)
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from texts(child)


def is_of_code(message: str, code: set[str]) -> bool:
    """Return whether a message is made of texts of the code, with values or `PLACEHOLDER` in their places."""
    fixed = [part for part in message.split(PLACEHOLDER) if letters(part) >= FEWEST]
    if fixed and all(any(part in text for text in code) for part in fixed):
        return True
    own: set[int] = set()
    for text in code:
        parts = [part for part in text.split(PLACEHOLDER) if part]
        if " " not in text.strip() or letters(text) < FEWEST:
            continue
        if PLACEHOLDER in message:
            # It may stand for other parts of the text, too.
            parts = [part for part in parts if part in message and " " in part and letters(part) >= FEWEST]
        elif not all(part in message for part in parts):
            continue
        if found := re.search(".*?".join(f"({re.escape(part)})" for part in parts), message):
            own.update(place for group in range(len(parts)) for place in range(*found.span(group + 1)))
    values = {place for value in VALUE.finditer(message) for place in range(*value.span())}
    rest = {place for place, letter in enumerate(message) if letter.isalpha()} - values
    return len(rest & own) >= LEAST * len(rest)


def letters(text: str) -> int:
    """Return the number of letters in a text."""
    return sum(map(str.isalpha, text))


class CodeTests(SynchronousTestCase):
    """The messages of the page."""

    def test_each_message_is_in_the_code(self) -> None:
        """A message that errklein doesn't have any more, or has with other words, must be corrected on the page."""
        code = texts_of_code()
        # The package that runs backends written for errbot is an optional part.
        others = OTHERS if (ROOT / "errklein" / "compat" / "backends").exists() else (*OTHERS, "BACKEND: ")
        missing = [text for text in quoted() if not text.startswith(others) and not is_of_code(text, code)]
        self.assertEqual(missing, [])
        self.assertGreater(len(quoted()), 120)

    def test_changed_messages_are_found(self) -> None:
        """The test above fails for other words, whatever the values are."""
        code = texts_of_code()
        for text in (
            "the request could not be stored",
            "Deploy has been blacklisted; use …",
            "no settings at /etc/a.py",
        ):
            self.assertFalse(is_of_code(text, code), text)

    def test_each_message_has_one_place(self) -> None:
        """No message has two headings."""
        self.assertEqual(len(set(quoted())), len(quoted()))


class MessageTests(SynchronousTestCase):
    """An operator finds the message of a failed start on the page."""

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
        self.quoted = quoted()

    def check(self, *arguments: str) -> None:
        """Start errklein with the arguments, and check that its message is on the page."""
        options = ServerOptions()
        options.parseOptions(arguments)
        failure = self.assertRaises(SystemExit, options.loadedPlugins["errklein"].makeService, options.subOptions)
        self.check_message(str(failure.code))

    def check_message(self, message: str) -> None:
        """Check that the message is on the page, without prefix, source, line of config.py and process number."""
        message = message.partition("\n")[0].removeprefix("errklein: ").replace(str(self.directory), "/etc/errklein")
        message = re.sub(r" \(config\.py line \d+\)$", "", message)
        patterns = [".+".join(map(re.escape, text.split(PLACEHOLDER))) for text in self.quoted]
        message = re.sub(r"process \d+", "process 1234", message)
        self.assertTrue(any(re.fullmatch(pattern, message) for pattern in patterns), message)

    def test_configurations(self) -> None:
        """The messages about a config.py."""
        for text in CONFIGURATIONS:
            (self.directory / "config.py").write_text(text)
            self.check("-n", "errklein")

    def test_variables(self) -> None:
        """The messages about variables of the environment."""
        for variables in VARIABLES:
            named = {name: value.format(self.directory) for name, value in variables.items()}
            with patch.dict(os.environ, {f"ERRKLEIN_{name}": value for name, value in named.items()}):
                self.check("-n", "errklein")

    def test_command_lines(self) -> None:
        """The messages about options."""
        (self.directory / "config.py").write_text(NULL)
        for arguments in COMMAND_LINES:
            self.check("-n", "errklein", *arguments)

    def test_endpoints(self) -> None:
        """The messages about endpoints that can't be opened, such as an address that this machine doesn't have."""
        needs_network()
        from twisted.internet import reactor

        listeners = Listeners(reactor, Factory())
        for endpoint in ENDPOINTS:
            self.check_message(self.failureResultOf(listeners.open(endpoint), ListenError).getErrorMessage())

    def test_current_directory(self) -> None:
        """The messages about a current directory that can't be entered, and one that was deleted."""
        self.patch(os, "access", lambda *args, **options: False)
        self.patch(startup_checks, "user_name", lambda: "errklein")
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
