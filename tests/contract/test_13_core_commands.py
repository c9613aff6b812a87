"""Chapter 13: the commands that come with the bot."""

from __future__ import annotations

import re

from tests.contract.kit import ADMIN, ContractTest, decided

PLUGIN = """
    from errbot import BotPlugin, arg_botcmd, botcmd, re_botcmd

    class Tried(BotPlugin):
        '''Tries all sorts of things.'''

        @botcmd
        def sing_a_song(self, msg, args):
            '''Sings a song.

            It is a long one.
            '''
            return "la la la"

        @botcmd
        def CamelCase(self, msg, args):
            '''Has capitals.'''
            return "camel"

        @botcmd
        def verbose(self, msg, args):
            '''This description is so long that it can't be on one line of the list of commands with its name.'''
            return ""

        @botcmd
        def refer(self, msg, args):
            '''Like !sing a song, but silent.'''
            return ""

        @re_botcmd(pattern="^matching$", re_cmd_name_help="match this")
        def matching(self, msg, match):
            '''Matches something.'''
            return "matched"
    """


class HelpTests(ContractTest):
    """`!help`, `!apropos`, `!about`."""

    plugin = PLUGIN

    def test_all(self) -> None:
        """All commands, a line for each, which isn't longer than it has to be."""
        said = self.ask("!help")
        self.assertIn("All commands", said)
        for part in ("Tried", "!sing a song", "Sings a song."):
            self.assertIn(part, said)
        self.assertNotIn("It is a long one.", said)
        (line,) = [line for line in said.splitlines() if "!verbose" in line]
        self.assertTrue(line.endswith("..."), line)
        self.assertEqual(len(line.partition(" - ")[2]), 80)

    def test_plugin(self) -> None:
        """The commands of one plugin."""
        said = self.ask("!help Tried")
        for part in ("Tries all sorts of things.", "!sing a song"):
            self.assertIn(part, said)
        self.assertNotIn("!uptime", said)

    def test_command(self) -> None:
        """All that a command says of itself."""
        for asked in ("sing a song", "sing_a_song"):
            said = self.ask(f"!help {asked}")
            self.assertIn("Sings a song.", said)
            self.assertIn("It is a long one.", said)

    def test_unknown(self) -> None:
        """What there isn't."""
        self.assertIn("That command is not defined.", self.ask("!help nothing"))

    def test_regular_expressions(self) -> None:
        """They are shown with what their author calls them."""
        self.assertIn("match this", self.ask("!help Tried"))

    @decided("mixed-case names aren't found")
    def test_mixed_case(self) -> None:
        """Names with capitals are found."""
        self.assertIn("Has capitals.", self.ask("!help CamelCase"))

    def test_apropos(self) -> None:
        """Commands whose name or description has the word."""
        for word in ("song", "sings", "SONG"):
            said = self.ask(f"!apropos {word}")
            self.assertIn("Available commands", said)
            self.assertRegex(said, "!sing a[ _]song: Sings a song.")
            self.assertNotIn("uptime", said)

    def test_about(self) -> None:
        """Which bot it is, and in which version."""
        self.assertRegex(self.ask("!about"), r"(?i)this is err\w+ (version )?\d+\.\d+")


class OtherPrefixTests(ContractTest):
    """Help with another prefix."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "?", "BOT_ALT_PREFIXES": ("!",)}

    def test_command(self) -> None:
        """A command's help names it as it is given."""
        self.assertIn("?sing a song", self.ask("?help sing a song"))

    @decided("the name of the command is garbled")
    def test_documentation(self) -> None:
        """So does what the bot knows of a command; the prefix in its docstring is the bot's."""
        documented = self.bot.get_doc(self.bot.commands["refer"])
        self.assertIn("?sing a song", documented)


