"""Loading of config.py files, their defaults, and errors."""

from __future__ import annotations

import copy
import errno
import logging
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import SETTINGS, Config, ConfigError, MailFallback, configuration_warnings, load_config
from errklein.config._loading import secrets_of
from errklein.config._settings import checked

IRC = """
    BACKEND = "IRC"
    BOT_IDENTITY = {"nickname": "err", "server": "irc.example.org", "password": "s3cret"}
    BOT_ADMINS = ("alice",)
"""

TWO_NETWORKS = """
    NETWORKS = {
        "libera": {
            "BACKEND": "IRC",
            "BOT_IDENTITY": {"nickname": "err", "server": "irc.libera.chat"},
            "BOT_ADMINS": ("alice", "bob"),
            "CHATROOM_PRESENCE": ("#ops",),
            "BOT_PREFIX": "err ",
        },
        "console": {"BACKEND": "text", "BOT_ADMINS": "@gbin"},
    }
"""


class ConfigCase(SynchronousTestCase):
    """A test case with a directory for a config.py."""

    def setUp(self) -> None:
        """Make the directory; sys.path and sys.modules are restored after the test."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.file = self.directory / "config.py"
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "config", None)
        # Another test may have imported one, which wouldn't be replaced.
        sys.modules.pop("config", None)

    def load(self, text: str, overrides: dict[str, object] | None = None, **more: Any) -> Config:
        """Return the configuration of a config.py with that text."""
        self.file.write_text(dedent(text), encoding="utf-8")
        return load_config(self.file, overrides or {}, **more)

    def refusal(self, text: str, overrides: dict[str, object] | None = None) -> str:
        """Return the error about a config.py with that text."""
        with self.assertRaises(ConfigError) as raised:
            self.load(text, overrides)
        line = str(raised.exception)
        self.assertTrue(all(more.startswith("    ") for more in line.split("\n")[1:]), line)
        return line


class OneNetwork(ConfigCase):
    """A configuration with BACKEND."""

    def test_settings_and_defaults(self) -> None:
        """The configuration has the values of the file, errbot's defaults, and other names of the file."""
        config = self.load(IRC + "\n    TOKEN_OF_MY_PLUGIN = 'x'\n")
        self.assertEqual(config.BOT_ADMINS, ("alice",))
        self.assertEqual(config.BOT_PREFIX, "!")
        self.assertEqual(config.BOT_ASYNC_POOLSIZE, 10)
        self.assertEqual(config.BOT_LOG_LEVEL, logging.INFO)
        self.assertEqual(config.BOT_ADMINS_NOTIFICATIONS, ("alice",))
        self.assertEqual(config.TOKEN_OF_MY_PLUGIN, "x")
        self.assertIs(config.COMPACT_OUTPUT, True)

    def test_addresses_of_webhooks(self) -> None:
        """Base path and public URL have no slash at the end, and the proxies are the dict in the file."""
        config = self.load(
            "BACKEND = 'Null'\nWEBHOOK_BASE_PATH = '/bots/one/'\nPUBLIC_URL = 'https://[::1]:8443/'\n"
            "TRUSTED_PROXIES = {'unix': 'Forwarded'}\n"
        )
        self.assertEqual((config.WEBHOOK_BASE_PATH, config.PUBLIC_URL), ("/bots/one", "https://[::1]:8443"))
        self.assertEqual(config.TRUSTED_PROXIES, {"unix": "Forwarded"})
        config = self.load("BACKEND = 'Null'\nWEBHOOK_BASE_PATH = '/'\nPUBLIC_URL = None\nTRUSTED_PROXIES = None\n")
        self.assertEqual((config.WEBHOOK_BASE_PATH, config.PUBLIC_URL, config.TRUSTED_PROXIES), ("", "", {}))

    def test_options_of_webhooks(self) -> None:
        """The options are the dict in the file, and methods are in upper case."""
        config = self.load("BACKEND = 'Null'\nWEBHOOKS = {'A:b': {'rate': '1/s'}}\nWEBHOOK_METHODS = ['post', 'Put']\n")
        self.assertEqual(config.WEBHOOKS, {"A:b": {"rate": "1/s"}})
        self.assertEqual(config.WEBHOOK_METHODS, ("POST", "PUT"))
        config = self.load("BACKEND = 'Null'\nWEBHOOKS = None\nWEBHOOK_CLIENT_RATE = None\n")
        self.assertEqual((config.WEBHOOKS, config.WEBHOOK_CLIENT_RATE), ({}, None))

    def test_network_is_named_after_its_backend(self) -> None:
        """The view of the only network follows the whole configuration, also after a change."""
        config = self.load(IRC)
        self.assertEqual(list(config.networks), ["irc"])
        view = config.networks["irc"]
        self.assertEqual((view.network, view.BACKEND, view.BOT_ADMINS), ("irc", "IRC", ("alice",)))
        config.BOT_PREFIX = "?"
        config.BOT_ADMINS = "carol"
        self.assertEqual((view.BOT_PREFIX, view.BOT_ADMINS), ("?", ("carol",)))

    def test_built_in(self) -> None:
        """Without a file, the backend is Text and its user is the administrator."""
        config = load_config(None)
        self.assertEqual((config.BACKEND, list(config.networks)), ("Text", ["text"]))
        self.assertEqual(config.BOT_DATA_DIR, str(Path("errklein-data").absolute()))
        self.assertEqual(len(config.BOT_ADMINS), 1)
        self.assertEqual(config.networks["text"].BOT_ADMINS, config.BOT_ADMINS)

    def test_unknown_setting(self) -> None:
        """An unknown name raises AttributeError with the name, and can be assigned."""
        config = load_config(None)
        self.assertEqual(getattr(config, "TOKEN", "none"), "none")
        error = self.assertRaises(AttributeError, lambda: config.TOKEN)
        self.assertIn("TOKEN", str(error))
        config.TOKEN = "t"
        self.assertEqual(config.networks["text"].TOKEN, "t")

    def test_no_secret_in_repr(self) -> None:
        """The repr of a configuration, which may be logged, contains no password."""
        config = self.load(IRC)
        self.assertNotIn("s3cret", repr(config) + repr(config.networks["irc"]))

    def test_file_is_run_as_errbot_runs_it(self) -> None:
        """The file may import modules beside it and use `__file__`; plugins may import it by its name."""
        (self.directory / "neighbour_of_config.py").write_text("ADMIN = 'alice'\n")
        self.addCleanup(sys.modules.pop, "neighbour_of_config", None)
        config = self.load("""
            import os
            from neighbour_of_config import ADMIN
            BACKEND, BOT_ADMINS = "Text", (ADMIN,)
            HERE = os.path.dirname(os.path.abspath(__file__))
        """)
        self.assertEqual(config.HERE, str(self.directory.resolve()))
        self.assertEqual(sys.modules["config"].BOT_ADMINS, ("alice",))
        self.assertEqual(list(self.directory.glob("__pycache__/config*")), [])

    def test_name_of_a_known_module(self) -> None:
        """A file named like a module of Python doesn't replace that module."""
        file = self.directory / "logging.py"
        file.write_text("BACKEND = 'Text'\n")
        self.assertEqual(load_config(file).BACKEND, "Text")
        self.assertIs(sys.modules["logging"], logging)

    def test_overrides(self) -> None:
        """The command line takes precedence, --network over all networks of the file; plugin directories are added."""
        one, two = self.directory / "one", self.directory / "two"
        one.mkdir()
        two.mkdir()
        text = TWO_NETWORKS + f"\n    BOT_EXTRA_PLUGIN_DIR = {str(one)!r}\n    BOT_DATA_DIR = '/var/lib/err'\n"
        config = self.load(text, {"BACKEND": "text", "BOT_DATA_DIR": "/tmp/data"}, plugin_dirs=[str(two)])
        self.assertEqual((config.BACKEND, list(config.networks)), ("Text", ["text"]))
        self.assertEqual(config.BOT_DATA_DIR, "/tmp/data")
        self.assertEqual(config.directories("BOT_EXTRA_PLUGIN_DIR"), [str(one.absolute()), str(two.absolute())])
        # Plugins may expect the value of the file.
        self.assertEqual(config.BOT_EXTRA_PLUGIN_DIR, str(one))
        self.assertEqual(config.source_of(str(one.absolute())), "BOT_EXTRA_PLUGIN_DIR")
        self.assertEqual(config.source_of(str(two.absolute())), "--plugin-dir")


