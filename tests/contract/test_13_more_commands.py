"""Chapter 13, continued: what each command says to what."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.contract.kit import ADMIN, ContractTest, decided

PLUGIN = """
    from errbot import BotPlugin, botcmd

    class Tried(BotPlugin):
        '''Tries things.'''

        def get_configuration_template(self):
            return {"password": "secret"}

        def check_configuration(self, configuration):
            pass

        def configure(self, configuration):
            super().configure(configuration or {})

        @botcmd
        def sing(self, msg, args):
            '''Sings.'''
            return "la la la"

        @botcmd
        def fail(self, msg, args):
            raise RuntimeError("of no use")
    """


class RoomTests(ContractTest):
    """`!room …`."""

    plugin = PLUGIN

    def test_replies(self) -> None:
        """Each command says what it has done."""
        for command, told in (
            ("create r1", "r1"),
            ("join r1 secret", "r1"),
            ("occupants r1", "err"),
            ("topic r1", "No topic is set"),
            ("topic r1 'a new one'", "set"),
            ("topic r1", "a new one"),
            ("list", "r1"),
            ("leave r1 because of that", "r1"),
            ("destroy r1", "r1"),
        ):
            self.assertIn(told, self.ask(f"!room {command}"), command)

    def test_invite(self) -> None:
        """People are invited."""
        self.ask("!room join r1")
        said = self.ask("!room invite r1 a@b c@d")
        for part in ("a@b", "c@d", "r1"):
            self.assertIn(part, said)

    def test_shell_like(self) -> None:
        """Arguments are split as a shell does; quotes need their end."""
        self.assertIn("with space", self.ask("!room create 'with space'"))
        self.assertTrue(self.bot.query_room("with space").exists)
        self.assertIn("couldn't parse your arguments", self.ask("!room create 'without end"))

    def test_without_a_room(self) -> None:
        """It is told that a room is needed."""
        for command in ("create", "join", "leave", "destroy", "invite", "occupants", "topic"):
            self.assertRegex(self.ask(f"!room {command}"), "(?i)room", command)


class PermissionsTests(ContractTest):
    """Which commands are for administrators, when no rule says anything."""

    plugin = PLUGIN

    def setUp(self) -> None:
        """Be somebody."""
        super().setUp()
        self.bot.sender = self.bot.build_identifier("somebody@host")

    def test_administrators(self) -> None:
        """All that change something, or show what isn't for everybody."""
        for command in (
            "restart",
            "shutdown",
            "repos install x",
            "repos uninstall x",
            "repos update all",
            "plugin config Tried",
            "plugin reload Tried",
            "plugin activate Tried",
            "plugin deactivate Tried",
            "plugin blacklist Tried",
            "plugin unblacklist Tried",
            "plugin info Tried",
            "log tail",
            "backup",
        ):
            self.assertIn("requires bot-admin privileges", self.ask(f"!{command}"), command)

    def test_everybody(self) -> None:
        """Help, health, flows and the like."""
        for command in (
            "apropos sing",
            "echo x",
            "history",
            "render test",
            "flows show x",
            "flows start x",
            "flows status",
            "flows stop",
        ):
            self.assertNotIn("privileges", self.ask(f"!{command}"), command)

    @decided("everybody may")
    def test_rooms(self) -> None:
        """Rooms are for administrators."""
        for command in ("create x", "join x", "leave x", "destroy x", "invite x y", "occupants x", "topic x", "list"):
            self.assertIn("requires bot-admin privileges", self.ask(f"!room {command}"), command)


