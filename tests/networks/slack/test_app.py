"""Tests of the settings, of `errklein network check`, and of pushed commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError, load_config
from errklein.config.networks import CommandText
from errklein.networks.errors import RequestRefused, Unusable
from errklein.networks.slack import NETWORK, SETTINGS, settings_of
from errklein.networks.slack._client import SCOPES
from tests.networks.slack.schemas import SCHEMA, problem
from tests.networks.slack.server import ALICE, APP_TOKEN, CONFIG_TOKEN, DEV, SECRET, TOKEN
from tests.networks.slack.workspace import BASE, BotCase

COMMANDS = [CommandText("status", "Show the status.", "[--all]"), CommandText("Bad Name", "", "")]


class AppCase(BotCase):
    """The descriptor's functions."""

    rooms: Sequence[str] = ()

    def asked(self, function: Any, *arguments: Any, **identity: Any) -> Any:
        """Return a Deferred of a function of the descriptor."""
        given = {"token": TOKEN, "app_token": APP_TOKEN, "api": f"{BASE}/api", **identity}
        answer, headers = {"ok": True, **self.server._auth_test({})}, {"X-OAuth-Scopes": ", ".join(self.server.scopes)}
        if given["token"] == TOKEN:
            self.http.respond("POST", f"{BASE}/api/auth.test", json=answer, headers=headers)
        found = Deferred.fromCoroutine(
            function(self.context(given, BOT_ADMINS=(ALICE,), CHATROOM_PRESENCE=self.rooms), *arguments)
        )
        self.clock.advance(1)
        return found


class CheckTests(AppCase):
    """`errklein network check`."""

    def test_right(self) -> None:
        """If all is well, one sentence says who the bot is."""
        [finding] = self.successResultOf(self.asked(NETWORK.check))
        self.assertEqual(finding, ("Example on Slack accepts the bot as @errklein, with Socket Mode", False))

    def test_each_missing_scope(self) -> None:
        """Each missing scope is a problem, with what doesn't work."""
        for what, scopes in SCOPES.items():
            for scope in scopes.split():
                self.server.scopes.remove(scope)
                _, finding = self.successResultOf(self.asked(NETWORK.check))
                self.assertEqual(finding, (f"the scope {scope} is missing, for {what}", True))
                self.server.scopes.add(scope)

    def test_unknown_room(self) -> None:
        """A room of CHATROOM_PRESENCE that the bot can't find is a problem; an id and a name are known."""
        self.rooms = ("#ops", DEV, "#nope")
        _, finding = self.successResultOf(self.asked(NETWORK.check))
        text = "there is no room #nope of CHATROOM_PRESENCE, or it is private and the bot is not in it"
        self.assertEqual(finding, (text, True))

    def test_wrong_tokens(self) -> None:
        """A wrong token is named."""
        for key in ("token", "app_token"):
            prefix = {"token": "xoxb-", "app_token": "xapp-"}[key]
            error = self.failureResultOf(self.asked(NETWORK.check, **{key: f"{prefix}wrong"}), ConfigError).value
            page = {"token": "OAuth & Permissions", "app_token": "Basic Information"}[key]
            self.assertIn(f"BOT_IDENTITY[{key!r}] (invalid_auth); see {page} on", str(error))
            self.assertNotIn("wrong", str(error))

    def test_missing_scope_of_app_token(self) -> None:
        """An app-level token without its scope is named, with the scope."""
        answer = {"ok": False, "error": "missing_scope", "needed": "connections:write"}
        self.http.respond("POST", f"{BASE}/api/apps.connections.open", json=answer)
        error = self.failureResultOf(self.asked(NETWORK.check), RequestRefused).value
        self.assertIn("BOT_IDENTITY['app_token'] lacks the scope connections:write", str(error))


