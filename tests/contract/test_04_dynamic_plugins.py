"""Chapter 4: dynamic plugins, which plugins create at run time."""

from __future__ import annotations

from tests.contract.kit import ContractTest


class DynamicPluginTests(ContractTest):
    """Dynamic plugins."""

    plugin = """
        from errbot import BotPlugin, Command, arg_botcmd, botcmd

        class Tried(BotPlugin):
            def make(self, name, *commands, doc=None):
                if doc is None:
                    self.create_dynamic_plugin(name, commands)
                else:
                    self.create_dynamic_plugin(name, commands, doc=doc)

            def command(self, name, answer):
                return Command(lambda plugin, msg, args: f"{answer} {plugin.name} {type(plugin).__name__}", name=name,
                               doc=f"Says {answer}.")

            @botcmd
            def fixed(self, msg, args):
                return "fixed"
        """

    def test_class(self) -> None:
        """A dynamic plugin is a BotPlugin, and its class is named after it."""
        from errbot import BotPlugin

        tried = self.instance()
        tried.make("my plugin-1", tried.command("made", "x"), doc="Its doc.")
        self.assertEqual(self.ask("!made"), "x my plugin-1 my_plugin_1")
        plugin = self.bot.commands["made"].__self__
        self.assertIsInstance(plugin, BotPlugin)
        self.assertIsNot(plugin, tried)
        self.assertEqual(type(plugin).__errdoc__, "Its doc.")

    def test_help(self) -> None:
        """`!help` lists the commands of a dynamic plugin under its documentation."""
        tried = self.instance()
        tried.make("mine", tried.command("made", "x"), doc="Its doc.")
        text = self.ask("!help")
        self.assertIn("!made", text)
        self.assertIn("Its doc.", text)

    def test_not_activated(self) -> None:
        """A dynamic plugin has no storage, isn't activated, and isn't in the list of active plugins."""
        from errbot.storage import StoreNotOpenError

        tried = self.instance()
        tried.make("mine", tried.command("made", "x"))
        plugin = self.bot.commands["made"].__self__
        self.assertFalse(plugin.is_activated)
        self.assertNotIn("mine", self.bot.plugin_manager.get_all_active_plugin_names())
        with self.assertRaises((AttributeError, StoreNotOpenError)):
            plugin["a"] = 1

    def test_several(self) -> None:
        """Several dynamic plugins can exist; a duplicate or unknown name raises ValueError."""
        tried = self.instance()
        tried.make("one", tried.command("first", "1"))
        tried.make("two", tried.command("second", "2"))
        tried.destroy_dynamic_plugin("one")
        self.assertIn("not found", self.ask("!first"))
        self.assertEqual(self.ask("!second"), "2 two two")
        tried.make("one", tried.command("first", "again"))
        self.assertEqual(self.ask("!first"), "again one one")
        with self.assertRaises(ValueError):
            tried.make("one", tried.command("third", "3"))
        tried.destroy_dynamic_plugin("one")
        with self.assertRaises(ValueError):
            tried.destroy_dynamic_plugin("one")

    def test_clash(self) -> None:
        """A command whose name is taken is renamed, as for other plugins."""
        tried = self.instance()
        tried.make("mine", tried.command("fixed", "made"))
        self.assertIn("clashes with", self.hear())
        self.assertEqual(self.ask("!fixed"), "fixed")
        self.assertEqual(self.ask("!mine-fixed"), "made mine mine")

    def test_gone_with_its_maker(self) -> None:
        """A dynamic plugin is destroyed if the plugin that created it is deactivated."""
        tried = self.instance()
        tried.make("mine", tried.command("made", "x"))
        self.ask("!plugin deactivate Tried")
        self.assertIn("not found", self.ask("!made"))
