"""Chapter 14: the configuration, and access control."""

from __future__ import annotations

import queue
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

from tests.contract.kit import ADMIN, LONGEST, ContractTest, TestCase, decided
from tests.contract.webhooks import WebhookTest

PLUGIN = """
    from errbot import BotPlugin, botcmd

    class Tried(BotPlugin):
        @botcmd
        def open_door(self, msg, args):
            return "open"

        @botcmd
        def other(self, msg, args):
            return "other"

        @botcmd(admin_only=True)
        def ruled(self, msg, args):
            return "ruled"
    """


class AccessTest(ContractTest):
    """A test of access rules."""

    plugin = PLUGIN

    def reply_to(self, person: str, text: str, room: str | None = None) -> str:
        """Send a message as a person, directly or in a room, and return the first reply or an empty string."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant, TestPerson

        if room is None:
            message = Message(text, frm=TestPerson(person), to=self.bot.bot_identifier)
        else:
            place = self.bot.query_room(room)
            message = Message(text, frm=TestOccupant(person, place), to=place)
        self.bot.callback_message(message)
        said = self.until_quiet()
        return said[0] if said else ""


class UsersTests(AccessTest):
    """`allowusers` and `denyusers`."""

    config = {
        "ACCESS_CONTROLS": {
            "open_door": {"allowusers": ("*@friends", ADMIN)},
            "Tried:other": {"denyusers": "bad*"},
        }
    }

    def test_allowed(self) -> None:
        """With `allowusers`, only users who match a pattern may run the command."""
        self.assertEqual(self.reply_to("me@friends", "!open door"), "open")
        self.assertIn(
            "You're not allowed to access this command from this user", self.reply_to("me@foes", "!open door")
        )

    def test_denied(self) -> None:
        """With `denyusers`, users who match a pattern may not; a single pattern may be a string."""
        self.assertEqual(self.reply_to("good@foes", "!other"), "other")
        self.assertIn("not allowed", self.reply_to("bad@friends", "!other"))

    def test_case(self) -> None:
        """Patterns for users are case-sensitive."""
        self.assertIn("not allowed", self.reply_to("me@FRIENDS", "!open door"))


class OrderTests(AccessTest):
    """The order of rules."""

    config = {
        "ACCESS_CONTROLS_DEFAULT": {"denyusers": ("nobody",)},
        "ACCESS_CONTROLS": {
            "tried:OPEN*": {"allowusers": ("first",)},
            "open_door": {"allowusers": ("second",)},
        },
    }

    def test_first_match(self) -> None:
        """The first pattern that matches the command counts, in any case."""
        self.assertEqual(self.reply_to("first", "!open door"), "open")
        self.assertIn("not allowed", self.reply_to("second", "!open door"))

    def test_default(self) -> None:
        """Keys that the rule lacks are taken from the default rule."""
        self.assertIn("not allowed", self.reply_to("nobody", "!other"))
        self.assertEqual(self.reply_to("somebody", "!other"), "other")


class PlacesTests(AccessTest):
    """`allowmuc`, `allowprivate`, `allowrooms` and `denyrooms`."""

    config = {
        "ACCESS_CONTROLS": {
            "open_door": {"allowmuc": False},
            "other": {"allowprivate": False, "allowrooms": ("#good*",)},
            "Kit:kit_done": {"denyrooms": "#bad*"},
        }
    }

    def test_no_rooms(self) -> None:
        """With `allowmuc` False the command is denied in rooms."""
        self.assertEqual(self.reply_to("me", "!open door"), "open")
        self.assertIn("from a chatroom", self.reply_to("me", "!open door", "#good"))

    def test_no_direct_messages(self) -> None:
        """With `allowprivate` False the command is denied in direct messages."""
        self.assertIn("via private message to me", self.reply_to("me", "!other"))

    def test_not_in_some_rooms(self) -> None:
        """With `denyrooms` the command is denied in rooms that match, and allowed elsewhere."""
        self.assertIn("from this room", self.reply_to(ADMIN, "!kit done", "#bad1"))
        self.assertEqual(self.reply_to(ADMIN, "!kit done", "#good"), "done")

    def test_rooms(self) -> None:
        """With `allowrooms` the command is allowed only in rooms that match."""
        self.assertEqual(self.reply_to("me", "!other", "#good1"), "other")
        self.assertIn("from this room", self.reply_to("me", "!other", "#bad"))


class ArgumentsTests(AccessTest):
    """`allowargs` and `denyargs`."""

    config = {"ACCESS_CONTROLS": {"open_door": {"allowargs": ("front*",)}, "other": {"denyargs": ("*secret*",)}}}

    def test_arguments(self) -> None:
        """Patterns are compared with the whole text of the arguments."""
        self.assertEqual(self.reply_to("me", "!open door front now"), "open")
        self.assertIn("using the provided arguments", self.reply_to("me", "!open door back"))
        self.assertIn("using the provided arguments", self.reply_to("me", "!other the secret one"))


class UnsplitArgumentsTests(AccessTest):
    """`allowargs` and `denyargs` for commands with split or parsed arguments."""

    plugin = """
        from errbot import BotPlugin, arg_botcmd, botcmd, re_botcmd

        class Tried(BotPlugin):
            @botcmd(split_args_with=None)
            def split(self, msg, args):
                return repr(args)

            @arg_botcmd("name")
            def parsed(self, msg, name):
                return name

            @re_botcmd(pattern="^look at (.*)$")
            def look(self, msg, match):
                return match.group(1)
        """
    config = {
        "ACCESS_CONTROLS": {
            "split": {"allowargs": "a b"},
            "parsed": {"allowargs": ("*",), "denyargs": ("bob",)},
            "look": {"denyargs": ("*secret*",)},
        }
    }

    def test_split(self) -> None:
        """Patterns are compared with the text before it is split."""
        self.assertEqual(self.reply_to("me", "!split a b"), "['a', 'b']")
        for text in ("!split a", "!split"):
            self.assertIn("using the provided arguments", self.reply_to("me", text), text)

    def test_parsed(self) -> None:
        """Patterns are compared with the text before it is parsed; `denyargs` takes precedence over `allowargs`."""
        self.assertEqual(self.reply_to("me", "!parsed alice"), "alice")
        self.assertIn("using the provided arguments", self.reply_to("me", "!parsed bob"))

    def test_matched(self) -> None:
        """For pattern commands, patterns are compared with the matched text."""
        self.assertEqual(self.reply_to("me", "!look at me"), "me")
        self.assertIn("using the provided arguments", self.reply_to("me", "!look at the secret"))


class PatternsTests(AccessTest):
    """Rules for several commands."""

    config = {
        "ACCESS_CONTROLS": {
            "*:open_door": {"denyusers": "first"},
            "Tried:*": {"denyusers": "second"},
            "*": {"denyusers": "third"},
        }
    }

    def test_only_one(self) -> None:
        """Only the first matching rule, in the order of the dict, has an effect."""
        commands = ("open door", "other", "echo x")
        denied = [
            [command for command in commands if "not allowed" in self.reply_to(person, f"!{command}")]
            for person in ("first", "second", "third", "fourth")
        ]
        self.assertEqual(denied, [["open door"], ["other"], ["echo x"], []])


class EmptyTests(AccessTest):
    """Rules with empty values."""

    config = {"ACCESS_CONTROLS": {"open_door": {"allowusers": ()}, "other": {"denyusers": ()}, "ruled": {}}}

    def test_empty(self) -> None:
        """An empty `allowusers` denies everybody, an empty `denyusers` nobody, and an empty rule has no effect."""
        self.assertIn("from this user", self.reply_to("me", "!open door"))
        self.assertEqual(self.reply_to("me", "!other"), "other")
        self.assertIn("requires bot-admin privileges", self.reply_to("me", "!ruled"))


class AttributeTests(AccessTest):
    """The attribute of persons and rooms that rules use."""

    config = {
        "BOT_ADMINS": ("acl-boss",),
        "ACCESS_CONTROLS": {"open_door": {"allowusers": ("acl-me",)}, "other": {"denyrooms": ("acl-#*",)}},
    }

    def test_attribute(self) -> None:
        """Rules and BOT_ADMINS use `aclattr` only."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant, TestPerson, TestRoom

        class Person(TestPerson):
            aclattr = property(lambda self: f"acl-{self.person}")

        class Room(TestRoom):
            aclattr = property(lambda self: f"acl-{self}")

        for person, allowed in ((Person("me"), True), (TestPerson("me"), False), (TestPerson("acl-me"), True)):
            self.bot.callback_message(Message("!open door", frm=person, to=self.bot.bot_identifier))
            self.assertEqual(self.hear() == "open", allowed)
        self.bot.callback_message(Message("!ruled", frm=Person("boss"), to=self.bot.bot_identifier))
        self.assertEqual(self.hear(), "ruled")
        for room, allowed in ((self.bot.query_room("#a"), True), (Room("#b", bot=self.bot), False)):
            self.bot.callback_message(Message("!other", frm=TestOccupant("me", room), to=room))
            self.assertEqual(self.hear() == "other", allowed)