class DirectoryTests(ConfigCase):
    """The paths of directories of plugins."""

    def test_without_dots(self) -> None:
        """A path has no "..", unless a symbolic link before it makes that another directory."""
        base = self.directory.absolute()
        for name in ("a/b", "c", "d/c"):
            (base / name).mkdir(parents=True)
        (base / "link").symlink_to(base / "d" / "c")
        given = [str(base / name) for name in ("a/../c", "link/../c")]
        config = load_config(None, {"BOT_EXTRA_PLUGIN_DIR": given})
        self.assertEqual(config.directories("BOT_EXTRA_PLUGIN_DIR"), [str(base / "c"), given[1]])
        for written, path in ((given[0], str(base / "c")), (f"{base}/no/../data", f"{base}/no/../data")):
            self.assertEqual(load_config(None, {"BOT_DATA_DIR": written}).BOT_DATA_DIR, path)


class OwnObjects(ConfigCase):
    """Lists and dicts of the file, which plugins change in place."""

    SETTINGS = """
        BOT_ADMINS = ["alice"]
        BOT_ADMINS_NOTIFICATIONS = ["alice"]
        CHATROOM_PRESENCE = ["#ops", ("#dev", "sesame")]
        BOT_ALT_PREFIXES = ["Err"]
        BOT_ALT_PREFIX_SEPARATORS = [","]
        BOT_PLUGIN_INDEXES = ["https://example.org/repos.json"]
        CORE_PLUGINS = ["Help"]
        DIVERT_TO_PRIVATE = ["help"]
        DIVERT_TO_THREAD = {"help"}
        PLUGINS_CALLBACK_ORDER = ["Help", None]
        CHATROOM_RELAY = {"alice": ["#ops"]}
        REVERSE_CHATROOM_RELAY = {"#ops": "alice"}
        ACCESS_CONTROLS = {"help": {"allowusers": ["alice"]}}
        ACCESS_CONTROLS_DEFAULT = {"allowmuc": True}
    """

    def test_identity(self) -> None:
        """The configuration, the view of its only network and the file's module have the same objects."""
        settings = dedent(self.SETTINGS)
        for text in (settings, settings + '\nNETWORKS = {"here": {"BACKEND": "Test"}}\n'):
            config = self.load(text)
            (view,) = config.networks.values()
            for name in (line.split()[0] for line in self.SETTINGS.strip().splitlines()):
                own = getattr(sys.modules["config"], name)
                self.assertIs(getattr(config, name), own)
                self.assertIs(getattr(view, name), own)

    def test_changes_count_on_several_networks(self) -> None:
        """An entry added to the common list applies to the networks that it names."""
        config = self.load("""
            BOT_ADMINS = ["alice"]
            NETWORKS = {"a": {"BACKEND": "Test"}, "b": {"BACKEND": "Null"}, "c": {"BACKEND": "Test", "BOT_ADMINS": ["c"]}}
        """)
        a, b, c = config.networks.values()
        config.BOT_ADMINS += ["a:bob"]
        c.BOT_ADMINS.append("carol")
        self.assertEqual((a.BOT_ADMINS, b.BOT_ADMINS), (("alice", "bob"), ("alice",)))
        self.assertEqual(c.BOT_ADMINS, ["c", "carol"])

    def test_only_network(self) -> None:
        """The list of the only network is also that of the whole configuration."""
        config = self.load("""
            ADMINS, ROOMS = ["a"], ["#ops"]
            NETWORKS = {"here": {"BACKEND": "Test", "BOT_ADMINS": ADMINS, "CHATROOM_PRESENCE": ROOMS}}
        """)
        view = config.networks["here"]
        config.BOT_ADMINS.append("b")
        config.CHATROOM_PRESENCE.clear()
        self.assertEqual((view.BOT_ADMINS, view.CHATROOM_PRESENCE), (["a", "b"], []))
        self.assertIs(config.BOT_ADMINS, config.ADMINS)

    def test_strings(self) -> None:
        """A string is read as a tuple of one, in the file and after an assignment."""
        config = self.load("BOT_ADMINS, DIVERT_TO_PRIVATE, CHATROOM_PRESENCE = 'alice', 'help', '#ops'\n")
        self.assertEqual((config.BOT_ADMINS, config.DIVERT_TO_PRIVATE), (("alice",), ("help",)))
        self.assertEqual(config.CHATROOM_PRESENCE, ("#ops",))
        config.BOT_ADMINS = "bob"
        self.assertEqual(config.networks["text"].BOT_ADMINS, ("bob",))

    @given(st.lists(st.tuples(st.sampled_from(["append", "remove", "clear"]), st.sampled_from("abc"))))
    def test_any_changes(self, changes: list[tuple[str, str]]) -> None:
        """After any changes of the list, the networks have its entries."""
        admins = ["a"]
        networks = {name: {"BACKEND": "Test"} for name in ("one", "two")}
        one = load_config(None, {"BACKEND": "Test", "BOT_ADMINS": admins})
        two = load_config(None, {"NETWORKS": networks, "BOT_ADMINS": admins})
        for change, name in changes:
            if change == "append":
                one.BOT_ADMINS.append(name)
            elif change == "clear":
                one.BOT_ADMINS.clear()
            elif name in admins:
                two.BOT_ADMINS.remove(name)
            for config in (one, two):
                for view in config.networks.values():
                    self.assertEqual(list(view.BOT_ADMINS), admins)
                    self.assertEqual(list(view.BOT_ADMINS_NOTIFICATIONS), admins)


