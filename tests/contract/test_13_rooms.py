"""Chapter 13: commands for rooms."""

from __future__ import annotations

from tests.contract.kit import ADMIN, ContractTest
from tests.contract.test_13_administration import PLUGIN


class ChatRoomTests(ContractTest):
    """`!room …`."""

    plugin = PLUGIN

    def test_joined_at_the_start(self) -> None:
        """The bot joins the rooms in CHATROOM_PRESENCE."""
        self.assertIn("testroom", self.ask("!room list"))

    def test_life_of_a_room(self) -> None:
        """A room can be created, joined, given a topic, left and destroyed."""
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
        """`!room occupants` names the room."""
        self.ask("!room join contractroom")
        self.assertIn("contractroom", self.ask("!room occupants contractroom"))

    def test_wrong(self) -> None:
        """Commands without a room get a reply."""
        for command in ("create", "destroy", "invite"):
            self.assertTrue(self.ask(f"!room {command}"), command)


class RoomTests(ContractTest):
    """Replies of `!room`."""

    plugin = PLUGIN

    def test_replies(self) -> None:
        """The reply to each command names the room or the result."""
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
        """`!room invite` invites several people."""
        self.ask("!room join r1")
        said = self.ask("!room invite r1 a@b c@d")
        for part in ("a@b", "c@d", "r1"):
            self.assertIn(part, said)

    def test_shell_like(self) -> None:
        """Arguments are split as in a shell; an unbalanced quote is an error."""
        self.assertIn("with space", self.ask("!room create 'with space'"))
        self.assertTrue(self.bot.query_room("with space").exists)
        self.assertIn("couldn't parse your arguments", self.ask("!room create 'without end"))

    def test_without_a_room(self) -> None:
        """Without a room the reply asks for one."""
        for command in ("create", "join", "leave", "destroy", "invite", "occupants", "topic"):
            self.assertRegex(self.ask(f"!room {command}"), "(?i)room", command)


class RelayTests(ContractTest):
    """CHATROOM_RELAY and REVERSE_CHATROOM_RELAY."""

    plugin = PLUGIN
    config = {"CHATROOM_RELAY": {ADMIN: ("testroom",)}}

    def test_relay(self) -> None:
        """A direct message of that person is repeated in the rooms."""
        self.assertIn("good morning", self.ask("good morning"))
