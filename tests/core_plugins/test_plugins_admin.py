"""Tests for `!plugin …`: replies, and the disclosure of secrets and exceptions."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.storage import UnreadableValue
from errklein.testing import PluginTestCase, TestBot
from tests.plugin_files import PluginFilesTestCase


class Odd:
    """A value whose `repr()` fails."""

    def __repr__(self) -> str:
        raise RuntimeError("odd")


class Keeper(BotPlugin):
    """A plugin with secrets in its configuration."""

    def get_configuration_template(self) -> dict[str, Any]:
        return {
            "server": "localhost",
            "api_token": "",
            "accounts": [{"user": "", "Password": ""}],
            "secrets": {"first": ""},
        }

    def activate(self) -> None:
        super().activate()
        self["session"] = "st0red"


class Hoarder(BotPlugin):
    """A plugin with many stored values, one of them unreadable."""

    def activate(self) -> None:
        super().activate()
        for number in range(60):
            self[f"key {number:02}"] = number

    def __getitem__(self, key: str) -> Any:
        if key == "key 07":
            raise UnreadableValue("Hoarder", key, ValueError("its class is gone"))
        return super().__getitem__(key)


SECRETS = ("t0ken", "passw0rd", "f1rst")
CONFIGURATION = {
    "server": "example.org",
    "api_token": "t0ken",
    "accounts": [{"user": "bob", "Password": "passw0rd"}],
    "secrets": {"first": "f1rst"},
}


class SecretsTests(PluginTestCase):
    """Secrets in `!plugin info` and `!plugin config`."""

    plugins = (Keeper,)
    config = {"ACCESS_CONTROLS": {"plugin_*": {"allowmuc": True}}}

    def setUp(self) -> None:
        """Configure the plugin."""
        super().setUp()
        self.assertEqual(self.command(f"!plugin config Keeper {CONFIGURATION!r}"), "Plugin configuration done.")

    def test_room(self) -> None:
        """In a room, secrets and stored values are masked, nested ones included."""
        (info,) = self.bot.say("!plugin info Keeper", room="#testroom")
        (config,) = self.bot.say("!plugin config Keeper", room="#testroom")
        for secret in (*SECRETS, "st0red"):
            self.assertNotIn(secret, info + config)
        for known in ("example.org", "bob", "•••"):
            self.assertIn(known, info)
            self.assertIn(known, config)
        self.assertIn("session", info)

    def test_room_with_diverted_answers(self) -> None:
        """They are masked even if the reply is diverted to private, since the command was sent in a room."""
        self.bot.config.DIVERT_TO_PRIVATE = ("plugin_info",)
        (info,) = self.bot.say("!plugin info Keeper", room="#testroom")
        self.assertNotIn("t0ken", info)


class Leaking(BotPlugin):
    """A plugin whose exceptions contain internals."""

    leaks = True

    def activate(self) -> None:
        if self.leaks:
            raise RuntimeError("see /srv/secret/place")
        super().activate()

    def get_configuration_template(self) -> dict[str, Any]:
        if self.leaks:
            raise KeyError("secret/place")
        return {"token": ""}


class RoomTests(SynchronousTestCase):
    """Exceptions of plugins, in replies to administrators in rooms."""

    def setUp(self) -> None:
        """Start a bot with a plugin that works at first."""
        self.bot = TestBot([Leaking], config={"ACCESS_CONTROLS": {"plugin_*": {"allowmuc": True}}})
        self.addCleanup(self.bot.stop)
        self.patch(Leaking, "leaks", False)
        self.bot.start()
        self.bot.command("!plugin deactivate Leaking")
        Leaking.leaks = True

    def test_commands(self) -> None:
        """In a room, the reply is a sentence with the error id of the log; in private, it is the exception."""
        for command, summary in (
            ("activate", "The plugin has failed"),
            ("config", "Incorrect plugin configuration"),
        ):
            self.assertIn("secret/place", self.bot.command(f"!plugin {command} Leaking"))
            (told,) = self.bot.say(f"!plugin {command} Leaking", room="#ops")
            self.assertRegex(told, rf"^{summary} \(error [0-9a-f]{{8}}\)\.$")
            [line] = [line for line in self.bot.log if told[-10:-2] in line]
            self.assertIn("secret/place", line)
        self.bot.command("!plugin blacklist Leaking")
        done, told = self.bot.say("!plugin unblacklist Leaking", room="#ops")
        self.assertIn("removed from blacklist", done)
        self.assertRegex(told, r"^The plugin has failed \(error [0-9a-f]{8}\)\.$")
        (told,) = self.bot.say("!plugin info Leaking", room="#ops")
        self.assertNotIn("secret/place", told)
        self.flushLoggedErrors()

    def test_what_is_no_exception(self) -> None:
        """errklein's own errors are shown in rooms too."""
        (told,) = self.bot.say("!plugin deactivate Leaking", room="#ops")
        self.assertEqual(told, "Leaking is already deactivated.")
        (told,) = self.bot.say("!plugin activate Nothing", room="#ops")
        self.assertIn("isn't a valid plugin name", told)


