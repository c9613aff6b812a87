"""Chapter 14: config.py, and who may do what."""

from __future__ import annotations

import queue
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

from tests.contract.kit import ADMIN, ContractTest, TestCase, decided
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

    def said_by(self, person: str, text: str, room: str | None = None) -> str:
        """What is answered to somebody, in a room or directly; nothing if there is no answer."""
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
    """Rules about users."""

    config = {
        "ACCESS_CONTROLS": {
            "open_door": {"allowusers": ("*@friends", ADMIN)},
            "Tried:other": {"denyusers": "bad*"},
        }
    }

    def test_allowed(self) -> None:
        """Only those whom a pattern allows."""
        self.assertEqual(self.said_by("me@friends", "!open door"), "open")
        self.assertIn("You're not allowed to access this command from this user", self.said_by("me@foes", "!open door"))

    def test_denied(self) -> None:
        """All but those whom a pattern denies; one pattern needs no tuple."""
        self.assertEqual(self.said_by("good@foes", "!other"), "other")
        self.assertIn("not allowed", self.said_by("bad@friends", "!other"))

    def test_case(self) -> None:
        """Case matters in users."""
        self.assertIn("not allowed", self.said_by("me@FRIENDS", "!open door"))


class OrderTests(AccessTest):
    """Which rule decides."""

    config = {
        "ACCESS_CONTROLS_DEFAULT": {"denyusers": ("nobody",)},
        "ACCESS_CONTROLS": {
            "tried:OPEN*": {"allowusers": ("first",)},
            "open_door": {"allowusers": ("second",)},
        },
    }

    def test_first_match(self) -> None:
        """The first pattern that matches; case doesn't matter in it."""
        self.assertEqual(self.said_by("first", "!open door"), "open")
        self.assertIn("not allowed", self.said_by("second", "!open door"))

    def test_default(self) -> None:
        """It is laid over the default."""
        self.assertIn("not allowed", self.said_by("nobody", "!other"))
        self.assertEqual(self.said_by("somebody", "!other"), "other")


class PlacesTests(AccessTest):
    """Rules about places."""

    config = {
        "ACCESS_CONTROLS": {
            "open_door": {"allowmuc": False},
            "other": {"allowprivate": False, "allowrooms": ("#good*",)},
            "Kit:kit_done": {"denyrooms": "#bad*"},
        }
    }

    def test_no_rooms(self) -> None:
        """Not in rooms."""
        self.assertEqual(self.said_by("me", "!open door"), "open")
        self.assertIn("from a chatroom", self.said_by("me", "!open door", "#good"))

    def test_no_direct_messages(self) -> None:
        """Not directly."""
        self.assertIn("via private message to me", self.said_by("me", "!other"))

    def test_not_in_some_rooms(self) -> None:
        """Not in the rooms that a pattern denies, and directly all the same."""
        self.assertIn("from this room", self.said_by(ADMIN, "!kit done", "#bad1"))
        self.assertEqual(self.said_by(ADMIN, "!kit done", "#good"), "done")

    def test_rooms(self) -> None:
        """Only in some rooms."""
        self.assertEqual(self.said_by("me", "!other", "#good1"), "other")
        self.assertIn("from this room", self.said_by("me", "!other", "#bad"))


class ArgumentsTests(AccessTest):
    """Rules about arguments."""

    config = {"ACCESS_CONTROLS": {"open_door": {"allowargs": ("front*",)}, "other": {"denyargs": ("*secret*",)}}}

    def test_arguments(self) -> None:
        """The whole text of them."""
        self.assertEqual(self.said_by("me", "!open door front now"), "open")
        self.assertIn("using the provided arguments", self.said_by("me", "!open door back"))
        self.assertIn("using the provided arguments", self.said_by("me", "!other the secret one"))


class UnsplitArgumentsTests(AccessTest):
    """Rules about arguments, of commands that get something else than the text."""

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
        """They go by the text before it is split."""
        self.assertEqual(self.said_by("me", "!split a b"), "['a', 'b']")
        for text in ("!split a", "!split"):
            self.assertIn("using the provided arguments", self.said_by("me", text), text)

    def test_parsed(self) -> None:
        """And before it is parsed; what is denied is denied even if another pattern allows it."""
        self.assertEqual(self.said_by("me", "!parsed alice"), "alice")
        self.assertIn("using the provided arguments", self.said_by("me", "!parsed bob"))

    def test_matched(self) -> None:
        """Of a regular expression's command it is what was matched."""
        self.assertEqual(self.said_by("me", "!look at me"), "me")
        self.assertIn("using the provided arguments", self.said_by("me", "!look at the secret"))


