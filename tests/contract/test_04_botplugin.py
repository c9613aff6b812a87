"""Chapter 4: what plugins inherit."""

from __future__ import annotations

import logging
import threading
import unittest
from typing import Any

from tests.contract.kit import ContractTest, decided


class LifeTests(ContractTest):
    """From `__init__` to `deactivate`."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.calls = ["__init__"]

            def get_configuration_template(self):
                return {"a": 1}

            def check_configuration(self, configuration):
                self.calls.append("check")

            def configure(self, configuration):
                self.calls.append(f"configure {configuration}")
                super().configure(configuration)

            def activate(self):
                self.calls.append("activate")
                super().activate()

            def callback_connect(self):
                self.calls.append("connect")

            def deactivate(self):
                self.calls.append("deactivate")
                super().deactivate()
        """

    def test_start(self) -> None:
        """An instance is made, configured with None, activated; then there is a connection."""
        calls = self.instance().calls
        self.assertEqual(calls[:3], ["__init__", "configure None", "activate"])
        self.assertEqual(set(calls[3:]), {"connect"})

    def test_configured(self) -> None:
        """With a new configuration the plugin is deactivated, configured and activated."""
        instance = self.instance()
        instance.calls.clear()
        self.ask("!plugin config Tried {'a': 2}")
        order = [call for call in instance.calls if call not in ("check", "connect")]
        self.assertEqual(order, ["deactivate", "configure {'a': 2}", "activate"])
        self.assertLess(instance.calls.index("check"), instance.calls.index("configure {'a': 2}"))

    def test_activated(self) -> None:
        """`is_activated` tells, and a deactivated plugin's commands are gone."""
        instance = self.instance()
        self.assertTrue(instance.is_activated)
        self.ask("!plugin deactivate Tried")
        self.assertFalse(instance.is_activated)
        self.assertEqual(instance.calls[-1], "deactivate")


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


class ConfigurationAttributeTests(ContractTest):
    """The attribute `config`."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.was_there = [hasattr(self, "config")]

            def configure(self, configuration):
                self.was_there.append(hasattr(self, "config"))
                super().configure(configuration)
                self.was_there.append(hasattr(self, "config"))
        """

    def test_missing_until_configured(self) -> None:
        """The plugin has no `config` before the first `configure`, so `hasattr` tells the first one."""
        self.assertEqual(self.instance().was_there, [False, False, True])
        self.assertIsNone(self.instance().config)


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


class SendTests(ContractTest):
    """What a plugin says."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            said = ()

            def callback_botmessage(self, message):
                self.said += (str(message),)

            @botcmd
            def templated(self, msg, args):
                self.send_templated(msg.frm, "hello", {"name": args})

            @botcmd
            def card(self, msg, args):
                self.send_card(in_reply_to=msg, title="Title", body="Body", link="http://example.com/", color="red",
                               fields=(("a", "1"), ("b", "2")))
        """
    files = {"templates/hello.md": "hello *{{name}}*"}

    def setUp(self) -> None:
        """Have somebody to talk to."""
        super().setUp()
        self.tried: Any = self.instance()
        self.somebody = self.tried.build_identifier("somebody@host")

    def test_send(self) -> None:
        """Markdown to somebody."""
        self.tried.send(self.somebody, "some **text**")
        self.assertEqual(self.hear(), "some text")

    def test_send_to_text(self) -> None:
        """A text is no identifier."""
        with self.assertRaises(ValueError):
            self.tried.send("somebody@host", "text")

    def test_templates(self) -> None:
        """The plugin's own come first."""
        self.assertEqual(self.ask("!templated you"), "hello you")

    def test_cards(self) -> None:
        """Where the network has no cards they are text."""
        card = self.ask("!card")
        for part in ("Title", "http://example.com/", "Body", "a", "1", "b", "2"):
            self.assertIn(part, card)

    def test_card_to_nobody(self) -> None:
        """It needs somebody, or a message that it answers."""
        with self.assertRaises(ValueError):
            self.tried.send_card(body="x")

    def test_admins(self) -> None:
        """`warn_admins` tells them."""
        self.tried.warn_admins("beware")
        self.assertIn("beware", self.hear())

    def test_what_the_bot_says_is_told(self) -> None:
        """`callback_botmessage` gets it."""
        self.ask("!echo something")
        self.until_quiet()
        self.assertIn("something", self.tried.said)


class PollerTests(ContractTest):
    """Pollers."""

    plugin = """
        import threading
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                self.polled = []
                self.happened = threading.Semaphore(0)

            def poll(self, *args, **kwargs):
                self.polled.append((args, kwargs))
                self.happened.release()
        """

    def test_polled(self) -> None:
        """The method is called after each interval, with its arguments, so often."""
        tried = self.instance()
        tried.start_poller(0.01, tried.poll, times=2, args=(1,), kwargs={"a": 2})
        self.assertEqual(tried.polled, [])
        for _ in range(2):
            self.assertTrue(tried.happened.acquire(timeout=5))
        self.assertEqual(tried.polled, [((1,), {"a": 2})] * 2)

    def test_stopped(self) -> None:
        """With the same method and arguments it is stopped."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,))
        self.assertEqual(len(tried.current_pollers), 1)
        with self.assertRaises(ValueError):
            tried.stop_poller(tried.poll)
        tried.stop_poller(tried.poll, (1,))
        self.assertEqual(len(tried.current_pollers), 0)

    def test_unknown(self) -> None:
        """What isn't polled can't be stopped."""
        with self.assertRaises(ValueError):
            self.instance().stop_poller(self.instance().poll)

    def test_deactivated(self) -> None:
        """A deactivated plugin polls nothing."""
        tried = self.instance()
        tried.start_poller(60, tried.poll)
        self.ask("!plugin deactivate Tried")
        self.assertEqual(len(tried.current_pollers), 0)

    @decided("stop_poller() without a method isn't implemented")
    def test_all_stopped(self) -> None:
        """Without a method all are."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,))
        tried.start_poller(60, tried.poll, args=(2,))
        tried.stop_poller()
        self.assertEqual(len(tried.current_pollers), 0)


