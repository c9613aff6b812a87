"""The table of IRC's settings: checks, warnings and documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein.config import ConfigError, load_config
from errklein.networks.irc import SETTINGS, IRCSettings
from errklein.service.startup_checks import check_config, network_warnings

IDENTITY = {"nickname": "errklein", "server": "irc.example.net"}
ADMINS = ("alice!*@user/alice",)


class IdentityTests(SynchronousTestCase):
    """Mistakes in BOT_IDENTITY and BOT_ADMINS."""

    def config(self, more: Mapping[str, Any], **settings: Any) -> Any:
        """Return the configuration of a network with more keys in BOT_IDENTITY."""
        given = {"BACKEND": "IRC", "BOT_IDENTITY": {**IDENTITY, **more}, "BOT_ADMINS": ADMINS, **settings}
        return load_config(None, given)

    def error(self, **more: Any) -> str:
        """Return the error for these keys, which is also that of the backend."""
        config = self.config(more)
        error = str(self.assertRaises(ConfigError, check_config, config))
        self.assertEqual(str(self.assertRaises(ConfigError, IRCSettings.read, config.networks["irc"])), error)
        return error

    def warnings(self, more: Mapping[str, Any], **settings: Any) -> list[str]:
        """Return the warnings about a valid configuration."""
        config = self.config(more, **settings)
        check_config(config)
        return list(network_warnings(config))

    def test_misspelt_keys(self) -> None:
        """An unknown key has a warning, with the key that was meant or all keys."""
        for name, meant in (("prot", "port"), ("pasword", "password"), ("nickserv_pasword", "nickserv_password")):
            [warning] = self.warnings({name: "hunter2"})
            self.assertEqual(warning, f"BOT_IDENTITY: unknown key {name!r}; did you mean {meant!r}?")
        [warning] = self.warnings({"zzzzzz": 1})
        self.assertIn("unknown key 'zzzzzz'; expected nickname, server, port, ssl", warning)
        networks = {"libera": {"BACKEND": "IRC", "BOT_ADMINS": ADMINS, "BOT_IDENTITY": {**IDENTITY, "prot": 1}}}
        [warning] = network_warnings(load_config(None, {"NETWORKS": networks}))
        self.assertEqual(warning, "NETWORKS['libera']: BOT_IDENTITY: unknown key 'prot'; did you mean 'port'?")

    def test_types(self) -> None:
        """A value of another type is an error, since it would be true, or fail later."""
        for value in ("yes", "no", 1.5, []):
            self.assertEqual(self.error(ssl=value), f"BOT_IDENTITY: 'ssl' must be True or False, not {value!r}")
        self.assertIn("'ipv6' must be True or False", self.error(ipv6="on"))
        for port in (0, "6697", True, 65536):
            self.assertEqual(
                self.error(port=port), f"BOT_IDENTITY: 'port' is {port!r}; expected a number from 1 to 65535"
            )
        self.assertEqual(self.error(password=5), "BOT_IDENTITY: 'password' must be a string of one line")
        self.assertTrue(IRCSettings.read(self.config({"ssl": 1, "port": 6697}).networks["irc"]).tls)

    def test_server_with_port(self) -> None:
        """A port in `server` is an error that says where it belongs; IPv6 addresses are valid."""
        self.assertEqual(
            self.error(server="irc.example.net:6697"),
            "BOT_IDENTITY: 'server' is 'irc.example.net:6697'; it must be a host name or an address; "
            "set 'server': 'irc.example.net' and 'port': 6697",
        )
        for server in ("irc://irc.example.net", "irc.example.net/6697", "two words", "[::1]"):
            self.assertIn("must be a host name or an address", self.error(server=server))
        for server in ("irc.example.net", "192.0.2.1", "2001:db8::1"):
            self.assertEqual(IRCSettings.read(self.config({"server": server}).networks["irc"]).server, server)

    def test_encryption(self) -> None:
        """A SASL password without TLS, and TLS on the port without TLS, have warnings."""
        [warning] = self.warnings({"sasl_password": "hunter2"})
        self.assertIn("'sasl_password' is sent without encryption", warning)
        self.assertNotIn("hunter2", warning)
        self.assertEqual(self.warnings({"sasl_password": "x", "server": "127.0.0.1"}), [])
        for more in ({"ssl": True}, {"ssl": True, "port": 6667}):
            [warning] = self.warnings(more)
            self.assertIn("port 6667 is usually one without TLS; set 'port': 6697", warning)
        self.assertEqual(self.warnings({"ssl": True, "port": 6697, "sasl_password": "x"}), [])

    def test_administrators(self) -> None:
        """A pattern that matches nobody, or people that nobody has chosen, has a warning; one with a host or account has none."""
        for admin, words in (
            ("alice", "'alice' matches nobody on IRC"),
            ("boss!*@*", "anybody who takes the nick 'boss' is an administrator, who can run code"),
            ("boss!*", "anybody who takes the nick 'boss'"),
            ("*", "everybody is an administrator, who can run code"),
            ("*!*@*", "everybody is an administrator"),
            ("*!root@*", "everybody is an administrator"),
        ):
            [warning] = self.warnings({}, BOT_ADMINS=(admin,))
            self.assertTrue(warning.startswith("BOT_ADMINS: "), warning)
            self.assertIn(words, warning)
        good = ("alice!*@user/alice", "*!*@10.0.0.7", "*!alice@*.example.org")
        self.assertEqual(self.warnings({}, BOT_ADMINS=good), [])
        self.assertEqual(self.warnings({}, BOT_ADMINS=("alice",), IRC_ACL_PATTERN="{nick}"), [])

    def test_who_reads_lines(self) -> None:
        """Lines are encrypted with TLS, or don't leave this computer if the server is on it."""
        for identity, is_encrypted in (
            ({}, False),
            ({"ssl": True}, True),
            ({"server": "127.0.0.1"}, True),
            ({"server": "::1"}, True),
            ({"server": "127.example.org"}, False),
        ):
            settings = IRCSettings.read(self.config(identity).networks["irc"])
            self.assertEqual(settings.is_encrypted, is_encrypted, identity)

    def test_other_networks(self) -> None:
        """Text ignores the keys of the network that it replaces; the keys of a backend written for errbot are unknown."""
        for backend, identity, expected in (
            ("Text", {**IDENTITY, "port": 6697}, []),
            ("Text", {"user_name": "bot"}, ["BOT_IDENTITY: unknown key 'user_name'; did you mean 'username'?"]),
            ("Webex", {"tokn": "x"}, []),
        ):
            config = load_config(None, {"BACKEND": backend, "BOT_IDENTITY": identity, "BOT_ADMINS": ("a",)})
            self.assertEqual(list(network_warnings(config)), expected)

    def test_documentation(self) -> None:
        """The guide lists the keys of the table, with their defaults and meanings."""
        guide = (Path(errklein.__file__).parent.parent / "docs" / "guides" / "networks.md").read_text()
        section = guide.partition("### Keys of BOT_IDENTITY\n")[2].partition("\n#")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", section, re.MULTILINE)
        self.assertEqual(rows, [(name, key.default, key.meaning) for name, key in SETTINGS.keys.items()])
