"""Chapter 13: commands for rooms."""

from __future__ import annotations

from tests.contract.kit import ADMIN, ContractTest
from tests.contract.test_13_administration import PLUGIN


class ChatRoomTests(ContractTest):
    """`!room …`."""

    plugin = PLUGIN

    def test_joined_at_the_start(self) -> None:
        """The bot is in the rooms of CHATROOM_PRESENCE."""
        self.assertIn("testroom", self.ask("!room list"))

    def test_life_of_a_room(self) -> None:
        """Created, joined, given a topic, left, destroyed."""
        for command in ("create", "join"):
            self.assertIn("contractroom", self.ask(f"!room {command} contractroom"))
        self.assertTrue(self.bot.query_room("contractroom").joined)
        self.ask("!room topic contractroom 'a new topic'")
        self.assertIn("a new topic", self.ask("!room topic contractroom"))
        self.ask("!room leave contractroom")
        self.assertFalse(self.bot.query_room("contractroom").joined)
        self.ask("!room destroy contractroom")
        self.assertFalse(self.bot.query_room("contractroom").exists)

    def test_occupants(self) -> None:
        """Who is there."""
        self.ask("!room join contractroom")
        self.assertIn("contractroom", self.ask("!room occupants contractroom"))

    def test_wrong(self) -> None:
        """Without a room the reply says how it is used."""
        for command in ("create", "destroy", "invite"):
            self.assertTrue(self.ask(f"!room {command}"), command)


class RoomTests(ContractTest):
    """`!room …`."""

    plugin = PLUGIN

    def test_replies(self) -> None:
        """Each command says what it has done."""
        for command, told in (
            ("create r1", "r1"),
            ("join r1 secret", "r1"),
            ("occupants r1", "err"),
            ("topic r1", "No topic is set"),
            ("topic r1 'a new one'", "set"),
            ("topic r1", "a new one"),
            ("list", "r1"),
            ("leave r1 because of that", "r1"),
            ("destroy r1", "r1"),
        ):
            self.assertIn(told, self.ask(f"!room {command}"), command)

    def test_invite(self) -> None:
        """People are invited."""
        self.ask("!room join r1")
        said = self.ask("!room invite r1 a@b c@d")
        for part in ("a@b", "c@d", "r1"):
            self.assertIn(part, said)

    def test_shell_like(self) -> None:
        """Arguments are split as a shell does; quotes need their end."""
        self.assertIn("with space", self.ask("!room create 'with space'"))
        self.assertTrue(self.bot.query_room("with space").exists)
        self.assertIn("couldn't parse your arguments", self.ask("!room create 'without end"))

    def test_without_a_room(self) -> None:
        """It is told that a room is needed."""
        for command in ("create", "join", "leave", "destroy", "invite", "occupants", "topic"):
            self.assertRegex(self.ask(f"!room {command}"), "(?i)room", command)


class RelayTests(ContractTest):
    """CHATROOM_RELAY and REVERSE_CHATROOM_RELAY."""

    plugin = PLUGIN
    config = {"CHATROOM_RELAY": {ADMIN: ("testroom",)}}

    def test_relay(self) -> None:
        """What that person says to the bot is said in those rooms."""
        self.assertIn("good morning", self.ask("good morning"))