class SeveralNetworks(ConfigCase):
    """A configuration with NETWORKS."""

    def test_views(self) -> None:
        """Each network has its own settings, and the common value of the others."""
        config = self.load(TWO_NETWORKS)
        self.assertEqual(list(config.networks), ["libera", "console"])
        libera, console = config.networks.values()
        self.assertEqual((libera.BACKEND, libera.BOT_PREFIX, libera.BOT_ADMINS), ("IRC", "err ", ("alice", "bob")))
        self.assertEqual((console.BACKEND, console.BOT_PREFIX, console.BOT_ADMINS), ("Text", "!", ("@gbin",)))
        self.assertEqual((libera.CHATROOM_PRESENCE, console.CHATROOM_PRESENCE), (("#ops",), ()))
        self.assertEqual((libera.COMPACT_OUTPUT, console.COMPACT_OUTPUT), (True, False))
        self.assertEqual(config.BOT_PREFIX, "!")

    def test_union(self) -> None:
        """The whole configuration has the rooms and administrators of all networks, with the network's name as prefix."""
        config = self.load(TWO_NETWORKS)
        self.assertEqual(config.CHATROOM_PRESENCE, ("libera:#ops",))
        self.assertEqual(config.BOT_ADMINS, ("libera:alice", "libera:bob", "console:@gbin"))
        self.assertEqual(config.BACKEND, "IRC")

    def test_union_of_one(self) -> None:
        """With a single network in NETWORKS, its rooms have no prefix."""
        config = self.load("""
            NETWORKS = {"here": {"BACKEND": "Test", "BOT_ADMINS": ("a",), "CHATROOM_PRESENCE": ("#ops",)}}
        """)
        self.assertEqual((config.CHATROOM_PRESENCE, config.BOT_ADMINS), (("#ops",), ("a",)))

    def test_rooms_with_passwords(self) -> None:
        """A pair of a room and its password may have the network's name as prefix, too."""
        config = self.load(
            """
            NETWORKS = {
                "here": {"BACKEND": "Test", "CHATROOM_PRESENCE": (("#ops", "sesame"),)},
                "there": {"BACKEND": "Test"},
            }
            """
        )
        self.assertEqual(config.CHATROOM_PRESENCE, (("here:#ops", "sesame"),))
        config = self.load(
            """
            NETWORKS = {"here": {"BACKEND": "Test"}, "there": {"BACKEND": "Test"}}
            CHATROOM_PRESENCE = (("there:#ops", "sesame"),)
            """
        )
        rooms = [view.CHATROOM_PRESENCE for view in config.networks.values()]
        self.assertEqual(rooms, [(), (("#ops", "sesame"),)])

    def test_common_lists_say_for_whom(self) -> None:
        """In the common list, "a:alice" is an administrator on the network a only."""
        config = self.load("""
            BOT_ADMINS = ("a:alice", "carol")
            NETWORKS = {"a": {"BACKEND": "Test"}, "b": {"BACKEND": "Null"}}
        """)
        self.assertEqual(config.networks["a"].BOT_ADMINS, ("alice", "carol"))
        self.assertEqual(config.networks["b"].BOT_ADMINS, ("carol",))

    def test_backend_for_all(self) -> None:
        """BACKEND is the default of the networks in NETWORKS."""
        config = self.load("BACKEND = 'Null'\nNETWORKS = {'a': {}, 'b': {'BACKEND': 'Test'}}")
        self.assertEqual([view.BACKEND for view in config.networks.values()], ["Null", "Test"])

    def test_mistakes(self) -> None:
        """An error in a network names the network, the setting and the expected value."""
        for text, *fragments in (
            ("NETWORKS = {'a': {}}", "NETWORKS['a']", "BACKEND", "IRC"),
            ("NETWORKS = {'a:b': {'BACKEND': 'Null'}}", "NETWORKS['a:b']", "letters"),
            ("NETWORKS = {'a': 'Text'}", "NETWORKS['a']", "a dict"),
            ("NETWORKS = {'a': {'BACKEND': 'IRC', 'BOT_ADMINS': 'x'}}", "NETWORKS['a']", "BOT_IDENTITY", "'nickname'"),
        ):
            line = self.refusal(text)
            for fragment in fragments:
                self.assertIn(fragment, line)


