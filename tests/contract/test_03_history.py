"""Chapter 3: the history of commands."""

from __future__ import annotations

from typing import Any

from tests.contract.kit import ADMIN, ContractTest, decided
from tests.contract.test_03_prefixes import PLUGIN


class HistoryTests(ContractTest):
    """Repetition of commands with `!!` and `!3`."""

    plugin = PLUGIN

    def setUp(self) -> None:
        """Fill the history, since errbot has one for all bots of a process."""
        super().setUp()
        for number in range(10):
            self.ask(f"!show {number}")

    def test_last(self) -> None:
        """`!!` repeats the last command."""
        self.ask("!show x")
        self.assertEqual(self.ask("!!"), "[x]")

    def test_earlier(self) -> None:
        """`!<n>` repeats the command that is n-th from the end."""
        self.ask("!show x")
        self.ask("!show y")
        self.assertEqual(self.ask("!2"), "[x]")

    def test_again(self) -> None:
        """A repeated command moves to the end and occurs once in the history."""
        self.ask("!show x")
        self.ask("!show y")
        self.ask("!show x")
        self.assertEqual(self.ask("!!"), "[x]")
        self.assertEqual(self.ask("!2"), "[y]")

    def test_not_historized(self) -> None:
        """A command with `historize=False` isn't in the history."""
        self.ask("!show x")
        self.ask("!forgotten")
        self.assertEqual(self.ask("!!"), "[x]")

    def test_no_such_item(self) -> None:
        """`!<n>` without such an item gets no reply, and plugins don't get the message."""
        self.say("!50")
        self.assert_silent("nothing")
        self.assertNotIn("!50", self.instance().heard)

    def test_kept_for_plugins(self) -> None:
        """`_bot.cmd_history` has the commands of each person."""
        self.ask("!show x")
        self.assertEqual(list(self.bot.cmd_history[ADMIN])[-1], ("show", "x"))


class HistoryByPersonTests(ContractTest):
    """Histories of several persons."""

    plugin = PLUGIN

    def test_history_by_person(self) -> None:
        """Each person has their own history of ten commands."""
        self.ask("!show mine")
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.ask("!show theirs")
        self.assertEqual(self.ask("!!"), "[theirs]")
        self.bot.sender = self.bot.build_identifier(ADMIN)
        self.assertEqual(self.ask("!!"), "[mine]")
        self.assertEqual(self.bot.cmd_history[ADMIN].maxlen, 10)

    @decided("a private command can be repeated in a room")
    def test_history_by_place(self) -> None:
        """`!!` in a room doesn't repeat a command from a private chat."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        self.ask("!show private")
        room = self.bot.query_room("testroom")
        occupant = TestOccupant(ADMIN, room)
        self.bot.callback_message(Message("!!", frm=occupant, to=room))
        self.assertEqual(self.until_quiet(), [])

    def test_unknown_person(self) -> None:
        """The history of a person without commands is empty."""
        self.assertEqual(list(self.bot.cmd_history["nobody@nowhere"]), [])


class HistorizedTests(ContractTest):
    """Commands that are added to the history."""

    plugin = """
        from errbot import BotPlugin, arg_botcmd, botcmd, cmdfilter, re_botcmd

        class Tried(BotPlugin):
            heard = ()

            @botcmd
            def show(self, msg, args):
                return f"[{args}]"

            @botcmd(split_args_with=None)
            def words(self, msg, args):
                return repr(args)

            @botcmd(split_args_with=int)
            def number(self, msg, args):
                return str(args)

            @botcmd
            def fails(self, msg, args):
                raise RuntimeError("it broke")

            @re_botcmd(pattern="^match (.*)$")
            def matched(self, msg, match):
                return "matched " + match.group(1)

            @re_botcmd(pattern="hear (.*)$", prefixed=False)
            def overheard(self, msg, match):
                return "heard " + match.group(1)

            @botcmd
            def blocked(self, msg, args):
                return "not blocked"

            @cmdfilter
            def block(self, msg, cmd, args, dry_run):
                if cmd == "blocked":
                    return None, None, None
                if args == "change me":
                    return msg, cmd, "changed"
                return msg, cmd, args

            def callback_message(self, msg):
                self.heard += (str(msg),)
        """

    def setUp(self) -> None:
        """Clear the history."""
        super().setUp()
        self.bot.cmd_history.clear()

    def kept(self) -> list[Any]:
        """Return the history without the commands of the test API."""
        return [tuple(entry) for entry in self.bot.cmd_history[ADMIN] if entry[0] != "echo"]

    def test_unsplit(self) -> None:
        """Arguments are stored as typed, and split again when the command is repeated."""
        self.ask("!words a  b")
        self.assertEqual(self.kept(), [("words", "a  b")])
        self.assertEqual(self.ask("!!"), "['a', 'b']")

    def test_failed_ones(self) -> None:
        """Commands that fail, or whose arguments can't be parsed, are in the history."""
        self.ask("!fails x")
        self.ask("!number x")
        self.assertEqual(self.kept(), [("fails", "x"), ("number", "x")])

    def test_not_what_there_is_not(self) -> None:
        """Unknown commands, and commands that a filter blocks, aren't in the history."""
        self.ask("!show x")
        self.ask("!nothing")
        self.say("!blocked")
        self.until_quiet()
        self.assertEqual([entry for entry in self.kept() if entry[0] in ("nothing", "blocked")], [])

    def test_changed_by_a_filter(self) -> None:
        """The history has the command as filters have changed it."""
        self.assertEqual(self.ask("!show change me"), "[changed]")
        self.assertEqual(self.kept(), [("show", "changed")])

    @decided("the bot handles no messages after it")
    def test_matched(self) -> None:
        """Pattern commands are stored with their text and can be repeated."""
        self.ask("!match this")
        self.assertEqual(self.kept(), [("matched", "match this")])
        self.assertEqual(self.ask("!!"), "matched this")

    @decided("the bot handles no messages after it")
    def test_overheard(self) -> None:
        """Pattern commands without prefix can be repeated, too."""
        self.ask("I hear you")
        self.assertEqual(self.ask("!!"), "heard you")

    def test_spaces(self) -> None:
        """Spaces around the number are ignored."""
        self.ask("!show x")
        self.assertEqual(self.ask("! 1 "), "[x]")

    def test_repeating_is_heard(self) -> None:
        """Plugins get `!!` in `callback_message`."""
        self.ask("!show x")
        self.ask("!!")
        self.until_quiet()
        self.assertIn("!!", self.instance().heard)

    def test_nothing_to_repeat(self) -> None:
        """Without a history, `!!` and `!1` get no reply, and plugins don't get the messages."""
        self.bot.sender = self.bot.build_identifier("newcomer@host")
        self.say("!!")
        self.say("!1")
        self.say("nothing")
        self.bot.sender = self.bot.build_identifier(ADMIN)
        self.assertEqual(self.until_quiet(), [])
        heard = self.instance().heard
        self.assertIn("nothing", heard)
        self.assertNotIn("!!", heard)
        self.assertNotIn("!1", heard)

    def test_ten(self) -> None:
        """The history has ten commands: `!10` repeats the oldest, `!11` does nothing."""
        for number in range(12):
            self.ask(f"!show {number}")
        self.assertEqual(self.ask("!10"), "[2]")
        self.assert_silent("!11")
