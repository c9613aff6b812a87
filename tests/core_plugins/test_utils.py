"""Tests for `!echo`, `!whoami`, `!history`, `!log tail` and `!render test`."""

from __future__ import annotations

from pathlib import Path

from errklein.testing import PluginTestCase


class UtilsTests(PluginTestCase):
    """Replies of `!whoami`."""

    def test_whoami(self) -> None:
        """The reply shows the parts of the identity, with the network."""
        shown = self.command("!whoami", frm="bob")
        for part in ("│ person ", "│ bob ", "│ nick ", "│ email "):
            self.assertIn(part, shown)
        self.assertIn("string representation is 'bob'", shown)
        self.assertIn("class is 'TestPerson'", shown)
        self.assertIn("name in access rules (aclattr) is 'bob'", shown)
        self.assertIn("network is 'test'", shown)

    def test_a_name_breaks_nothing(self) -> None:
        """Any text in a name stays in its cell."""
        shown = self.command("!whoami a|b")
        self.assertIn("│ a|b ", shown)
        self.assertIn("string representation is '_x_*y*'", self.command("!whoami _x_*y*"))


class HistoryTests(PluginTestCase):
    """Replies of `!history`."""

    def test_history_in_a_room(self) -> None:
        """`!history` shows private commands only in private, and a room's only in the room."""
        self.command("!echo private")
        self.assertEqual(self.bot.say("!history", room="#ops"), [])
        self.bot.say("!echo public", room="#ops")
        self.assertEqual(self.bot.say("!history", room="#ops"), ["1:!echo public"])
        self.assertEqual(self.command("!history"), "1:!echo private")

    def test_commands_with_secrets(self) -> None:
        """Commands with configurations, passwords or URLs with credentials aren't in the history."""
        for command in (
            "plugin config Webserver {'TOKEN': 'hunter2'}",
            "repos install gopher://me:hunter2@127.0.0.1/x",
            "room join #ops hunter2",
            "webhook test /hook?token=hunter2 x",
            'flows start nothing {"token": "hunter2"}',
        ):
            self.bot.say(f"!{command}")
            self.assertEqual(self.bot.say("!history"), [], command)


class LogTailTests(PluginTestCase):
    """Replies of `!log tail`."""

    config = {"API_TOKEN": "xoxb-0123456789"}

    def setUp(self) -> None:
        super().setUp()
        self.file = Path(self.mktemp())
        self.bot.config.BOT_LOG_FILE = str(self.file)

    def test_lines(self) -> None:
        """The last 40 lines are shown, or the given number, unchanged but for secrets."""
        self.file.write_text("".join(f"line *{number}*\n" for number in range(100)))
        self.assertEqual(len(self.command("!log tail").splitlines()), 40)
        self.assertEqual(self.command("!log tail 2").split("\n")[-1], "line *99*")
        self.assertEqual(len(self.command("!log tail 1000").splitlines()), 100)
        self.assertIn("from 1 to 1000", self.command("!log tail many"))
        self.bot.config.ACCESS_CONTROLS = {"log_tail": {"allowmuc": True}}
        self.assertEqual(
            self.bot.say("!log tail", room="#ops"), ["The log is shown only to administrators in a private chat."]
        )
        self.file.write_text("from before the update: xoxb-0123456789 https://me:pw@host\n")
        self.assertIn("from before the update: ••• https://•••@host", self.command("!log tail"))
        self.assertIn("from 1 to 1000", self.command("!log tail 0"))
        self.assertIn("from 1 to 1000", self.command("!log tail " + "9" * 5000))
        self.assertIn("requires bot-admin", self.command("!log tail", frm="bob"))

    def test_a_long_log(self) -> None:
        """Only the end of a large file is read."""
        self.file.write_bytes(b"x" * 1_000_000 + b"\nlast \xff\n")
        self.assertEqual(self.command("!log tail").strip(), "last \ufffd")

    def test_none(self) -> None:
        """A missing log file is a reply in one line."""
        self.assertIn("can't be read: No such file", self.command("!log tail"))
        self.file.touch()
        self.assertIn("empty", self.command("!log tail"))
        self.bot.config.BOT_LOG_FILE = None
        self.assertIn("There is no log file", self.command("!log tail"))
