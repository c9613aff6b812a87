"""Chapter 3: the bot's tables of commands, and name clashes between plugins."""

from __future__ import annotations

from tests.contract.kit import ContractTest
from tests.contract.test_03_prefixes import PLUGIN


class NamesTests(ContractTest):
    """The tables of commands."""

    plugin = PLUGIN

    def test_mappings(self) -> None:
        """`commands` has the named commands, `re_commands` the pattern commands, and `all_commands` both."""
        self.assertIn("show_more", self.bot.commands)
        self.assertNotIn("some", self.bot.commands)
        self.assertIn("some", self.bot.re_commands)
        self.assertIn("some", self.bot.all_commands)
        self.assertIn("show_more", self.bot.all_commands)
        self.assertEqual(self.bot.commands["show"](None, "x"), "[x]")
        self.assertEqual(self.bot.prefix, "!")


class BotMembersTests(ContractTest):
    """Further attributes of the bot."""

    plugin = '''
        from errbot import BotPlugin, botcmd, cmdfilter, re_botcmd

        class Tried(BotPlugin):
            @botcmd
            def show(self, msg, args):
                """Shows something: !show <it>"""

            @botcmd
            def undocumented(self, msg, args):
                return "x"

            @re_botcmd(pattern="x+")
            def matched(self, msg, match):
                return "x"

            @cmdfilter
            def filtered(self, msg, cmd, args, dry_run):
                return msg, cmd, args
        '''

    def test_filters(self) -> None:
        """`command_filters` contains the methods of filters."""
        self.assertIn(self.instance().filtered, list(self.bot.command_filters))

    def test_doc(self) -> None:
        """`get_doc` returns a command's documentation."""
        self.assertIn("Shows something: !show <it>", self.bot.get_doc(self.bot.all_commands["show"]))
        self.assertIn("undocumented", self.bot.get_doc(self.bot.all_commands["undocumented"]))

    def test_classes(self) -> None:
        """`get_command_classes` returns the classes of plugins that have commands."""
        self.assertIn(type(self.instance()), list(self.bot.get_command_classes()))

    def test_injected_again(self) -> None:
        """Commands and filters of a plugin can be removed and added again."""
        tried = self.instance()
        self.bot.remove_commands_from(tried)
        self.bot.remove_command_filters_from(tried)
        self.assertIn("not found", self.ask("!undocumented"))
        self.assertNotIn(tried.filtered, list(self.bot.command_filters))
        self.bot.inject_commands_from(tried)
        self.bot.inject_command_filters_from(tried)
        self.assertEqual(self.ask("!undocumented"), "x")
        self.assertIn(tried.filtered, list(self.bot.command_filters))

    def test_methods(self) -> None:
        """The values of the tables are bound methods of the plugins."""
        self.assertEqual(self.bot.all_commands["matched"], self.instance().matched)
        self.assertEqual(self.bot.re_commands["matched"]._err_command_re_pattern.pattern, "x+")


class ClashTests(ContractTest):
    """Two plugins with a command of the same name."""

    plugin = PLUGIN
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, botcmd

            class Zother(BotPlugin):
                @botcmd
                def show(self, msg, args):
                    return "the other one"
            """,
    }

    def test_renamed(self) -> None:
        """One command keeps its name, and the other is renamed to `<plugin>-<command>`."""
        answers = {self.ask("!show x")}
        renamed = [name for name in self.bot.all_commands if name in ("zother-show", "tried-show")]
        self.assertEqual(len(renamed), 1)
        answers.add(self.ask(f"!{renamed[0]} x"))
        self.assertEqual(answers, {"[x]", "the other one"})


class ClashWarningsTests(ContractTest):
    """Warnings about a name clash, and the new name."""

    plugin = PLUGIN
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, botcmd

            class Zother(BotPlugin):
                @botcmd
                def show(self, msg, args):
                    return "the other one"

                @botcmd
                def other(self, msg, args):
                    return "no clash"
            """,
    }

    def renamed(self) -> tuple[str, str]:
        """Return the plugin whose command was renamed, and the new name."""
        names = {"tried-show": "Tried", "zother-show": "Zother"}
        (name,) = [name for name in self.bot.all_commands if name in names]
        return names[name], name

    def test_told(self) -> None:
        """Administrators get a message with the clash and the new name."""
        plugin, name = self.renamed()
        # The function keeps its new name, so only a reload, which creates a new function, leads to another clash.
        told = [text for text in self.replies(f"!plugin reload {plugin}") if "clashes with" in text]
        self.assertEqual(len(told), 1)
        self.assertIn("so it has been renamed", told[0])
        self.assertIn(name, told[0])

    def test_marked(self) -> None:
        """The function keeps the new name, also after it is deactivated and activated."""
        plugin, name = self.renamed()
        self.assertEqual(self.instance(plugin).show._err_command_name, name)
        self.assertIn(name, self.bot.commands)
        self.ask(f"!plugin deactivate {plugin}")
        self.ask(f"!plugin activate {plugin}")
        self.assertIn(name, self.bot.commands)

    def test_no_other(self) -> None:
        """Other commands keep their names."""
        self.assertEqual(self.ask("!other"), "no clash")
        self.assertEqual(self.ask("!show more x"), "more [x]")

    def test_removed(self) -> None:
        """If the plugin is deactivated, only its renamed command is removed."""
        plugin, name = self.renamed()
        self.ask(f"!plugin deactivate {plugin}")
        self.assertNotIn(name, self.bot.all_commands)
        self.assertIn("show", self.bot.all_commands)