class PushTests(AppCase):
    """`errklein network push-commands`."""

    def push(self, dry: bool = False, commands: Any = COMMANDS, **identity: Any) -> Any:
        """Return the lines."""
        return self.successResultOf(self.asked(NETWORK.push_commands, commands, dry, **identity))

    def test_manifest(self) -> None:
        """Without a configuration token, it shows a valid manifest to paste."""
        for identity, is_socket in (({}, True), ({"app_token": None, "signing_secret": SECRET}, False)):
            [text] = self.push(**identity)
            made = json.loads(text.partition("\n")[2])
            self.assertEqual(problem(made, SCHEMA["methods"]["apps.manifest.update"]["properties"]["manifest"]), "")
            self.assertEqual([one["command"] for one in made["features"]["slash_commands"]], ["/errklein", "/status"])
            self.assertEqual(made["settings"]["socket_mode_enabled"], is_socket)

    def test_push(self) -> None:
        """With one, commands are added, and those of others stay."""
        theirs = {"command": "/theirs", "description": "x"}
        self.server.manifest["features"] = {"slash_commands": [theirs], "bot_user": {"display_name": "x"}}
        wanted = ["new: /errklein", "new: /status"]
        self.assertEqual(self.push(dry=True, config_token=CONFIG_TOKEN), wanted)
        self.assertEqual(self.server.manifest["features"]["slash_commands"], [theirs])
        self.assertEqual(self.push(config_token=CONFIG_TOKEN), wanted)
        features = self.server.manifest["features"]
        status = {
            "command": "/status",
            "description": "Show the status.",
            "usage_hint": "[--all]",
            "should_escape": True,
        }
        self.assertEqual((features["slash_commands"][0], features["slash_commands"][2]), (theirs, status))
        self.assertEqual((features["bot_user"], self.server.complaints), ({"display_name": "x"}, []))
        self.assertEqual(self.push(config_token=CONFIG_TOKEN), ["nothing to change"])

    def test_expired(self) -> None:
        """A configuration token is valid for twelve hours; then the error names it."""
        failed = self.asked(NETWORK.push_commands, COMMANDS, False, config_token="xoxe.xoxp-1-old")
        self.assertIn("BOT_IDENTITY['config_token']", str(self.failureResultOf(failed, Unusable).value))

    def test_too_many(self) -> None:
        """Slack takes fifty; what is left out is said."""
        commands = [CommandText(f"c{number}", "x", "") for number in range(60)]
        lines = self.push(commands=commands, config_token=CONFIG_TOKEN)
        self.assertEqual(len(self.server.manifest["features"]["slash_commands"]), 50)
        self.assertIn("11 commands", lines[-1])


class SettingsTests(SynchronousTestCase):
    """BOT_IDENTITY."""

    def read(self, **identity: Any) -> dict[str, str]:
        """Return the settings."""
        given = {
            "BACKEND": "Slack",
            "BOT_ADMINS": (ALICE,),
            "BOT_DATA_DIR": self.mktemp(),
            "CHATROOM_PRESENCE": ("#ops",),
        }
        [config] = load_config(None, {**given, "BOT_IDENTITY": identity}).networks.values()
        return settings_of(config)

    def test_names_of_errbot(self) -> None:
        """The keys of errbot's SlackV3 are the same."""
        settings = self.read(token=TOKEN, app_token=APP_TOKEN, signing_secret=SECRET)
        self.assertEqual((settings["token"], self.read(bot_token=TOKEN, app_token=APP_TOKEN)["token"]), (TOKEN, TOKEN))

    def test_invalid(self) -> None:
        """Errors name the key, and don't show the value."""
        for identity, part in (
            ({"app_token": APP_TOKEN}, "expected 'token'"),
            ({"token": TOKEN}, "'app_token' for Socket Mode or 'signing_secret'"),
            ({"token": APP_TOKEN, "app_token": APP_TOKEN}, "'token' must look like 'xoxb-…'"),
            ({"token": TOKEN, "app_token": TOKEN}, "'app_token' must look like 'xapp-…'"),
            ({"token": TOKEN, "app_token": APP_TOKEN, "api": "http://example.org/api"}, "'api' must look like"),
        ):
            error = str(self.assertRaises(ConfigError, self.read, **identity))
            self.assertIn(part, error)
            self.assertNotIn("of-the-double", error)

    def test_warnings(self) -> None:
        """Patterns and names in BOT_ADMINS are probably mistakes."""
        admins = ("U*", "@alice", ALICE)
        given = {"BACKEND": "Slack", "BOT_IDENTITY": {"token": TOKEN, "app_token": APP_TOKEN}, "BOT_ADMINS": admins}
        [config] = load_config(None, {**given, "BOT_DATA_DIR": self.mktemp()}).networks.values()
        every, nobody = SETTINGS.all_warnings(config)
        self.assertIn("everybody whose id matches 'U*'", every)
        self.assertIn("'@alice' matches nobody on Slack", nobody)