class PatternsTests(AccessTest):
    """Patterns for several commands."""

    config = {
        "ACCESS_CONTROLS": {
            "*:open_door": {"denyusers": "first"},
            "Tried:*": {"denyusers": "second"},
            "*": {"denyusers": "third"},
        }
    }

    def test_only_one(self) -> None:
        """One pattern decides, the first in the order of the dict; what the others say has no effect."""
        commands = ("open door", "other", "echo x")
        denied = [
            [command for command in commands if "not allowed" in self.said_by(person, f"!{command}")]
            for person in ("first", "second", "third", "fourth")
        ]
        self.assertEqual(denied, [["open door"], ["other"], ["echo x"], []])


class EmptyTests(AccessTest):
    """Rules without a pattern in them."""

    config = {"ACCESS_CONTROLS": {"open_door": {"allowusers": ()}, "other": {"denyusers": ()}, "ruled": {}}}

    def test_empty(self) -> None:
        """A key that is there is asked: who allows nobody denies all, who denies nobody allows all."""
        self.assertIn("from this user", self.said_by("me", "!open door"))
        self.assertEqual(self.said_by("me", "!other"), "other")
        self.assertIn("requires bot-admin privileges", self.said_by("me", "!ruled"))


class AttributeTests(AccessTest):
    """By what persons and rooms are known to rules."""

    config = {
        "BOT_ADMINS": ("acl-boss",),
        "ACCESS_CONTROLS": {"open_door": {"allowusers": ("acl-me",)}, "other": {"denyrooms": ("acl-#*",)}},
    }

    def test_attribute(self) -> None:
        """It is their aclattr, and nothing else."""
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
    """Commands for administrators."""

    config = {"BOT_ADMINS": (ADMIN, "*@admins"), "ACCESS_CONTROLS": {"ruled": {"allowmuc": True}}}

    def test_administrators(self) -> None:
        """BOT_ADMINS are patterns."""
        self.assertEqual(self.said_by("me@admins", "!ruled"), "ruled")
        self.assertIn("This command requires bot-admin privileges", self.said_by("me@users", "!ruled"))

    def test_case(self) -> None:
        """Case matters in administrators' names."""
        self.assertIn("requires bot-admin privileges", self.said_by(ADMIN.upper(), "!ruled"))

    def test_in_rooms(self) -> None:
        """In rooms where the rules allow it."""
        self.assertEqual(self.said_by("me@admins", "!ruled", "#room"), "ruled")


class AdministratorsInRoomsTests(AccessTest):
    """Commands for administrators, without rules."""

    def test_not_in_rooms(self) -> None:
        """Only directly."""
        said = self.said_by(ADMIN, "!ruled", "#room")
        self.assertIn("This command may only be issued through a direct message", said)


class AdministratorsByDefaultTests(AccessTest):
    """Commands for administrators, where the default says that rooms are fine, and a rule lets somebody in."""

    config = {"ACCESS_CONTROLS_DEFAULT": {"allowmuc": True}, "ACCESS_CONTROLS": {"ruled": {"allowusers": "*"}}}

    def test_in_rooms(self) -> None:
        """The default counts as a rule does; but no rule makes an administrator of anybody."""
        self.assertEqual(self.said_by(ADMIN, "!ruled", "#room"), "ruled")
        self.assertIn("requires bot-admin privileges", self.said_by("me", "!ruled", "#room"))
        self.assertIn("requires bot-admin privileges", self.said_by("me", "!ruled"))