class AdministratorsTests(AccessTest):
    """BOT_ADMINS."""

    config = {"BOT_ADMINS": (ADMIN, "*@admins"), "ACCESS_CONTROLS": {"ruled": {"allowmuc": True}}}

    def test_administrators(self) -> None:
        """The names in BOT_ADMINS are patterns."""
        self.assertEqual(self.reply_to("me@admins", "!ruled"), "ruled")
        self.assertIn("This command requires bot-admin privileges", self.reply_to("me@users", "!ruled"))

    def test_case(self) -> None:
        """Names of administrators are case-sensitive."""
        self.assertIn("requires bot-admin privileges", self.reply_to(ADMIN.upper(), "!ruled"))

    def test_in_rooms(self) -> None:
        """A rule with `allowmuc` permits commands for administrators in rooms."""
        self.assertEqual(self.reply_to("me@admins", "!ruled", "#room"), "ruled")


class AdministratorsInRoomsTests(AccessTest):
    """Commands for administrators without a rule."""

    def test_not_in_rooms(self) -> None:
        """Commands for administrators are denied in rooms."""
        said = self.reply_to(ADMIN, "!ruled", "#room")
        self.assertIn("This command may only be issued through a direct message", said)


class AdministratorsByDefaultTests(AccessTest):
    """Commands for administrators with ACCESS_CONTROLS_DEFAULT."""

    config = {"ACCESS_CONTROLS_DEFAULT": {"allowmuc": True}, "ACCESS_CONTROLS": {"ruled": {"allowusers": "*"}}}

    def test_in_rooms(self) -> None:
        """`allowmuc` in the default rule counts, but `allowusers` of a rule doesn't make anybody an administrator."""
        self.assertEqual(self.reply_to(ADMIN, "!ruled", "#room"), "ruled")
        self.assertIn("requires bot-admin privileges", self.reply_to("me", "!ruled", "#room"))
        self.assertIn("requires bot-admin privileges", self.reply_to("me", "!ruled"))