class NumberTests(ConfigCase):
    """Ids of people and rooms that are numbers, as on Telegram."""

    def test_numbers(self) -> None:
        """They are read as text, also if others are in the same list."""
        names = "BOT_ADMINS, BOT_ADMINS_NOTIFICATIONS, CHATROOM_PRESENCE"
        config = self.load(f"{names} = (5, 'alice'), [5], [-7, ('#ops', 'pw')]\n")
        self.assertEqual((config.BOT_ADMINS, config.BOT_ADMINS_NOTIFICATIONS), (("5", "alice"), ["5"]))
        self.assertEqual(config.CHATROOM_PRESENCE, ["-7", ("#ops", "pw")])


class Mistakes(ConfigCase):
    """Errors of one line with the setting and the expected value."""

    def test_values(self) -> None:
        """A value of the wrong type or size is an error."""
        for text, *fragments in (
            ("BACKEND = None", "BACKEND", "one of"),
            ("NETWORKS = ['irc']", "NETWORKS", "a dict"),
            ("BOT_ADMINS = 7", "BOT_ADMINS", "a tuple of names, such as ('@alice',)", "7"),
            ("BOT_ADMINS_FALLBACK = 'ops'", "BOT_ADMINS_FALLBACK: expected a mail address such as 'ops@example.org'"),
            ("BOT_ADMINS_FALLBACK = 'ops@example.org\\nBcc: eve@x'", "BOT_ADMINS_FALLBACK", "a mail address"),
            ("BOT_ADMINS_FALLBACK = 'a@b\\n'", "BOT_ADMINS_FALLBACK", "a mail address"),
            ("BOT_ADMINS_FALLBACK = 'smtp://:25/a@b'", "BOT_ADMINS_FALLBACK", "a mail address"),
            ("BOT_ADMINS_FALLBACK = 'smtp://h:99999/a@b'", "BOT_ADMINS_FALLBACK", "a mail address"),
            ("BOT_ADMINS_FALLBACK = 'smtp://a:hunter2@h/a@b'", "BOT_ADMINS_FALLBACK", "a mail address"),
            ("BOT_ADMINS_FALLBACK = 'http://h/a@b'", "BOT_ADMINS_FALLBACK", "a mail address"),
            ("BOT_ADMINS_FALLBACK = []", "BOT_ADMINS_FALLBACK", "a command and its arguments"),
            ("BOT_ADMINS_FALLBACK = ['page', 2]", "BOT_ADMINS_FALLBACK", "a command and its arguments"),
            ("BOT_ADMINS_FALLBACK = 7", "BOT_ADMINS_FALLBACK", "a mail address"),
            ("BOT_ADMINS = ('a', 2.5)", "BOT_ADMINS", "a tuple of names, such as ('@alice',), not one with 2.5 in it"),
            ("CHATROOM_PRESENCE = ('#a', ())", "CHATROOM_PRESENCE", "rooms' names", "not one with a tuple in it"),
            ("CHATROOM_PRESENCE = 1", "CHATROOM_PRESENCE", "rooms' names", "not 1"),
            ("CHATROOM_RELAY = {'a': 2}", "CHATROOM_RELAY", "a dict of names", "not one with 2 in it"),
            ("CHATROOM_RELAY = {'a': (1,)}", "CHATROOM_RELAY", "a dict of names", "not one with 1 in it"),
            ("BOT_DATA_DIR = ''", "BOT_DATA_DIR", "path"),
            ("BOT_DATA_DIR = 'a' * 5000", "BOT_DATA_DIR", "a shorter path"),
            ("BOT_LOG_FILE = 'a\\0b'", "BOT_LOG_FILE", "without NUL"),
            ("BOT_DATA_DIR = '~no such user/x'", "BOT_DATA_DIR", "home directory"),
            ("BOT_EXTRA_PLUGIN_DIR = '/nowhere/at/all'", "BOT_EXTRA_PLUGIN_DIR", "/nowhere/at/all"),
            ("BOT_LOG_LEVEL = 'LOUD'", "BOT_LOG_LEVEL", "'LOUD'", "'INFO'"),
            ("STORAGE = 5", "STORAGE", "5", "a storage's name, such as Shelf or Memory"),
            ("BOT_ASYNC_POOLSIZE = 0", "BOT_ASYNC_POOLSIZE", "at least 1"),
            ("WEBHOOK_POOLSIZE = -1", "WEBHOOK_POOLSIZE", "at least 1"),
            ("WEBHOOK_POOLSIZE = True", "WEBHOOK_POOLSIZE", "at least 1"),
            ("WEBHOOK_TIMEOUT = 0", "WEBHOOK_TIMEOUT", "more than 0"),
            ("WEBHOOK_TIMEOUT = float('nan')", "WEBHOOK_TIMEOUT", "seconds"),
            ("WEBHOOK_BASE_PATH = 'bot'", "WEBHOOK_BASE_PATH", "a path such as '/bot'", "not 'bot'"),
            ("WEBHOOK_BASE_PATH = '//bot'", "WEBHOOK_BASE_PATH", "a path such as '/bot'", "not '//bot'"),
            ("WEBHOOK_BASE_PATH = 7", "WEBHOOK_BASE_PATH", "a path such as '/bot'", "not 7"),
            ("WEBHOOK_PREFIX = ''", "WEBHOOK_PREFIX", "a path such as '/hooks'", "not ''"),
            ("WEBHOOK_PREFIX = '/a b'", "WEBHOOK_PREFIX", "a path such as '/hooks'", "not '/a b'"),
            ("PUBLIC_URL = 'bot.example.net'", "PUBLIC_URL", "a URL such as 'https://bot.example.net'"),
            ("PUBLIC_URL = 'https://b\\udc80t'", "PUBLIC_URL", "a URL such as 'https://bot.example.net'"),
            ("PUBLIC_URL = 'ftp://bot'", "PUBLIC_URL", "a URL such as 'https://bot.example.net'"),
            (
                "PUBLIC_URL = 'https://bot/x'",
                "PUBLIC_URL",
                "a URL without a path, which is the setting WEBHOOK_BASE_PATH",
            ),
            ("TRUSTED_PROXIES = ['10.0.0.1']", "TRUSTED_PROXIES", "a dict of proxies", "not a list"),
            ("TRUSTED_PROXIES = {'10.0.0.1/8': []}", "TRUSTED_PROXIES", "'10.0.0.0/8', not '10.0.0.1/8'"),
            ("TRUSTED_PROXIES = {'unix': ['X-For']}", "TRUSTED_PROXIES", "X-Real-IP", "not 'X-For' for 'unix'"),
            ("WEBHOOKS = ['A:b']", "WEBHOOKS: expected a dict of webhooks, not a list"),
            ("WEBHOOKS = {'A:b': {'rat': 1}}", "WEBHOOKS['A:b']: unknown option 'rat'; did you mean 'rate'?"),
            ("WEBHOOK_METHODS = 'PSOT'", "WEBHOOK_METHODS: expected HTTP methods", "'PSOT'; did you mean 'POST'?"),
            ("WEBHOOK_METHODS = ()", "WEBHOOK_METHODS: expected HTTP methods such as ('POST',), not a tuple"),
            ("WEBHOOK_CLIENT_RATE = 100", "WEBHOOK_CLIENT_RATE: expected a rate such as '10/s', ", "not 100"),
            ("WEBHOOK_LOG_RATE = 100", "WEBHOOK_LOG_RATE: expected a rate such as '10/s', ", "not 100"),
            ("WEBHOOK_LOG = 'all'", "WEBHOOK_LOG: expected 'bodies', 'heads' or 'off', not 'all'"),
            ("WEBHOOK_LOG_DAYS = 0", "WEBHOOK_LOG_DAYS: expected a number of days, more than 0 and at most 10000"),
            ("REACTOR_DEADLINE = 0.5", "REACTOR_DEADLINE: expected 0, or a number of seconds, at least 1, not 0.5"),
            ("GRACE_PERIOD = '10'", "GRACE_PERIOD", "seconds", "'10'"),
            ("BOT_IDENTITY = 'x'", "BOT_IDENTITY", "a dict"),
            ("BOT_LOG_FORMATTER = '%(message)s'", "BOT_LOG_FORMATTER", "a logging.Formatter", "'%(message)s'"),
            ("SENTRY_EVENTLEVEL = 'LOUD'", "SENTRY_EVENTLEVEL", "'INFO'"),
            ("SENTRY_OPTIONS = {1: 2}", "SENTRY_OPTIONS", "a dict of arguments of sentry_sdk.init"),
            ("COMPACT_OUTPUT = 'yes'", "COMPACT_OUTPUT", "True or False", "'yes'"),
            ("IRC_ACL_PATTERN = '{nick'", "IRC_ACL_PATTERN", "{user}"),
            ("TEXT_COLOR_THEME = None", "TEXT_COLOR_THEME", "a string"),
            ("CHATROOM_RELAY = ('#a',)", "CHATROOM_RELAY", "a dict of names"),
            ("PLUGINS_CALLBACK_ORDER = (1,)", "PLUGINS_CALLBACK_ORDER", "a tuple of plugins' names", "with 1 in"),
            ("ACCESS_CONTROLS = {'a': {'allowuser': 'b'}}", "ACCESS_CONTROLS", "allowuser"),
            ("IRC_CHANNEL_RATE = -1", "IRC_CHANNEL_RATE", "at least 0"),
            ("GRACE_PERIOD = 10**400", "GRACE_PERIOD", "at most 1000000000"),
            ("WEBHOOK_TIMEOUT = 10**5000", "WEBHOOK_TIMEOUT", "not a number with so many digits"),
            ("class Odd(Exception):\n    def __str__(self):\n        return 1/0\nraise Odd", "raised Odd at line 4"),
            ("XMPP_KEEPALIVE_INTERVAL = 0", "XMPP_KEEPALIVE_INTERVAL", "more than 0"),
            ("BACKEND, BOT_ADMINS = 'IRC', 'a'", "BOT_IDENTITY", "'nickname' is missing"),
            ("BACKEND = 'IRC'\nBOT_IDENTITY = {'nickname': 'e', 'server': 's'}", "BOT_ADMINS is missing"),
            (
                "BACKEND = 'IRC'\nBOT_IDENTITY = {'nickname': 'e', 'server': 's'}\nBOT_ADMIN = ('alice!*@*',)",
                "BOT_ADMINS is missing (unknown setting BOT_ADMIN; did you mean BOT_ADMINS?); IRC requires",
            ),
        ):
            line = self.refusal(text)
            for fragment in fragments:
                self.assertIn(fragment, line)

    def test_ways_to_administrators(self) -> None:
        """BOT_ADMINS_FALLBACK is a mail address, one with a server, or a command."""
        for value, way in (
            ("ops@example.org", MailFallback("ops@example.org")),
            ("smtp://mail.example.org/ops@localhost", MailFallback("ops@localhost", "mail.example.org")),
            ("smtp://[::1]:2525/a+b@c", MailFallback("a+b@c", "::1", 2525)),
            (["/usr/bin/page", "-x"], ("/usr/bin/page", "-x")),
            (None, None),
        ):
            self.assertEqual(checked("BOT_ADMINS_FALLBACK", value), way)

    def test_no_secret_in_a_refusal(self) -> None:
        """An invalid value that may contain a password isn't shown."""
        for name in ("BOT_IDENTITY", "STORAGE_CONFIG", "BOT_ADMINS_FALLBACK"):
            self.assertNotIn("hunter2", self.refusal(f"{name} = 'hunter2'"))
        self.assertNotIn("hunter2", self.refusal("SENTRY_DSN = b'hunter2'"))
        self.assertNotIn("hunter2", self.refusal("WEBHOOKS = {'A:b': {'verify': 'github', 'secret': 'hunter2'}}"))

    def test_line_of_a_setting(self) -> None:
        """The error ends with the line of the setting, also of one in NETWORKS; not if the command line has set it."""
        self.assertTrue(self.refusal("BACKEND = 'Text'\nGRACE_PERIOD = '10'\n").endswith(" (config.py line 2)"))
        text = "NETWORKS = {\n 'a': {'BACKEND': 'Null'},\n 'b': {'BACKEND': 'Null', 'GRACE_PERIOD': '10'},\n}\n"
        self.assertTrue(self.refusal(text).endswith(" (config.py line 3)"))
        text = "NETWORKS = {\n 'a': {'BACKEND': 'IRC',\n 'BOT_IDENTITY': {'nickname': 'e'}}\n}\n"
        self.assertTrue(
            self.refusal(text).endswith("'server' is missing; IRC requires a non-empty string (config.py line 3)")
        )
        self.assertTrue(self.refusal("BOT_DATA_DIR = 'data'\n", {"BOT_DATA_DIR": ""}).endswith("not ''"))

    def test_missing_file(self) -> None:
        """The error names the path of a missing file, and the command that creates one."""
        path = self.directory.resolve() / "missing.py"
        error = str(self.assertRaises(ConfigError, load_config, path))
        self.assertEqual(
            error,
            f"no configuration file at {path}; create one with `errklein init {path.parent}`, or name another with --config",
        )

    def test_unreadable_file(self) -> None:
        """The error names the path and the reason."""
        error = str(self.assertRaises(ConfigError, load_config, self.directory))
        self.assertEqual(error, f"{self.directory.resolve()} can't be read: Is a directory")

    def test_file_of_another_user(self) -> None:
        """A user who may not read the file, as most who try a command on a server, learns which user may."""
        path = self.directory.resolve() / "private.py"
        self.patch(Path, "read_bytes", mock.Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
        self.assertEqual(
            str(self.assertRaises(ConfigError, load_config, path)),
            f"{path} can't be read: Permission denied; run errklein as the bot's user, who must be able to read it",
        )

    def test_syntax(self) -> None:
        """A syntax error names file and line."""
        self.assertIn("config.py isn't valid Python at line 2:", self.refusal("BACKEND = 'Text'\nBOT_ADMINS = (\n"))

    def test_binary_file(self) -> None:
        """If Python doesn't know the line of a syntax error, the file alone is named."""
        line = self.refusal("x\0")
        self.assertIn("config.py isn't valid Python: source code string cannot contain null bytes", line)

    def test_exception(self) -> None:
        """An exception is reported with the line of config.py, not of the module that config.py called."""
        for statement, name in (
            ("1 / 0", "ZeroDivisionError"),
            ("raise SystemExit(3)", "SystemExit"),
            ("import json; json.loads('{')", "JSONDecodeError"),
            ("import no_such_module", "ModuleNotFoundError"),
        ):
            line = self.refusal(f"BACKEND = 'Text'\n{statement}\n")
            self.assertIn(f"config.py raised {name} at line 2: ", line)

    def test_source_line(self) -> None:
        """Below the error is the source line, with its number, and how to correct it if that is known."""
        for source, *lines in (
            (
                "import os\nX = logging.INFO\n",
                "    2 | X = logging.INFO",
                "    Add `import logging` at the top of the file.",
            ),
            ("BACKEND = Null\n", "    1 | BACKEND = Null", "    Write 'Null' in quotes if it is text."),
            ("NAME = 'x'\nX = NAM\n", "    2 | X = NAM", "    Did you mean NAME?"),
            ("X = int('k')\n", "    1 | X = int('•••')"),
            ("BOT_ADMINS = (\n", "    1 | BOT_ADMINS = (", "      |              ^"),
        ):
            self.assertEqual(self.refusal(source).split("\n")[1:], lines)

    def test_secrets_in_source_line(self) -> None:
        """The source line has the names of keys, but no strings, which may be passwords."""
        error = self.refusal("BOT_IDENTITY = {'password': 'hunter22', 'x': Path('hunter23')}\n")
        self.assertIn("    1 | BOT_IDENTITY = {'password': '•••', 'x': Path('•••')}\n", error)
        self.assertNotIn("hunter", error)

    def test_multiline_exception(self) -> None:
        """An exception's text of several lines is shown in one line."""
        self.assertIn("first second", self.refusal("raise ValueError('first\\nsecond')"))


class Properties(SynchronousTestCase):
    """Properties of all settings."""

    @given(
        st.sampled_from(sorted(SETTINGS)),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.binary()),
    )
    def test_accepted_or_refused_in_one_line(self, name: str, value: object) -> None:
        """Any value is either valid, and then the checked value is valid too, or an error of one line with the name."""
        try:
            taken = checked(name, value)
        except ConfigError as error:
            self.assertTrue(str(error).startswith(name))
            self.assertNotIn("\n", str(error))
        else:
            self.assertEqual(repr(checked(name, taken)), repr(taken))

    def test_defaults_are_fine(self) -> None:
        """Every default is a valid value."""
        for name, setting in SETTINGS.items():
            checked(name, setting.default)