class ChecksInOrderTests(AccessTest):
    """The checks come one after the other, and the first that denies says so."""

    config = {
        "ACCESS_CONTROLS": {
            "open_door": {"denyargs": ("x",), "denyusers": ("bad",), "allowmuc": False},
            "ruled": {"denyusers": ("bad",)},
        }
    }

    def test_arguments_first(self) -> None:
        """Arguments, users, places, and administrators' rights in the end."""
        self.assertIn("using the provided arguments", self.said_by("bad", "!open door x", "#room"))
        self.assertIn("from this user", self.said_by("bad", "!open door y", "#room"))
        self.assertIn("from a chatroom", self.said_by("good", "!open door y", "#room"))
        self.assertIn("from this user", self.said_by("bad", "!ruled"))
        self.assertIn("requires bot-admin privileges", self.said_by("good", "!ruled"))


class DefaultKeysTests(AccessTest):
    """A rule is laid over the default key by key."""

    config = {
        "ACCESS_CONTROLS_DEFAULT": {"allowmuc": False, "denyusers": ("bad",)},
        "ACCESS_CONTROLS": {"open_door": {"allowmuc": True}},
    }

    def test_merged(self) -> None:
        """What the rule says goes first, and what it doesn't say is the default's."""
        self.assertEqual(self.said_by("good", "!open door", "#room"), "open")
        self.assertIn("from this user", self.said_by("bad", "!open door", "#room"))
        self.assertIn("from a chatroom", self.said_by("good", "!other", "#room"))


class OutsideTests(WebhookTest):
    """What access rules have no part in."""

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
        """Webhooks are for whoever sends a request."""
        self.assertIn("from this user", self.ask("!told too"))
        self.assertEqual(self.post("/told/"), "told")


class OneAdministratorTests(AccessTest):
    """BOT_ADMINS with one name that isn't in a tuple."""

    config = {"BOT_ADMINS": ADMIN}

    @decided("each letter is taken for a name")
    def test_string(self) -> None:
        """One name does as well as a tuple of them."""
        self.assertEqual(self.said_by(ADMIN, "!ruled"), "ruled")
        self.assertIn("requires bot-admin privileges", self.said_by(ADMIN[0], "!ruled"))


class ChangedTests(AccessTest):
    """Lists and dicts of the configuration, changed in place."""

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
        """Give each test lists of its own."""
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
        """Plugins see the configuration's own objects."""
        for name, value in self.config.items():
            self.assertIs(getattr(self.settings, name), value, name)

    def test_administrators(self) -> None:
        """An administrator is one from `append` to `remove`."""
        self.assertIn("requires bot-admin privileges", self.said_by("boss", "!ruled"))
        self.settings.BOT_ADMINS.append("bo*")
        self.assertEqual(self.said_by("boss", "!ruled"), "ruled")
        self.settings.BOT_ADMINS.remove("bo*")
        self.assertIn("requires bot-admin privileges", self.said_by("boss", "!ruled"))
        self.settings.BOT_ADMINS.clear()
        self.assertIn("requires bot-admin privileges", self.ask("!ruled"))

    def test_warnings(self) -> None:
        """Whoever is an administrator at that moment is warned."""
        self.settings.BOT_ADMINS.append("boss")
        self.bot.warn_admins("careful")
        self.assertEqual([self.hear(), self.hear(), self.drain()], ["careful", "careful", []])
        self.settings.BOT_ADMINS.clear()
        self.bot.warn_admins("careful")
        self.assertEqual(self.drain(), [])

    def test_rules(self) -> None:
        """A rule of ACCESS_CONTROLS is in force as soon as it is there."""
        self.settings.ACCESS_CONTROLS["other"] = {"denyusers": ["me"]}
        self.assertIn("not allowed", self.said_by("me", "!other"))
        self.settings.ACCESS_CONTROLS["other"]["denyusers"].remove("me")
        self.assertEqual(self.said_by("me", "!other"), "other")

    def test_separators(self) -> None:
        """A separator counts from then on."""
        self.assertIn("not found", self.ask("Err; other"))
        self.settings.BOT_ALT_PREFIX_SEPARATORS.append(";")
        self.assertEqual(self.ask("Err; other"), "other")

    def test_order_of_callbacks(self) -> None:
        """Callbacks come in the order that is there."""
        order = self.instance().order
        for names in (["Tried", None], ["Aaa", None], ["Tried", "Aaa", None]):
            self.settings.PLUGINS_CALLBACK_ORDER[:] = names
            self.replies("hello")
            order.clear()
            self.ask("!other")
            self.replies("hello")
            self.assertEqual(order[:2], ["Aaa", "Tried"] if names[0] == "Aaa" else ["Tried", "Aaa"])

    def test_relays(self) -> None:
        """A relay counts from then on."""
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
        """Whoever may not isn't told, whatever the reason."""
        self.assertEqual(self.said_by("me", "!open door"), "")
        self.assertEqual(self.said_by("me", "!ruled"), "")
        self.assertEqual(self.said_by(ADMIN, "!ruled", "#room"), "")
        self.assertEqual(self.said_by(ADMIN, "!ruled"), "ruled")

    def test_not_in_help(self) -> None:
        """What one may not isn't in the help."""
        said = self.ask("!help Tried")
        self.assertNotIn("open door", said)
        self.assertIn("other", said)