class ChecksInOrderTests(AccessTest):
    """The order of checks."""

    config = {
        "ACCESS_CONTROLS": {
            "open_door": {"denyargs": ("x",), "denyusers": ("bad",), "allowmuc": False},
            "ruled": {"denyusers": ("bad",)},
        }
    }

    def test_arguments_first(self) -> None:
        """The order is arguments, users, places, administrators; the first check that denies determines the reply."""
        self.assertIn("using the provided arguments", self.reply_to("bad", "!open door x", "#room"))
        self.assertIn("from this user", self.reply_to("bad", "!open door y", "#room"))
        self.assertIn("from a chatroom", self.reply_to("good", "!open door y", "#room"))
        self.assertIn("from this user", self.reply_to("bad", "!ruled"))
        self.assertIn("requires bot-admin privileges", self.reply_to("good", "!ruled"))


class DefaultKeysTests(AccessTest):
    """The combination of a rule with the default rule."""

    config = {
        "ACCESS_CONTROLS_DEFAULT": {"allowmuc": False, "denyusers": ("bad",)},
        "ACCESS_CONTROLS": {"open_door": {"allowmuc": True}},
    }

    def test_merged(self) -> None:
        """Keys of the rule take precedence; other keys are those of the default rule."""
        self.assertEqual(self.reply_to("good", "!open door", "#room"), "open")
        self.assertIn("from this user", self.reply_to("bad", "!open door", "#room"))
        self.assertIn("from a chatroom", self.reply_to("good", "!other", "#room"))


