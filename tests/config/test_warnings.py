"""Warnings about valid settings that don't have the expected effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import configuration_warnings, load_config
from errklein.testing import PluginTestCase

IRC = {"BACKEND": "IRC", "BOT_IDENTITY": {"nickname": "err", "server": "irc.example.org"}, "BOT_ADMINS": ("alice",)}


class WarningsTests(SynchronousTestCase):
    """The warnings of `errklein check`."""

    def warnings(self, **settings: Any) -> list[str]:
        """Return the warnings about these settings."""
        return configuration_warnings(load_config(None, {"BACKEND": "Null", **settings}))

    def test_none(self) -> None:
        """The values in errbot's template cause no warning."""
        as_in_the_template = {
            "XMPP_CA_CERT_FILE": None,
            "XMPP_FEATURE_MECHANISMS": {},
            "XMPP_USE_IPV6": None,
            "MESSAGE_SIZE_LIMIT": 100_000,
            "SENTRY_DSN": "",
            "SENTRY_LOGLEVEL": 10,
            "BOT_ADMINS": ("alice", "*@admins"),
            "TEXT_COLOR_THEME": "dark",
        }
        self.assertEqual(self.warnings(**as_in_the_template), [])
        self.assertEqual(self.warnings(**IRC, MESSAGE_SIZE_LIMIT=510), [])

    def test_command_for_notices(self) -> None:
        """A command in BOT_ADMINS_FALLBACK that is missing or not executable is named."""
        directory = Path(self.mktemp())
        directory.mkdir()
        page = directory / "page"
        page.touch(0o644)
        for command in ("no-such-command", str(page), str(directory)):
            [warning] = self.warnings(BOT_ADMINS_FALLBACK=[command, "ops"])
            self.assertIn(f"BOT_ADMINS_FALLBACK: {command!r} is missing or not executable", warning)
        page.chmod(0o755)
        self.assertEqual(self.warnings(BOT_ADMINS_FALLBACK=[str(page)]), [])
        self.assertEqual(self.warnings(BOT_ADMINS_FALLBACK="ops@example.org"), [])

    def test_xmpp(self) -> None:
        """All settings of XMPP that differ from the default are named in one warning, also those of a single network."""
        said = "XMPP_USE_IPV6, XMPP_XHTML_IM: no effect, since no network is on XMPP"
        self.assertEqual(self.warnings(XMPP_XHTML_IM=True, XMPP_USE_IPV6=True), [said])
        of_one = {"here": {"XMPP_XHTML_IM": True, "XMPP_USE_IPV6": False}}
        self.assertEqual(
            configuration_warnings(load_config(None, {"NETWORKS": {"here": {**of_one["here"], "BACKEND": "Null"}}})),
            [said],
        )

    def test_xmpp_written_for_errbot(self) -> None:
        """XMPP and a backend written for errbot use these settings, so there is no warning."""
        identity = {"username": "err@localhost", "password": "secret"}
        settings = {"BACKEND": "XMPP", "BOT_IDENTITY": identity, "BOT_ADMINS": ("alice@localhost",)}
        self.assertEqual(self.warnings(**settings, XMPP_XHTML_IM=True), [])
        self.assertEqual(self.warnings(BACKEND="Jabber", XMPP_XHTML_IM=True, BOT_ADMINS=("a",)), [])

    def test_trust_in_everybody(self) -> None:
        """A network of trusted proxies that contains every address is reported."""
        networks: dict[str, list[str]] = {"10.0.0.0/8": [], "::/0": []}
        [warning] = self.warnings(TRUSTED_PROXIES=networks)
        self.assertEqual(
            warning, "TRUSTED_PROXIES: every client can forge its address, since '::/0' contains all addresses"
        )

    def test_size_limit(self) -> None:
        """A limit above that of the network is reported, with the network's name if it is one of several."""
        [warning] = self.warnings(**IRC, MESSAGE_SIZE_LIMIT=511)
        self.assertEqual(warning, "MESSAGE_SIZE_LIMIT is 511; a line on IRC has at most 510 bytes")
        networks = {"a": {**IRC, "MESSAGE_SIZE_LIMIT": 9999}, "b": {"BACKEND": "Null"}}
        [warning] = configuration_warnings(load_config(None, {"NETWORKS": networks}))
        self.assertTrue(warning.startswith("NETWORKS['a']: MESSAGE_SIZE_LIMIT is 9999"))

    def test_patterns_that_nobody_has_as_a_name(self) -> None:
        """A pattern that should receive notices is reported; patterns in BOT_ADMINS are fine if somebody else is notified."""
        [warning] = self.warnings(BOT_ADMINS=("alice",), BOT_ADMINS_NOTIFICATIONS=("bob", "*@admins"))
        self.assertEqual(
            warning, "BOT_ADMINS_NOTIFICATIONS: no notices are sent to the pattern '*@admins'; expected a name"
        )
        [warning] = self.warnings(BOT_ADMINS=("*@admins",))
        self.assertIn("BOT_ADMINS has only patterns", warning)
        self.assertEqual(self.warnings(BOT_ADMINS=("*@admins",), BOT_ADMINS_NOTIFICATIONS=("[bob]",)), [])

    def test_patterns_for_hosts(self) -> None:
        """On IRC a nick of any host receives notices; a pattern for nicks doesn't."""
        self.assertEqual(self.warnings(**{**IRC, "BOT_ADMINS": ("alice!*@*",)}), [])
        [warning] = self.warnings(**{**IRC, "BOT_ADMINS": ("*!alice@example.org",)})
        self.assertIn("BOT_ADMINS has only patterns", warning)

    def test_brackets_on_irc(self) -> None:
        """A pattern that errbot reads as a set of characters is reported with its setting, on IRC only."""
        patterns = {
            "BOT_ADMINS": ("bob[[]away]!*@*", "boss!*@*"),
            "ACCESS_CONTROLS_DEFAULT": {"denyusers": "al[ab]!*"},
            "ACCESS_CONTROLS": {
                "status[a-z]": {"allowrooms": ("#a", "#ops[1]"), "denyargs": ("[ab]",), "allowusers": None}
            },
        }
        said = self.warnings(**{**IRC, **patterns})
        self.assertEqual(
            [warning.partition(" are literal ")[0] for warning in said],
            [
                "BOT_ADMINS: brackets in 'bob[[]away]!*@*'",
                "ACCESS_CONTROLS_DEFAULT['denyusers']: brackets in 'al[ab]!*'",
                "ACCESS_CONTROLS['status[a-z]']['allowrooms']: brackets in '#ops[1]'",
            ],
        )
        self.assertFalse([warning for warning in self.warnings(**patterns) if "brackets" in warning])
        self.assertEqual(self.warnings(**{**IRC, "BOT_ADMINS": ("bob[!*@*", "al]!*@*")}), [])

    def test_brackets_on_one_of_several_networks(self) -> None:
        """The warning names the network."""
        networks = {"libera": {**IRC, "BOT_ADMINS": ("al[x]!*@*",)}, "b": {"BACKEND": "Null", "BOT_ADMINS": ("al[x]",)}}
        [warning] = configuration_warnings(load_config(None, {"NETWORKS": networks}))
        self.assertTrue(warning.startswith("NETWORKS['libera']: BOT_ADMINS: brackets in 'al[x]!*@*'"), warning)

    def test_sentry(self) -> None:
        """A SENTRY_DSN without effect is reported, and so is the deprecated SENTRY_TRANSPORT."""
        said = self.warnings(SENTRY_DSN="https://k@sentry.example.org/1", SENTRY_TRANSPORT=("Transport", "sentry"))
        self.assertEqual([warning.split()[0].rstrip(":") for warning in said], ["SENTRY_TRANSPORT", "SENTRY_DSN"])
        self.assertNotIn("sentry.example.org", "".join(said))


class StartTests(PluginTestCase):
    """The start of a bot."""

    config = {"XMPP_XHTML_IM": True}

    def test_logged(self) -> None:
        """Warnings are logged."""
        self.assertIn("XMPP_XHTML_IM: no effect, since no network is on XMPP", self.bot.log)