class HealthTests(ContractTest):
    """`!status` and its kin."""

    plugin = PLUGIN

    def test_status(self) -> None:
        """Alive, the plugins, the load, the garbage."""
        said = self.ask("!status")
        for part in ("Yes I am alive", "Plugins", "Tried", "Load", "GC"):
            self.assertIn(part, said)

    def test_plugins(self) -> None:
        """Each with a letter: active, deactivated, blacklisted, wanting a configuration."""
        self.ask("!plugin deactivate Tried")
        said = self.ask("!status plugins")
        self.assertRegex(said, r"│ *A *│ *Health")
        self.assertRegex(said, r"│ *D *│ *Tried")
        self.assertRegex(said, r"│ *C *│ *Webserver")

    def test_parts(self) -> None:
        """Load and garbage by themselves."""
        self.assertRegex(self.ask("!status load"), r"^Load \d+\.\d+, \d+\.\d+, \d+\.\d+")
        self.assertRegex(self.ask("!status gc"), r"^GC 0->\d+ 1->\d+ 2->\d+")

    def test_uptime(self) -> None:
        """Since when."""
        self.assertRegex(self.ask("!uptime"), "up for|since")

    def test_shutdown_needs_confirmation(self) -> None:
        """Nothing happens without `--confirm`."""
        self.ask("!shutdown")
        self.assertEqual(self.ask("!sing a song"), "la la la")


class UtilsTests(ContractTest):
    """`!echo` and its kin."""

    plugin = PLUGIN

    def test_echo(self) -> None:
        """The same back."""
        self.assertEqual(self.ask("!echo some  text"), "some  text")

    def test_whoami(self) -> None:
        """A table of oneself."""
        said = self.ask("!whoami")
        for part in ("person", ADMIN, "nick", "fullname", "client", "email", "string representation is", "class is"):
            self.assertIn(part, said)

    def test_who_somebody_is(self) -> None:
        """Or of somebody."""
        self.assertIn("somebody@host", self.ask("!whoami somebody@host"))

    def test_history(self) -> None:
        """What somebody has said, numbered for `!<n>`; itself left out."""
        for number in range(10):
            self.ask(f"!echo {number}")
        said = self.ask("!history")
        self.assertIn("1:!echo 9", said)
        self.assertIn("2:!echo 8", said)
        self.assertNotIn("history", said)

    def test_render_test(self) -> None:
        """All that Markdown has."""
        said = "\n".join(self.replies("!render test"))
        for part in ("H1" if "H1" in said else "HEADING 1", "•", "┃", "─" * 20, "©", "&", "<"):
            self.assertIn(part, said)
        for mark in ("**", "{:", "&copy;", "\n|"):
            self.assertNotIn(mark, said)


class ChatRoomTests(ContractTest):
    """`!room …`."""

    plugin = PLUGIN

    def test_joined_at_the_start(self) -> None:
        """The bot is in the rooms of CHATROOM_PRESENCE."""
        self.assertIn("testroom", self.ask("!room list"))

    def test_life_of_a_room(self) -> None:
        """Created, joined, given a topic, left, destroyed."""
        for command in ("create", "join"):
            self.assertIn("contractroom", self.ask(f"!room {command} contractroom"))
        self.assertTrue(self.bot.query_room("contractroom").joined)
        self.ask("!room topic contractroom 'a new topic'")
        self.assertIn("a new topic", self.ask("!room topic contractroom"))
        self.ask("!room leave contractroom")
        self.assertFalse(self.bot.query_room("contractroom").joined)
        self.ask("!room destroy contractroom")
        self.assertFalse(self.bot.query_room("contractroom").exists)

    def test_occupants(self) -> None:
        """Who is there."""
        self.ask("!room join contractroom")
        self.assertIn("contractroom", self.ask("!room occupants contractroom"))

    def test_wrong(self) -> None:
        """Without a room the reply says how it is used."""
        for command in ("create", "destroy", "invite"):
            self.assertTrue(self.ask(f"!room {command}"), command)


class RepositoriesTests(ContractTest):
    """`!repos` and `!plugin`."""

    plugin = PLUGIN

    def test_install_of_nothing(self) -> None:
        """It says that a repository has to be named."""
        self.assertIn("specify a repository", self.ask("!repos install").lower())

    def test_uninstall(self) -> None:
        """What isn't installed can't be uninstalled."""
        self.assertTrue(self.ask("!repos uninstall nothing"))

    def test_administrators_only(self) -> None:
        """Changes are for administrators."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        for command in ("repos install x", "repos uninstall x", "repos update all", "plugin reload Tried", "restart"):
            self.assertIn("requires bot-admin privileges", self.ask(f"!{command}"), command)


class BackupTests(ContractTest):
    """`!backup`."""

    plugin = PLUGIN

    def test_written(self) -> None:
        """The reply says where it is."""
        said = "\n".join(self.replies("!backup"))
        places = re.findall(r"\S*backup\S*", said)
        self.assertTrue(places, said)
        self.assertTrue([path for path in self.data.iterdir() if "backup" in path.name])