class OutsideTests(WebhookTest):
    """Requests without access control."""

    plugin = """
        from errbot import BotPlugin, botcmd, webhook

        class Tried(BotPlugin):
            @webhook
            def told(self, payload):
                return "told"

            @botcmd
            def told_too(self, msg, args):
                return "told too"
        """
    config = {"ACCESS_CONTROLS": {"Tried:*": {"denyusers": "*"}}}

    def test_webhooks(self) -> None:
        """Access rules don't apply to webhooks."""
        self.assertIn("from this user", self.ask("!told too"))
        self.assertEqual(self.post("/told/"), "told")


class OneAdministratorTests(AccessTest):
    """BOT_ADMINS as a string."""

    config = {"BOT_ADMINS": ADMIN}

    @decided("each character counts as a name")
    def test_string(self) -> None:
        """A string counts as a tuple of one name."""
        self.assertEqual(self.reply_to(ADMIN, "!ruled"), "ruled")
        self.assertIn("requires bot-admin privileges", self.reply_to(ADMIN[0], "!ruled"))


class ChangedTests(AccessTest):
    """Lists and dicts of the configuration that plugins change in place."""

    plugin = (
        PLUGIN
        + """
        order = []

        def callback_message(self, msg):
            self.order.append("Tried")
    """
    )
    files: ClassVar = {
        "aaa.plug": "[Core]\nName = Aaa\nModule = aaa\n",
        "aaa.py": """
            from errbot import BotPlugin

            class Aaa(BotPlugin):
                def callback_message(self, msg):
                    self._bot.plugin_manager.plugins["Tried"].order.append("Aaa")
            """,
    }

    def setUp(self) -> None:
        """Use new lists and dicts in each test."""
        self.config: Any = {  # type: ignore[misc]
            "BOT_ADMINS": [ADMIN],
            "BOT_ALT_PREFIXES": ("Err",),
            "BOT_ALT_PREFIX_SEPARATORS": [","],
            "PLUGINS_CALLBACK_ORDER": [None],
            "ACCESS_CONTROLS": {},
            "CHATROOM_RELAY": {},
        }
        super().setUp()
        self.settings = self.instance().bot_config

    def test_same_objects(self) -> None:
        """`bot_config` has the objects of the configuration, not copies."""
        for name, value in self.config.items():
            self.assertIs(getattr(self.settings, name), value, name)

    def test_administrators(self) -> None:
        """A name in BOT_ADMINS has an effect from `append` to `remove`."""
        self.assertIn("requires bot-admin privileges", self.reply_to("boss", "!ruled"))
        self.settings.BOT_ADMINS.append("bo*")
        self.assertEqual(self.reply_to("boss", "!ruled"), "ruled")
        self.settings.BOT_ADMINS.remove("bo*")
        self.assertIn("requires bot-admin privileges", self.reply_to("boss", "!ruled"))
        self.settings.BOT_ADMINS.clear()
        self.assertIn("requires bot-admin privileges", self.ask("!ruled"))

    def test_warnings(self) -> None:
        """`warn_admins` sends to the current administrators."""
        self.settings.BOT_ADMINS.append("boss")
        self.bot.warn_admins("careful")
        self.assertEqual([self.hear(), self.hear(), self.drain()], ["careful", "careful", []])
        self.settings.BOT_ADMINS.clear()
        self.bot.warn_admins("careful")
        self.assertEqual(self.drain(), [])

    def test_rules(self) -> None:
        """A rule in ACCESS_CONTROLS has an effect at once."""
        self.settings.ACCESS_CONTROLS["other"] = {"denyusers": ["me"]}
        self.assertIn("not allowed", self.reply_to("me", "!other"))
        self.settings.ACCESS_CONTROLS["other"]["denyusers"].remove("me")
        self.assertEqual(self.reply_to("me", "!other"), "other")

    def test_separators(self) -> None:
        """A separator in BOT_ALT_PREFIX_SEPARATORS has an effect at once."""
        self.assertIn("not found", self.ask("Err; other"))
        self.settings.BOT_ALT_PREFIX_SEPARATORS.append(";")
        self.assertEqual(self.ask("Err; other"), "other")

    def test_order_of_callbacks(self) -> None:
        """A change of PLUGINS_CALLBACK_ORDER has an effect on the next message."""
        order = self.instance().order
        for names in (["Tried", None], ["Aaa", None], ["Tried", "Aaa", None]):
            self.settings.PLUGINS_CALLBACK_ORDER[:] = names
            self.replies("hello")
            order.clear()
            self.ask("!other")
            self.replies("hello")
            self.assertEqual(order[:2], ["Aaa", "Tried"] if names[0] == "Aaa" else ["Tried", "Aaa"])

    def test_relays(self) -> None:
        """A relay in CHATROOM_RELAY has an effect at once."""
        self.bot.query_room("there").join()
        self.settings.CHATROOM_RELAY[ADMIN] = ["there"]
        self.assertEqual(self.ask("good morning"), "good morning")


