"""Chapter 3: replies, and where they are sent, on a third-party network."""

from __future__ import annotations

import queue
from typing import Any

from tests.contract.kit import LONGEST, ContractTest
from tests.contract.network import PEOPLE, NetworkCase
from tests.contract.test_03_prefixes import PLUGIN as COMMANDS

BACKEND = (
    PEOPLE
    + """
    BUILT = queue.Queue()


    class Place(Room):
        def __init__(self, name):
            self.name = name

        aclattr = property(lambda self: self.name)
        __str__ = lambda self: self.name


    class Visitor(RoomOccupant, Somebody):
        def __init__(self, name, place):
            super().__init__(name)
            self.place = place

        room = property(lambda self: self.place)


    class RepliesBackend(ErrBot):
        def __init__(self, config):
            super().__init__(config)
            self.bot_identifier = Somebody("me")

        MSG_ERROR_OCCURRED = "Oh dear"
        mode = property(lambda self: "replies")

        def serve_once(self):
            self.connect_callback()
            try:
                while True:
                    heard = HEARD.get()
                    if heard is None:
                        return True
                    text, room, thread = heard
                    to = Place(room) if room else self.bot_identifier
                    frm = Visitor("admin", to) if room else Somebody("admin")
                    message = Message(text, frm=frm, to=to)
                    if thread:
                        message.parent = Message("before", frm=frm, to=to)
                    self.callback_message(message)
            finally:
                self.disconnect_callback()

        def connect(self):
            return self

        def send_message(self, msg):
            super().send_message(msg)
            SAID.put((str(msg.to), msg.body, msg.partial))

        def build_identifier(self, text):
            return Place(text) if text.startswith("#") else Somebody(text)

        def build_reply(self, msg, text=None, private=False, threaded=False):
            BUILT.put((text, private, threaded))
            response = self.build_message(text)
            response.frm = self.bot_identifier
            response.to = msg.to if msg.is_group and not private else Somebody(msg.frm.person)
            return response

        def unknown_command(self, msg, cmd, args):
            return f"no idea about {cmd} {args}"

        def change_presence(self, status=ONLINE, message=""):
            pass

        def query_room(self, room):
            return Place(room)

        def rooms(self):
            return []

        def prefix_groupchat_reply(self, message, identifier):
            super().prefix_groupchat_reply(message, identifier)
            message.body = f"@{identifier.nick} {message.body}"
    """
)


PLUGIN = """
    import queue
    from errbot import BotPlugin, botcmd

    class Tried(BotPlugin):
        told = queue.Queue()

        @botcmd
        def quiet_one(self, msg, args):
            return f"quiet {args}"

        @botcmd
        def in_thread(self, msg, args):
            return f"threaded {args}"

        @botcmd
        def loud(self, msg, args):
            return f"loud {args}"

        @botcmd
        def fails(self, msg, args):
            raise RuntimeError("it broke")

        @botcmd
        def many(self, msg, args):
            yield "one"
            yield "two"

        @botcmd
        def long(self, msg, args):
            return "**" + "x" * 246 + "**"

        @botcmd
        def simple(self, msg, args):
            self._bot.send_simple_reply(msg, "simply", private=args == "private")

        @botcmd
        def to_nick(self, msg, args):
            self.send(msg.frm, "to the person", in_reply_to=msg)
            self.send(msg.to, "to the room", in_reply_to=msg, groupchat_nick_reply=True)
    """


class RepliesTest(NetworkCase):
    """A test with a network that records the replies that it builds and sends."""

    backend = BACKEND
    plugin = PLUGIN

    def setUp(self) -> None:
        """Get the queue of the replies that the network was asked to build."""
        super().setUp()
        self.built: queue.Queue[tuple[str, bool, bool]] = self.module["BUILT"]

    def end(self) -> None:
        """End the network, after removing logged exceptions of plugins, which trial would count as errors."""
        if hasattr(self, "flushLoggedErrors"):
            self.flushLoggedErrors()
        super().end()

    def ask(self, text: str, room: str = "", thread: bool = False) -> tuple[str, str]:
        """Send a message, in a room or a thread if given, and return the recipient and text of the reply."""
        self.heard.put((text, room, thread))
        return self.hear()

    def hear(self) -> tuple[str, str]:
        """Return the recipient and text of the bot's next message."""
        return self.said.get(timeout=LONGEST)[:2]