class HiddenCommandsTests(AccessTest):
    """HIDE_RESTRICTED_COMMANDS by itself."""

    config = {"HIDE_RESTRICTED_COMMANDS": True, "ACCESS_CONTROLS": {"open_door": {"denyusers": ("*",)}}}

    def test_asked_in_silence(self) -> None:
        """To find out what may be shown nobody is told that he may not; whoever tries is."""
        (said,) = self.replies("!help Tried")
        self.assertNotIn("open door", said)
        for part in ("other", "ruled"):
            self.assertIn(part, said)
        self.assertIn("from this user", self.ask("!open door"))

    def test_of_administrators(self) -> None:
        """What is for administrators isn't shown to others."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        said = self.ask("!help Tried")
        self.assertIn("other", said)
        self.assertNotIn("ruled", said)


class ShownCommandsTests(AccessTest):
    """Help without HIDE_RESTRICTED_COMMANDS."""

    config = {"ACCESS_CONTROLS": {"open_door": {"denyusers": ("*",)}}}

    def test_shown(self) -> None:
        """All commands are shown to everybody."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        said = self.ask("!help Tried")
        for part in ("open door", "other", "ruled"):
            self.assertIn(part, said)


class MendedTests(AccessTest):
    """Rules that errbot doesn't follow."""

    config = {
        "ACCESS_CONTROLS": {
            "open door": {"denyusers": ("spaced",)},
            "other": {"allowusers": None, "denyusers": ("listed",)},
        }
    }

    @decided("a pattern with a space never matches")
    def test_spaces(self) -> None:
        """Spaces in patterns are underscores."""
        self.assertIn("not allowed", self.said_by("spaced", "!open door"))

    @decided("None blocks without a word")
    def test_none(self) -> None:
        """None is as if it weren't there."""
        self.assertEqual(self.said_by("somebody", "!other"), "other")


class WithoutAccessPluginTests(AccessTest):
    """CORE_PLUGINS without ACLs."""

    config = {"CORE_PLUGINS": ("Utils", "Help")}

    @decided("nothing is enforced any more")
    def test_enforced(self) -> None:
        """Commands for administrators stay theirs."""
        self.assertIn("requires bot-admin privileges", self.said_by("me", "!ruled"))


class NoCorePluginsTests(ContractTest):
    """CORE_PLUGINS = ()."""

    @decided("all are loaded")
    def test_none(self) -> None:
        """None are loaded."""
        from errbot.backends.test import TestBot

        other = TestBot(extra_config={"CORE_PLUGINS": ()})
        try:
            other.start(timeout=1)
        except queue.Empty:
            names: list[str] = []
        else:
            names = other.bot.plugin_manager.get_all_active_plugin_names()
        other.stop()
        self.assertNotIn("Health", names)


class SettingsTests(ContractTest):
    """What plugins read."""

    plugin = PLUGIN

    def test_defaults(self) -> None:
        """Settings that weren't given have their defaults."""
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
        """Plugins find whatever else the file has."""
        self.testbot.bot_config.OF_SOME_PLUGIN = 1
        self.assertEqual(self.instance().bot_config.OF_SOME_PLUGIN, 1)

    def test_notifications(self) -> None:
        """BOT_ADMINS_NOTIFICATIONS are the administrators unless others are named."""
        self.assertEqual(tuple(self.bot.bot_config.BOT_ADMINS_NOTIFICATIONS), (ADMIN,))


