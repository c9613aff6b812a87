"""Chapter 4: attributes and methods that plugins inherit."""

from __future__ import annotations

import logging
import threading
import unittest
from pathlib import Path

from tests.contract.kit import ContractTest, decided


class MembersTests(ContractTest):
    """What a plugin knows."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            '''All about it.

            In more words.
            '''
        """
    plug = "DependsOn = Kit\n[Documentation]\nDescription = Tries things.\n"

    def test_names(self) -> None:
        """Its name, the mode of the network, the bot, the settings."""
        tried = self.instance()
        self.assertEqual((tried.name, tried.mode), ("Tried", "test"))
        self.assertEqual(tried.bot_config.BOT_ADMINS, ("gbin@localhost",))
        self.assertEqual(tried.bot_config.BOT_PREFIX, "!")
        self.assertEqual(str(tried.bot_identifier).lower(), "err")
        self.assertIsInstance(tried.log, logging.Logger)
        self.assertEqual(tried.log.name, "errbot.plugins.Tried")
        self.assertIsNone(tried.config)
        self.assertEqual(tried.dependencies, ["Kit"])

    def test_bot(self) -> None:
        """`_bot` has the manager of plugins and more."""
        bot = self.instance()._bot
        self.assertIn("Tried", bot.plugin_manager.get_all_active_plugin_names())
        self.assertIs(bot.plugin_manager.get_plugin_obj_by_name("Tried"), self.instance())
        for name in ("repo_manager", "flow_executor", "startup_time", "cmd_history", "all_commands"):
            self.assertTrue(hasattr(bot, name), name)

    def test_get_plugin(self) -> None:
        """Only those that it depends on can be had."""
        self.assertEqual(self.instance().get_plugin("Kit").name, "Kit")
        with self.assertRaisesRegex(Exception, "Help"):
            self.instance().get_plugin("Help")

    def test_identifiers(self) -> None:
        """Made of text, and back."""
        somebody = self.instance().build_identifier("somebody@host")
        self.assertEqual(str(somebody), "somebody@host")

    def test_rooms(self) -> None:
        """By name, and all that the bot is in."""
        room = self.instance().query_room("#new")
        self.assertFalse(room.joined)
        room.join()
        self.assertIn("#new", [str(room) for room in self.instance().rooms()])


class MembersOfTheBotTests(ContractTest):
    """What a plugin knows and can be told."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """
    plug = "DependsOn = Kit\n"

    def test_state(self) -> None:
        """Lists of pollers are empty, and so on."""
        tried = self.instance()
        self.assertTrue(tried.is_activated)
        self.assertEqual((tried.current_pollers, tried.current_timers), ([], []))
        self.assertEqual(Path(tried.plugin_dir), self.data / "plugins")
        self.assertIsNone(tried.get_configuration_template())

    def test_own_configuration_module(self) -> None:
        """A lone administrator may be named by a text."""
        self.testbot.bot_config.BOT_ADMINS = "somebody@host"
        self.assertEqual(self.instance().bot_config.BOT_ADMINS, ("somebody@host",))

    def test_made_by_hand(self) -> None:
        """Who makes an instance gives it the bot, and a name; it isn't active."""
        made = type(self.instance())(self.bot, name="Made")
        self.assertEqual((made.name, made._bot, made.is_activated), ("Made", self.bot, False))
        self.assertIs(self.bot.plugin_manager.get_plugin_obj_by_name("Made"), None)

    def test_commands_of_plugins(self) -> None:
        """A plugin may have the bot run a command, as if somebody had given it."""
        from errbot.backends.base import Message

        message = self.bot.build_message("!echo by hand")
        self.assertIsInstance(message, Message)
        message.frm, message.to = self.bot.sender, self.bot.bot_identifier
        self.assertTrue(self.bot.process_message(message))
        self.assertEqual(self.hear(), "by hand")
        message.delayed = True
        self.assertFalse(self.bot.process_message(message))
        self.assertEqual(tuple(self.bot.bot_alt_prefixes), ())

    def test_get_plugin(self) -> None:
        """It is the instance; nobody can be had before the activation, nor who isn't there."""
        tried = self.instance()
        self.assertIs(tried.get_plugin("Kit"), self.instance("Kit"))
        with self.assertRaises(Exception):  # noqa: B017 - errbot raises nothing more special
            tried.get_plugin("Nobody")
        self.ask("!plugin deactivate Tried")
        with self.assertRaises(Exception):  # noqa: B017
            tried.get_plugin("Kit")

    def test_bot_s_own(self) -> None:
        """What plugins use of the bot."""
        bot = self.instance()._bot
        names = (
            "plugin_manager repo_manager send_simple_reply all_commands commands re_commands prefix cmd_history "
            "thread_pool flow_executor process_template startup_time warn_admins send_templated send_card "
            "split_and_send_message inject_commands_from unknown_command get_doc message_size_limit"
        )
        self.assertEqual([name for name in names.split() if not hasattr(bot, name)], [])

    def test_thread_pool(self) -> None:
        """`_bot.thread_pool` does work in threads."""
        done = self.instance()._bot.thread_pool.apply_async(lambda number: (number, threading.current_thread()), (5,))
        number, thread = done.get(5)
        self.assertEqual(number, 5)
        self.assertIsNot(thread, threading.current_thread())

    def test_presence(self) -> None:
        """`change_presence` takes a status and a text, or nothing."""
        self.assertIsNone(self.instance().change_presence("away", "gone"))
        self.assertIsNone(self.instance().change_presence())

    def test_log(self) -> None:
        """`log` takes what loggers take."""
        with self.assertLogs("errbot.plugins.Tried", "INFO") as logs:
            self.instance().log.info("a %s", "line")
        self.assertEqual(logs.records[0].getMessage(), "a line")