class DivertedTests(RepliesTest):
    """DIVERT_TO_PRIVATE and DIVERT_TO_THREAD."""

    config = {"DIVERT_TO_PRIVATE": ("quiet_one",), "DIVERT_TO_THREAD": ("in_thread",)}

    def test_in_the_room(self) -> None:
        """Replies to a command in a room, including errors and unknown commands, are sent to the room."""
        self.assertEqual(self.ask("!loud x", "#room"), ("#room", "loud x"))
        self.assertEqual(self.ask("!fails", "#room")[0], "#room")
        self.assertEqual(self.ask("!nothing", "#room")[0], "#room")

    def test_words_of_the_network(self) -> None:
        """A network may define its own replies to failed and unknown commands."""
        recipient, text = self.ask("!fails")
        # errklein adds a line with the place in the plugin's code.
        self.assertEqual((recipient, text.split("\n")[:2]), ("admin", ["Oh dear:", "it broke"]))
        self.assertEqual(self.ask("!nothing of the kind"), ("admin", "no idea about nothing of the kind"))

    def test_a_copy(self) -> None:
        """A message that is sent as a whole is marked as `partial`."""
        self.ask("!loud x")
        self.heard.put(("!loud y", "", False))
        self.assertEqual(self.said.get(timeout=LONGEST), ("admin", "loud y", True))

    def test_direct(self) -> None:
        """The reply to a direct message is sent to its sender."""
        self.assertEqual(self.ask("!loud x"), ("admin", "loud x"))

    def test_every_item(self) -> None:
        """All items of a generator are sent to the same place."""
        self.assertEqual((self.ask("!many", "#room"), self.hear()), (("#room", "one"), ("#room", "two")))

    def test_private(self) -> None:
        """Replies to the commands in DIVERT_TO_PRIVATE, named with underscores, are sent to the sender in private."""
        self.assertEqual(self.ask("!quiet one x", "#room"), ("admin", "quiet x"))

    def test_network_is_asked(self) -> None:
        """The network builds each reply, and gets the flags `private` and `threaded`."""
        for said, built in (
            ("!loud x", ("loud x", False, False)),
            ("!quiet one x", ("quiet x", True, False)),
            ("!in thread x", ("threaded x", False, True)),
        ):
            self.ask(said, "#room")
            text, private, threaded = self.built.get(timeout=LONGEST)
            self.assertEqual((text, bool(private), bool(threaded)), built)

    def test_simple(self) -> None:
        """`send_simple_reply` sends to the same place, or in private."""
        self.assertEqual(self.ask("!simple", "#room"), ("#room", "simply"))
        self.assertEqual(self.ask("!simple private", "#room"), ("admin", "simply"))


class DivertedFromNowOnTests(RepliesTest):
    """Changes of DIVERT_TO_PRIVATE at run time."""

    def setUp(self) -> None:
        """Use a new list as DIVERT_TO_PRIVATE."""
        self.diverted: list[str] = []
        self.config = {"DIVERT_TO_PRIVATE": self.diverted}  # type: ignore[misc]
        super().setUp()

    def test_diverted(self) -> None:
        """A command that is appended to the list is diverted at once."""
        self.assertEqual(self.ask("!loud x", "#room"), ("#room", "loud x"))
        self.diverted.append("loud")
        self.assertEqual(self.ask("!loud x", "#room"), ("admin", "loud x"))


class AllDivertedTests(RepliesTest):
    """`ALL_COMMANDS` in DIVERT_TO_PRIVATE and DIVERT_TO_THREAD."""

    config = {"DIVERT_TO_PRIVATE": ("ALL_COMMANDS",), "DIVERT_TO_THREAD": ("ALL_COMMANDS",)}

    def test_all(self) -> None:
        """`ALL_COMMANDS` diverts the replies of every command."""
        self.assertEqual(self.ask("!loud x", "#room"), ("admin", "loud x"))
        self.assertEqual(self.built.get(timeout=LONGEST), ("loud x", True, True))


class NickPrefixedTests(RepliesTest):
    """GROUPCHAT_NICK_PREFIXED, and `send` with `groupchat_nick_reply`."""

    config = {"GROUPCHAT_NICK_PREFIXED": True}

    def test_rooms(self) -> None:
        """A reply in a room begins with the nick of the sender; a direct reply does not."""
        self.assertEqual(self.ask("!loud x", "#room"), ("#room", "@admin loud x"))
        self.assertEqual(self.ask("!loud x"), ("admin", "loud x"))

    def test_simple_reply(self) -> None:
        """So does what `send_simple_reply` sends to a room."""
        self.assertEqual(self.ask("!simple", "#room"), ("#room", "@admin simply"))
        self.assertEqual(self.ask("!simple private", "#room"), ("admin", "simply"))

    def test_send(self) -> None:
        """`send` with `groupchat_nick_reply=True` puts the nick before the text in a room."""
        self.assertEqual(self.ask("!to nick", "#room"), ("admin", "to the person"))
        self.assertEqual(self.hear(), ("#room", "@admin to the room"))


class PartsTests(RepliesTest):
    """Messages longer than MESSAGE_SIZE_LIMIT."""

    config = {"MESSAGE_SIZE_LIMIT": 100}

    def test_parts(self) -> None:
        """A long message is sent in parts of at most MESSAGE_SIZE_LIMIT characters, each marked as `partial`."""
        self.ask("!loud x")
        self.heard.put(("!long", "", False))
        parts = [self.said.get(timeout=LONGEST) for _ in range(3)]
        self.assertEqual([len(body) for _, body, _ in parts], [100, 100, 50])
        self.assertEqual("".join(body for _, body, _ in parts), "**" + "x" * 246 + "**")
        self.assertEqual({partial for _, _, partial in parts}, {True})
        self.assertEqual({to for to, _, _ in parts}, {"admin"})


class DivertedQueueTests(ContractTest):
    """Diverted replies in tests with TestBot."""

    plugin = COMMANDS
    config = {"DIVERT_TO_PRIVATE": ("show_more",), "DIVERT_TO_THREAD": ("show_much_more",)}

    def reply_in_room(self, text: str) -> Any:
        """Send the text in a room and return the reply."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#room")
        self.bot.callback_message(Message(text, frm=TestOccupant("somebody", room), to=room))
        return self.bot.outgoing_message_queue.get(timeout=LONGEST)

    def test_queue_has_texts(self) -> None:
        """A diverted reply arrives in the test's queue."""
        self.assertIn("more [x]", str(self.reply_in_room("!show more x")))
        self.assertIn("much more [x]", str(self.reply_in_room("!show much more x")))
