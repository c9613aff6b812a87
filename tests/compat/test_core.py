"""Third-party backends without a bot, as their own tests create them."""

from __future__ import annotations

import time
import unittest
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import bootstrap
from errklein.chat import ONLINE, Message, Presence
from errklein.compat.core import ErrBot, for_a_bot
from errklein.networks.test import TestOccupant, TestPerson, TestRoom
from errklein.storage import MemoryStorage


class Plain(ErrBot):
    """A backend that records what it sends."""

    mode = "plain"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bot_identifier = TestPerson("bot")
        self.sent: list[Message] = []
        self.connections = 0

    def build_identifier(self, text: str) -> TestPerson:
        return TestPerson(text)

    def build_reply(
        self, msg: Message, text: str | None = None, private: bool = False, threaded: bool = False
    ) -> Message:
        return Message(text or "", frm=self.bot_identifier, to=msg.frm, parent=msg if threaded else None)

    def prefix_groupchat_reply(self, message: Message, identifier: Any) -> None:
        super().prefix_groupchat_reply(message, identifier)
        message.body = f"{identifier.nick}: {message.body}"

    def send_message(self, msg: Message) -> None:
        super().send_message(msg)
        self.sent.append(msg)

    def serve_once(self) -> bool:
        self.connections += 1
        if self.connections < 3:
            raise ConnectionError
        return True


class AloneCase(SynchronousTestCase):
    """A test with a backend without a bot."""

    def setUp(self) -> None:
        self.backend: Any = self.make()
        self.alice = TestPerson("alice")
        self.message = Message("hello", frm=self.alice, to=self.backend.bot_identifier)

    def make(self) -> Plain:
        config = SimpleNamespace(BOT_ADMINS=("admin", "root"), BOT_IDENTITY={})
        bootstrap.bot_config_defaults(config)
        return Plain(config)

    def sent(self) -> list[tuple[str, str]]:
        """Return the recipients and texts since the last call."""
        sent = [(str(message.to), message.body) for message in self.backend.sent]
        self.backend.sent.clear()
        return sent


class SendingTests(AloneCase):
    """Messages go to the backend's own `send_message`, synchronously."""

    def test_send(self) -> None:
        """A text is sent to an identifier, with the recipient's name before it if that is requested."""
        self.backend.send(self.alice, "text")
        self.assertEqual(str(self.backend.sent[0].frm), "bot")
        room = TestRoom("room")
        asked = Message("?", frm=TestOccupant("carol", room), to=room)
        self.backend.send(room, "text", in_reply_to=asked, groupchat_nick_reply=True)
        self.assertIs(self.backend.sent[1].parent, asked)
        self.assertEqual(self.sent(), [("alice", "text"), ("room", "carol: text")])
        self.assertRaises(ValueError, self.backend.send, "alice", "text")

    def test_long_messages(self) -> None:
        """Long messages are split at the backend's limit."""
        self.backend.set_message_size_limit(20)
        self.backend.send(self.alice, "many words in one row that are too long")
        self.assertGreater(len(self.backend.sent), 1)
        self.assertTrue(all(len(message.body) <= 20 and message.partial for message in self.backend.sent))


