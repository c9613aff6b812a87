"""Chapter 15: third-party backends."""

from __future__ import annotations

import queue
import sys
import tempfile
import textwrap
import types
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from tests.contract.kit import LONGEST, decided
from tests.contract.kit import TestCase as Case
from tests.contract.network import PEOPLE, NetworkCase

BACKEND = (
    PEOPLE
    + """

    class Place(Room):
        def __init__(self, name):
            self.name = name

        __str__ = lambda self: self.name

        def join(self, username=None, password=None):
            SAID.put((self.name, f"{username} joins with {password}"))


    class ContractBackend(ErrBot):
        def __init__(self, config):
            super().__init__(config)
            self.bot_identifier = Somebody(config.BOT_IDENTITY["username"])
            self.connections = 0
            self.of_the_backend = "only here"
            self.parts = []

        @property
        def mode(self):
            return "contract"

        def serve_once(self):
            self.connections += 1
            self["connections"] = f"{self.connections} of {self.namespace}"
            self.connect_callback()
            try:
                while True:
                    text = HEARD.get()
                    if text is None:
                        return True
                    self.callback_message(Message(text, frm=Somebody("admin"), to=self.bot_identifier))
            finally:
                self.disconnect_callback()

        def connect(self):
            return self

        def send_message(self, msg):
            super().send_message(msg)
            self.parts.append(msg.partial)
            SAID.put((str(msg.to), msg.body))

        def build_identifier(self, text):
            return Place(text) if text.startswith("#") else Somebody(text)

        def build_reply(self, msg, text=None, private=False, threaded=False):
            response = self.build_message(text)
            response.frm = self.bot_identifier
            response.to = msg.frm
            return response

        def change_presence(self, status=ONLINE, message=""):
            SAID.put(("presence", status))

        def query_room(self, room):
            return Place(room)

        def rooms(self):
            return [Place("#one")]

        def prefix_groupchat_reply(self, message, identifier):
            message.body = f"@{identifier} {message.body}"
    """
)

PLUGIN = """
    import io
    import queue
    from errbot import BotPlugin, botcmd

    class Tried(BotPlugin):
        told = queue.Queue()
        connections = queue.Queue()

        def callback_connect(self):
            self.connections.put(self.mode)

        def callback_botmessage(self, message):
            self.told.put(message.body)

        @botcmd
        def hello(self, msg, args):
            return f"hello *{args}*"

        @botcmd
        def facts(self, msg, args):
            return " ".join([self.mode, str(self.bot_identifier), self._bot.of_the_backend, str(self.rooms()[0]),
                             str(self.query_room("#two")), str(self.build_identifier("someone"))])

        @botcmd
        def long(self, msg, args):
            return "word " * 5000

        @botcmd
        def where(self, msg, args):
            return " ".join(map(str, self.rooms()))

        @botcmd
        def presence(self, msg, args):
            self.change_presence("away")

        @botcmd
        def card(self, msg, args):
            self.send_card(title="title", body="body", to=msg.frm)

        @botcmd
        def file(self, msg, args):
            self.send_stream_request(msg.frm, io.BytesIO(b"content"), name="name", size=7, stream_type="text/plain")

        @botcmd
        def react(self, msg, args):
            self._bot.add_reaction(msg, "up")
            self._bot.remove_reaction(msg, "up")

        @botcmd
        def stored(self, msg, args):
            return f"{self._bot['connections']} {'nothing' in self._bot}"

        @botcmd
        def later(self, msg, args):
            self.send(self.build_identifier("someone"), "for you")
    """


class BackendCase(NetworkCase):
    """A test with that backend and plugin."""

    backend = BACKEND
    plugin = PLUGIN

    def ask(self, text: str) -> tuple[str, str]:
        """Send a message to the bot, and return the recipient and text of its reply."""
        self.heard.put(text)
        reply: tuple[str, str] = self.said.get(timeout=LONGEST)
        return reply