class LoadErrorTests(PluginFilesTestCase):
    """Plugins that can't be loaded, in replies to administrators in rooms."""

    def setUp(self) -> None:
        """Start a bot with a plugin that works at first."""
        super().setUp()
        self.plugin("Deploy", f"{self.START}    pass\n", "deploy")
        self.bot = TestBot(plugin_dirs=[self.directory], config={"ACCESS_CONTROLS": {"plugin_*": {"allowmuc": True}}})
        self.bot.start()
        self.addCleanup(self.bot.stop)

    START = "from errklein import BotPlugin, ValidationException\nclass Deploy(BotPlugin):\n"

    def test_in_a_room(self) -> None:
        """Neither the text of an exception nor what errklein has found in the code is shown in a room."""
        for body in (
            "def __init__(self, bot, greeting='pass-phrase'): pass",
            "def __init__(self, bot, name): raise ValidationException('pass-phrase')",
        ):
            self.write("deploy/deploy.py", f"{self.START}    {body}\n")
            (told,) = self.bot.say("!plugin reload Deploy", room="#ops")
            self.assertRegex(told, r"\(error [0-9a-f]{8}\)\.$")
            self.assertNotIn("pass-phrase", told)
            self.assertIn("pass-phrase", self.bot.command("!plugin reload Deploy"))
            self.flushLoggedErrors()


class PluginsTests(PluginTestCase):
    """Administration of plugins."""

    plugins = (Keeper,)

    def test_wrong_literals(self) -> None:
        """Each invalid configuration has its own reply, and no code in it is executed."""
        self.assertIn("Syntax error in the given configuration", self.command("!plugin config Keeper {'server':"))
        self.assertIn("Syntax error in the given configuration", self.command("!plugin config Keeper print(1)"))
        deep = self.command("!plugin config Keeper " + "-" * 20_000 + "1")
        self.assertRegex(deep, "Syntax error in the given configuration: .+")
        named = self.command("!plugin config Keeper somebody")
        self.assertIn("expected a Python literal such as {'TOKEN': 'abc', 'ROOMS': ['#a']}", named)
        for literal, reason in (("{'n': 0x" + "f" * 6000 + "}", "digits"), (f"[{'1,' * 60_000}]", "100000 characters")):
            self.assertIn(reason, self.command(f"!plugin config Keeper {literal}"))
        self.assertNotIn("Current configuration", self.command("!plugin config Keeper"))

    def test_what_can_not_be_shown(self) -> None:
        """A value whose `repr()` fails doesn't hide the others."""
        self.bot.bot.plugin_manager.store_configuration("Keeper", {"n": 16**6000})
        self.bot.bot.plugin_manager.instance("Keeper")["odd"] = Odd()
        for command in ("!plugin config Keeper", "!plugin info Keeper"):
            self.assertIn("can't be shown: ValueError: Exceeds the limit", self.command(command))
        self.assertIn("can't be shown: RuntimeError: odd", self.command("!plugin info Keeper"))
        self.assertIn("looks fishy", self.command("!plugin config Keeper 7"))
        self.assertIn("Incorrect plugin configuration", self.command("!plugin config Keeper {}"))
        self.assertIn("is not configurable", self.command("!plugin config Help"))


class StoredTests(PluginTestCase):
    """Stored values in `!plugin info`."""

    plugins = (Hoarder,)

    def test_info(self) -> None:
        """Some values are shown, or the reason why they can't be; the others are counted."""
        info = self.command("!plugin info Hoarder")
        self.assertIn("stored 'key 49': 49", info)
        self.assertIn("its class is gone", info)
        self.assertNotIn("key 50", info)
        self.assertIn("stored under other keys: 10 more values", info)


class Unsure(BotPlugin):
    """A plugin whose configuration template fails."""

    def get_configuration_template(self) -> Any:
        raise LookupError("where is it?")


class UnsureTests(PluginTestCase):
    """Plugins with a failing configuration template."""

    plugins = (Unsure,)

    def test_error_in_the_template_is_reported(self) -> None:
        """The reply names the failing method, and `!status plugins` still works."""
        for command in ("!plugin config Unsure", "!plugin config Unsure {}"):
            self.assertRegex(self.command(command), r"test_plugins_admin.py, line \d+: LookupError: where is it\?")
        self.assertEqual(self.command("!plugin deactivate Unsure"), "Plugin Unsure deactivated.")
        self.assertIn("Unsure", self.command("!status plugins"))
        self.bot.bot.plugin_manager.set_plugin_configuration("Unsure", {})
        self.assertIn("where is it?", self.command("!plugin activate Unsure"))
        self.assertIn("where is it?", self.command("!plugin info Unsure"))
        self.flushLoggedErrors(LookupError)


class BlacklistTests(PluginTestCase):
    """Blacklisted plugins."""

    plugins = (Keeper,)

    def test_a_plugin_that_is_gone(self) -> None:
        """A plugin that no longer exists can be removed from the blacklist."""
        self.bot.bot.plugin_manager.blacklist_plugin("Gone")
        self.assertEqual(self.command("!plugin unblacklist Gone"), "Plugin Gone removed from blacklist.")
        self.assertIn("isn't a valid plugin name", self.command("!plugin unblacklist Gone"))
