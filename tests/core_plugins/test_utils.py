"""Tests for `!echo` and `!whoami`."""

from __future__ import annotations

from errklein.testing import PluginTestCase


class UtilsTests(PluginTestCase):
    """How messages arrive."""

    def test_echo(self) -> None:
        """The same comes back; of nothing nothing."""
        self.assertEqual(self.command("!echo foo  bär 🙂"), "foo  bär 🙂")
        self.assertEqual(self.bot.say("!echo"), [])

    def test_whoami(self) -> None:
        """Who somebody is to the bot, with the network."""
        shown = self.command("!whoami", frm="bob")
        for part in ("│ person ", "│ bob ", "│ nick ", "│ email ", "│ network ", "│ test "):
            self.assertIn(part, shown)
        self.assertIn("string representation is 'bob'", shown)
        self.assertIn("class is 'TestPerson'", shown)

    def test_whoami_in_a_room(self) -> None:
        """In a room, the room too."""
        (shown,) = self.bot.say("!whoami", frm="bob", room="#testroom")
        self.assertIn("│ room ", shown)
        self.assertIn("#testroom", shown)

    def test_who_is_somebody_else(self) -> None:
        """With a name, who that is."""
        self.assertIn("string representation is 'carol'", self.command("!whoami carol"))

    def test_a_name_breaks_nothing(self) -> None:
        """Whatever is in a name stays in its cell."""
        shown = self.command("!whoami a|b")
        self.assertIn("│ a|b ", shown)