class ConstructedTests(unittest.TestCase):
    """Where BotPlugin stands."""

    def test_classes(self) -> None:
        """A BotPlugin is a mapping that is kept."""
        from collections.abc import MutableMapping

        from errbot import BotPlugin
        from errbot.botplugin import BotPluginBase
        from errbot.storage import StoreMixin

        self.assertTrue(issubclass(BotPlugin, BotPluginBase))
        self.assertTrue(issubclass(BotPluginBase, StoreMixin))
        self.assertTrue(issubclass(StoreMixin, MutableMapping))


class NameCommandTests(ContractTest):
    """A command that is called as the property with the plugin's name."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def name(self, msg, args):
                return "answered"
        """

    def test_answered(self) -> None:
        """The bot starts, and the command is answered."""
        self.assertEqual(self.ask("!name"), "answered")

    @decided("the activation fails, although the command is answered")
    def test_active(self) -> None:
        """The plugin is active."""
        self.assertIn("Tried", self.instance()._bot.plugin_manager.get_all_active_plugin_names())


HIDING = [
    "bot_config",
    "bot_identifier",
    "send",
    "rooms",
    "get_plugin",
    "mode",
    "keys",
    "items",
    "get",
    "pop",
    "clear",
    "mutable",
    "ask",
    "reconfigure",
]


HIDDEN = ["log", "dependencies", "is_activated", "config", "namespace"]


class HidingCommandsTests(ContractTest):
    """Commands that are called as an attribute of BotPlugin."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
        """ + "".join(
        f"""
            @botcmd
            def {name}(self, msg, args):
                return "{name} answered"
        """
        for name in HIDING + HIDDEN
    )

    def test_answered(self) -> None:
        """A command that hides a property or a method is answered."""
        for name in HIDING:
            self.assertEqual(self.ask(f"!{name}"), f"{name} answered")

    def test_hidden(self) -> None:
        """An attribute of the instance hides the command."""
        for name in HIDDEN:
            self.assertIn("not found", self.ask(f"!{name}"))

    def test_managed(self) -> None:
        """The plugin is deactivated, activated and reloaded as others."""
        for change in ("deactivate", "activate", "reload"):
            self.assertIn(f"{change}", self.ask(f"!plugin {change} Tried"))
        self.assertEqual(self.ask("!keys"), "keys answered")


class HidingDynamicCommandsTests(ContractTest):
    """Such commands of a dynamic plugin."""

    plugin = """
        from errbot import BotPlugin, Command, botcmd

        class Tried(BotPlugin):
            @botcmd
            def make(self, msg, args):
                names = ("name", "config", "keys")
                self.create_dynamic_plugin("dynamic", [Command(lambda *args: "dynamic", name=name) for name in names])
                return "made"
        """

    def test_answered(self) -> None:
        """They are answered; nothing configures a dynamic plugin, so `config` is not hidden."""
        self.assertEqual(self.ask("!make"), "made")
        for name in ("name", "config", "keys"):
            self.assertEqual(self.ask(f"!{name}"), "dynamic")