class HiddenTests(AccessTest):
    """HIDE_RESTRICTED_ACCESS and HIDE_RESTRICTED_COMMANDS."""

    config = {
        "HIDE_RESTRICTED_ACCESS": True,
        "HIDE_RESTRICTED_COMMANDS": True,
        "ACCESS_CONTROLS": {"open_door": {"denyusers": ("*",)}},
    }

    def test_no_reply(self) -> None:
        """A denied command gets no reply, whatever the reason."""
        self.assertEqual(self.reply_to("me", "!open door"), "")
        self.assertEqual(self.reply_to("me", "!ruled"), "")
        self.assertEqual(self.reply_to(ADMIN, "!ruled", "#room"), "")
        self.assertEqual(self.reply_to(ADMIN, "!ruled"), "ruled")

    def test_not_in_help(self) -> None:
        """A denied command isn't in the help."""
        said = self.ask("!help Tried")
        self.assertNotIn("open door", said)
        self.assertIn("other", said)


class HiddenCommandsTests(AccessTest):
    """HIDE_RESTRICTED_COMMANDS alone."""

    config = {"HIDE_RESTRICTED_COMMANDS": True, "ACCESS_CONTROLS": {"open_door": {"denyusers": ("*",)}}}

    def test_asked_in_silence(self) -> None:
        """`!help` sends no denials while it checks commands; a denied command that is used gets one."""
        (said,) = self.replies("!help Tried")
        self.assertNotIn("open door", said)
        for part in ("other", "ruled"):
            self.assertIn(part, said)
        self.assertIn("from this user", self.ask("!open door"))

    def test_of_administrators(self) -> None:
        """Commands for administrators aren't in the help of other users."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        said = self.ask("!help Tried")
        self.assertIn("other", said)
        self.assertNotIn("ruled", said)


class ShownCommandsTests(AccessTest):
    """`!help` without HIDE_RESTRICTED_COMMANDS."""

    config = {"ACCESS_CONTROLS": {"open_door": {"denyusers": ("*",)}}}

    def test_shown(self) -> None:
        """The help has all commands."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        said = self.ask("!help Tried")
        for part in ("open door", "other", "ruled"):
            self.assertIn(part, said)


