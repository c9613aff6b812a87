"""Chapter 16: TestBot, the bot for tests of plugins."""

from __future__ import annotations

import queue
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from tests.contract.kit import ADMIN, LONGEST, ContractTest, decided

PLUGIN = """
    import json
    import helper
    from errbot import BotPlugin, botcmd

    def where():
        return "really"

    class Tried(BotPlugin):
        attribute = "own"

        @botcmd
        def hello(self, msg, args):
            return f"hello {args}"

        @botcmd
        def lines(self, msg, args):
            return "  one\\n  two"

        @botcmd
        def shown(self, msg, args):
            return self.attribute

        @botcmd
        def method(self, msg, args):
            return self.answer()

        def answer(self):
            return "own answer"

        @botcmd
        def dumped(self, msg, args):
            return json.dumps([1])

        @botcmd
        def opened(self, msg, args):
            with open("/nowhere/at/all") as file:
                return file.read()

        @botcmd
        def helped(self, msg, args):
            return helper.help_out()

        @botcmd
        def file(self, msg, args):
            import io
            self.send_stream_request(msg.frm, io.BytesIO(b"content"), name="file", size=7)
    """


class TestBotTests(ContractTest):
    """The methods of TestBot."""

    plugin = PLUGIN
    files = {"helper.py": "def help_out():\n    return 'helped'\n"}

    def test_push_and_pop(self) -> None:
        """`push_message` sends a message to the bot, and `pop_message` returns its reply as plain text."""
        self.testbot.push_message("!hello you")
        self.assertEqual(self.testbot.pop_message(), "hello you")

    def test_nothing_to_pop(self) -> None:
        """Without a message, `pop_message` raises queue.Empty, after the timeout or at once."""
        with self.assertRaises(queue.Empty):
            self.testbot.pop_message(timeout=0.1)
        with self.assertRaises(queue.Empty):
            self.testbot.pop_message(block=False)

    def test_exec_command(self) -> None:
        """`exec_command` sends a message and returns the reply."""
        self.assertEqual(self.testbot.exec_command("!hello you"), "hello you")

    def test_assert_in_command(self) -> None:
        """`assertInCommand` checks for a part of the reply."""
        self.testbot.assertInCommand("!hello you", "lo yo")
        with self.assertRaises(AssertionError):
            self.testbot.assertInCommand("!hello you", "goodbye")

    def test_assert_command_found(self) -> None:
        """`assertCommandFound` fails only for an unknown command."""
        self.testbot.assertCommandFound("!hello you")
        with self.assertRaises(AssertionError):
            self.testbot.assertCommandFound("!goodbye")

    def test_dedent(self) -> None:
        """With `dedent=True` the command may be an indented text that begins with a line break."""
        self.testbot.assertInCommand("\n    !hello you", "hello you", dedent=True)

    def test_zap(self) -> None:
        """`zap_queues` discards all messages."""
        for text in ("one", "two"):
            self.bot.outgoing_message_queue.put(text)
        self.testbot.zap_queues()
        self.assertEqual(self.drain(), [])
        self.assertEqual(self.ask("!hello three"), "hello three")

    def test_mocks(self) -> None:
        """`inject_mocks` replaces attributes of a plugin."""
        self.testbot.inject_mocks("Tried", {"attribute": "mocked", "answer": mock.Mock(return_value="mocked answer")})
        self.assertEqual(self.ask("!shown"), "mocked")
        self.assertEqual(self.ask("!method"), "mocked answer")

    def test_mocks_of_nothing(self) -> None:
        """`inject_mocks` raises an error for an unknown plugin or attribute."""
        with self.assertRaisesRegex(Exception, "Nothing"):
            self.testbot.inject_mocks("Nothing", {"attribute": 1})
        with self.assertRaises(ValueError):
            self.testbot.inject_mocks("Tried", {"nothing": 1})

    def test_patches(self) -> None:
        """`mock.patch` works for builtins, for imported modules, and for the plugin."""
        with mock.patch("builtins.open", mock.mock_open(read_data="patched")):
            self.assertEqual(self.ask("!opened"), "patched")
        with mock.patch("json.dumps", return_value="patched"):
            self.assertEqual(self.ask("!dumped"), "patched")
        with mock.patch.object(self.instance(), "answer", return_value="patched"):
            self.assertEqual(self.ask("!method"), "patched")
        with mock.patch("helper.help_out", return_value="patched"):
            self.assertEqual(self.ask("!helped"), "patched")

    def test_bot(self) -> None:
        """TestBot has the bot, its thread and its configuration, with STORAGE "Memory" and a data directory."""
        self.assertIs(self.testbot.bot, self.testbot._bot)
        self.assertTrue(self.testbot.bot_thread.is_alive())
        self.assertEqual(self.testbot.bot_config.BOT_ADMINS, (ADMIN,))
        self.assertEqual(self.testbot.bot_config.CHATROOM_PRESENCE, ("testroom",))
        self.assertEqual(self.testbot.bot_config.STORAGE, "Memory")
        self.assertTrue(Path(self.testbot.bot_config.BOT_DATA_DIR).is_dir())

    def test_sender(self) -> None:
        """The sender of messages is `bot.sender`, which can be replaced."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("somebody@host", self.ask("!whoami"))

    def test_streams(self) -> None:
        """`pop_message` returns the bytes of a file that a plugin sends."""
        self.testbot.push_message("!file")
        self.assertEqual(self.testbot.bot.pop_message(timeout=LONGEST), b"content")

    def test_notices(self) -> None:
        """`pop_message` returns messages to administrators, too."""
        self.instance().warn_admins("beware")
        self.assertIn("beware", self.hear())

    @decided("the bot's thread raises an error and ends")
    def test_presence(self) -> None:
        """`push_presence` calls `callback_presence`, and the bot continues."""
        from errbot.backends.base import ONLINE, Presence

        self.testbot.push_presence(Presence(self.bot.build_identifier("a@b"), ONLINE))
        self.assertEqual(self.testbot.exec_command("!hello you", timeout=10), "hello you")

    def test_rooms(self) -> None:
        """`query_room` creates rooms on demand, and `reset_rooms` removes them."""
        room = self.bot.query_room("#new")
        self.assertEqual(room, self.bot.query_room("#new"))
        self.assertFalse(room.exists)
        room.create()
        self.assertTrue(self.bot.query_room("#new").exists)
        self.bot.reset_rooms()
        self.assertFalse(self.bot.query_room("#new").exists)


HEARING = """
    from errbot import BotPlugin, botcmd

    class Tried(BotPlugin):
        def __init__(self, bot, name=None):
            super().__init__(bot, name=name)
            self.mentioned = []
            self.heard = []

        def callback_mention(self, message, people):
            self.mentioned.append([str(person) for person in people])

        def callback_message(self, message):
            self.heard.append((message.body, str(message.frm), message.is_direct))

        @botcmd
        def extras(self, msg, args):
            return repr(msg.extras)

        @botcmd
        def twice(self, msg, args):
            yield "one"
            yield "two"
    """


class PushedMessagesTests(ContractTest):
    """Messages in TestBot."""

    plugin = HEARING

    def test_extras(self) -> None:
        """`push_message` takes the message's `extras`."""
        self.testbot.push_message("!extras", extras={"key": "value"})
        self.assertEqual(self.hear(), "{'key': 'value'}")

    def test_mentions(self) -> None:
        """Words with `@` are mentions, which plugins get after the message."""
        self.replies("hello @bob and @alice")
        self.assertEqual(len(self.instance().mentioned), 1)
        self.assertEqual([name.lstrip("@") for name in self.instance().mentioned[0]], ["bob", "alice"])

    def test_direct(self) -> None:
        """A pushed message is a direct message from the first administrator."""
        self.replies("hello")
        self.assertIn(("hello", ADMIN, True), self.instance().heard)

    def test_empty_name(self) -> None:
        """`build_identifier` returns a person for any text, even an empty one or the name of a room."""
        from errbot.backends.test import TestPerson

        self.bot.query_room("#ops").join()
        for name in ("", " ", "bob", "#ops", "bob@#ops", "testroom"):
            made = self.bot.build_identifier(name)
            self.assertIsInstance(made, TestPerson)
            self.assertEqual((made.person, made.aclattr), (name, name))
        self.assertEqual(self.instance().build_identifier("").person, "")

    def test_old_name(self) -> None:
        """`assertCommand` is an alias of `assertInCommand`."""
        self.testbot.assertCommand("!echo there", "ther")

    def test_one_message(self) -> None:
        """`exec_command` returns the first reply; others are popped later."""
        self.assertEqual(self.testbot.exec_command("!twice"), "one")
        self.assertEqual(self.testbot.pop_message(), "two")

    def test_timeouts(self) -> None:
        """`exec_command` takes a timeout."""
        self.assertEqual(self.testbot.exec_command("!echo there", timeout=3), "there")
        with self.assertRaises(queue.Empty):
            self.testbot.exec_command("nothing to say to that", timeout=0.05)

    def test_queues(self) -> None:
        """The bot has a queue of incoming and one of outgoing messages."""
        self.assertTrue(self.bot.incoming_stanza_queue.empty())
        self.say("!echo there")
        self.assertEqual(self.bot.outgoing_message_queue.get(timeout=LONGEST), "there")

    def test_identity(self) -> None:
        """The bot's name is err, its mode "test", and its data directory is its own."""
        self.assertEqual(self.testbot.bot_config.BOT_IDENTITY, {"username": "err"})
        self.assertEqual(self.bot.mode, "test")
        self.assertTrue(Path(self.testbot.bot_config.BOT_DATA_DIR).is_dir())