class ThirdPartyBackendTests(BackendCase):
    """A third-party backend with a bot."""

    def test_commands(self) -> None:
        """Commands are run, and the backend gets the reply as Markdown."""
        self.assertEqual(self.ask("!hello you"), ("admin", "hello *you*"))

    def test_facts(self) -> None:
        """Plugins get the network's mode, identifiers and rooms; `_bot` has the backend's own attributes."""
        self.assertEqual(self.ask("!facts"), ("admin", "contract me only here #one #two someone"))

    def test_presence(self) -> None:
        """`change_presence` of a plugin calls that of the backend."""
        self.assertEqual(self.ask("!presence"), ("presence", "away"))

    def test_send(self) -> None:
        """Plugins can send to any identifier that the backend builds."""
        self.assertEqual(self.ask("!later"), ("someone", "for you"))

    def test_connected(self) -> None:
        """Plugins get `callback_connect`, and `callback_botmessage` for messages of the bot."""
        self.ask("!hello you")
        tried = self.bot.plugin_manager.get_plugin_obj_by_name("Tried")
        self.assertEqual(tried.connections.get(timeout=LONGEST), "contract")
        self.assertEqual(tried.told.get(timeout=LONGEST), "hello *you*")

    def test_long_messages(self) -> None:
        """Long messages are split at the backend's limit, and each part is marked as `partial`."""
        parts = [self.ask("!long")[1]]
        while sum(len(part.replace(" ", "")) for part in parts) < 4 * 5000:
            parts.append(self.said.get(timeout=LONGEST)[1])
        self.assertEqual("".join("".join(parts).split()), "word" * 5000)
        self.assertTrue(all(len(part) <= self.bot.message_size_limit for part in parts))
        self.assertEqual(self.bot.message_size_limit, 10000)
        self.assertEqual(self.bot.parts, [True] * len(parts))

    def test_short_messages(self) -> None:
        """A short reply is one part."""
        self.ask("!hello you")
        self.assertEqual(len(self.bot.parts), 1)

    def test_public_names(self) -> None:
        """The bot has all attributes that plugins and backends use."""
        for name in [
            "send",
            "send_templated",
            "send_card",
            "send_simple_reply",
            "split_and_send_message",
            "process_template",
            "warn_admins",
            "inject_commands_from",
            "remove_commands_from",
            "inject_command_filters_from",
            "remove_command_filters_from",
            "inject_flows_from",
            "commands",
            "re_commands",
            "all_commands",
            "command_filters",
            "unknown_command",
            "get_doc",
            "get_command_classes",
            "message_size_limit",
            "prefix",
            "startup_time",
            "attach_storage_plugin",
            "attach_plugin_manager",
            "attach_repo_manager",
            "is_from_self",
            "build_message",
            "set_message_size_limit",
            "connect_callback",
            "disconnect_callback",
            "reset_reconnection_count",
            "callback_message",
            "callback_mention",
            "callback_presence",
            "callback_reaction",
            "callback_room_joined",
            "callback_room_left",
            "callback_room_topic",
            "callback_stream",
            "shutdown",
        ]:
            self.assertTrue(hasattr(self.bot, name), name)

    def test_from_the_bot(self) -> None:
        """The inherited `is_from_self` compares the sender with the bot's identifier."""
        self.ask("!hello you")
        message = self.bot.build_message("x")
        message.frm = self.bot.bot_identifier
        message.to = self.bot.build_identifier("someone")
        self.assertTrue(self.bot.is_from_self(message))
        message.frm = self.bot.build_identifier("someone")
        self.assertFalse(self.bot.is_from_self(message))

    def test_spoken(self) -> None:
        """`send_simple_reply`, `warn_admins` and `send_card` send messages."""
        from errbot.backends.base import Card

        message = self.bot.build_message("x")
        message.frm = self.bot.build_identifier("someone")
        self.bot.send_simple_reply(message, "simply")
        self.assertEqual(self.said.get(timeout=LONGEST), ("someone", "simply"))
        self.bot.warn_admins("beware")
        self.assertEqual(self.said.get(timeout=LONGEST), ("admin", "beware"))
        self.bot.send_card(Card("the body", self.bot.bot_identifier, message.frm, title="title"))
        to, body = self.said.get(timeout=LONGEST)
        self.assertEqual(to, "someone")
        self.assertIn("title", body)
        self.assertIn("the body", body)

    def test_stored(self) -> None:
        """The backend stores values in the namespace "<mode>_backend", and plugins read them with `_bot[...]`."""
        self.assertEqual(self.ask("!stored"), ("admin", "1 of contract_backend False"))

    @decided("plugins are deactivated and activated again")
    def test_connected_again(self) -> None:
        """After a lost connection plugins stay active, and get `callback_connect` for the next one."""
        self.ask("!hello you")
        tried = self.bot.plugin_manager.get_plugin_obj_by_name("Tried")
        # One call follows the activation, the other the connection.
        for _ in range(2):
            tried.connections.get(timeout=LONGEST)
        self.bot.disconnect_callback()
        self.assertTrue(tried.is_activated)
        self.bot.connect_callback()
        tried.connections.get(timeout=LONGEST)
        self.ask("!hello you")
        self.assertTrue(tried.connections.empty())

    def test_mapping(self) -> None:
        """The bot is an ErrBot and a mapping of stored values."""
        from errbot.core import ErrBot
        from errbot.storage import StoreMixin

        self.ask("!hello you")
        self.assertIsInstance(self.bot, ErrBot)
        self.assertIsInstance(self.bot, StoreMixin)
        self.bot["contract"] = [1]
        self.assertEqual((self.bot["contract"], self.bot.get("nothing")), ([1], None))
        del self.bot["contract"]
        self.assertNotIn("contract", self.bot)

    def test_unknown(self) -> None:
        """`unknown_command` returns the reply to an unknown command, with suggestions."""
        self.ask("!hello you")
        told = self.bot.unknown_command(None, "helo", "x")
        for part in ('"helo"', '"helo x"', "not found", "Did you mean", "hello"):
            self.assertIn(part, told)