class PermittedTests(ContractTest):
    """Commands that administrators keep to themselves unless a rule says otherwise."""

    plugin = PLUGIN
    config = {"ACCESS_CONTROLS": {"room_*": {"allowusers": ("somebody@*",)}, "Flows:flows_kill": {"allowusers": "*"}}}

    def test_allowed(self) -> None:
        """Whom a rule names may use them."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("Created the room", self.ask("!room create r1"))
        self.assertIn("not found", self.ask(f"!flows kill {ADMIN} nothing"))
        self.bot.sender = self.bot.build_identifier("nobody@host")
        self.assertIn("from this user", self.ask("!room create r2"))
        self.assertFalse(self.bot.query_room("r2").exists)


class RelayTests(ContractTest):
    """CHATROOM_RELAY and REVERSE_CHATROOM_RELAY."""

    plugin = PLUGIN
    config = {"CHATROOM_RELAY": {ADMIN: ("testroom",)}}

    def test_relay(self) -> None:
        """What that person says to the bot is said in those rooms."""
        self.assertIn("good morning", self.ask("good morning"))


class HealthTests(ContractTest):
    """`!status …` and stopping."""

    plugin = PLUGIN

    def test_blacklisted(self) -> None:
        """B stands for blacklisted."""
        self.ask("!plugin blacklist Tried")
        self.addCleanup(self.bot.plugin_manager.unblacklist_plugin, "Tried")
        self.ask("!plugin deactivate Tried")
        self.assertRegex(self.ask("!status plugins"), r"│ *B[^│]*│ *Tried")

    def test_administrators_only(self) -> None:
        """Others can't stop it, or read its log."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        for command in ("shutdown --confirm", "restart", "log tail", "backup", "plugin info Tried"):
            self.assertIn("requires bot-admin privileges", self.ask(f"!{command}"), command)
        self.assertEqual(self.ask("!sing"), "la la la")

    def test_anybody(self) -> None:
        """The rest is for everybody."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        for command in ("status", "status load", "status gc", "status plugins", "uptime", "about", "help", "whoami"):
            self.assertNotIn("privileges", self.ask(f"!{command}"), command)

    def test_confirmation(self) -> None:
        """It is asked for."""
        self.assertIn("--confirm", self.ask("!shutdown"))


class HelpTests(ContractTest):
    """`!help` and `!apropos`."""

    plugin = PLUGIN

    def test_apropos(self) -> None:
        """It needs a word; what isn't found isn't shown."""
        self.assertIn("apropos", self.ask("!apropos"))
        self.assertNotIn("sing", self.ask("!apropos nothingatall"))

    def test_undocumented(self) -> None:
        """Commands without a docstring are there too."""
        self.assertIn("!fail", self.ask("!help Tried"))


class LogTests(ContractTest):
    """`!log tail`."""

    plugin = PLUGIN

    def log(self) -> Path:
        """A log of some lines."""
        path = Path(self.testbot.bot_config.BOT_LOG_FILE)
        path.write_text("".join(f"line {number}\n" for number in range(100)))
        return path

    def test_lines(self) -> None:
        """The last 40, or as many as are asked for."""
        self.log()
        said = self.ask("!log tail")
        self.assertEqual(re.findall(r"line (\d+)", said), [str(number) for number in range(60, 100)])
        self.assertEqual(re.findall(r"line (\d+)", self.ask("!log tail 2")), ["98", "99"])


class UtilsTests(ContractTest):
    """`!whoami`, `!history` and the like."""

    plugin = PLUGIN

    def test_in_a_room(self) -> None:
        """Of somebody in a room the room is told."""
        from errbot.backends.test import TestOccupant

        self.bot.sender = TestOccupant("a@b", self.bot.query_room("testroom"))
        said = self.ask("!whoami")
        self.assertIn("room", said)
        self.assertIn("testroom", said)

    def test_history(self) -> None:
        """What was given more than once is last."""
        for text in ("one", "two", "one"):
            self.ask(f"!echo {text}")
        said = self.ask("!history")
        self.assertIn("1:!echo one", said)
        self.assertIn("2:!echo two", said)
        self.assertEqual(said.count("echo one"), 1)

    def test_no_history(self) -> None:
        """Somebody who has given no command yet gets no reply."""
        from errbot.backends.base import Message

        newcomer = self.bot.build_identifier("newcomer@localhost")
        self.bot.callback_message(Message("!history", frm=newcomer, to=self.bot.bot_identifier))
        self.assertEqual(self.until_quiet(), [])

    def test_empty_echo(self) -> None:
        """Nothing is said back to nothing."""
        self.assertEqual(self.replies("!echo"), [])


class TextCommandsTests(ContractTest):
    """Those of the Text network."""

    plugin = PLUGIN

    def test_only_there(self) -> None:
        """Elsewhere they aren't."""
        for command in ("inroom", "inperson", "asuser", "asadmin", "ml"):
            self.assertIn("not found", self.ask(f"!{command}"), command)
        self.assertRegex(self.ask("!status plugins"), r"│ *D *│ *TextCmds")