class AllSettingsTests(ConfigCase):
    """`__dict__`, in which backends written for errbot look up settings."""

    def test_of_several_networks(self) -> None:
        """A network's has the common settings and its own; a copy of the view has the same."""
        config = self.load(
            "NETWORKS = {'a': {'BACKEND': 'Null', 'XMPP_USE_IPV6': True}, 'b': {'BACKEND': 'Test'}}\nCOMMON = 1\n"
        )
        one, other = config.networks["a"], config.networks["b"]
        for view in (one, copy.copy(one)):
            self.assertEqual(
                [vars(view).get(name) for name in ("BACKEND", "XMPP_USE_IPV6", "COMMON")], ["Null", True, 1]
            )
        self.assertEqual([vars(other).get(name) for name in ("BACKEND", "XMPP_USE_IPV6")], ["Test", None])
        one.COMMON = 2
        self.assertEqual((vars(one)["COMMON"], other.COMMON, config.COMMON), (2, 1, 1))

    def test_of_the_only_network(self) -> None:
        """Without NETWORKS, the network's settings are those of the bot; assignments change both."""
        config = self.load("BACKEND = 'Null'\nCOMMON = 1\n")
        view = config.networks["null"]
        view.COMMON, vars(view)["OTHER"] = 2, 3
        self.assertEqual((config.COMMON, config.OTHER, view.OTHER, vars(view)["COMMON"]), (2, 3, 3, 2))