class BootstrapTests(ContractTest):
    """What a config.py has to say, and what it needn't."""

    def test_administrators_are_required(self) -> None:
        """Without BOT_ADMINS it is no configuration."""
        from errbot.bootstrap import bot_config_defaults

        with self.assertRaises(ValueError):
            bot_config_defaults(SimpleNamespace())

    def test_defaults(self) -> None:
        """Everything else that is read of any configuration is filled in."""
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
        """Nothing that was given is changed."""
        from errbot.bootstrap import bot_config_defaults

        config = SimpleNamespace(BOT_ADMINS=("me",), BOT_PREFIX="bot ", BOT_ASYNC=False, MINE=1)
        bot_config_defaults(config)
        self.assertEqual((config.BOT_PREFIX, config.BOT_ASYNC, config.MINE), ("bot ", False, 1))


class NickPrefixedTests(AccessTest):
    """GROUPCHAT_NICK_PREFIXED."""

    config = {"GROUPCHAT_NICK_PREFIXED": True}

    @decided("the network for tests never answers to a room, so no name is put in front")
    def test_in_rooms(self) -> None:
        """Answers in rooms begin with the name of who asked, and no others."""
        self.assertEqual(self.said_by("me", "!open door", "#room"), "@me open")
        self.assertEqual(self.said_by("me", "!other"), "other")


class WarningsTests(ContractTest):
    """BOT_ADMINS_NOTIFICATIONS."""

    config: ClassVar = {"BOT_ADMINS_NOTIFICATIONS": ("first", "second")}

    def test_recipients(self) -> None:
        """Everybody who is named there is told, and nobody else."""
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
        """What a person says directly is passed on to rooms, and what others say isn't."""
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
        """What is said in a room is passed on with who said it."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#room")
        self.bot.callback_message(Message("good morning", frm=TestOccupant("me", room), to=room))
        self.assertEqual(self.hear(), "[me] good morning")


class SomeCorePluginsTests(ContractTest):
    """CORE_PLUGINS."""

    config = {"CORE_PLUGINS": ("Help", "Utils", "ACLs", "CommandNotFoundFilter")}

    def test_only_those(self) -> None:
        """The core plugins that are named are loaded, and all that aren't of the core."""
        names = set(self.bot.plugin_manager.get_all_active_plugin_names())
        self.assertTrue({"Help", "Utils", "Kit"} <= names)
        self.assertFalse({"Health", "Backup", "Plugins", "Webserver"} & names)


class NotFoundTests(ContractTest):
    """CORE_PLUGINS without CommandNotFoundFilter."""

    config = {"CORE_PLUGINS": ("Help", "Utils", "ACLs")}

    def test_silence(self) -> None:
        """Nobody is told that there is no such command."""
        self.assert_silent("!nothing of the kind")


class UnboundedTests(ContractTest):
    """MESSAGE_SIZE_LIMIT when it isn't given."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def long(self, msg, args):
                return "x" * 10_001
        """

    def test_told(self) -> None:
        """Plugins find the network's limit in the configuration, and the directories as they were written there."""
        config = self.instance().bot_config
        self.assertEqual(config.MESSAGE_SIZE_LIMIT, 10_000)
        self.assertEqual(config.BOT_EXTRA_PLUGIN_DIR, str(self.directory))

    def test_of_the_network(self) -> None:
        """Networks of the core take 10,000 characters."""
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
        """A message that is longer comes in parts."""
        said = self.replies("!long")
        self.assertEqual([len(part) for part in said], [100, 100, 50])


class TemplateTests(TestCase):
    """The configuration that tests of networks begin with."""

    def setUp(self) -> None:
        """Let each test import it anew."""
        sys.modules.pop("errbot.config-template", None)
        self.addCleanup(sys.modules.pop, "errbot.config-template", None)

    def test_imported(self) -> None:
        """It is a module of errbot, which `bot_config_defaults` completes."""
        from errbot.bootstrap import bot_config_defaults

        __import__("errbot.config-template")
        config = sys.modules["errbot.config-template"]
        self.assertTrue(config.BOT_ADMINS)
        self.assertIsNone(config.BOT_EXTRA_PLUGIN_DIR)
        self.assertFalse(hasattr(config, "BOT_PREFIX"))
        bot_config_defaults(config)
        self.assertEqual(config.BOT_PREFIX, "!")

    def test_beside(self) -> None:
        """It lies beside `errbot.__file__`."""
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
