"""Chapter 3: prefixes, and which command a message names."""

from __future__ import annotations

from typing import Any

from tests.contract.kit import ADMIN, ContractTest

PLUGIN = """
    from errbot import BotPlugin, botcmd, re_botcmd

    class Tried(BotPlugin):
        heard = ()

        @botcmd
        def show(self, msg, args):
            return f"[{args}]"

        @botcmd
        def show_more(self, msg, args):
            return f"more [{args}]"

        @botcmd
        def show_much_more(self, msg, args):
            return f"much more [{args}]"

        @botcmd(historize=False)
        def forgotten(self, msg, args):
            return "forgotten"

        @re_botcmd(pattern="some (thing|body)")
        def some(self, msg, match):
            return match.group(1)

        @re_botcmd(pattern="any(one)?", prefixed=False)
        def anyone(self, msg, match):
            return "any"

        def callback_message(self, msg):
            self.heard += (str(msg),)
    """


class PrefixTests(ContractTest):
    """What makes a message a command."""

    plugin = PLUGIN

    def test_prefix(self) -> None:
        """A command begins with the prefix, at the very beginning of the message."""
        self.assertEqual(self.ask("!show x"), "[x]")
        self.assert_silent("show x")
        self.assert_silent("  !show x")

    def test_space_after_the_prefix(self) -> None:
        """It doesn't matter."""
        self.assertEqual(self.ask("!  show x"), "[x]")

    def test_longest_match(self) -> None:
        """The longest name that the words begin with is the command; the rest are its arguments as they are."""
        self.assertEqual(self.ask("!show much more  x\n y "), "much more [x\n y]")
        self.assertEqual(self.ask("!show more or less"), "more [or less]")
        self.assertEqual(self.ask("!show mor"), "[mor]")

    def test_lone_prefix(self) -> None:
        """The prefix alone is a command that isn't found."""
        self.assertIn("not found", self.ask("!"))

    def test_unknown(self) -> None:
        """The reply shows one and two words, and what may have been meant."""
        reply = self.ask("!shwo me")
        self.assertIn('Command "shwo" / "shwo me" not found', reply)
        self.assertIn("Did you mean", reply)
        self.assertIn("!show", reply)
        self.assertIn('Command "qqqqqq" not found', self.ask("!qqqqqq"))

    def test_regular_expressions_with_prefix(self) -> None:
        """With the prefix, all that match are run: those that don't need one too."""
        self.assertEqual(sorted(self.replies("!some body, any")), ["any", "body"])

    def test_regular_expressions_without_prefix(self) -> None:
        """Without it, only those that don't need one."""
        self.assertEqual(self.replies("some body, anyone"), ["any"])


class OtherPrefixTests(ContractTest):
    """BOT_PREFIX."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "hey bot "}

    def start(self, **config: Any) -> None:
        """Nothing to echo: the test API itself says `!echo`, which needs the usual prefix."""
        super().start(**{**config, "BOT_ALT_PREFIXES": ("!",)})

    def test_prefix_with_spaces(self) -> None:
        """The prefix may have spaces."""
        self.assertEqual(self.ask("hey bot show x"), "[x]")
        self.assert_silent("hey show x")


class RepeatedPrefixTests(ContractTest):
    """The history, with another prefix."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "."}

    def start(self, **config: Any) -> None:
        """The test API itself says `!echo`."""
        super().start(**{**config, "BOT_ALT_PREFIXES": ("!",)})

    def test_twice(self) -> None:
        """Twice the prefix is the last command again, whatever the prefix is; `!!` isn't anything then."""
        for text in (".show x", ".show y", ".."):
            reply = self.ask(text)
        self.assertEqual(reply, "[y]")
        self.assertEqual(self.ask(".2"), "[x]")
        self.assertIn('Command "!" not found', self.ask("!!"))


class AlternativePrefixTests(ContractTest):
    """BOT_ALT_PREFIXES."""

    plugin = PLUGIN
    config = {
        "BOT_ALT_PREFIXES": ("Err", "Errbot", "@err"),
        "BOT_ALT_PREFIX_SEPARATORS": (":", ",", ";"),
        "BOT_ALT_PREFIX_CASEINSENSITIVE": True,
    }

    def test_alternatives(self) -> None:
        """Each works like the prefix, with a separator after it or not, in any case."""
        for said in ("Err show x", "errbot, show x", "ERRBOT: show x", "@err;show x", "Err!show x"):
            self.assertEqual(self.ask(said), "[x]", said)

    def test_word_border(self) -> None:
        """None is needed."""
        self.assertIn("not found", self.ask("Errata"))

    def test_prefix_still_works(self) -> None:
        """The usual one does too."""
        self.assertEqual(self.ask("!show x"), "[x]")


class AlternativePrefixMatchingTests(ContractTest):
    """BOT_ALT_PREFIXES, in its corners."""

    plugin = PLUGIN
    config = {"BOT_ALT_PREFIXES": ("Err", "Errbot", "@err"), "BOT_ALT_PREFIX_SEPARATORS": (":", ",", ";")}

    def test_longest(self) -> None:
        """The longest of those that match is taken away."""
        self.assertEqual(self.ask("Errbot show x"), "[x]")

    def test_separators(self) -> None:
        """Each separator is taken away once, in the order of the setting."""
        self.assertEqual(self.ask("Err:,; show x"), "[x]")
        self.assertIn("not found", self.ask("Err:: show x"))

    def test_history(self) -> None:
        """What is said after another prefix can be repeated, and be a repetition."""
        self.ask("Err show x")
        self.assertEqual(self.ask("!!"), "[x]")
        self.assertEqual(self.ask("Err, 1"), "[x]")

    def test_regular_expressions(self) -> None:
        """With another prefix all patterns are looked for, as with the usual one, in what comes after it."""
        self.assertEqual(self.replies("Err: some thing"), ["thing"])

    def test_alone(self) -> None:
        """An alternative alone is a command that isn't found."""
        self.assertIn("not found", self.ask("Errbot:"))


