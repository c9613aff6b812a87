"""Chapter 13: echo, whoami, history and the like."""

from __future__ import annotations

from tests.contract.kit import ADMIN, ContractTest
from tests.contract.test_13_administration import PLUGIN


class UtilsTests(ContractTest):
    """`!echo` and its kin."""

    plugin = PLUGIN

    def test_echo(self) -> None:
        """The same back."""
        self.assertEqual(self.ask("!echo some  text"), "some  text")

    def test_whoami(self) -> None:
        """A table of oneself."""
        said = self.ask("!whoami")
        for part in ("person", ADMIN, "nick", "fullname", "client", "email", "string representation is", "class is"):
            self.assertIn(part, said)

    def test_who_somebody_is(self) -> None:
        """Or of somebody."""
        self.assertIn("somebody@host", self.ask("!whoami somebody@host"))

    def test_history(self) -> None:
        """What somebody has said, numbered for `!<n>`; itself left out."""
        for number in range(10):
            self.ask(f"!echo {number}")
        said = self.ask("!history")
        self.assertIn("1:!echo 9", said)
        self.assertIn("2:!echo 8", said)
        self.assertNotIn("history", said)

    def test_render_test(self) -> None:
        """All that Markdown has."""
        said = "\n".join(self.replies("!render test"))
        for part in ("H1" if "H1" in said else "HEADING 1", "•", "┃", "─" * 20, "©", "&", "<"):
            self.assertIn(part, said)
        for mark in ("**", "{:", "&copy;", "\n|"):
            self.assertNotIn(mark, said)


class PlacesTests(ContractTest):
    """`!whoami`, `!history` and the like."""

    plugin = PLUGIN

    def test_in_a_room(self) -> None:
        """Of somebody in a room the room is told."""
        from errbot.backends.test import TestOccupant

        self.bot.sender = TestOccupant("a@b", self.bot.query_room("testroom"))
        said = self.ask("!whoami")
        self.assertIn("room", said)
        self.assertIn("testroom", said)

    def test_history(self) -> None:
        """What was given more than once is last."""
        for text in ("one", "two", "one"):
            self.ask(f"!echo {text}")
        said = self.ask("!history")
        self.assertIn("1:!echo one", said)
        self.assertIn("2:!echo two", said)
        self.assertEqual(said.count("echo one"), 1)

    def test_no_history(self) -> None:
        """Somebody who has given no command yet gets no reply."""
        from errbot.backends.base import Message

        newcomer = self.bot.build_identifier("newcomer@localhost")
        self.bot.callback_message(Message("!history", frm=newcomer, to=self.bot.bot_identifier))
        self.assertEqual(self.until_quiet(), [])

    def test_empty_echo(self) -> None:
        """Nothing is said back to nothing."""
        self.assertEqual(self.replies("!echo"), [])


class TextCommandsTests(ContractTest):
    """Those of the Text network."""

    plugin = PLUGIN

    def test_only_there(self) -> None:
        """Elsewhere they aren't."""
        for command in ("inroom", "inperson", "asuser", "asadmin", "ml"):
            self.assertIn("not found", self.ask(f"!{command}"), command)
        self.assertRegex(self.ask("!status plugins"), r"│ *D *│ *TextCmds")