class RoomsAsPropertyTests(BackendCase):
    """A backend whose `rooms` is a property."""

    backend = BACKEND.replace("        def rooms(self):", "        @property\n        def rooms(self):")

    @decided("the plugins' method fails")
    def test_rooms(self) -> None:
        """The plugins' method `rooms` works."""
        self.assertEqual(self.ask("!where"), ("admin", "#one"))


class ConfiguredTests(BackendCase):
    """CHATROOM_PRESENCE and CHATROOM_FN."""

    config = {
        "CHATROOM_PRESENCE": ("#open", ("#locked", "secret")),
        "CHATROOM_FN": "Talker",
    }

    def place(self, directory: str) -> str | list[str]:
        """Return a list of directories for BOT_EXTRA_BACKEND_DIR."""
        return [directory]

    def test_rooms(self) -> None:
        """The bot joins the rooms of CHATROOM_PRESENCE when it is connected, as CHATROOM_FN, with the given
        passwords.
        """
        said = [self.said.get(timeout=LONGEST) for _ in range(2)]
        self.assertEqual(sorted(said), [("#locked", "Talker joins with secret"), ("#open", "Talker joins with None")])
        # `!room join` does the same.
        self.assertEqual(self.ask("!room join '#late' other"), ("#late", "Talker joins with other"))