class AssignmentTests(ConfigCase):
    """Assignments to the whole configuration and to views."""

    def test_settings_of_networks(self) -> None:
        """A network without a value of its own has the common one, also after an assignment; without its own again, too."""
        config = self.load(TWO_NETWORKS)
        libera, console = config.networks.values()
        self.assertEqual((libera.BOT_PREFIX, libera.BOT_ASYNC_POOLSIZE, console.BOT_PREFIX), ("err ", 10, "!"))
        config.BOT_PREFIX = "%"
        self.assertEqual((libera.BOT_PREFIX, console.BOT_PREFIX), ("err ", "%"))
        libera.BOT_PREFIX = "."
        self.assertEqual((libera.BOT_PREFIX, config.BOT_PREFIX), (".", "%"))
        del libera.BOT_PREFIX
        self.assertEqual(libera.BOT_PREFIX, "%")
        config.NEW = libera.NEW = 1
        config.NEW = 2
        self.assertEqual((libera.NEW, console.NEW), (1, 2))
        del config.NEW
        self.assertEqual((libera.NEW, hasattr(console, "NEW")), (1, False))


class SelectedNetworkTests(ConfigCase):
    """--network with a name in NETWORKS."""

    def test_one_of_several(self) -> None:
        """Only that network is used, with its own settings, and those of the common ones that are meant for it."""
        text = dedent(TWO_NETWORKS) + "CHATROOM_PRESENCE = ('console:#a', 'libera:#b', '#c')\n"
        config = self.load(text, {"BACKEND": "console"})
        self.assertEqual(list(config.networks), ["console"])
        view = config.networks["console"]
        for one in (view, config):
            self.assertEqual((one.BACKEND, one.BOT_ADMINS, one.CHATROOM_PRESENCE), ("Text", ("@gbin",), ("#a", "#c")))
        self.assertEqual(list(self.load(text, {"BACKEND": "Null"}).networks), ["null"])