class VersionCheckerTests(ContractTest):
    """What asks for newer versions."""

    def test_inactive(self) -> None:
        """In tests it doesn't."""
        self.assertFalse(self.instance("VersionChecker").is_activated)


class PluginsTests(ContractTest):
    """`!plugin …`."""

    plugin = PLUGIN

    def test_without_a_name(self) -> None:
        """The plugins that there are are listed."""
        for command in ("activate", "deactivate", "reload", "blacklist", "unblacklist", "info"):
            self.assertIn("Tried", self.ask(f"!plugin {command}"), command)

    def test_info(self) -> None:
        """What it stores and how it is configured is shown to administrators, in a private chat with all secrets."""
        self.instance()["a key"] = "a value"
        self.assertIn("done", self.ask("!plugin config Tried {'password': 'chosen'}"))
        said = self.ask("!plugin info Tried")
        for part in ("tried.plug", "tried.py", "errbot.plugins.Tried", "a key", "a value", "password", "chosen"):
            self.assertIn(part, said)


class RepositoriesTests(ContractTest):
    """`!repos …`."""

    plugin = PLUGIN
    config = {"BOT_PLUGIN_INDEXES": "/there/is/no/such/index"}

    def start(self, **config: object) -> None:
        """Have an index of one repository."""
        plugin = {
            "python": "3",
            "repo": "https://github.com/someone/songs",
            "path": "/songs.plug",
            "avatar_url": "",
            "documentation": "Sings loudly.",
            "name": "Songs",
        }
        index = self.write("index/index.json", json.dumps({"someone/songs": {"Songs": plugin}}))
        super().start(BOT_PLUGIN_INDEXES=str(index), **config)

    def test_search(self) -> None:
        """Words are looked for in names and documentation."""
        for word in ("loudly", "songs", "LOUDLY"):
            said = self.ask(f"!repos search {word}")
            self.assertIn("someone/songs", said, word)
            self.assertIn("Sings loudly.", said)
        self.assertNotIn("someone/songs", self.ask("!repos search nothingatall"))
        self.assertIn("keyword", self.ask("!repos search"))

    def test_update(self) -> None:
        """With nothing installed nothing is done."""
        self.say("!repos update all")
        while "Done." not in self.hear():
            pass

    def test_not_installed(self) -> None:
        """What isn't installed can't be uninstalled."""
        self.assertIn("not installed", self.ask("!repos uninstall someone/songs"))

    def test_anybody(self) -> None:
        """Everybody may look."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("someone/songs", self.ask("!repos search songs"))


class WithoutConfigurationTests(ContractTest):
    """A plugin that can't do without a configuration."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def get_configuration_template(self):
                return {"TOKEN": "x"}

            def activate(self):
                if self.config is None:
                    raise Exception("needs a token")
                super().activate()
        """

    def test_letter(self) -> None:
        """C says that it waits for its configuration; with one it is active."""
        self.drain()
        self.assertRegex(self.ask("!status plugins"), r"│ *C *│ *Tried")
        self.assertIn("configuration done", self.ask("!plugin config Tried {'TOKEN': 'y'}"))
        self.assertRegex(self.ask("!status plugins"), r"│ *A *│ *Tried")
