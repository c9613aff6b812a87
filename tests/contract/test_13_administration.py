"""Chapter 13: commands for administrators."""

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


class PermissionsTests(ContractTest):
    """Permissions of commands without access rules."""

    plugin = PLUGIN

    def setUp(self) -> None:
        """Use a sender who isn't an administrator."""
        super().setUp()
        self.bot.sender = self.bot.build_identifier("somebody@host")

    def test_administrators(self) -> None:
        """Commands that change something, or display private data, are for administrators only."""
        for command in (
            "restart",
            "shutdown --confirm",
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
        """Commands for help, status and flows are for everybody."""
        for command in (
            "about",
            "apropos sing",
            "echo x",
            "history",
            "help",
            "render test",
            "status",
            "status gc",
            "status load",
            "status plugins",
            "uptime",
            "whoami",
            "flows show x",
            "flows start x",
            "flows status",
            "flows stop",
        ):
            self.assertNotIn("privileges", self.ask(f"!{command}"), command)

    @decided("everybody may use them")
    def test_rooms(self) -> None:
        """Commands for rooms are for administrators only."""
        for command in ("create x", "join x", "leave x", "destroy x", "invite x y", "occupants x", "topic x", "list"):
            self.assertIn("requires bot-admin privileges", self.ask(f"!room {command}"), command)


class PermittedTests(ContractTest):
    """Access rules for commands that are for administrators by default."""

    plugin = PLUGIN
    config = {"ACCESS_CONTROLS": {"room_*": {"allowusers": ("somebody@*",)}, "Flows:flows_kill": {"allowusers": "*"}}}

    def test_allowed(self) -> None:
        """A rule with `allowusers` permits these commands to other users."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("Created the room", self.ask("!room create r1"))
        self.assertIn("not found", self.ask(f"!flows kill {ADMIN} nothing"))
        self.bot.sender = self.bot.build_identifier("nobody@host")
        self.assertIn("from this user", self.ask("!room create r2"))
        self.assertFalse(self.bot.query_room("r2").exists)


class HealthTests(ContractTest):
    """`!status`, `!uptime` and `!shutdown`."""

    plugin = PLUGIN

    def test_status(self) -> None:
        """`!status` displays a summary that includes the plugins."""
        said = self.ask("!status")
        for part in ("Yes I am alive", "Plugins"):
            self.assertIn(part, said)

    @decided("lists all plugins, the load and the garbage collector, in a few dozen lines")
    def test_status_is_short(self) -> None:
        """`!status` has four lines."""
        self.assertEqual(len(self.ask("!status").splitlines()), 4)

    def test_plugins(self) -> None:
        """`!status plugins` displays active plugins, D for deactivated, and C for a missing configuration."""
        self.ask("!plugin deactivate Backup")
        said = self.ask("!status plugins")
        self.assertRegex(said, r"│ *A *│ *Tried|Active: .*Tried")
        self.assertRegex(said, r"│ *D *│ *Backup|• D .*Backup")
        self.assertRegex(said, r"│ *C *│ *Webserver|• C .*Webserver")

    @decided("lists all plugins in a table of a few dozen lines")
    def test_plugins_is_short(self) -> None:
        """`!status plugins` has at most ten lines."""
        self.assertLessEqual(len(self.ask("!status plugins").splitlines()), 10)

    def test_blacklisted(self) -> None:
        """`!status plugins` displays B for a blacklisted plugin."""
        self.ask("!plugin blacklist Tried")
        self.addCleanup(self.bot.plugin_manager.unblacklist_plugin, "Tried")
        self.ask("!plugin deactivate Tried")
        self.assertRegex(self.ask("!status plugins"), r"│ *B[^│]*│ *Tried|• B.* .*Tried")

    def test_parts(self) -> None:
        """`!status load` and `!status gc` display one part."""
        self.assertRegex(self.ask("!status load"), r"^Load \d+\.\d+, \d+\.\d+, \d+\.\d+")
        self.assertRegex(self.ask("!status gc"), r"^GC 0->\d+ 1->\d+ 2->\d+")

    def test_uptime(self) -> None:
        """`!uptime` displays the time since the start."""
        self.assertRegex(self.ask("!uptime"), "up for|since")

    def test_shutdown_needs_confirmation(self) -> None:
        """`!shutdown` without `--confirm` only asks for the option."""
        self.assertIn("--confirm", self.ask("!shutdown"))
        self.assertEqual(self.ask("!sing"), "la la la")


class PluginsTests(ContractTest):
    """`!plugin …`."""

    plugin = PLUGIN

    def test_without_a_name(self) -> None:
        """Without a name the reply lists the plugins."""
        for command in ("activate", "deactivate", "reload", "blacklist", "unblacklist", "info"):
            self.assertIn("Tried", self.ask(f"!plugin {command}"), command)

    def test_info(self) -> None:
        """`!plugin info` in a private chat displays stored values and the configuration, including secrets."""
        self.instance()["a key"] = "a value"
        self.assertIn("done", self.ask("!plugin config Tried {'password': 'chosen'}"))
        said = self.ask("!plugin info Tried")
        for part in ("tried.plug", "tried.py", "errbot.plugins.Tried", "a key", "a value", "password", "chosen"):
            self.assertIn(part, said)


class WithoutConfigurationTests(ContractTest):
    """A plugin whose activation fails without a configuration."""

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
        """`!status plugins` displays C for it; after it is configured, it is active."""
        self.drain()
        self.assertRegex(self.ask("!status plugins"), r"│ *C *│ *Tried|• C .*Tried")
        self.assertIn("configuration done", self.ask("!plugin config Tried {'TOKEN': 'y'}"))
        self.assertRegex(self.ask("!status plugins"), r"│ *A *│ *Tried|Active: .*Tried")


class RepositoriesTests(ContractTest):
    """`!repos` and `!plugin`."""

    plugin = PLUGIN

    def test_install_of_nothing(self) -> None:
        """`!repos install` without a name asks for one."""
        self.assertIn("specify a repository", self.ask("!repos install").lower())

    def test_uninstall(self) -> None:
        """`!repos uninstall` of a repository that isn't installed gets a reply."""
        self.assertTrue(self.ask("!repos uninstall nothing"))

    def test_administrators_only(self) -> None:
        """Commands that change repositories or plugins are for administrators only."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        for command in ("repos install x", "repos uninstall x", "repos update all", "plugin reload Tried", "restart"):
            self.assertIn("requires bot-admin privileges", self.ask(f"!{command}"), command)


class PublicRepositoriesTests(ContractTest):
    """`!repos` with an index."""

    plugin = PLUGIN
    config = {"BOT_PLUGIN_INDEXES": "/there/is/no/such/index"}

    def start(self, **config: object) -> None:
        """Write an index with one repository."""
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
        """`!repos search` finds words in names and documentation, in any case."""
        for word in ("loudly", "songs", "LOUDLY"):
            said = self.ask(f"!repos search {word}")
            self.assertIn("someone/songs", said, word)
            self.assertIn("Sings loudly.", said)
        self.assertNotIn("someone/songs", self.ask("!repos search nothingatall"))
        self.assertIn("keyword", self.ask("!repos search"))

    def test_update(self) -> None:
        """`!repos update all` without installed repositories does nothing."""
        self.say("!repos update all")
        while "Done." not in self.hear():
            pass

    def test_not_installed(self) -> None:
        """`!repos uninstall` of a repository that isn't installed is an error."""
        self.assertIn("not installed", self.ask("!repos uninstall someone/songs"))

    def test_anybody(self) -> None:
        """`!repos search` is for everybody."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("someone/songs", self.ask("!repos search songs"))


class BackupTests(ContractTest):
    """`!backup`."""

    plugin = PLUGIN

    def test_written(self) -> None:
        """The backup is in the data directory, and the reply has its path."""
        said = "\n".join(self.replies("!backup"))
        places = re.findall(r"\S*backup\S*", said)
        self.assertTrue(places, said)
        self.assertTrue([path for path in self.data.iterdir() if "backup" in path.name])


class LogTests(ContractTest):
    """`!log tail`."""

    plugin = PLUGIN

    def log(self) -> Path:
        """Write a log of 100 lines."""
        path = Path(self.testbot.bot_config.BOT_LOG_FILE)
        path.write_text("".join(f"line {number}\n" for number in range(100)))
        return path

    def test_lines(self) -> None:
        """`!log tail` displays the last 40 lines, or the given number."""
        self.log()
        said = self.ask("!log tail")
        self.assertEqual(re.findall(r"line (\d+)", said), [str(number) for number in range(60, 100)])
        self.assertEqual(re.findall(r"line (\d+)", self.ask("!log tail 2")), ["98", "99"])
