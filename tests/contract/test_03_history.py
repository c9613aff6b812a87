"""Chapter 3: the history of commands."""

from __future__ import annotations

from typing import Any

from tests.contract.kit import ADMIN, ContractTest, decided
from tests.contract.test_03_prefixes import PLUGIN


class HistoryTests(ContractTest):
    """`!!` and `!3`."""

    plugin = PLUGIN

    def setUp(self) -> None:
        """Forget what others have said: errbot keeps one history for all bots of a process."""
        super().setUp()
        for number in range(10):
            self.ask(f"!show {number}")

    def test_last(self) -> None:
        """`!!` is the last command again."""
        self.ask("!show x")
        self.assertEqual(self.ask("!!"), "[x]")

    def test_earlier(self) -> None:
        """`!<n>` is the nth last."""
        self.ask("!show x")
        self.ask("!show y")
        self.assertEqual(self.ask("!2"), "[x]")

    def test_again(self) -> None:
        """A command that is given again moves to the end, and is there once."""
        self.ask("!show x")
        self.ask("!show y")
        self.ask("!show x")
        self.assertEqual(self.ask("!!"), "[x]")
        self.assertEqual(self.ask("!2"), "[y]")

    def test_not_historized(self) -> None:
        """Commands may ask to be forgotten."""
        self.ask("!show x")
        self.ask("!forgotten")
        self.assertEqual(self.ask("!!"), "[x]")

    def test_no_such_item(self) -> None:
        """Ten are kept. There is no reply if there is no such item, and plugins don't hear of it."""
        self.say("!50")
        self.assert_silent("nothing")
        self.assertNotIn("!50", self.instance().heard)

    def test_kept_for_plugins(self) -> None:
        """`_bot.cmd_history` has them, by person."""
        self.ask("!show x")
        self.assertEqual(list(self.bot.cmd_history[ADMIN])[-1], ("show", "x"))


class HistoryByPersonTests(ContractTest):
    """Who says something."""

    plugin = PLUGIN

    def test_history_by_person(self) -> None:
        """Each person has a history of their own."""
        self.ask("!show mine")
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.ask("!show theirs")
        self.assertEqual(self.ask("!!"), "[theirs]")
        self.bot.sender = self.bot.build_identifier(ADMIN)
        self.assertEqual(self.ask("!!"), "[mine]")
        self.assertEqual(self.bot.cmd_history[ADMIN].maxlen, 10)

    @decided("what was given in private can be repeated in a room")
    def test_history_by_place(self) -> None:
        """`!!` in a room doesn't repeat what was given in private."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        self.ask("!show private")
        room = self.bot.query_room("testroom")
        occupant = TestOccupant(ADMIN, room)
        self.bot.callback_message(Message("!!", frm=occupant, to=room))
        self.assertEqual(self.until_quiet(), [])

    def test_unknown_person(self) -> None:
        """Who never gave a command has an empty history."""
        self.assertEqual(list(self.bot.cmd_history["nobody@nowhere"]), [])


class HistorizedTests(ContractTest):
    """What is kept in the history, and what repeats it."""

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
        """Forget what others have said."""
        super().setUp()
        self.bot.cmd_history.clear()

    def kept(self) -> list[Any]:
        """The history, the test API's own commands left out."""
        return [tuple(entry) for entry in self.bot.cmd_history[ADMIN] if entry[0] != "echo"]

    def test_unsplit(self) -> None:
        """Arguments are kept as they were typed, and split once more."""
        self.ask("!words a  b")
        self.assertEqual(self.kept(), [("words", "a  b")])
        self.assertEqual(self.ask("!!"), "['a', 'b']")

    def test_failed_ones(self) -> None:
        """Commands that fail are kept, and so are those whose arguments couldn't be parsed."""
        self.ask("!fails x")
        self.ask("!number x")
        self.assertEqual(self.kept(), [("fails", "x"), ("number", "x")])

    def test_not_what_there_is_not(self) -> None:
        """What is no command isn't kept, nor what a filter has blocked."""
        self.ask("!show x")
        self.ask("!nothing")
        self.say("!blocked")
        self.until_quiet()
        self.assertEqual([entry for entry in self.kept() if entry[0] in ("nothing", "blocked")], [])

    def test_changed_by_a_filter(self) -> None:
        """Filters come before: what they have made of it is kept."""
        self.assertEqual(self.ask("!show change me"), "[changed]")
        self.assertEqual(self.kept(), [("show", "changed")])

    @decided("the bot hears nothing any more after it")
    def test_matched(self) -> None:
        """Commands that are given by a pattern are kept with their text, and can be repeated."""
        self.ask("!match this")
        self.assertEqual(self.kept(), [("matched", "match this")])
        self.assertEqual(self.ask("!!"), "matched this")

    @decided("the bot hears nothing any more after it")
    def test_overheard(self) -> None:
        """So are those without prefix."""
        self.ask("I hear you")
        self.assertEqual(self.ask("!!"), "heard you")

    def test_spaces(self) -> None:
        """Spaces before and after don't matter."""
        self.ask("!show x")
        self.assertEqual(self.ask("! 1 "), "[x]")

    def test_repeating_is_heard(self) -> None:
        """Plugins hear of `!!` itself."""
        self.ask("!show x")
        self.ask("!!")
        self.until_quiet()
        self.assertIn("!!", self.instance().heard)

    def test_nothing_to_repeat(self) -> None:
        """Without any history nothing is said to `!!` and `!1`, and plugins don't hear of it."""
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
        """The tenth can be repeated, the eleventh can't."""
        for number in range(12):
            self.ask(f"!show {number}")
        self.assertEqual(self.ask("!10"), "[2]")
        self.assert_silent("!11")
