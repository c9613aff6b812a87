"""Chapter 4: inherited attributes and methods of plugins."""

from __future__ import annotations

import logging
import threading
import unittest
from pathlib import Path

from tests.contract.kit import ContractTest, decided


class MembersTests(ContractTest):
    """Attributes of a plugin."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            '''All about it.

            In more words.
            '''
        """
    plug = "DependsOn = Kit\n[Documentation]\nDescription = Tries things.\n"

    def test_names(self) -> None:
        """A plugin has its name, the network's mode, the settings, the bot's identifier, a logger and its
        dependencies.
        """
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
        """`_bot` has the plugin manager, the repository manager, the history and the tables of commands."""
        bot = self.instance()._bot
        self.assertIn("Tried", bot.plugin_manager.get_all_active_plugin_names())
        self.assertIs(bot.plugin_manager.get_plugin_obj_by_name("Tried"), self.instance())
        for name in ("repo_manager", "flow_executor", "startup_time", "cmd_history", "all_commands"):
            self.assertTrue(hasattr(bot, name), name)

    def test_get_plugin(self) -> None:
        """`get_plugin` returns a plugin in DependsOn, and raises an exception for any other name."""
        self.assertEqual(self.instance().get_plugin("Kit").name, "Kit")
        with self.assertRaisesRegex(Exception, "Help"):
            self.instance().get_plugin("Help")

    def test_identifiers(self) -> None:
        """`build_identifier` returns the identifier for a text."""
        somebody = self.instance().build_identifier("somebody@host")
        self.assertEqual(str(somebody), "somebody@host")

    def test_rooms(self) -> None:
        """`query_room` returns a room by name, and `rooms` the rooms that the bot is in."""
        room = self.instance().query_room("#new")
        self.assertFalse(room.joined)
        room.join()
        self.assertIn("#new", [str(room) for room in self.instance().rooms()])


class MembersOfTheBotTests(ContractTest):
    """Further attributes of a plugin and of `_bot`."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """
    plug = "DependsOn = Kit\n"

    def test_state(self) -> None:
        """An active plugin has empty lists of pollers and timers, the directory of repositories, and no template."""
        tried = self.instance()
        self.assertTrue(tried.is_activated)
        self.assertEqual((tried.current_pollers, tried.current_timers), ([], []))
        self.assertEqual(Path(tried.plugin_dir), self.data / "plugins")
        self.assertIsNone(tried.get_configuration_template())

    def test_own_configuration_module(self) -> None:
        """A string as BOT_ADMINS counts as a tuple of one name."""
        self.testbot.bot_config.BOT_ADMINS = "somebody@host"
        self.assertEqual(self.instance().bot_config.BOT_ADMINS, ("somebody@host",))

    def test_made_by_hand(self) -> None:
        """An instance can be created with the bot and a name; it isn't active or registered."""
        made = type(self.instance())(self.bot, name="Made")
        self.assertEqual((made.name, made._bot, made.is_activated), ("Made", self.bot, False))
        self.assertIs(self.bot.plugin_manager.get_plugin_obj_by_name("Made"), None)

    def test_commands_of_plugins(self) -> None:
        """A plugin can run a command with `_bot.process_message`; a delayed message is ignored."""
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
        """`get_plugin` returns the instance; an unknown name, or a call while the plugin is inactive, is an error."""
        tried = self.instance()
        self.assertIs(tried.get_plugin("Kit"), self.instance("Kit"))
        with self.assertRaises(Exception):  # noqa: B017 - errbot raises nothing more special
            tried.get_plugin("Nobody")
        self.ask("!plugin deactivate Tried")
        with self.assertRaises(Exception):  # noqa: B017
            tried.get_plugin("Kit")

    def test_bot_s_own(self) -> None:
        """`_bot` has all attributes that plugins use."""
        bot = self.instance()._bot
        names = (
            "plugin_manager repo_manager send_simple_reply all_commands commands re_commands prefix cmd_history "
            "thread_pool flow_executor process_template startup_time warn_admins send_templated send_card "
            "split_and_send_message inject_commands_from unknown_command get_doc message_size_limit"
        )
        self.assertEqual([name for name in names.split() if not hasattr(bot, name)], [])

    def test_thread_pool(self) -> None:
        """`_bot.thread_pool` runs functions in threads."""
        done = self.instance()._bot.thread_pool.apply_async(lambda number: (number, threading.current_thread()), (5,))
        number, thread = done.get(5)
        self.assertEqual(number, 5)
        self.assertIsNot(thread, threading.current_thread())

    def test_presence(self) -> None:
        """`change_presence` takes a status and a text; both are optional."""
        self.assertIsNone(self.instance().change_presence("away", "gone"))
        self.assertIsNone(self.instance().change_presence())

    def test_log(self) -> None:
        """`log` is a standard logger named after the plugin."""
        with self.assertLogs("errbot.plugins.Tried", "INFO") as logs:
            self.instance().log.info("a %s", "line")
        self.assertEqual(logs.records[0].getMessage(), "a line")


class ConstructedTests(unittest.TestCase):
    """The base classes of BotPlugin."""

    def test_classes(self) -> None:
        """A BotPlugin is a StoreMixin, which is a MutableMapping."""
        from collections.abc import MutableMapping

        from errbot import BotPlugin
        from errbot.botplugin import BotPluginBase
        from errbot.storage import StoreMixin

        self.assertTrue(issubclass(BotPlugin, BotPluginBase))
        self.assertTrue(issubclass(BotPluginBase, StoreMixin))
        self.assertTrue(issubclass(StoreMixin, MutableMapping))


class NameCommandTests(ContractTest):
    """A command with the name of the property `name`."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def name(self, msg, args):
                return "answered"
        """

    def test_answered(self) -> None:
        """The bot starts, and the command works."""
        self.assertEqual(self.ask("!name"), "answered")

    @decided("the activation fails, although the command works")
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
    """Commands with names of attributes of BotPlugin."""

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
        """A command that overrides a property or method works."""
        for name in HIDING:
            self.assertEqual(self.ask(f"!{name}"), f"{name} answered")

    def test_hidden(self) -> None:
        """A command with the name of an instance attribute isn't found."""
        for name in HIDDEN:
            # The names of errklein's own attributes begin names of commands, too.
            self.assertRegex(self.ask(f"!{name}"), "not found|Commands that begin with")

    def test_managed(self) -> None:
        """Such a plugin can be deactivated, activated and reloaded."""
        for change in ("deactivate", "activate", "reload"):
            self.assertIn(f"{change}", self.ask(f"!plugin {change} Tried"))
        self.assertEqual(self.ask("!keys"), "keys answered")


class HidingDynamicCommandsTests(ContractTest):
    """Commands with such names in a dynamic plugin."""

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
        """The commands work, even `config`, since a dynamic plugin isn't configured."""
        self.assertEqual(self.ask("!make"), "made")
        for name in ("name", "config", "keys"):
            self.assertEqual(self.ask(f"!{name}"), "dynamic")