class CallbackTests(ContractTest):
    """What plugins are told."""

    plugin = """
        import threading
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.told = []
                self.happened = threading.Semaphore(0)

            def note(self, *what):
                self.told.append(what)
                self.happened.release()

            def callback_mention(self, message, mentioned_people):
                self.note("mention", str(message), [str(person) for person in mentioned_people])

            def callback_presence(self, presence):
                self.note("presence", str(presence.identifier), presence.status)

            def callback_reaction(self, reaction):
                self.note("reaction", reaction.reaction_name)

            def callback_room_joined(self, room, identifier, invited_by=None):
                self.note("joined", str(room), str(identifier))

            def callback_room_left(self, room, identifier, kicked_by=None):
                self.note("left", str(room), str(identifier))

            def callback_room_topic(self, room):
                self.note("topic", str(room), room.topic)
        """
    files = {
        "invited.plug": "[Core]\nName = Invited\nModule = invited\n",
        "invited.py": """
            import threading
            from errbot import BotPlugin

            class Invited(BotPlugin):
                def __init__(self, bot, name):
                    super().__init__(bot, name)
                    self.told = []
                    self.happened = threading.Semaphore(0)

                def callback_room_joined(self, room, identifier, invited_by=None):
                    self.told.append((str(room), identifier, invited_by))
                    self.happened.release()

                def callback_room_left(self, room, identifier, kicked_by=None):
                    self.told.append((str(room), identifier, kicked_by))
                    self.happened.release()
            """,
    }

    def setUp(self) -> None:
        """Forget the rooms that the bot has joined at the start."""
        super().setUp()
        self.until_quiet()
        self.tried: Any = self.instance()
        self.tried.told.clear()
        self.tried.happened = threading.Semaphore(0)

    def told(self) -> tuple[Any, ...]:
        """What the plugin is told next."""
        self.assertTrue(self.tried.happened.acquire(timeout=5))
        first: tuple[Any, ...] = self.tried.told.pop(0)
        return first

    def test_mention(self) -> None:
        """Who is spoken of in a message."""
        self.say("what does @somebody say")
        self.assertEqual(self.told(), ("mention", "what does @somebody say", ["somebody"]))

    def test_reaction(self) -> None:
        """Reactions."""
        from errbot.backends.base import Reaction

        self.bot.callback_reaction(Reaction(reactor=self.bot.sender, reaction_name="thumbsup"))
        self.assertEqual(self.told(), ("reaction", "thumbsup"))

    def test_presence(self) -> None:
        """Who came or went."""
        from errbot.backends.base import AWAY, Presence

        self.bot.callback_presence(Presence(self.bot.build_identifier("a@b"), AWAY))
        self.assertEqual(self.told(), ("presence", "a@b", "away"))

    def test_rooms(self) -> None:
        """Rooms that are joined, given a topic, left."""
        room = self.bot.query_room("#here")
        room.join()
        event, where, who = self.told()
        self.assertEqual((event, where), ("joined", "#here"))
        self.assertIn("err", who)
        room.topic = "tests"
        self.assertEqual(self.told(), ("topic", "#here", "tests"))
        room.leave()
        event, where, who = self.told()
        self.assertEqual((event, where), ("left", "#here"))
        self.assertIn("err", who)

    def test_who_and_by_whom(self) -> None:
        """Somebody may have been invited or kicked; if nobody is named it is the bot itself that came or went."""
        invited, room = self.instance("Invited"), self.bot.query_room("#there")
        who, by = (self.bot.build_identifier(name) for name in ("a@b", "c@d"))
        invited.told.clear()
        invited.happened = threading.Semaphore(0)
        for callback in (self.bot.callback_room_joined, self.bot.callback_room_left):
            callback(room, who, by)
            callback(room)
        for _ in range(4):
            self.assertTrue(invited.happened.acquire(timeout=5))
        me = self.bot.bot_identifier
        self.assertEqual(invited.told, [("#there", who, by), ("#there", me, None)] * 2)


class OrderTests(ContractTest):
    """PLUGINS_CALLBACK_ORDER."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            pass
        """
    config = {"PLUGINS_CALLBACK_ORDER": ("Tried", None, "Kit")}

    def test_order(self) -> None:
        """Named plugins come where they are named, the rest in the place of None."""
        names = [plugin.name for plugin in self.bot.plugin_manager.get_all_active_plugins()]
        self.assertEqual((names[0], names[-1]), ("Tried", "Kit"))
        self.assertGreater(len(names), 5)


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