class MendedTests(AccessTest):
    """Rules that errbot ignores or misinterprets."""

    config = {
        "ACCESS_CONTROLS": {
            "open door": {"denyusers": ("spaced",)},
            "other": {"allowusers": None, "denyusers": ("listed",)},
        }
    }

    @decided("a pattern with a space never matches")
    def test_spaces(self) -> None:
        """A space in a command pattern counts as an underscore."""
        self.assertIn("not allowed", self.reply_to("spaced", "!open door"))

    @decided("the command is blocked without a reply")
    def test_none(self) -> None:
        """A key with the value None is ignored."""
        self.assertEqual(self.reply_to("somebody", "!other"), "other")


class WithoutAccessPluginTests(AccessTest):
    """CORE_PLUGINS without ACLs."""

    config = {"CORE_PLUGINS": ("Utils", "Help")}

    @decided("no access rule applies")
    def test_enforced(self) -> None:
        """Commands for administrators are denied to others nevertheless."""
        self.assertIn("requires bot-admin privileges", self.reply_to("me", "!ruled"))


class NoCorePluginsTests(ContractTest):
    """CORE_PLUGINS = ()."""

    @decided("all core plugins are loaded")
    def test_none(self) -> None:
        """No core plugin is loaded."""
        from errbot.backends.test import TestBot

        other = TestBot(extra_config={"CORE_PLUGINS": ()})
        try:
            other.start(timeout=LONGEST)
        except queue.Empty:
            names: list[str] = []
        else:
            names = other.bot.plugin_manager.get_all_active_plugin_names()
        other.stop()
        self.assertNotIn("Health", names)


class SettingsTests(ContractTest):
    """`bot_config`, as plugins see it."""

    plugin = PLUGIN

    def test_defaults(self) -> None:
        """Missing settings have their defaults."""
        config = self.bot.bot_config
        expected = {
            "BOT_PREFIX": "!",
            "BOT_ASYNC": True,
            "BOT_PREFIX_OPTIONAL_ON_CHAT": False,
            "BOT_ALT_PREFIXES": (),
            "BOT_ALT_PREFIX_SEPARATORS": (),
            "BOT_ALT_PREFIX_CASEINSENSITIVE": False,
            "ACCESS_CONTROLS": {},
            "ACCESS_CONTROLS_DEFAULT": {},
            "HIDE_RESTRICTED_COMMANDS": False,
            "HIDE_RESTRICTED_ACCESS": False,
            "DIVERT_TO_PRIVATE": (),
            "DIVERT_TO_THREAD": (),
            "SUPPRESS_CMD_NOT_FOUND": False,
            "GROUPCHAT_NICK_PREFIXED": False,
            "AUTOINSTALL_DEPS": True,
        }
        self.assertEqual({name: getattr(config, name) for name in expected}, expected)

    def test_own(self) -> None:
        """`bot_config` has unknown settings of the file, too."""
        self.testbot.bot_config.OF_SOME_PLUGIN = 1
        self.assertEqual(self.instance().bot_config.OF_SOME_PLUGIN, 1)

    def test_notifications(self) -> None:
        """BOT_ADMINS_NOTIFICATIONS are the administrators by default."""
        self.assertEqual(tuple(self.bot.bot_config.BOT_ADMINS_NOTIFICATIONS), (ADMIN,))


