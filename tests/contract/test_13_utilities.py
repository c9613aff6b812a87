"""Chapter 13: `!echo`, `!whoami`, `!history` and `!render test`."""

from __future__ import annotations

from tests.contract.kit import ADMIN, ContractTest
from tests.contract.test_13_administration import PLUGIN


class UtilsTests(ContractTest):
    """The commands of the core plugin Utils."""

    plugin = PLUGIN

    def test_echo(self) -> None:
        """`!echo` replies with its arguments, including their white space."""
        self.assertEqual(self.ask("!echo some  text"), "some  text")

    def test_whoami(self) -> None:
        """`!whoami` displays a table of the sender's attributes."""
        said = self.ask("!whoami")
        for part in ("person", ADMIN, "nick", "fullname", "client", "email", "string representation is", "class is"):
            self.assertIn(part, said)

    def test_who_somebody_is(self) -> None:
        """`!whoami` with an identifier displays that person."""
        self.assertIn("somebody@host", self.ask("!whoami somebody@host"))

    def test_history(self) -> None:
        """`!history` lists the sender's commands with their numbers, without itself."""
        for number in range(10):
            self.ask(f"!echo {number}")
        said = self.ask("!history")
        self.assertIn("1:!echo 9", said)
        self.assertIn("2:!echo 8", said)
        self.assertNotIn("history", said)

    def test_render_test(self) -> None:
        """`!render test` displays all elements of Markdown."""
        said = "\n".join(self.replies("!render test"))
        for part in ("H1" if "H1" in said else "HEADING 1", "•", "┃", "─" * 20, "©", "&", "<"):
            self.assertIn(part, said)
        for mark in ("**", "{:", "&copy;", "\n|"):
            self.assertNotIn(mark, said)


class PlacesTests(ContractTest):
    """`!whoami`, `!history` and `!echo` in special cases."""

    plugin = PLUGIN

    def test_in_a_room(self) -> None:
        """In a room, `!whoami` displays the room, too."""
        from errbot.backends.test import TestOccupant

        self.bot.sender = TestOccupant("a@b", self.bot.query_room("testroom"))
        said = self.ask("!whoami")
        self.assertIn("room", said)
        self.assertIn("testroom", said)

    def test_history(self) -> None:
        """A repeated command occurs once, as the latest."""
        for text in ("one", "two", "one"):
            self.ask(f"!echo {text}")
        said = self.ask("!history")
        self.assertIn("1:!echo one", said)
        self.assertIn("2:!echo two", said)
        self.assertEqual(said.count("echo one"), 1)

    def test_no_history(self) -> None:
        """`!history` without any earlier command gets no reply."""
        from errbot.backends.base import Message

        newcomer = self.bot.build_identifier("newcomer@localhost")
        self.bot.callback_message(Message("!history", frm=newcomer, to=self.bot.bot_identifier))
        self.assertEqual(self.until_quiet(), [])

    def test_empty_echo(self) -> None:
        """`!echo` without arguments gets no reply."""
        self.assertEqual(self.replies("!echo"), [])


class TextCommandsTests(ContractTest):
    """The commands of the Text network."""

    plugin = PLUGIN

    def test_only_there(self) -> None:
        """The commands of the Text network are unknown on other networks."""
        for command in ("inroom", "inperson", "asuser", "asadmin", "ml"):
            self.assertIn("not found", self.ask(f"!{command}"), command)
        self.assertRegex(self.ask("!status plugins"), r"│ *D *│ *TextCmds|• D .*TextCmds")
