"""Chapter 13: help."""

from __future__ import annotations

from tests.contract.kit import ContractTest, decided

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

        @botcmd
        def undocumented(self, msg, args):
            return ""
    """


class HelpTests(ContractTest):
    """`!help`, `!apropos`, `!about`."""

    plugin = PLUGIN

    def test_all(self) -> None:
        """Each of the plugin's commands has one line, with at most 80 characters of its description."""
        said = self.ask("!help")
        self.assertIn("All commands", said)
        for part in ("Tried", "!sing a song", "Sings a song."):
            self.assertIn(part, said)
        self.assertNotIn("It is a long one.", said)
        (line,) = [line for line in said.splitlines() if "!verbose" in line]
        self.assertTrue(line.endswith(("...", "…")), line)
        self.assertLessEqual(len(line.partition(" - ")[2]), 80)

    def test_plugin(self) -> None:
        """`!help` with a plugin displays the commands of that plugin."""
        said = self.ask("!help Tried")
        for part in ("Tries all sorts of things.", "!sing a song"):
            self.assertIn(part, said)
        self.assertNotIn("!uptime", said)

    def test_command(self) -> None:
        """`!help` with a command displays its whole docstring."""
        for asked in ("sing a song", "sing_a_song"):
            said = self.ask(f"!help {asked}")
            self.assertIn("Sings a song.", said)
            self.assertIn("It is a long one.", said)

    def test_unknown(self) -> None:
        """`!help` with an unknown name is an error."""
        self.assertIn("That command is not defined.", self.ask("!help nothing"))

    def test_regular_expressions(self) -> None:
        """Pattern commands are displayed with their `re_cmd_name_help`."""
        self.assertIn("match this", self.ask("!help Tried"))

    @decided("mixed-case names aren't found")
    def test_mixed_case(self) -> None:
        """Commands with capital letters are found."""
        self.assertIn("Has capitals.", self.ask("!help CamelCase"))

    def test_apropos(self) -> None:
        """`!apropos` displays commands with the word in their name or description, in any case."""
        for word in ("song", "sings", "SONG"):
            said = self.ask(f"!apropos {word}")
            self.assertIn("Available commands", said)
            self.assertRegex(said, "!sing a[ _]song: Sings a song.")
            self.assertNotIn("uptime", said)

    def test_apropos_of_nothing(self) -> None:
        """`!apropos` without a word displays its usage."""
        self.assertIn("apropos", self.ask("!apropos"))
        self.assertNotIn("sing", self.ask("!apropos nothingatall"))

    def test_undocumented(self) -> None:
        """Commands without a docstring are listed."""
        self.assertIn("!undocumented", self.ask("!help Tried"))

    def test_about(self) -> None:
        """`!about` displays name and version of the bot."""
        self.assertRegex(self.ask("!about"), r"(?i)this is err\w+ (version )?\d+\.\d+")


class OtherPrefixTests(ContractTest):
    """Help with another prefix."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "?", "BOT_ALT_PREFIXES": ("!",)}

    def test_command(self) -> None:
        """The help of a command has the configured prefix."""
        self.assertIn("?sing a song", self.ask("?help sing a song"))

    @decided("the name of the command is garbled")
    def test_documentation(self) -> None:
        """`get_doc` replaces the `!` in a docstring by the configured prefix."""
        documented = self.bot.get_doc(self.bot.commands["refer"])
        self.assertIn("?sing a song", documented)