class OverridingTests(BackendCase):
    """A backend that overrides optional methods."""

    backend = BACKEND.replace(
        "        def connect(self):",
        """
        def is_from_self(self, msg):
            return msg.body.endswith("(mine)")

        def set_message_size_limit(self, limit=50, hard_limit=70):
            super().set_message_size_limit(limit, hard_limit)

        def build_message(self, text):
            message = super().build_message(text)
            message.body = f"built: {message.body}"
            return message

        def send_card(self, card):
            SAID.put((str(card.to), f"a card: {card.title}"))

        def send_stream_request(self, user, fsource, name=None, size=None, stream_type=None):
            SAID.put((str(user), f"a file: {name} {fsource.read()} {size} {stream_type}"))

        def add_reaction(self, msg, reaction):
            SAID.put((str(msg.frm), f"+{reaction}"))

        def remove_reaction(self, msg, reaction):
            SAID.put((str(msg.frm), f"-{reaction}"))

        def connect(self):""",
    )

    def test_from_self(self) -> None:
        """A message for which its `is_from_self` is true is ignored."""
        self.heard.put("!hello (mine)")
        self.assertEqual(self.ask("!facts")[0], "admin")
        self.assertEqual(self.said.qsize(), 0)

    def test_built(self) -> None:
        """Replies are created by its `build_message`."""
        self.assertEqual(self.ask("!hello you"), ("admin", "built: hello *you*"))

    def test_limit(self) -> None:
        """The message size limit is that of its `set_message_size_limit`."""
        self.assertEqual(self.bot.message_size_limit, 50)

    def test_more_than_texts(self) -> None:
        """Cards, files and reactions are sent by its methods."""
        self.assertEqual(self.ask("!card"), ("admin", "a card: title"))
        self.assertEqual(self.ask("!file"), ("admin", "a file: name b'content' 7 text/plain"))
        self.assertEqual(self.ask("!react"), ("admin", "+up"))
        self.assertEqual(self.said.get(timeout=LONGEST), ("admin", "-up"))


class ConfiguredLimitTests(BackendCase):
    """A MESSAGE_SIZE_LIMIT above the backend's limit."""

    backend = OverridingTests.backend
    config = {"MESSAGE_SIZE_LIMIT": 80}

    def test_limit(self) -> None:
        """The setting takes precedence."""
        self.assertEqual(self.bot.message_size_limit, 80)


class ConfigurationTests(BackendCase):
    """The configuration that a backend gets."""

    backend = BACKEND.replace(
        "            self.connections = 0\n",
        """
            self.connections = 0
            self.limit = self.bot_config.MESSAGE_SIZE_LIMIT
            self.certificate = config.__dict__.get("XMPP_CA_CERT_FILE")
            config.OF_THE_BACKEND = "new"
""",
    )
    config = {"XMPP_CA_CERT_FILE": "/etc/ca.pem"}

    def test_settings(self) -> None:
        """Its `__dict__` has all settings, MESSAGE_SIZE_LIMIT is set, and plugins see what the backend sets."""
        self.ask("!hello there")
        self.assertEqual((self.bot.limit, self.bot.certificate), (10_000, "/etc/ca.pem"))
        config = self.bot.plugin_manager.get_plugin_obj_by_name("Tried").bot_config
        self.assertEqual((config.OF_THE_BACKEND, config.__dict__["MESSAGE_SIZE_LIMIT"]), ("new", 10_000))


class BackendManagerTests(unittest.TestCase):
    """`errbot.backend_plugin_manager`."""

    def test_found(self) -> None:
        """BackendPluginManager finds a backend by name, and raises PluginNotFoundException for an unknown one."""
        from errbot import core
        from errbot.backend_plugin_manager import BackendPluginManager, PluginNotFoundException

        with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            (directory / "contract.plug").write_text("[Core]\nName = Contract\nModule = contract_backend\n")
            (directory / "contract_backend.py").write_text(textwrap.dedent(BACKEND))
            config = types.SimpleNamespace()
            found = BackendPluginManager(config, "errbot.backends", "Contract", core.ErrBot, empty, [name])
            self.assertEqual(found.plugin_info.name, "Contract")
            with self.assertRaises(PluginNotFoundException):
                BackendPluginManager(config, "errbot.backends", "Nothing", core.ErrBot, empty, [name])

    def test_of_errbot(self) -> None:
        """CORE_BACKENDS and CORE_STORAGE are directories with a `.plug` file for each bundled backend and storage."""
        from errbot.backend_plugin_manager import BackendPluginManager, enumerate_backend_plugins
        from errbot.bootstrap import CORE_BACKENDS, CORE_STORAGE
        from errbot.storage.base import StoragePluginBase

        networks = {info.name for info in enumerate_backend_plugins([CORE_BACKENDS])}
        self.assertLessEqual({"IRC", "Null", "Test", "Text"}, networks)
        self.assertEqual({path.stem for path in Path(CORE_STORAGE).glob("*.plug")}, {"memory", "shelf"})
        config = types.SimpleNamespace(STORAGE_CONFIG={})
        memory = BackendPluginManager(config, "errbot.storage", "Memory", StoragePluginBase, CORE_STORAGE).load_plugin()
        self.assertIsInstance(memory, StoragePluginBase)
        values = memory.open("contract")
        values.set("a", 1)
        self.assertEqual(values.get("a"), 1)