class FilesOfErrbotTests(ConfigCase):
    """Settings that only errklein has, in a config.py that errbot may read, too."""

    def test_values_of_another_type(self) -> None:
        """Such a setting is a plugin's, which reads its value; errklein uses the default, and a warning has the line."""
        for name in ("NETWORKS", "STATUS", "WEB", "WEBHOOKS"):
            config = self.load(f"BACKEND = 'Null'\n{name} = {{1}}\n")
            self.assertEqual(getattr(config, name), {1})
            self.assertEqual(config.setting(name), SETTINGS[name].default)
            [warning] = configuration_warnings(config)
            self.assertTrue(warning.startswith(f"{name}: expected "), warning)
            self.assertIn(" (config.py line 2); errklein uses its default", warning)

    def test_dicts_that_are_no_networks(self) -> None:
        """NETWORKS is a plugin's, too, if none of its values is a dict; the network is that of BACKEND, or of --network."""
        text = "BACKEND = 'Null'\nNETWORKS = {'office': '10.0.0.0/8'}\n"
        self.assertEqual(list(self.load(text).networks), ["null"])
        config = self.load(text, {"BACKEND": "Test"})
        self.assertEqual((list(config.networks), config.NETWORKS), (["test"], {"office": "10.0.0.0/8"}))
        self.assertIn("NETWORKS['b']: expected a dict", self.refusal("BACKEND = 'Null'\nNETWORKS = {'a': {}, 'b': 1}"))

    def test_mistakes(self) -> None:
        """A value of the right type is an error, and so is one of another setting, or in a file for errklein alone."""
        for text in (
            "BACKEND = 'Null'\nINSTALL_FROM_CHAT = 'no'",
            "BACKEND = 'Null'\nWEBHOOKS = {'a': 1}",
            "BACKEND = 'Null'\nWEB = ['tcp:0', 1]",
            "BACKEND = 'Null'\nBOT_PREFIX = 1",
            "NETWORKS = {'here': {'BACKEND': 'Null'}}\nWEB = {}",
            "BACKEND = 'Null'\nNETWORKS = {'here': {}}\nSTATUS = 80",
            "STATUS = 9141",
        ):
            self.refusal(text)

    def test_secrets(self) -> None:
        """A plugin's secrets are masked whatever the name of its setting is."""
        self.assertIn("hunter22", secrets_of(self.load("BACKEND = 'Null'\nWEB = {'password': 'hunter22'}\n")))