class CallbackTests(AloneCase):
    """Events are passed to the plugins of the attached plugin manager."""

    def setUp(self) -> None:
        super().setUp()
        self.plugin = mock.Mock()
        self.manager = mock.Mock(**{"get_all_active_plugins.return_value": [self.plugin, mock.Mock()]})
        self.backend.attach_plugin_manager(self.manager)

    def test_each_event(self) -> None:
        """Each event leads to its callback."""
        presence = Presence(self.alice, ONLINE)
        for name, given, told in (
            ("callback_message", (self.message,), (self.message,)),
            ("callback_mention", (self.message, [self.alice]), (self.message, [self.alice])),
            ("callback_presence", (presence,), (presence,)),
            ("callback_reaction", ("reaction",), ("reaction",)),
            ("callback_stream", ("stream",), ("stream",)),
            ("callback_room_topic", ("room",), ("room",)),
            ("callback_room_joined", ("room",), ("room", self.backend.bot_identifier, None)),
            ("callback_room_left", ("room", self.alice, "op"), ("room", self.alice, "op")),
        ):
            self.plugin.reset_mock()
            getattr(self.backend, name)(*given)
            self.assertEqual(self.plugin.mock_calls, [getattr(mock.call, name)(*told)])

    def test_own_messages(self) -> None:
        """Plugins get `callback_botmessage` for sent messages; messages from the bot itself are ignored."""
        self.backend.send_message(self.message)
        self.plugin.callback_botmessage.assert_called_once_with(self.message)
        self.plugin.reset_mock()
        self.backend.callback_message(Message("own", frm=self.backend.bot_identifier))
        self.assertEqual(self.plugin.mock_calls, [])

    def test_connection(self) -> None:
        """The plugin manager activates plugins at the connection, and deactivates them when it is lost."""
        self.backend.connect_callback()
        self.manager.activate_non_started_plugins.assert_called_once_with()
        self.plugin.callback_connect.assert_called_once_with()
        self.backend.disconnect_callback()
        self.manager.deactivate_all_plugins.assert_called_once_with()

    def test_failing_plugin(self) -> None:
        """An exception in a plugin is logged, and the next plugin is called."""
        self.plugin.callback_presence.side_effect = ZeroDivisionError
        other = self.manager.get_all_active_plugins()[1]
        with self.assertLogs("errbot.core", "ERROR"):
            self.backend.callback_presence("presence")
        other.callback_presence.assert_called_once_with("presence")

    def test_without_a_manager(self) -> None:
        """Without a plugin manager events are ignored."""
        self.backend.attach_plugin_manager(None)
        self.backend.callback_presence("presence")
        self.backend.connect_callback()
        self.backend.disconnect_callback()
        self.backend.send_message(self.message)
        self.assertEqual(self.plugin.mock_calls, [])

    assertLogs = unittest.TestCase.assertLogs


class RestTests(AloneCase):
    """Other attributes and methods of such a backend."""

    def test_names_of_the_bot(self) -> None:
        """The backend has the bot's tables, which are empty, and no other attributes."""
        self.assertEqual((self.backend.commands, self.backend.re_commands, self.backend.all_commands), ({}, {}, {}))
        self.assertEqual((self.backend.command_filters, list(self.backend.cmd_history["alice"])), ([], []))
        self.assertIsInstance(self.backend.startup_time, datetime)
        self.assertFalse(hasattr(self.backend, "nonesuch"))
        self.assertFalse(hasattr(self.backend, "send_stream_request"))
        self.assertIn("not found", self.backend.unknown_command(None, "dance", "now"))
        error = self.assertRaises(RuntimeError, self.backend.inject_commands_from, object())
        self.assertIn("testbot", str(error))

    assertLogs = unittest.TestCase.assertLogs

    def test_storage(self) -> None:
        """With a storage, the backend is a mapping of stored values."""
        self.backend.attach_storage_plugin(MemoryStorage())
        self.backend.initialize_backend_storage()
        self.backend["key"] = "value"
        self.assertEqual(dict(self.backend), {"key": "value"})
        self.backend.shutdown()
        self.assertFalse(self.backend.is_open_storage())

    def test_serving(self) -> None:
        """`serve_forever` reconnects after an error, with a delay, until `serve_once` returns True."""
        pauses: list[float] = []
        self.patch(time, "sleep", pauses.append)
        with self.assertLogs("errbot.core", "ERROR"):
            self.backend.serve_forever()
        self.assertEqual((self.backend.connections, len(pauses)), (3, 2))

    def test_while_made_for_a_bot(self) -> None:
        """A backend for a bot raises an error if it uses the bot in its `__init__`."""
        case = self

        class Eager(Plain):
            def __init__(self, config: Any) -> None:
                super().__init__(config)
                case.assertFalse(hasattr(self, "commands"))
                self.connect_callback()

        with for_a_bot():
            error = self.assertRaises(RuntimeError, Eager, self.backend.bot_config)
        self.assertIn("can't use the bot before its __init__ has returned", str(error))