class AlternativeCaseTests(ContractTest):
    """BOT_ALT_PREFIX_CASEINSENSITIVE."""

    plugin = PLUGIN
    config = {"BOT_ALT_PREFIXES": ("Err",)}

    def test_case_counts(self) -> None:
        """Unless told otherwise, case matters."""
        self.assertEqual(self.ask("Err show x"), "[x]")
        self.assert_silent("err show x")


class OptionalPrefixTests(ContractTest):
    """BOT_PREFIX_OPTIONAL_ON_CHAT."""

    plugin = PLUGIN
    config = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}

    def test_direct_messages(self) -> None:
        """A direct message needs no prefix, and may have one."""
        self.assertEqual(self.ask("show x"), "[x]")
        self.assertEqual(self.ask("!show x"), "[x]")
        self.assertIn("not found", self.ask("what is this"))


class OptionalPrefixPlacesTests(ContractTest):
    """BOT_PREFIX_OPTIONAL_ON_CHAT, in its corners."""

    plugin = PLUGIN
    config = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}

    def test_regular_expressions(self) -> None:
        """All patterns are looked for in a direct message."""
        self.assertEqual(sorted(self.replies("some body, any")), ["any", "body"])

    def test_in_rooms(self) -> None:
        """In a room the prefix is needed."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#room")
        occupant = TestOccupant("somebody", room)
        self.bot.callback_message(Message("show x", frm=occupant, to=room))
        self.assertEqual(self.until_quiet(), [])
        self.bot.callback_message(Message("!show x", frm=occupant, to=room))
        self.assertIn("[x]", self.hear())


class PatternPrefixTests(ContractTest):
    """Patterns and prefixes."""

    plugin = r"""
        from errbot import BotPlugin, botcmd, re_botcmd

        class Tried(BotPlugin):
            @re_botcmd(pattern="^begins")
            def begins(self, msg, match):
                return "begins"

            @re_botcmd(pattern="!?bang$", prefixed=False)
            def bang(self, msg, match):
                return match.group()

            @re_botcmd(pattern="^(.*)middle(.*)$", prefixed=False)
            def middle(self, msg, match):
                return repr(match.groups())
        """

    def test_without_the_prefix(self) -> None:
        """The prefix is no part of what is searched."""
        self.assertEqual(self.ask("!begins"), "begins")
        self.assertEqual(self.ask("!bang"), "bang")

    def test_not_the_other_prefix(self) -> None:
        """Where no prefix is at the beginning, all is searched."""
        self.assertEqual(self.ask("a !bang"), "!bang")

    def test_white_space(self) -> None:
        """That around the text is taken away, that inside stays."""
        self.assertEqual(self.ask("! a  middle  b "), "('a  ', '  b')")
        self.assertEqual(self.ask("a  middle  b"), "('a  ', '  b')")


class FoundTests(ContractTest):
    """Names of commands."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def one_two(self, msg, args):
                return f"one_two [{args}]"

            @botcmd
            def one_two_three_four(self, msg, args):
                return f"one_two_three_four [{args}]"
        """

    def test_gaps(self) -> None:
        """A longer name is found although there is none of a length in between."""
        self.assertEqual(self.ask("!one two three four five"), "one_two_three_four [five]")
        self.assertEqual(self.ask("!one two three five"), "one_two [three five]")
        self.assertEqual(self.ask("!one_two three_four x"), "one_two_three_four [x]")

    def test_spaces_between(self) -> None:
        """How much white space is between words of a name doesn't matter."""
        self.assertEqual(self.ask("!one   two  x"), "one_two [x]")
        self.assertEqual(self.ask("!one\ntwo\nx"), "one_two [x]")

    def test_part_of_a_name(self) -> None:
        """Too few words are no command, and the longer ones are offered."""
        self.assertIn("not found", self.ask("!one"))

    def test_replaced_reply(self) -> None:
        """The reply comes from `unknown_command` of the bot."""
        from errbot.backends.base import Message

        message = Message("!on two", frm=self.bot.sender, to=self.bot.bot_identifier)
        said = self.bot.unknown_command(message, "on", "two")
        self.assertIn('Command "on" / "on two" not found', said)
        self.bot.unknown_command = lambda msg, cmd, args: f"no {cmd} for {msg.frm}, nor {args}"
        self.assertEqual(self.ask("!on two three"), f"no on for {ADMIN}, nor two three")

    def test_not_found_is_a_plugin(self) -> None:
        """CommandNotFoundFilter replies; deactivated it doesn't."""
        self.assertIn("CommandNotFoundFilter", self.bot.plugin_manager.get_all_active_plugin_names())
        self.ask("!plugin deactivate CommandNotFoundFilter")
        self.assert_silent("!on two")
        self.ask("!plugin activate CommandNotFoundFilter")
        self.assertIn("not found", self.ask("!on two"))


class SuppressedTests(ContractTest):
    """SUPPRESS_CMD_NOT_FOUND."""

    plugin = PLUGIN
    config = {"SUPPRESS_CMD_NOT_FOUND": True}

    def test_silence(self) -> None:
        """Nobody is told that there is no such command."""
        self.assert_silent("!nothing")