class OfItsOwnTests(Case):
    """A backend without a bot, as its own tests create it."""

    def setUp(self) -> None:
        """Create the backend with the configuration template."""
        from errbot.bootstrap import bot_config_defaults

        sys.modules.pop("errbot.config-template", None)
        __import__("errbot.config-template")
        config = sys.modules.pop("errbot.config-template")
        bot_config_defaults(config)
        config.BOT_IDENTITY = {"username": "me"}
        config.BOT_ADMINS_NOTIFICATIONS = ("admin",)
        names: dict[str, Any] = {"__name__": "contract_backend_alone"}
        exec(textwrap.dedent(BACKEND), names)
        self.backend = names["ContractBackend"](config)
        self.said: queue.Queue[tuple[str, str]] = names["SAID"]
        self.somebody = names["Somebody"]("somebody")
        self.message = self.backend.build_message("hello")
        self.message.frm, self.message.to = self.somebody, self.backend.bot_identifier
        self.plugin = mock.MagicMock()
        self.manager = mock.MagicMock()
        self.manager.get_all_active_plugins.return_value = [self.plugin]

    def test_sends(self) -> None:
        """With a plugin manager, such as a mock, the backend sends at once."""
        self.backend.attach_plugin_manager(self.manager)
        self.backend.send_message(self.message)
        self.assertEqual(self.said.get(block=False), ("me", "hello"))
        self.backend.send(self.somebody, "text")
        self.assertEqual(self.said.get(block=False), ("somebody", "text"))
        self.backend.send_simple_reply(self.message, "reply")
        self.assertEqual(self.said.get(block=False), ("somebody", "reply"))

    @decided("plugins get the event")
    def test_events(self) -> None:
        """Events are ignored, since there is no bot."""
        self.backend.attach_plugin_manager(self.manager)
        self.backend.callback_message(self.message)
        self.assertEqual(self.plugin.mock_calls, [])

    def test_dispatched(self) -> None:
        """Tests can replace `_dispatch_to_plugins`."""
        self.backend._dispatch_to_plugins = mock.MagicMock()
        self.backend.callback_room_topic("room")
        self.backend._dispatch_to_plugins.assert_called_once_with("callback_room_topic", "room")

    @decided("the tables are empty")
    def test_names_of_the_bot(self) -> None:
        """The error about a name of the bot names the fixture that has one."""
        with self.assertRaisesRegex(AttributeError, "can't provide commands .*without a bot.*testbot"):
            self.backend.commands

    @decided("an AttributeError is raised, since there is no plugin manager")
    def test_without_a_manager(self) -> None:
        """The backend can send without a plugin manager, too."""
        self.backend.send(self.somebody, "text")
        self.assertEqual(self.said.get(block=False), ("somebody", "text"))

    @decided("the commands are registered and run")
    def test_injected(self) -> None:
        """`inject_commands_from` raises AttributeError."""
        with self.assertRaises(AttributeError):
            self.backend.inject_commands_from(self.plugin)