class BootstrapTests(ContractTest):
    """`bot_config_defaults`."""

    def test_administrators_are_required(self) -> None:
        """A configuration without BOT_ADMINS raises ValueError."""
        from errbot.bootstrap import bot_config_defaults

        with self.assertRaises(ValueError):
            bot_config_defaults(SimpleNamespace())

    def test_defaults(self) -> None:
        """`bot_config_defaults` adds the defaults of all other settings."""
        from errbot.bootstrap import bot_config_defaults

        config = SimpleNamespace(BOT_ADMINS=("me",))
        bot_config_defaults(config)
        expected = {
            "ACCESS_CONTROLS": {},
            "ACCESS_CONTROLS_DEFAULT": {},
            "AUTOINSTALL_DEPS": True,
            "BOT_ADMINS_NOTIFICATIONS": ("me",),
            "BOT_ALT_PREFIXES": (),
            "BOT_ALT_PREFIX_CASEINSENSITIVE": False,
            "BOT_ALT_PREFIX_SEPARATORS": (),
            "BOT_ASYNC": True,
            "BOT_ASYNC_POOLSIZE": 10,
            "BOT_PREFIX": "!",
            "BOT_PREFIX_OPTIONAL_ON_CHAT": False,
            "CHATROOM_FN": "Errbot",
            "CHATROOM_PRESENCE": (),
            "DIVERT_TO_PRIVATE": (),
            "DIVERT_TO_THREAD": (),
            "GROUPCHAT_NICK_PREFIXED": False,
            "HIDE_RESTRICTED_ACCESS": False,
            "HIDE_RESTRICTED_COMMANDS": False,
            "MESSAGE_SIZE_LIMIT": None,
            "SUPPRESS_CMD_NOT_FOUND": False,
            "TEXT_COLOR_THEME": "light",
            "TEXT_DEMO_MODE": True,
        }
        self.assertEqual({name: getattr(config, name) for name in expected}, expected)
        for name in ("CHATROOM_RELAY", "REVERSE_CHATROOM_RELAY"):
            self.assertEqual(len(getattr(config, name)), 0, name)

    def test_what_is_given_stays(self) -> None:
        """`bot_config_defaults` doesn't change existing settings."""
        from errbot.bootstrap import bot_config_defaults

        config = SimpleNamespace(BOT_ADMINS=("me",), BOT_PREFIX="bot ", BOT_ASYNC=False, MINE=1)
        bot_config_defaults(config)
        self.assertEqual((config.BOT_PREFIX, config.BOT_ASYNC, config.MINE), ("bot ", False, 1))


class NickPrefixedTests(AccessTest):
    """GROUPCHAT_NICK_PREFIXED."""

    config = {"GROUPCHAT_NICK_PREFIXED": True}

    @decided("the network for tests never replies to a room, so there is no name")
    def test_in_rooms(self) -> None:
        """Replies in rooms begin with the sender's name, direct replies don't."""
        self.assertEqual(self.reply_to("me", "!open door", "#room"), "@me open")
        self.assertEqual(self.reply_to("me", "!other"), "other")


class WarningsTests(ContractTest):
    """BOT_ADMINS_NOTIFICATIONS."""

    config: ClassVar = {"BOT_ADMINS_NOTIFICATIONS": ("first", "second")}

    def test_recipients(self) -> None:
        """`warn_admins` sends to each name in the setting, and to nobody else."""
        self.bot.warn_admins("careful")
        self.assertEqual([self.hear(), self.hear(), self.drain()], ["careful", "careful", []])


