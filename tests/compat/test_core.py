"""Third-party backends without a bot, as their own tests create them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import bootstrap
from errklein.chat import ONLINE, Message, Presence
from errklein.compat.core import ErrBot
from errklein.networks.test import TestOccupant, TestPerson, TestRoom
from errklein.storage import MemoryStorage


class Plain(ErrBot):
    """A backend that records what it sends."""

    mode = "plain"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bot_identifier = TestPerson("bot")
        self.sent: list[Message] = []

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


class RestTests(AloneCase):
    """Other attributes and methods of such a backend."""

    def test_events(self) -> None:
        """Events and the bot's own messages are accepted, and nobody gets them, although a test attaches a plugin manager."""
        manager = mock.Mock()
        self.backend.attach_plugin_manager(manager)
        self.backend.connect_callback()
        self.backend.callback_message(self.message)
        self.backend.callback_message(Message("own", frm=self.backend.bot_identifier))
        self.backend.callback_presence(Presence(self.alice, ONLINE))
        self.backend.callback_room_joined("room")
        self.backend.disconnect_callback()
        self.assertEqual((self.sent(), manager.mock_calls), ([], []))

    def test_what_needs_a_bot(self) -> None:
        """The error about what a bot provides names the fixture with which the backend can be tested."""
        self.assertFalse(hasattr(self.backend, "send_stream_request"))
        for name in ("commands", "cmd_history", "startup_time", "nonesuch"):
            error: Exception = self.assertRaises(AttributeError, getattr, self.backend, name)
            self.assertIn(
                f"Plain can't provide {name} in its __init__, or without a bot; test it with the fixture testbot",
                str(error),
            )
        for call in (
            self.backend.connect_callback,
            self.backend.serve_forever,
            lambda: self.backend.warn_admins("careful"),
            lambda: self.backend.unknown_command(None, "dance", "now"),
        ):
            self.assertIn("the fixture testbot", str(self.assertRaises(RuntimeError, call)))

    def test_storage(self) -> None:
        """With a storage, the backend is a mapping of stored values."""
        self.backend.attach_storage_plugin(MemoryStorage())
        self.backend.initialize_backend_storage()
        self.backend["key"] = "value"
        self.assertEqual(dict(self.backend), {"key": "value"})
        self.backend.shutdown()
        self.assertFalse(self.backend.is_open_storage())

    def test_while_made_for_a_bot(self) -> None:
        """A backend raises an error if it uses the bot in its `__init__`."""
        case = self

        class Eager(Plain):
            def __init__(self, config: Any) -> None:
                super().__init__(config)
                case.assertFalse(hasattr(self, "commands"))
                self.connect_callback()

        error = self.assertRaises(RuntimeError, Eager, self.backend.bot_config)
        self.assertIn("Eager can't provide plugin_manager in its __init__", str(error))