class OldNamesTests(ConfigCase):
    """Former names of settings."""

    def test_old_name(self) -> None:
        """The error about an old name has the new one, and the line."""
        for text in ("BACKENDS = {'a': {'BACKEND': 'Null'}}", "BACKENDS = {}"):
            error = self.refusal(f"\n{text}\n")
            self.assertEqual(error, "BACKENDS: the new name of this setting is NETWORKS (config.py line 2)")

    def test_of_a_plugin(self) -> None:
        """A value of another type than the setting's is a plugin's."""
        for value in (["a", "b"], {"a": "b"}):
            self.assertEqual(self.load(f"BACKEND = 'Null'\nBACKENDS = {value!r}").BACKENDS, value)


class SecretsTests(SynchronousTestCase):
    """The secrets in a configuration."""

    def test_secrets_of_a_configuration(self) -> None:
        """Passwords, tokens and keys of all networks and rooms are found by their names; short ones are ignored."""
        settings: dict[str, Any] = {
            "NETWORKS": {
                "a": {"BACKEND": "Null", "BOT_IDENTITY": {"token": "xoxb-1", "server": "example.org"}},
                "b": {"BACKEND": "Null", "CHATROOM_PRESENCE": (("#ops", "sesame"), "#open")},
            },
            "STORAGE_CONFIG": {"credentials": {"user": "bot-user", "code": "12345", "pin": "123"}},
            "GITHUB_TOKENS": ["ghp_1", "ghp_2"],
            "BOT_PREFIX": "secret",
            "DIVERT_TO_PRIVATE": ("render_test",),
            "HTTPS_PROXY": "me:let-me-in@proxy:3128",
            # References must be readable in errors about them.
            "WEBHOOKS": {"Github:notification": {"verify": "github", "secret": "env:GH_SECRET"}},
        }
        self.assertEqual(
            secrets_of(load_config(None, settings)), {"xoxb-1", "sesame", "12345", "ghp_1", "ghp_2", "let-me-in"}
        )