class RelaysTests(ContractTest):
    """CHATROOM_RELAY and REVERSE_CHATROOM_RELAY."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                self.said = []

            def callback_botmessage(self, message):
                self.said.append((message.body, message.to))
        """
    config = {"CHATROOM_RELAY": {ADMIN: ("other", "another")}, "REVERSE_CHATROOM_RELAY": {"#room": ("listener",)}}

    def test_from_person_to_others(self) -> None:
        """A direct message of a person in CHATROOM_RELAY is sent to the rooms; messages of others aren't."""
        rooms = [self.bot.query_room(name) for name in ("other", "another")]
        for room in rooms:
            room.join()
        self.say("good morning")
        self.assertEqual([self.hear(), self.hear()], ["good morning", "good morning"])
        self.until_quiet()
        self.assertEqual([to for body, to in self.instance().said if body == "good morning"], rooms)
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.say("good evening")
        self.say("!kit done")
        while self.hear() != "done":
            pass
        self.assertNotIn("good evening", [body for body, _ in self.instance().said])

    @decided("the person isn't found")
    def test_from_room_to_person(self) -> None:
        """A message in a room in REVERSE_CHATROOM_RELAY is sent to the people with its sender's name."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#room")
        self.bot.callback_message(Message("good morning", frm=TestOccupant("me", room), to=room))
        self.assertEqual(self.hear(), "[me] good morning")


class SomeCorePluginsTests(ContractTest):
    """CORE_PLUGINS."""

    config = {"CORE_PLUGINS": ("Help", "Utils", "ACLs", "CommandNotFoundFilter")}

    def test_only_those(self) -> None:
        """The named core plugins and all other plugins are loaded."""
        names = set(self.bot.plugin_manager.get_all_active_plugin_names())
        self.assertTrue({"Help", "Utils", "Kit"} <= names)
        self.assertFalse({"Health", "Backup", "Plugins", "Webserver"} & names)


class NotFoundTests(ContractTest):
    """CORE_PLUGINS without CommandNotFoundFilter."""

    config = {"CORE_PLUGINS": ("Help", "Utils", "ACLs")}

    def test_silence(self) -> None:
        """An unknown command gets no reply."""
        self.assert_silent("!nothing of the kind")


class UnboundedTests(ContractTest):
    """The default of MESSAGE_SIZE_LIMIT."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def long(self, msg, args):
                return "x" * 10_001
        """

    def test_told(self) -> None:
        """`bot_config` has the network's limit, and directories as they are written in the configuration."""
        config = self.instance().bot_config
        self.assertEqual(config.MESSAGE_SIZE_LIMIT, 10_000)
        self.assertEqual(config.BOT_EXTRA_PLUGIN_DIR, str(self.directory))

    def test_of_the_network(self) -> None:
        """The limit of the network for tests is 10,000 characters."""
        self.assertEqual([len(part) for part in self.replies("!long")], [10_000, 1])


class LongMessagesTests(ContractTest):
    """MESSAGE_SIZE_LIMIT."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def long(self, msg, args):
                return "x" * 250
        """
    config = {"MESSAGE_SIZE_LIMIT": 100}

    def test_parts(self) -> None:
        """A longer message is sent in parts."""
        said = self.replies("!long")
        self.assertEqual([len(part) for part in said], [100, 100, 50])


class TemplateTests(TestCase):
    """The module `errbot.config-template`, with which tests of backends begin."""

    def setUp(self) -> None:
        """Unload the module before and after each test."""
        sys.modules.pop("errbot.config-template", None)
        self.addCleanup(sys.modules.pop, "errbot.config-template", None)

    def test_imported(self) -> None:
        """The module can be imported, and `bot_config_defaults` completes it."""
        from errbot.bootstrap import bot_config_defaults

        __import__("errbot.config-template")
        config = sys.modules["errbot.config-template"]
        self.assertTrue(config.BOT_ADMINS)
        self.assertIsNone(config.BOT_EXTRA_PLUGIN_DIR)
        self.assertFalse(hasattr(config, "BOT_PREFIX"))
        bot_config_defaults(config)
        self.assertEqual(config.BOT_PREFIX, "!")

    def test_beside(self) -> None:
        """The module is a file beside `errbot.__file__`."""
        import errbot

        path = Path(errbot.__file__).parent / "config-template.py"
        loader = SourceFileLoader("errbot_config_template", str(path))
        module = ModuleType(loader.name)
        loader.exec_module(module)
        for name in (
            "BOT_DATA_DIR",
            "BOT_LOG_FILE",
            "BOT_LOG_LEVEL",
            "BOT_IDENTITY",
            "CHATROOM_RELAY",
            "DIVERT_TO_THREAD",
        ):
            self.assertTrue(hasattr(module, name), name)