class ReplacedSendTests(ContractTest):
    """Tests that replace `testbot.bot.send_message`."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                self.shown = []

            def callback_botmessage(self, message):
                self.shown.append(message.body)

            @botcmd
            def sends(self, msg, args):
                self.send(self.build_identifier("bob"), "to bob")
                self.send_card(title="Title", body="of a card", to=self.build_identifier("bob"))
                self.warn_admins("a warning")
                return "a reply"

            @botcmd
            def by_itself(self, msg, args):
                message = self._bot.build_message("raw")
                message.frm, message.to = self.bot_identifier, self.build_identifier("bob")
                self._bot.send_message(message)
        """

    def test_called(self) -> None:
        """The replacement is called for all messages of the bot, and nothing else is sent."""
        sent: queue.Queue[Any] = queue.Queue()
        with mock.patch.object(self.bot, "send_message", sent.put):
            self.say("!sends")
            messages = [sent.get(timeout=LONGEST) for _ in range(4)]
        bodies = [message.body for message in messages]
        self.assertEqual((bodies[0], bodies[2], bodies[3]), ("to bob", "a warning", "a reply"))
        self.assertIn("of a card", bodies[1])
        self.assertEqual(str(messages[0].to), "bob")
        self.assertEqual(self.drain(), [])
        self.assertEqual(self.ask("!echo sent again"), "sent again")

    def test_by_plugin(self) -> None:
        """Plugins can call `_bot.send_message`, and get `callback_botmessage` for it."""
        self.assertEqual(self.replies("!by itself"), ["raw"])
        self.assertIn("raw", self.instance().shown)

    def test_send_message_of_the_class(self) -> None:
        """A test can call the `send_message` of the bot's base class, and render Markdown with `md`."""
        message = self.bot.build_message("**of the base class**")
        message.frm, message.to = self.bot.bot_identifier, self.bot.build_identifier("bob")
        super(type(self.bot), self.bot).send_message(message)
        self.assertEqual(self.bot.md.convert("**strong** `code`"), "strong code")


class IdentifierTests(unittest.TestCase):
    """TestPerson, TestOccupant and constants."""

    def test_equal(self) -> None:
        """Persons are equal if their names are; occupants, if their rooms are equal, too."""
        from errbot.backends.test import TestOccupant, TestPerson

        self.assertEqual(TestPerson("a@b"), TestPerson("a@b"))
        self.assertNotEqual(TestPerson("a@b"), TestPerson("c@d"))
        occupant: Any = TestOccupant("a@b", "room")
        self.assertEqual(occupant.person, "a@b")
        self.assertEqual(occupant, TestOccupant("a@b", "room"))
        self.assertNotEqual(occupant, TestOccupant("c@d", "room"))
        self.assertNotEqual(occupant, TestOccupant("a@b", "other"))

    def test_constants(self) -> None:
        """The constants for the queue of incoming messages exist and differ."""
        from errbot.backends.test import QUIT_MESSAGE, STZ_IQ, STZ_MSG, STZ_PRE

        self.assertEqual(len({STZ_MSG, STZ_PRE, STZ_IQ}), 3)
        self.assertIsInstance(QUIT_MESSAGE, str)
